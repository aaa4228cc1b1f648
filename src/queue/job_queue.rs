use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{ClaimedJob, Job, JobId, JobState, Lease, NewJob, QueueError};
use crate::key::Owner;

/// A place that keeps jobs until they have run.
///
/// A queue keeps texts and hands them out under a lease. What is in them, when an attempt is repeated and how often, is
/// the worker's. Times are those of one clock, the engine's, so that machines with different clocks agree. A lease, a delay
/// or a wait can be as long as [`Duration::MAX`]: a queue cuts it to what its engine can keep, a hundred years for example.
///
/// The queue chooses the token of a lease. [`Lease::random`] makes one.
///
/// # Rules
///
/// `queue::conformance` checks them (feature `conformance`).
///
/// 1. **`New` is durable.** A job is stored when [`enqueue`](Self::enqueue) has returned, and survives the end of every
///    process.
/// 2. **An id is one job.** A second `enqueue` under an id changes nothing and returns the job that is stored.
/// 3. **A claim is exclusive.** While its lease lasts, no other claim returns the job.
/// 4. **A claim is an attempt.** Attempts count from 1, and no claim returns a number that another one of the job had
///    returned, but for rules 10 and 13.
/// 5. **A lease ends.** A job whose lease has ended is claimed again.
/// 6. **A heartbeat extends.** The lease then lasts for that long from now on.
/// 7. **Leases are fenced.** A lease is lost when the job was given back, has ended or was removed, or when another claim
///    has taken it: nothing that is done with it changes anything. A lease that has ended and was not replaced is still
///    held, but for rule 16.
/// 8. **An end is final.** A job that succeeded or is dead is not claimed. Its outcome or error comes back as it was
///    given, and a job that succeeded has no error. The attempt of a job that was buried without running does not count.
/// 9. **A retry waits.** A job is not claimed before its delay is over, and then it is. Its error is shown meanwhile.
/// 10. **A released attempt does not count.** The job is due when the delay is over, with the error that it had.
/// 11. **`state` shows the job.** `None` is an id without a job. `backlog` and `stats` count what it shows.
/// 12. **`list` is newest first.** Each job that fits the filter is listed once, ordered by time and then id,
///     descending, after the cursor and up to the limit, without its outcome. Jobs that come or go between two pages
///     move no other job.
/// 13. **A dead job is retried from the start.** Its attempts are 0, and its error and its times of start and end are
///     gone. Other jobs are not changed.
/// 14. **`remove` leaves running jobs.** Every other job is gone, and its id is free.
/// 15. **`purge` removes ended jobs alone.** Those of the state that are older than the age, and the oldest of those
///     beyond the count.
/// 16. **Limits hold.** No more jobs of a hook are under a lease than its limit allows. A heartbeat on a lease that has
///     ended is lost while its hook has no room.
/// 17. **A claim waits for work.** It returns as soon as there is a job that was enqueued by the same process, and with
///     none at the end of its wait.
/// 18. **A fault is an error.** A queue that cannot answer says so, and never returns nothing instead.
/// 19. **A dropped call is whole or nothing.**
#[async_trait]
pub trait JobQueue: Send + Sync + 'static {
    /// Stores a job, and returns when it is durable.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job is stored, or if it is too large. To enqueue it again, under
    /// the same id, does no harm.
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError>;

    /// Claims up to `max` jobs that are due, each for as long as the lease. Waits for the first one for up to that
    /// long.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot answer. Jobs that were claimed nevertheless are due again when their leases
    /// have ended.
    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError>;

    /// Extends a lease: it lasts for that long from now on.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the lease is extended.
    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError>;

    /// Ends a job well.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job has ended. To complete it again does no harm.
    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError>;

    /// Gives a job back for another attempt, after a delay.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job was given back.
    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError>;

    /// Gives a job back that did not fail, for another worker, after a delay. The attempt does not count.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job was given back.
    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError>;

    /// Ends a job that has failed for good. An attempt that did not run, because others had used up what the job has, does
    /// not count.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job has ended.
    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError>;

    /// The job with an id.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot answer.
    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError>;

    /// The jobs that fit a filter, the newest first, behind the cursor. [`state`](Self::state) has their outcomes, which
    /// can be large.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot answer.
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError>;

    /// Queues a dead job again.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job was changed.
    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError>;

    /// Removes a job that is not running.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the job was removed.
    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError>;

    /// Removes ended jobs, up to `max` of them, and returns how many. A state that is not an end has none.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known how many were removed.
    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError>;

    /// How many jobs of a hook wait, counted up to `at_most`.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot answer.
    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError>;

    /// The numbers of each hook that has jobs.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot answer.
    async fn stats(&self) -> Result<Vec<HookStats>, QueueError>;
}

#[async_trait]
impl<Q: JobQueue + ?Sized> JobQueue for Arc<Q> {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        (**self).enqueue(job).await
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        (**self).claim(max, lease, wait).await
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        (**self).heartbeat(lease, lasts).await
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        (**self).complete(lease, outcome).await
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        (**self).retry_after(lease, delay, error).await
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        (**self).release(lease, delay).await
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        (**self).bury(lease, error, ran).await
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        (**self).state(id).await
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        (**self).list(filter, after, limit).await
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        (**self).retry(id).await
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        (**self).remove(id).await
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        (**self).purge(state, retention, max).await
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        (**self).backlog(hook, at_most).await
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        (**self).stats().await
    }
}

/// The answer to an [`enqueue`](JobQueue::enqueue).
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Enqueued {
    /// The job is stored.
    New,
    /// A job with this id was stored before, by this call or another one.
    Known(Box<Job>),
}

/// Whether a change was made under its lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum LeaseState {
    /// It was made.
    Held,
    /// The lease is lost. Nothing was changed.
    Lost,
}

/// The answer to a change that needs no lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum JobChange {
    /// The change was made.
    Changed,
    /// There is no job with this id.
    NotFound,
    /// The job is in a state that does not allow the change.
    WrongState,
}

/// Which jobs are listed. An empty filter fits all of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct JobFilter {
    /// Those in this state.
    pub state: Option<JobState>,
    /// Those of the hook with this name.
    pub hook: Option<String>,
    /// Those of this caller.
    pub owner: Option<Owner>,
}

impl JobFilter {
    /// All jobs.
    #[must_use]
    pub const fn all() -> Self {
        Self { state: None, hook: None, owner: None }
    }

    /// Those in this state.
    #[must_use]
    pub const fn with_state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// Those of the hook with this name.
    #[must_use]
    pub fn with_hook(mut self, hook: impl Into<String>) -> Self {
        self.hook = Some(hook.into());
        self
    }

    /// Those of this caller.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Whether a job fits.
    #[must_use]
    pub fn fits(&self, job: &Job) -> bool {
        self.state.is_none_or(|state| state == job.state)
            && self.hook.as_ref().is_none_or(|hook| *hook == job.hook)
            && self.owner.as_ref().is_none_or(|owner| job.owner.as_ref() == Some(owner))
    }
}

/// The place of a job in a [list](JobQueue::list).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct JobCursor {
    created_at: OffsetDateTime,
    id: JobId,
}

impl JobCursor {
    /// The place of a job with this time and id.
    #[must_use]
    pub const fn new(created_at: OffsetDateTime, id: JobId) -> Self {
        Self { created_at, id }
    }

    /// When the job was stored.
    #[must_use]
    pub const fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    /// The id of the job.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }
}

impl From<&Job> for JobCursor {
    fn from(job: &Job) -> Self {
        Self::new(job.created_at, job.id)
    }
}

/// How long ended jobs are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Retention {
    /// Those that ended longer ago are removed.
    pub max_age: Option<Duration>,
    /// Of more than that many, those that ended first are removed.
    pub max_count: Option<u64>,
}

impl Retention {
    /// Without end.
    #[must_use]
    pub const fn forever() -> Self {
        Self { max_age: None, max_count: None }
    }

    /// For this long.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The newest of them, this many.
    #[must_use]
    pub const fn with_max_count(mut self, count: u64) -> Self {
        self.max_count = Some(count);
        self
    }
}

/// The numbers of a hook.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct HookStats {
    /// The name of the hook, empty for jobs without one.
    pub hook: String,
    /// How many jobs wait.
    pub queued: u64,
    /// How many are under way.
    pub running: u64,
    /// How many are dead.
    pub dead: u64,
    /// How long ago the oldest job that waits was stored.
    pub oldest_queued: Option<Duration>,
}

impl HookStats {
    /// A hook without jobs.
    #[must_use]
    pub fn new(hook: impl Into<String>) -> Self {
        Self { hook: hook.into(), ..Self::default() }
    }
}
