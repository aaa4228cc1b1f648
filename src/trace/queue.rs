//! What is logged about jobs.

#[cfg(feature = "tracing")]
use super::cause;
use crate::hook::Failure;
use crate::identity::Identity;
use crate::key::Owner;
use crate::queue::{ClaimedJob, End, Job, JobId, QueueError};
#[cfg(feature = "tracing")]
use crate::util::ErrorChain;

/// Runs an attempt in a span that names its job and its number.
#[cfg(feature = "tracing")]
pub(crate) fn in_job<F: Future>(
    job: ClaimedJob,
    number: u32,
    attempt: impl FnOnce(ClaimedJob) -> F,
) -> tracing::instrument::Instrumented<F> {
    use tracing::Instrument;

    let span = tracing::info_span!(
        target: "tower_webhook",
        "job",
        hook.name = named(&job.hook),
        job.id = %job.lease.job(),
        job.attempt = number,
    );
    attempt(job).instrument(span)
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_job<F: Future>(
    job: ClaimedJob,
    _number: u32,
    attempt: impl FnOnce(ClaimedJob) -> F,
) -> F {
    attempt(job)
}

/// The hook of a job, if it has one.
#[cfg(feature = "tracing")]
fn named(hook: &str) -> Option<&str> {
    (!hook.is_empty()).then_some(hook)
}

/// One event for an invocation that is a job: a new one, or one that was known.
#[cfg(feature = "tracing")]
pub(crate) fn queued(job: &JobId, hook: &str, owner: Option<&Owner>, known: bool) {
    tracing::debug!(
        target: "tower_webhook",
        event = "job_queued",
        job.id = %job,
        job.known = known,
        hook.name = named(hook),
        auth.owner = owner.map(Owner::as_str),
        "job stored",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn queued(_job: &JobId, _hook: &str, _owner: Option<&Owner>, _known: bool) {}

/// What a caller has done to a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobAction {
    Retry,
    Remove,
}

/// One event for a job that a caller has changed: which, how and by whom.
#[cfg(feature = "tracing")]
pub(crate) fn job_changed(action: JobAction, job: &Job, caller: Option<&Identity>) {
    macro_rules! changed {
        ($event:literal, $text:literal) => {
            tracing::info!(
                target: "tower_webhook",
                event = $event,
                job.id = %job.id,
                hook.name = named(&job.hook),
                auth.key_id = caller.and_then(Identity::key_id).map(tracing::field::display),
                auth.owner = caller.map(|caller| caller.owner().as_str()),
                $text,
            )
        };
    }

    match action {
        JobAction::Retry => changed!("job_retried", "job queued again by a caller"),
        JobAction::Remove => changed!("job_removed", "job removed by a caller"),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn job_changed(_action: JobAction, _job: &Job, _caller: Option<&Identity>) {}

/// One event for an attempt that has ended: at the level debug if it succeeded or was given back, warn if it is tried
/// again or its input was wrong, and error if the job is dead.
#[cfg(feature = "tracing")]
pub(crate) fn attempted(
    hook: &str,
    job: &JobId,
    attempt: u32,
    end: &End,
    failure: Option<&Failure>,
) {
    use crate::hook::FailureKind;

    macro_rules! ended {
        ($level:ident, $event:literal, $text:literal) => {
            tracing::event!(
                target: "tower_webhook",
                tracing::Level::$level,
                event = $event,
                hook.name = named(hook),
                job.id = %job,
                job.attempt = attempt,
                executor.reason = failure.map(|failure| failure.kind().as_str()),
                executor.message = end.error(),
                error = failure.and_then(cause),
                $text,
            )
        };
    }

    match end {
        End::Succeeded { .. } => ended!(DEBUG, "job_succeeded", "job succeeded"),
        End::Stopped => ended!(DEBUG, "job_released", "job given back by a worker that stops"),
        End::Failed { .. } => ended!(WARN, "job_failed", "job failed, and is tried again"),
        End::Lost => ended!(WARN, "job_lost", "job taken over by another worker"),
        End::TooNew => ended!(
            WARN,
            "job_too_new",
            "job of a later version given back; other such jobs are logged once a minute"
        ),
        End::Dead { .. } => match failure.map(Failure::kind) {
            Some(FailureKind::Invalid | FailureKind::InputTooLarge) => {
                ended!(WARN, "job_dead", "job refused");
            }
            _ => ended!(ERROR, "job_dead", "job failed for good"),
        },
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn attempted(
    _hook: &str,
    _job: &JobId,
    _attempt: u32,
    _end: &End,
    _failure: Option<&Failure>,
) {
}

/// One event for a queue that cannot answer, at the first call that fails.
#[cfg(feature = "tracing")]
pub(crate) fn queue_unavailable(error: &QueueError) {
    tracing::error!(
        target: "tower_webhook",
        event = "queue_unavailable",
        error = tracing::field::display(ErrorChain(error)),
        "the job queue cannot answer",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn queue_unavailable(_error: &QueueError) {}

/// One event for a queue that answers again.
#[cfg(feature = "tracing")]
pub(crate) fn queue_available() {
    tracing::info!(target: "tower_webhook", event = "queue_available", "the job queue answers again");
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn queue_available() {}

/// One event for a worker that has stopped.
#[cfg(feature = "tracing")]
pub(crate) fn worker_stopped(released: usize) {
    tracing::info!(
        target: "tower_webhook",
        event = "worker_stopped",
        job.released = released,
        "worker stopped",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn worker_stopped(_released: usize) {}
