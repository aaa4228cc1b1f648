//! The body of a request: read once, under limits, and replayed exactly.
//!
//! [`BodyBufferLayer`] is opt-in. What looks at a body before the handler does needs it: a credential in the
//! body, a signature, an envelope. Credentials in headers, query and path do not, and a request that
//! they refuse costs no body at all if this layer is inside of the one that checks them.
//!
//! # Guarantees
//!
//! 1. At most [`max_bytes`](BodyBufferLayer::with_max_bytes) (1 MiB) are taken, and at most one frame
//!    beyond. A body that announces more is refused before any of it is read, so no `100 Continue` is
//!    sent for it.
//! 2. The whole body arrives within the [deadline](BodyBufferLayer::with_deadline) (10 seconds). A body that
//!    trickles does not extend it. The time runs from the first moment that the body has to be waited
//!    for; one that is there at once starts no timer.
//! 3. The inner service gets the same bytes and the same trailers. A body that came in a single frame
//!    is not copied. Framing is not kept: the bytes come as one frame.
//! 4. Truncated input never reaches the inner service. A body that ends with an error, or is not as
//!    long as its `Content-Length`, is refused.
//! 5. The body is not polled after its end, nor after an error. A body that panics is a refusal.
//! 6. Memory is at most twice the limit and one frame, in however many pieces the body comes. Many small
//!    frames do not keep the executor from other tasks.
//! 7. The inner service is asked for its readiness once the body is there, and the instance that was
//!    ready is the one that is called. A slow or refused upload takes none of its capacity.
//!
//! | body | status | `code` |
//! |---|---|---|
//! | larger than the limit, announced or read | 413 | `content_too_large` |
//! | not complete at the deadline | 408 | `request_timeout` |
//! | broken off, or of another length than announced | 400 | `malformed_body` |
//! | coded, with [`with_identity_coding_only`](BodyBufferLayer::with_identity_coding_only) | 415 | `unsupported_content_encoding` |
//! | panics | 500 | `internal` |
//!
//! On HTTP/1 these refusals close the connection, so that what is left of the body is not taken for the
//! next request. They are responses, not errors: the error type is that of the inner service. The
//! [rules of refusals](crate::rejection) hold for them too.
//!
//! # Caveats
//!
//! * The bytes are in the request's extensions as [`BufferedBody`]. A middleware between the layer and
//!   their reader that changes the body, for example one that decodes it, leaves them behind. Put such a
//!   middleware outside of the layer.
//! * A second `BodyBufferLayer` reads the replayed body again, under its own limits. That copies nothing,
//!   and makes the extension true for the body that it hands on, with any middleware in between.
//! * Bodies with a `Content-Encoding` are replayed as they were sent. The limit is one on sent bytes.
//! * The limit is one on each request. The number of requests under way is not limited here.
//! * The service is always ready, so backpressure of the inner service does not reach the server.
//!   Put a concurrency limit outside of the layer to bound the uploads.
//!
//! # Examples
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_webhook::body::{BodyBufferLayer, BufferedBody, ReplayBody};
//!
//! async fn echo(request: Request<ReplayBody>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let buffered = request.extensions().get::<BufferedBody>().map(BufferedBody::bytes);
//!     let replayed = request.into_body().collect().await?.to_bytes();
//!     assert_eq!(buffered, Some(replayed.clone()));
//!     Ok(Response::new(Full::new(replayed)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let service = ServiceBuilder::new()
//!     .layer(BodyBufferLayer::new().with_max_bytes(8))
//!     .service_fn(echo);
//!
//! let accepted = service.clone().oneshot(Request::new(Full::from("8 octets"))).await?;
//! assert_eq!(accepted.status(), StatusCode::OK);
//! assert_eq!(accepted.into_body().collect().await?.to_bytes(), "8 octets");
//!
//! let refused = service.oneshot(Request::new(Full::from("9 octets!"))).await?;
//! assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
//! # Ok(())
//! # }
//! ```

mod buffered;
mod collect;
mod error;
mod future;
mod headers;
mod layer;
mod replay;
#[cfg(test)]
mod scripted;
mod service;
#[cfg(test)]
mod tests;

pub use self::buffered::BufferedBody;
pub use self::error::{ReadError, ReadErrorKind};
pub use self::future::ResponseFuture;
pub use self::layer::BodyBufferLayer;
pub use self::replay::ReplayBody;
pub use self::service::BodyBuffer;

#[cfg(test)]
pub(crate) use self::collect::Collected;
pub(crate) use self::collect::{BodyLimits, BodyRules, ReadBody, SlowBody, VERDICT_LIFETIME};
pub(crate) use self::error::check_coding;
pub(crate) use self::headers::{discard, is_identity_coded, rewrite};
