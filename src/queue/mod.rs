//! Durable executions, **at least once**: a job runs until an attempt has succeeded, or until its attempts are used up.
//! An executor that runs from a queue can run more than once for one request, so it has to be idempotent.
//!
//! A sender waits 3 to 30 seconds for an answer. What takes longer, or must not be lost when a process dies, is stored
//! first and acknowledged then. A worker runs it afterwards, in the same process or on another machine.
//!
//! | queue | feature | keeps jobs |
//! |---|---|---|
//! | [`MemoryQueue`] | | in this process, for tests |
//! | `SqliteQueue` | `queue-sqlite` | in a file, which several processes of one machine share |
//! | `PostgresQueue` | `queue-postgres` | in a table |
//! | `NatsQueue` | `queue-nats` | in a stream of NATS JetStream |

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
pub use self::queued::{Queued, idempotency_key};
#[cfg(feature = "queue-sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue-sqlite")))]
pub use self::sqlite::SqliteQueue;
pub(crate) use self::worker::End;
pub use self::worker::Worker;
