//! One attempt of a job, under its lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Worker;
use super::faults::{Pauses, contained};
use crate::hook::{ExecutorError, Failure, Invocation, Outcome, StoredErrorKind, run};
use crate::queue::{
    Backoff, ClaimedJob, Job, JobAttempt, JobQueue, JobState, Lease, LeaseState, QueueError,
    QueueErrorKind,
};
use crate::trace;

/// How an attempt ended, for the queue.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum End {
    Succeeded {
        outcome: String,
    },
    Failed {
        error: String,
        delay: Duration,
    },
    Dead {
        error: String,
        /// False: its attempts were used up before.
        ran: bool,
    },
    /// A later version has written it, and a worker of that version can read it.
    TooNew,
    /// The worker stops.
    Stopped,
    /// Another worker has taken the job.
    Lost,
}

/// How long a job waits for a worker that can read it. Those that cannot take it again and again.
const TOO_NEW_DELAY: Duration = Duration::from_secs(10);

impl End {
    /// The names of all ends in metrics.
    #[cfg(feature = "metrics")]
    pub(crate) const NAMES: [&'static str; 6] =
        ["succeeded", "failed", "dead", "too_new", "stopped", "lost"];

    /// The name of the end in metrics.
    #[cfg(feature = "metrics")]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Dead { .. } => "dead",
            Self::TooNew => "too_new",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }

    /// The error of the job that is shown.
    #[cfg(feature = "tracing")]
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error, .. } | Self::Dead { error, .. } => Some(error),
            _ => None,
        }
    }

    async fn report(&self, queue: &dyn JobQueue, lease: &Lease) -> Result<LeaseState, QueueError> {
        match self {
            Self::Succeeded { outcome } => queue.complete(lease, outcome).await,
            Self::Failed { error, delay } => queue.retry_after(lease, *delay, error).await,
            Self::Dead { error, ran } => queue.bury(lease, error, *ran).await,
            Self::TooNew => queue.release(lease, TOO_NEW_DELAY).await,
            Self::Stopped => queue.release(lease, Duration::ZERO).await,
            Self::Lost => Ok(LeaseState::Lost),
        }
    }

    /// Reports an end once more after an error: it may have been taken, and its lease is lost then.
    async fn report_again(
        &self,
        queue: &dyn JobQueue,
        lease: &Lease,
    ) -> Result<LeaseState, QueueError> {
        if self.report(queue, lease).await? == LeaseState::Held {
            return Ok(LeaseState::Held);
        }
        let job = queue.state(&lease.job()).await?;
        let was_taken = job.is_some_and(|job| self.has_left(&job));
        Ok(if was_taken { LeaseState::Held } else { LeaseState::Lost })
    }

    /// Whether a job is as this end leaves it.
    fn has_left(&self, job: &Job) -> bool {
        match self {
            Self::Succeeded { outcome } => job.outcome.as_ref() == Some(outcome),
            Self::Failed { error, .. } => {
                job.state == JobState::Queued && job.error.as_ref() == Some(error)
            }
            Self::Dead { error, .. } => {
                job.state == JobState::Dead && job.error.as_ref() == Some(error)
            }
            Self::TooNew | Self::Stopped => job.state == JobState::Queued,
            Self::Lost => false,
        }
    }
}

impl Worker {
    /// Returns how many jobs were given back because the worker stops: this one, or none.
    pub(super) async fn attempt(
        self: Arc<Self>,
        job: ClaimedJob,
        mut cancelled: watch::Receiver<bool>,
    ) -> usize {
        let number = self.number(&job);
        let ClaimedJob { lease, hook, payload, attempt } = job;
        let (mut end, failure) = match self.read(&lease, &payload, attempt).await {
            Err(end) => (end, None),
            Ok(invocation) => {
                drop(payload);
                select! {
                    ended = self.run(invocation, attempt) => ended,
                    () = self.keep(&lease) => (End::Lost, None),
                    // An error is the end of the worker.
                    _ = cancelled.wait_for(|cancelled| *cancelled) => (End::Stopped, None),
                }
            }
        };
        if self.report(&lease, &mut end).await == LeaseState::Lost {
            end = End::Lost;
        }
        if end != End::TooNew || self.too_new.is_due() {
            trace::attempted(&hook, &lease.job(), number, &end, failure.as_ref());
        }
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.config.metrics {
            metrics.count(&hook, &end);
        }
        usize::from(end == End::Stopped)
    }

    /// Which attempt of a job this is. A claim after the last one is none, and the job keeps that number.
    pub(super) const fn number(&self, job: &ClaimedJob) -> u32 {
        if job.attempt > self.config.attempts { job.attempt.saturating_sub(1) } else { job.attempt }
    }

    /// What the executor gets, if the job may run.
    async fn read(&self, lease: &Lease, payload: &str, attempt: u32) -> Result<Invocation, End> {
        if attempt > self.config.attempts {
            // Without the error it had, if that cannot be read.
            let id = lease.job();
            let job = contained(|| self.queue.state(&id)).await.ok().flatten();
            let error = used_up(job.and_then(|job| job.error).as_deref());
            return Err(End::Dead { error, ran: false });
        }
        match Invocation::decode(payload) {
            Ok(invocation) => Ok(invocation.with_extension(JobAttempt::new(lease.job(), attempt))),
            Err(error) if error.kind() == StoredErrorKind::UnsupportedVersion => Err(End::TooNew),
            Err(error) => Err(End::Dead { error: error.to_string(), ran: true }),
        }
    }

    async fn run(&self, invocation: Invocation, attempt: u32) -> (End, Option<Failure>) {
        let config = &self.config;
        let ended = run(&*self.executor, invocation, config.deadline, config.max_outcome_bytes);
        match ended.await {
            Ok(outcome) => (End::Succeeded { outcome: Outcome::encode(&outcome) }, None),
            Err(failure) => {
                let error = stored_text(failure.text());
                let end = if failure.error().is_some_and(ExecutorError::is_final) {
                    End::Dead { error, ran: true }
                } else {
                    let asked = failure.retry_after().unwrap_or_default();
                    self.after_failure(error, attempt, asked)
                };
                (end, Some(failure))
            }
        }
    }

    fn after_failure(&self, error: String, attempt: u32, asked: Duration) -> End {
        if attempt >= self.config.attempts {
            return End::Dead { error, ran: true };
        }
        // What is asked for may be what a server of others has asked for.
        let asked = asked.min(Backoff::LONGEST);
        End::Failed { error, delay: self.config.backoff.delay(attempt).max(asked) }
    }

    /// Extends a lease until it is lost. A queue that cannot be reached is no reason to stop: it may be back before
    /// another worker asks.
    async fn keep(&self, lease: &Lease) {
        let interval = self.config.lease / 3;
        let mut pauses = Pauses::default();
        let mut pause = interval;
        loop {
            sleep(pause).await;
            match contained(|| self.queue.heartbeat(lease, self.config.lease)).await {
                Ok(LeaseState::Held) => {
                    self.health.answered();
                    pauses = Pauses::default();
                    pause = interval;
                }
                Ok(LeaseState::Lost) => return,
                Err(error) => {
                    self.health.failed(&error);
                    pause = pauses.next().min(interval);
                }
            }
        }
    }

    /// Reports an end until the queue has taken it, or has given the job to another worker. An outcome that the queue does
    /// not take is the end of the job, and a queue that does not take this either gets the job back with its lease.
    async fn report(&self, lease: &Lease, end: &mut End) -> LeaseState {
        let mut pauses = Pauses::default();
        let mut is_in_doubt = false;
        loop {
            let queue = &*self.queue;
            let reported = contained(|| {
                if is_in_doubt {
                    Box::pin(end.report_again(queue, lease))
                } else {
                    Box::pin(end.report(queue, lease))
                }
            });
            match reported.await {
                Ok(state) => return state,
                Err(error) if error.kind() == QueueErrorKind::TooLarge => {
                    if matches!(end, End::Dead { .. }) {
                        self.health.failed(&error);
                        return LeaseState::Lost;
                    }
                    let error = "the outcome is larger than the queue takes".to_owned();
                    *end = End::Dead { error, ran: true };
                    sleep(pauses.next()).await;
                }
                Err(error) => {
                    self.health.failed(&error);
                    is_in_doubt = true;
                    sleep(pauses.next()).await;
                }
            }
        }
    }
}

/// The error of a job without an attempt left. An attempt that has not reported its end has ended with its process.
fn used_up(last: Option<&str>) -> String {
    match last {
        None => "the worker ended during each attempt".to_owned(),
        Some(error) => stored_text(&format!(
            "the attempts are used up, and the last one that has reported its end failed: {error}"
        )),
    }
}

/// A text that every engine keeps: not too long, and without the character that PostgreSQL refuses.
fn stored_text(text: &str) -> String {
    const MAX_CHARS: usize = 4096;
    text.chars().take(MAX_CHARS).map(|char| if char == '\0' { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::MemoryQueue;

    #[test]
    fn a_job_waits_for_30_days_at_most() {
        let run = async |_: Invocation| Ok(Outcome::empty());
        let worker = Worker::new(MemoryQueue::new(), run);
        let days = |count: u64| Duration::from_secs(count * 24 * 60 * 60);
        for (asked, expected) in [(days(29), days(29)), (Duration::MAX, days(30))] {
            let failed = End::Failed { error: "e".to_owned(), delay: expected };
            assert_eq!(worker.after_failure("e".to_owned(), 1, asked), failed);
        }
    }

    #[test]
    fn a_stored_text_is_one_that_engines_keep() {
        assert_eq!(stored_text("no\0 branch"), "no\u{fffd} branch");
        assert_eq!(stored_text(&"é".repeat(5000)).chars().count(), 4096);
    }
}
