use std::time::Duration;

use super::rule::Rule;
use super::sample::job;
use super::trial::{Checked, LONG, SHORT, Scope, Trial};
use super::{Check, checks};
use crate::queue::{Job, JobState, Lease, LeaseState, NewJob};

pub(super) const CHECKS: &[Check] = checks![
    a_dropped_enqueue_stores_a_whole_job_or_none,
    a_dropped_claim_loses_no_job,
    a_dropped_complete_ends_the_job_or_leaves_it,
    a_dropped_bury_ends_the_job_or_leaves_it,
    a_dropped_retry_after_gives_the_job_back_or_leaves_it,
    a_dropped_release_gives_the_job_back_or_leaves_it,
];

/// The most polls after which a call is dropped.
const MOST_POLLS: usize = 40;

/// The job is claimed and ended, and then no job is due.
async fn runs_once(under: Scope<'_>, new: &NewJob) -> Checked {
    let claimed = under.claims_one(new, LONG).await?;
    under.is(under.complete(&claimed.lease, "done").await?, LeaseState::Held)?;
    under.claims_none().await?;
    let ended = under.state(new.id).await?.map(|job| job.state.as_str().to_owned());
    under.is(ended, Some("succeeded".to_owned()))
}

async fn a_dropped_enqueue_stores_a_whole_job_or_none(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    for polls in 0..MOST_POLLS {
        let new = job(&format!("job{polls}"));
        let over = under.dropped(polls, under.enqueue(&new)).await?;
        if let Some(found) = under.state(new.id).await? {
            under.matches(&found, &new)?;
        }
        let _ = under.enqueue(&new).await?;
        under.shows(&new, JobState::Queued, 0).await?;
        runs_once(under, &new).await?;
        if over.is_some() {
            break;
        }
    }
    Ok(())
}

async fn a_dropped_claim_loses_no_job(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let mut made = Vec::new();
    for polls in 0..MOST_POLLS {
        // One that waits for a job, and one that finds it.
        let new = job(&format!("job{polls}"));
        let _ = under.dropped(polls, under.claim(1, SHORT, SHORT / 3)).await?;
        under.stores(std::slice::from_ref(&new)).await?;
        made.push(new);
        let over = under.dropped(polls, under.claim(1, SHORT, Duration::ZERO)).await?;
        if over.is_some() {
            break;
        }
    }
    let claimed = under.claims(&made, LONG).await?;
    under.claims_none().await?;
    for claimed in &claimed {
        under.is(under.complete(&claimed.lease, "done").await?, LeaseState::Held)?;
    }
    under.claims_none().await
}

/// A call that gives a job up.
#[derive(Clone, Copy)]
enum End {
    Complete,
    Bury,
    RetryAfter,
    Release,
}

impl End {
    async fn call(self, under: Scope<'_>, lease: &Lease) -> Checked<LeaseState> {
        match self {
            Self::Complete => under.complete(lease, "text").await,
            Self::Bury => under.bury(lease, "text").await,
            Self::RetryAfter => under.retry_after(lease, Duration::ZERO, "text").await,
            Self::Release => under.release(lease, Duration::ZERO).await,
        }
    }

    /// The job after the call.
    fn after(self, new: &NewJob, before: &Job) -> Job {
        let (text, ended_at) = (Some("text".to_owned()), before.ended_at);
        let job = Job { started_at: before.started_at, ..Job::queued(new, before.created_at) };
        match self {
            Self::Complete => {
                Job { state: JobState::Succeeded, attempts: 1, ended_at, outcome: text, ..job }
            }
            Self::Bury => Job { state: JobState::Dead, attempts: 1, ended_at, error: text, ..job },
            Self::RetryAfter => Job { attempts: 1, error: text, ..job },
            Self::Release => job,
        }
    }
}

async fn is_whole(trial: &Trial, end: End) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    for polls in 0..MOST_POLLS {
        let new = job(&format!("job{polls}"));
        let lease = under.runs(&new).await?.lease;
        let over = under.dropped(polls, end.call(under, &lease)).await?;
        if let Some(found) = under.state(new.id).await?
            && found.state != JobState::Running
        {
            under.same(&found, &end.after(&new, &found))?;
        }
        // What was dropped may have been done.
        let _ = end.call(under, &lease).await?;
        match end {
            End::Complete => drop(under.shows(&new, JobState::Succeeded, 1).await?),
            End::Bury => drop(under.shows(&new, JobState::Dead, 1).await?),
            End::RetryAfter | End::Release => runs_once(under, &new).await?,
        }
        if over.is_some() {
            break;
        }
    }
    under.claims_none().await
}

async fn a_dropped_complete_ends_the_job_or_leaves_it(trial: &Trial) -> Checked {
    is_whole(trial, End::Complete).await
}

async fn a_dropped_bury_ends_the_job_or_leaves_it(trial: &Trial) -> Checked {
    is_whole(trial, End::Bury).await
}

async fn a_dropped_retry_after_gives_the_job_back_or_leaves_it(trial: &Trial) -> Checked {
    is_whole(trial, End::RetryAfter).await
}

async fn a_dropped_release_gives_the_job_back_or_leaves_it(trial: &Trial) -> Checked {
    is_whole(trial, End::Release).await
}
