//! A hook: what runs, and how its outcome becomes a response.
//!
//! [`Hooks`] is a leaf service. It answers requests itself, in this order:
//!
//! 1. Which hook is it, and who may call it? ([`PolicyResolver`](crate::auth::PolicyResolver); 404)
//! 2. The method (405 with `Allow`). A policy that names no methods serves `POST`. `HEAD` and `OPTIONS` reach
//!    an executor only if a policy names them. A [probe](crate::auth::Policy::with_probe) is answered after step 3.
//! 3. The caller, exactly as [`auth`](crate::auth) decides (400, 401, 403, 503). The body is not polled
//!    before this, except where a placement is in the body and the head has no credential, and then under a
//!    limit of its own. Placements in the body read what the envelope of the hook reads: JSON under
//!    [another label](crate::envelope::EnvelopeBuilder::with_media_types) is JSON for them too.
//! 4. The body, under a limit and a deadline (413, 408, 400, 415).
//! 5. The [`Envelope`] (400, 415).
//! 6. The [`Executor`], under a deadline, with its panics contained and no more executions of one hook at a
//!    time than allowed (503 with `Retry-After`).
//! 7. The response: see [`ResponseFormat`].
//!
//! A refusal of the steps 1 to 5 and the 503 of step 6 are as described in
//! [`rejection`](crate::rejection); none of them is ever a success, but for the status of a
//! [gRPC call](crate::rejection#grpc). What is left of a refused body is [drained](Hooks::with_drain). The failure of an
//! execution is a 502, 503, 504 or 500, so that a sender which repeats what was not delivered does so. Input that the
//! executor [refuses](ExecutorError::invalid) is a 422.
//! [`ResponseFormat::status_json`] is for senders that read the body in place of the status.
//!
//! # Senders
//!
//! The default takes JSON and forms of up to 1 MiB. What some senders need beside that:
//!
//! | sender | largest body | content type | what to set |
//! |---|---|---|---|
//! | [GitHub] | 25 MB | JSON, or a form with JSON in `payload` | [`with_max_body_bytes`], [`with_json_fields`] |
//! | [GitLab] | 25 MB | JSON | [`with_max_body_bytes`] |
//! | [Bitbucket Cloud] | 256 KB | JSON | nothing |
//! | [Amazon SNS] | 256 KiB of [message], in JSON | `text/plain; charset=UTF-8` | [`with_media_types`] |
//! | [Slack], interactions | | a form with JSON in `payload` | [`with_json_fields`] |
//! | [Mailgun], routes | | a form, or `multipart/form-data` with attachments | [`with_max_body_bytes`] for mail |
//! | [SendGrid], inbound parse | 30 MB | `multipart/form-data` | [`with_max_body_bytes`] |
//!
//! A larger limit on bodies lets each request hold more memory: see
//! [`BodyBufferLayer::with_max_bytes`](crate::body::BodyBufferLayer::with_max_bytes). Give the hook a
//! longer [`with_body_deadline`](Hooks::with_body_deadline) as well.
//!
//! [GitHub]: https://docs.github.com/en/webhooks/webhook-events-and-payloads
//! [GitLab]: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/38687
//! [Bitbucket Cloud]: https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/
//! [Amazon SNS]: https://docs.aws.amazon.com/sns/latest/dg/http-header.html
//! [message]: https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
//! [Slack]: https://docs.slack.dev/interactivity/handling-user-interaction
//! [Mailgun]: https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
//! [SendGrid]: https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/inbound-email
//! [`with_max_body_bytes`]: Hooks::with_max_body_bytes
//! [`with_json_fields`]: crate::envelope::EnvelopeBuilder::with_json_fields
//! [`with_media_types`]: crate::envelope::EnvelopeBuilder::with_media_types
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::ServiceExt;
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
//!
//! async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
//!     let envelope: serde_json::Value = invocation.envelope().parse()?;
//!     match envelope["JSON"]["branch"].as_str() {
//!         Some(branch) => Outcome::json(&format!("deploying {branch}")),
//!         None => Err(ExecutorError::invalid("no branch")),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hooks = Hooks::new(AuthLayer::public(), run);
//!
//! let request = Request::post("/").header("content-type", "application/json");
//! let request = request.body(Full::new(Bytes::from_static(br#"{"branch":"main"}"#)))?;
//! let response = hooks.clone().oneshot(request).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert_eq!(body, r#""deploying main""#);
//!
//! let request = Request::get("/").body(Full::<Bytes>::default())?;
//! let response = hooks.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
//! # Ok(())
//! # }
//! ```
//!
//! [`Envelope`]: crate::envelope::Envelope

mod concurrency;
mod error;
mod executor;
mod hooks;
mod invocation;
mod outcome;
mod response;
mod response_format;
mod run;
mod service_executor;
#[cfg(feature = "signature")]
mod signed;
#[cfg(feature = "queue")]
mod stored;

pub use self::error::ExecutorError;
pub use self::executor::Executor;
pub use self::hooks::Hooks;
pub use self::invocation::Invocation;
pub use self::outcome::Outcome;
pub use self::response::ResponseFuture;
pub use self::response_format::{Failure, FailureKind, ResponseFormat};
#[cfg(feature = "queue")]
pub(crate) use self::run::run;
pub use self::service_executor::ServiceExecutor;
#[cfg(feature = "queue")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
pub use self::stored::{StoredError, StoredErrorKind};
