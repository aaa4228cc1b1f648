use crate::hook::Invocation;

use super::JobId;

/// Which job an executor runs for, and which attempt of it this is. In the extensions of an invocation that a
/// [`Worker`](super::Worker) hands over.
///
/// A job can run more than once: after a failure, after its worker has died, and when its worker could not report a
/// success in time. The id stays the same, so it is what an executor hands on as an idempotency key.
///
/// # Examples
///
/// ```
/// use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
/// use tower_webhook::queue::JobAttempt;
///
/// async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
///     let Some(job) = JobAttempt::of(&invocation) else {
///         return Err("this executor runs from a queue".into());
///     };
///     Outcome::json(&format!("charge {} at attempt {}", job.id(), job.number()))
/// }
/// # let _ = run;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JobAttempt {
    id: JobId,
    number: u32,
}

impl JobAttempt {
    pub(super) const fn new(id: JobId, number: u32) -> Self {
        Self { id, number }
    }

    /// The attempt that an invocation is for; `None` if it comes from no worker.
    #[must_use]
    pub fn of(invocation: &Invocation) -> Option<&Self> {
        invocation.extensions().get()
    }

    /// The id of the job.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// The number of the attempt, from 1. An attempt that a worker gave back when it stopped does not count: the next one has
    /// the same number, so that id and number together are no idempotency key.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}
