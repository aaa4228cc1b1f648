//! Durable executions, **at least once**: a job runs until an attempt has succeeded, or until its attempts are used up.
//! An executor that runs from a queue can run more than once for one request, so it has to be idempotent.
//!
//! A sender waits 3 to 30 seconds for an answer, and repeats or drops what was not answered. Work that takes longer, or
//! that must not be lost when a process dies, is stored first and acknowledged then:
//!
//! 1. [`Queued`] is the executor of [`Hooks`](crate::hook::Hooks). It stores the invocation as a job, and answers 202
//!    when the job is durable. What could not be stored is a 503, and never a 202.
//! 2. A [`Worker`] claims jobs and runs the executor that would be in `Hooks` otherwise, in the same process or in any
//!    number of others. It repeats what fails, and extends its lease on a job while an attempt runs.
//! 3. [`Executions`] is the service that shows jobs to their callers, repeats dead ones and removes them.
//!
//! | queue | feature | keeps jobs |
//! |---|---|---|
//! | [`MemoryQueue`] | | in this process, for tests |
//! | `SqliteQueue` | `queue-sqlite` | in a file, which several processes of one machine share |
//! | `PostgresQueue` | `queue-postgres` | in a table |
//! | `NatsQueue` | `queue-nats` | in a stream of NATS JetStream |
//!
//! An app needs [`Queued`], [`Worker`], [`Executions`] and a queue, and perhaps [`JobAttempt`], [`Backoff`], [`HookLimits`],
//! [`Retention`] and `QueueMetrics`. The rest is for a queue of your own, which implements [`JobQueue`]. An app that has a
//! queue for its jobs already can send [`Invocation::encode`](crate::hook::Invocation::encode) through it.
//!
//! # Hooks
//!
//! Limits, lists, logs and metrics are by the name of the hook, which the policy gives: a layer with one policy is
//! `AuthLayer::new(Policy::signed().with_hook("github"))?.with_signatures(verifier)?`. Without a name it is the empty
//! text. A worker runs the jobs of all hooks in its queue with one executor, which tells them apart by
//! [`Invocation::hook`](crate::hook::Invocation::hook); a queue with another name (of its file, schema or prefix) is another
//! one.
//!
//! # Once, or more than once
//!
//! * A request whose sender saw a 202 is a stored job. A sender that saw no answer repeats the request. It is one job if
//!   both have an [idempotency key](Queued::with_key), and two jobs otherwise. Deliveries that a provider has signed have
//!   one in `delivery_key` (feature `signature`).
//! * A job runs to its end at least once. It runs again if its worker dies, and if the worker cannot tell the queue about
//!   its success before the lease has ended. [`JobAttempt`] has the id of the job, which is the same each time.
//! * Nothing is said about the order in which jobs run.
//!
//! # What is stored
//!
//! Envelope, caller, hook, method, target, headers and body, as JSON with a version, which later versions of this crate
//! read. A worker that meets a later version gives the job back, so that processes can be upgraded in any order.
//!
//! What the layer reads as a credential is not in it, nor are `Authorization`, `Proxy-Authorization` and `Cookie`. Any
//! other secret that a request holds is in it. It is deleted when the job has succeeded; the outcome is kept for as long as
//! the job is. What outer layers put into the extensions of a request is not stored: for signatures there is
//! `Hooks::with_signature_member`.
//!
//! The caller is the one that was proven when the request came. A key that is revoked afterwards stops no job: an executor
//! that has to know looks the key up.
//!
//! # Security
//!
//! Payloads and outcomes are in the clear. Everyone who can write to the place of a queue can run every hook
//! as any caller.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use http::Request;
//! use http_body_util::BodyExt;
//! use tower::{Layer, ServiceExt};
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
//! use tower_webhook::queue::{Executions, JobQueue, MemoryQueue, Queued, Worker, idempotency_key};
//!
//! async fn deploy(invocation: Invocation) -> Result<Outcome, ExecutorError> {
//!     let envelope: serde_json::Value = invocation.envelope().parse()?;
//!     Outcome::json(&format!("deployed {}", envelope["JSON"]["branch"]))
//! }
//!
//! fn app(queue: impl JobQueue + Clone) -> Result<Router, tower_webhook::ConfigError> {
//!     let queued = Queued::new(queue.clone(), "/executions")?
//!         .with_key(idempotency_key)
//!         .with_wait(Duration::from_secs(2));
//!     let executions = Executions::nested(queue, "/executions")?;
//!     Ok(Router::new()
//!         .route_service("/deploy", Hooks::new(AuthLayer::public(), queued))
//!         .nest_service("/executions", AuthLayer::public().layer(executions)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One of a database in place of this one.
//! let queue = MemoryQueue::new();
//! let app = app(queue.clone())?;
//!
//! // In this process, or in any number of others. The worker stops when the future ends.
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let worker = tokio::spawn(Worker::new(queue, deploy).run_until(async { _ = stopped.await }));
//!
//! // A sender, in place of `axum::serve`.
//! let request = Request::post("/deploy")
//!     .header("content-type", "application/json")
//!     .header("idempotency-key", "delivery-7")
//!     .body(r#"{"branch":"main"}"#.to_owned())?;
//! let response = app.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.into_body().collect().await?.to_bytes(), r#""deployed \"main\"""#);
//!
//! drop(stop);
//! worker.await?;
//! # Ok(())
//! # }
//! ```

mod attempt;
mod backlog;
mod backoff;
#[cfg(any(test, feature = "conformance"))]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod error;
mod executions;
mod id;
mod job;
mod job_queue;
mod limits;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "queue-nats")]
mod nats;
#[cfg(feature = "queue-postgres")]
mod postgres;
mod queued;
#[cfg(feature = "queue-sqlite")]
mod sqlite;
mod worker;

pub use self::attempt::JobAttempt;
pub use self::backoff::Backoff;
pub use self::error::{QueueError, QueueErrorKind};
pub use self::executions::Executions;
pub use self::id::{InvalidJobId, JobId};
pub use self::job::{ClaimedJob, Job, JobState, Lease, NewJob};
pub use self::job_queue::{
    Enqueued, HookStats, JobChange, JobCursor, JobFilter, JobQueue, LeaseState, Retention,
};
pub use self::limits::HookLimits;
pub use self::memory::MemoryQueue;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::metrics::QueueMetrics;
#[cfg(feature = "queue-nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue-nats")))]
pub use self::nats::NatsQueue;
#[cfg(feature = "queue-postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue-postgres")))]
pub use self::postgres::PostgresQueue;
#[cfg(feature = "signature")]
#[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
pub use self::queued::delivery_key;
pub use self::queued::{Queued, idempotency_key};
#[cfg(feature = "queue-sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue-sqlite")))]
pub use self::sqlite::SqliteQueue;
pub(crate) use self::worker::End;
pub use self::worker::Worker;
