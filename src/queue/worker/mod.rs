mod attempt;
mod config;
mod faults;
mod upkeep;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use self::attempt::End;
use self::config::Config;
pub(super) use self::faults::contained;
use self::faults::{Health, OncePerMinute, Pauses};
use super::{Backoff, ClaimedJob, JobQueue, JobState, LeaseState, QueueError, Retention};
use crate::hook::Executor;
use crate::{ConfigError, trace};

/// Runs the jobs of a queue, **at least once** each, with the executor that would run in
/// [`Hooks`](crate::hook::Hooks) otherwise.
///
/// Any number of workers, in any number of processes, share the jobs of a queue.
///
/// | an attempt that | ends |
/// |---|---|
/// | succeeds | the job, with its outcome |
/// | fails, panics, is too slow, or has too large an outcome | in another attempt after a [backoff](Self::with_backoff), until the [attempts](Self::with_attempts) are used up: the job is dead |
/// | fails [without retry](crate::hook::ExecutorError::without_retry), or finds its input [invalid](crate::hook::ExecutorError::invalid) | the job, which is dead |
/// | is [busy](crate::hook::ExecutorError::busy) or [unavailable](crate::hook::ExecutorError::unavailable) | in another attempt, after the time that it says at the earliest, or 30 days; this attempt counts |
/// | ends its process | in another attempt when its lease has ended; after the last one the job is dead. The same goes for all jobs that ran in that process |
/// | cannot be read, because it was damaged | the job, which is dead |
/// | cannot be read, because a later version has written it | without being counted: the job waits for ten seconds, for a worker that can read it |
/// | outlives its lease, because the queue could not be reached or the process was paused | dropped, if another worker has taken the job |
///
/// The error of a job that is shown is the text of an
/// [`ExecutorError::public`](crate::hook::ExecutorError::public), or a fixed one. The error itself is logged.
///
/// While the queue cannot be reached, attempts go on, and their ends are reported when it is back. A job whose lease has
/// ended meanwhile runs a second time if another worker has taken it first.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
/// use tower_webhook::queue::{Backoff, MemoryQueue, Worker};
///
/// async fn deploy(_: Invocation) -> Result<Outcome, ExecutorError> {
///     Ok(Outcome::empty())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::ConfigError> {
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let worker = Worker::new(MemoryQueue::new(), deploy)
///     .with_slots(32)?
///     .with_attempts(8)?
///     .with_backoff(Backoff::new(Duration::from_secs(2), Duration::from_secs(600))?)
///     .with_deadline(Duration::from_secs(300));
/// let running = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
///
/// drop(stop);
/// running.await.expect("the worker does not panic");
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    queue: Arc<dyn JobQueue>,
    executor: Arc<dyn Executor>,
    config: Config,
    health: Health,
    /// The events of jobs that later versions have written.
    too_new: OncePerMinute,
}

/// How long a claim waits for jobs, and so how long a stop of an idle worker takes at most.
const CLAIM_WAIT: Duration = Duration::from_secs(1);

/// How long leases may take to be given back at a stop, after their attempts were dropped.
const RELEASE_TIME: Duration = Duration::from_secs(2);

impl Worker {
    /// A worker with the settings that its methods say.
    #[must_use]
    pub fn new(queue: impl JobQueue, executor: impl Executor) -> Self {
        Self {
            queue: Arc::new(queue),
            executor: Arc::new(executor),
            config: Config::default(),
            health: Health::default(),
            too_new: OncePerMinute::default(),
        }
    }

    /// How many jobs this worker runs at a time. The default is 16. [`HookLimits`](super::HookLimits) limit the jobs of
    /// one hook, in all workers together.
    ///
    /// # Errors
    ///
    /// Returns an error if there are none, or more than a semaphore counts.
    pub fn with_slots(mut self, slots: usize) -> Result<Self, ConfigError> {
        if slots == 0 || slots > Semaphore::MAX_PERMITS {
            return Err(ConfigError::new("a worker has no slots, or too many"));
        }
        self.config.slots = slots;
        Ok(self)
    }

    /// How many attempts a job has, the first one included. The default is 5.
    ///
    /// # Errors
    ///
    /// Returns an error if it has none.
    pub fn with_attempts(mut self, attempts: u32) -> Result<Self, ConfigError> {
        if attempts == 0 {
            return Err(ConfigError::new("a job has no attempts"));
        }
        self.config.attempts = attempts;
        Ok(self)
    }

    /// How long a job waits between two attempts. The default is [`Backoff::default`].
    #[must_use]
    pub const fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// The time in which an attempt has to end. The default is 15 minutes.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// How long a lease lasts. It is extended three times in that time while the attempt runs. The default is 15 seconds.
    ///
    /// A job whose worker has died is taken over when its lease has ended. A worker that is stopped for longer, such as by
    /// its machine, loses its jobs to others.
    ///
    /// # Errors
    ///
    /// Returns an error if it is less than 100 milliseconds or more than a day.
    pub fn with_lease(mut self, lease: Duration) -> Result<Self, ConfigError> {
        if lease < Duration::from_millis(100) || lease > Duration::from_secs(24 * 60 * 60) {
            return Err(ConfigError::new("a lease is shorter than 0.1 s or longer than a day"));
        }
        self.config.lease = lease;
        Ok(self)
    }

    /// How long attempts may go on after the worker was stopped. The default is 10 seconds. Those that have not ended by
    /// then are dropped, and their jobs are due at once for other workers; the attempt does not count. To give them back may
    /// take two seconds more.
    #[must_use]
    pub const fn with_stop_limit(mut self, limit: Duration) -> Self {
        self.config.stop_limit = limit;
        self
    }

    /// The largest outcome, in bytes of its JSON text or body. The default is 1 MiB.
    #[must_use]
    pub const fn with_max_outcome_bytes(mut self, max_bytes: usize) -> Self {
        self.config.max_outcome_bytes = max_bytes;
        self
    }

    /// How long jobs are kept that have ended in this state. The default is 7 days for those that succeeded, and 30 days
    /// for those that are dead. Each worker removes others once a minute.
    ///
    /// # Errors
    ///
    /// Returns an error if the state is not an end.
    pub fn with_retention(
        mut self,
        state: JobState,
        retention: Retention,
    ) -> Result<Self, ConfigError> {
        match state {
            JobState::Succeeded => self.config.succeeded = retention,
            JobState::Dead => self.config.dead = retention,
            JobState::Queued | JobState::Running => {
                return Err(ConfigError::new("jobs that have not ended are kept"));
            }
        }
        Ok(self)
    }

    /// Measures jobs and attempts.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[must_use]
    pub fn with_metrics(mut self, metrics: super::QueueMetrics) -> Self {
        self.config.metrics = Some(metrics);
        self
    }

    /// Runs jobs until the future is ready, then waits for those that run, up to the
    /// [limit](Self::with_stop_limit).
    ///
    /// A queue that cannot be reached is asked again, with a backoff of up to 5 seconds: this returns for `stop` alone.
    /// Drop it, and the attempts end, and their jobs are taken over when their leases have ended.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let worker = Arc::new(self);
        let (cancel, cancelled) = watch::channel(false);
        let mut upkeep = JoinSet::new();
        upkeep.spawn(Arc::clone(&worker).purge());
        #[cfg(feature = "metrics")]
        if let Some(metrics) = worker.config.metrics.clone() {
            upkeep.spawn(metrics.watch(Arc::clone(&worker.queue)));
        }
        let mut attempts = JoinSet::new();
        worker.work(stop, &mut attempts, &cancelled).await;

        let mut released = 0;
        let all = drain(&mut attempts, &mut released);
        if timeout(worker.config.stop_limit, all).await.is_err() {
            cancel.send_replace(true);
            // What is left is aborted with the set.
            let _ = timeout(RELEASE_TIME, drain(&mut attempts, &mut released)).await;
        }
        trace::worker_stopped(released);
    }

    /// Claims jobs and starts their attempts, until the stop.
    async fn work(
        self: &Arc<Self>,
        stop: impl Future<Output = ()>,
        attempts: &mut JoinSet<usize>,
        cancelled: &watch::Receiver<bool>,
    ) {
        let mut stop = pin!(stop);
        let slots = Arc::new(Semaphore::new(self.config.slots));
        let mut pauses = Pauses::default();
        loop {
            let first = select! {
                biased;
                () = &mut stop => return,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(first) = first else { return };
            let more = std::iter::from_fn(|| Arc::clone(&slots).try_acquire_owned().ok());
            let mut free: Vec<_> = std::iter::once(first).chain(more).collect();

            // In a task: a claim that was dropped half way leaves jobs that wait for the end of their leases.
            let (queue, lease, max) = (Arc::clone(&self.queue), self.config.lease, free.len());
            let claim = async move { contained(|| queue.claim(max, lease, CLAIM_WAIT)).await };
            let mut claim = tokio::spawn(claim);
            let claimed = select! {
                biased;
                () = &mut stop => {
                    // Under the limits of a stop, as the attempts are.
                    let worker = Arc::clone(self);
                    attempts.spawn(async move {
                        match claim.await {
                            Ok(Ok(jobs)) => worker.give_back(jobs).await,
                            _ => 0,
                        }
                    });
                    return;
                }
                claimed = &mut claim => claimed,
            };
            match claimed {
                Ok(Ok(jobs)) => {
                    self.health.answered();
                    pauses = Pauses::default();
                    for (job, slot) in jobs.into_iter().zip(free.drain(..)) {
                        let number = self.number(&job);
                        let attempt = trace::in_job(job, number, |job| {
                            Arc::clone(self).attempt(job, cancelled.clone())
                        });
                        attempts.spawn(async move {
                            let released = attempt.await;
                            drop(slot);
                            released
                        });
                    }
                    while attempts.try_join_next().is_some() {}
                }
                failed => {
                    let error = match failed {
                        Ok(Err(error)) => error,
                        _ => QueueError::unavailable("a claim was cut off"),
                    };
                    self.health.failed(&error);
                    let pause = pauses.next();
                    select! {
                        biased;
                        () = &mut stop => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Gives back jobs whose attempts have not begun, and returns how many.
    async fn give_back(&self, jobs: Vec<ClaimedJob>) -> usize {
        let mut releases = JoinSet::new();
        for job in jobs {
            let queue = Arc::clone(&self.queue);
            releases.spawn(
                async move { contained(|| queue.release(&job.lease, Duration::ZERO)).await },
            );
        }
        // A lease that is not given back ends.
        let mut count = 0_usize;
        while let Some(released) = releases.join_next().await {
            count = count.saturating_add(matches!(released, Ok(Ok(LeaseState::Held))).into());
        }
        count
    }
}

/// Waits for attempts, and counts the jobs that they give back.
async fn drain(attempts: &mut JoinSet<usize>, released: &mut usize) {
    while let Some(ended) = attempts.join_next().await {
        *released = released.saturating_add(ended.unwrap_or_default());
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("config", &self.config).finish_non_exhaustive()
    }
}
