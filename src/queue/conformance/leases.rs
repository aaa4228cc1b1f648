use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::rule::Rule;
use super::sample::{job, jobs};
use super::trial::{Checked, DUE, LONG, SHORT, Trial};
use super::{Check, checks};
use crate::queue::{Job, JobState, Lease, LeaseState};
use crate::util::conformance::{Call, interleaved, together};

pub(super) const CHECKS: &[Check] = checks![
    a_claim_has_up_to_so_many_jobs,
    of_two_claims_that_overlap_one_has_the_job,
    claims_of_eight_at_once_share_the_jobs,
    a_lease_ends_and_not_before_its_time,
    a_heartbeat_extends_a_lease,
    a_heartbeat_sets_the_end_anew,
    a_retry_waits_for_its_delay,
    a_job_that_succeeds_has_no_error,
    times_without_end_are_taken,
    attempts_count_from_one,
    a_released_job_waits_and_its_attempt_does_not_count,
    a_claim_of_nothing_waits,
    a_claim_that_waits_has_a_job_that_comes,
    claims_that_wait_share_the_jobs_that_come,
];

async fn a_claim_has_up_to_so_many_jobs(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimIsExclusive);
    let jobs = jobs("job", 5, "free");
    under.stores(&jobs).await?;
    let mut count = 0;
    let end = Instant::now() + DUE;
    while count < jobs.len() && Instant::now() < end {
        // `claim` looks at the number.
        count += under.claim(2, LONG, SHORT).await?.len();
    }
    under.is(count, jobs.len())?;
    under.claims_none().await
}

async fn of_two_claims_that_overlap_one_has_the_job(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimIsExclusive);
    for polls in 0..40 {
        let new = job(&format!("job{polls}"));
        under.stores(std::slice::from_ref(&new)).await?;
        let first = Box::pin(under.claim(1, LONG, Duration::ZERO));
        let second = Box::pin(under.claim(1, LONG, Duration::ZERO));
        let Some((first, second, over)) = interleaved(polls, first, second).await else { break };
        let mut claimed = [first?, second?].concat();
        if claimed.is_empty() {
            claimed.push(under.claims_one(&new, LONG).await?);
        }
        under.ensure(claimed.len() == 1, "one claim of the job", &claimed)?;
        for claimed in &claimed {
            under.is(under.complete(&claimed.lease, "").await?, LeaseState::Held)?;
        }
        if over {
            break;
        }
    }
    under.claims_none().await
}

async fn claims_of_eight_at_once_share_the_jobs(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimIsExclusive);
    let jobs = jobs("job", 40, "free");
    under.stores(&jobs).await?;
    let (mut seen, mut leases) = (HashSet::new(), Vec::new());
    let end = Instant::now() + DUE;
    while seen.len() < jobs.len() && Instant::now() < end {
        for claimed in under.claims_at_once(3, LONG, SHORT).await? {
            under.ensure(seen.insert(claimed.lease.job()), "each job once", &claimed)?;
            leases.push(claimed.lease);
        }
    }
    under.is(seen.len(), jobs.len())?;
    let complete = |lease| Box::pin(under.complete(lease, "")) as Call<'_, _>;
    for state in together(leases.iter().map(complete).collect()).await {
        under.is(state?, LeaseState::Held)?;
    }
    under.claims_none().await
}

async fn attempts_count_from_one(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimIsAnAttempt);
    let new = job("a");
    under.stores(std::slice::from_ref(&new)).await?;
    for attempt in 1..=4 {
        let ends = attempt % 2 == 0;
        let claimed = under.claims_one(&new, if ends { SHORT } else { LONG }).await?;
        under.is(claimed.attempt, attempt)?;
        under.shows(&new, JobState::Running, attempt).await?;
        if !ends {
            let state = under.retry_after(&claimed.lease, Duration::ZERO, "again").await?;
            under.is(state, LeaseState::Held)?;
            under.shows(&new, JobState::Queued, attempt).await?;
        }
    }
    let claimed = under.claims_one(&new, LONG).await?;
    under.is(claimed.attempt, 5)
}

async fn a_lease_ends_and_not_before_its_time(trial: &Trial) -> Checked {
    let (held, new) = (job("held"), job("a"));
    trial.under(Rule::ClaimIsExclusive).runs(&held).await?;
    let under = trial.under(Rule::LeaseEnds);
    under.stores(std::slice::from_ref(&new)).await?;
    let start = Instant::now();
    under.claims_one(&new, SHORT).await?;
    let again = under.claims_one(&new, LONG).await?;
    let under = trial.under(Rule::ClaimIsExclusive);
    under.was_not_due_for(SHORT, start)?;
    trial.under(Rule::ClaimIsAnAttempt).is(again.attempt, 2)?;
    under.claims_none().await
}

async fn a_heartbeat_extends_a_lease(trial: &Trial) -> Checked {
    let under = trial.under(Rule::HeartbeatExtends);
    let new = job("a");
    under.stores(std::slice::from_ref(&new)).await?;
    let claimed = under.claims_one(&new, SHORT).await?;
    for _ in 0..2 {
        under.is(under.heartbeat(&claimed.lease, LONG).await?, LeaseState::Held)?;
        sleep(SHORT * 2).await;
        under.claims_none().await?;
    }
    under.shows(&new, JobState::Running, 1).await?;
    under.is(under.complete(&claimed.lease, "").await?, LeaseState::Held)
}

async fn a_heartbeat_sets_the_end_anew(trial: &Trial) -> Checked {
    let under = trial.under(Rule::HeartbeatExtends);
    let new = job("a");
    let claimed = under.runs(&new).await?;
    let start = Instant::now();
    under.is(under.heartbeat(&claimed.lease, SHORT).await?, LeaseState::Held)?;
    let again = under.claims_one(&new, LONG).await?;
    under.was_not_due_for(SHORT, start)?;
    trial.under(Rule::ClaimIsAnAttempt).is(again.attempt, 2)
}

async fn a_retry_waits_for_its_delay(trial: &Trial) -> Checked {
    let under = trial.under(Rule::RetryWaits);
    let (later, new) = (job("later"), job("a"));
    let claimed = under.runs(&later).await?;
    let state = under.retry_after(&claimed.lease, Duration::MAX, "in a while").await?;
    under.is(state, LeaseState::Held)?;
    let mut claimed = under.runs(&new).await?;
    for (attempt, delay, error) in
        [(2, SHORT, "it's \"x\" \u{1d11e}"), (3, Duration::ZERO, ""), (4, SHORT, "third")]
    {
        let start = Instant::now();
        under.is(under.retry_after(&claimed.lease, delay, error).await?, LeaseState::Held)?;
        let shown = under.shows(&new, JobState::Queued, attempt - 1).await?;
        under.same_text("error", &format!("{:?}", shown.error), &format!("{:?}", Some(error)))?;
        claimed = under.claims_one(&new, LONG).await?;
        under.was_not_due_for(delay, start)?;
        trial.under(Rule::ClaimIsAnAttempt).is(claimed.attempt, attempt)?;
    }
    under.claims_none().await
}

async fn a_job_that_succeeds_has_no_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::EndIsFinal);
    let new = job("a");
    let lease = under.runs(&new).await?.lease;
    under.is(under.retry_after(&lease, Duration::ZERO, "broken").await?, LeaseState::Held)?;
    let lease = under.claims_one(&new, LONG).await?.lease;
    under.is(under.complete(&lease, "done").await?, LeaseState::Held)?;
    let ended = under.shows(&new, JobState::Succeeded, 2).await?;
    under.same(&ended, &Job { error: None, ..ended.clone() })
}

async fn times_without_end_are_taken(trial: &Trial) -> Checked {
    let (delayed, held) = (job("delayed"), job("held"));
    let under = trial.under(Rule::RetryWaits);
    let lease = under.runs(&delayed).await?.lease;
    under.is(under.retry_after(&lease, Duration::MAX, "later").await?, LeaseState::Held)?;
    let under = trial.under(Rule::HeartbeatExtends);
    under.stores(std::slice::from_ref(&held)).await?;
    let lease = under.claims_one(&held, Duration::MAX).await?.lease;
    under.is(under.heartbeat(&lease, Duration::MAX).await?, LeaseState::Held)?;
    under.claims_none().await?;
    under.shows(&delayed, JobState::Queued, 1).await?;
    under.is(under.complete(&lease, "").await?, LeaseState::Held)
}

async fn a_released_job_waits_and_its_attempt_does_not_count(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ReleasedDoesNotCount);
    let (later, new) = (job("later"), job("a"));
    let claimed = under.runs(&later).await?;
    under.is(under.release(&claimed.lease, Duration::MAX).await?, LeaseState::Held)?;
    let mut claimed = under.runs(&new).await?;
    let released = async |lease: Lease, delay, attempts| {
        let start = Instant::now();
        under.is(under.release(&lease, delay).await?, LeaseState::Held)?;
        let shown = under.shows(&new, JobState::Queued, attempts).await?;
        let claimed = under.claims_one(&new, LONG).await?;
        under.was_not_due_for(delay, start)?;
        under.is(claimed.attempt, attempts + 1)?;
        Ok((claimed, shown.error))
    };
    for delay in [Duration::ZERO, SHORT] {
        (claimed, _) = released(claimed.lease, delay, 0).await?;
    }
    let state = under.retry_after(&claimed.lease, Duration::ZERO, "error").await?;
    under.is(state, LeaseState::Held)?;
    claimed = under.claims_one(&new, LONG).await?;
    for delay in [SHORT, Duration::ZERO] {
        let error;
        (claimed, error) = released(claimed.lease, delay, 1).await?;
        under.same_text("error", &error.unwrap_or_default(), "error")?;
    }
    under.shows(&later, JobState::Queued, 0).await?;
    under.claims_none().await
}

async fn a_claim_of_nothing_waits(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimWaits);
    under.runs(&job("held")).await?;
    for wait in [Duration::ZERO, SHORT, SHORT * 2] {
        let start = Instant::now();
        let claimed = under.claim(1, LONG, wait).await?;
        under.ensure(claimed.is_empty(), "no job", &claimed)?;
        under.was_not_due_for(wait, start)?;
        let elapsed = start.elapsed();
        let expected = format!("an answer after {wait:?}");
        under.ensure(elapsed < wait + DUE, expected, &format!("one after {elapsed:?}"))?;
    }
    Ok(())
}

/// Less than the time for a call.
const WAIT: Duration = Duration::from_secs(8);

async fn a_claim_that_waits_has_a_job_that_comes(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimWaits);
    for round in 0..3 {
        let new = job(&format!("job{round}"));
        let start = Instant::now();
        let (claimed, stored) = tokio::join!(under.claim(3, LONG, WAIT), async {
            sleep(SHORT / 3).await;
            under.stores(std::slice::from_ref(&new)).await
        });
        stored?;
        let (claimed, elapsed) = (claimed?, start.elapsed());
        let is_it = claimed.iter().map(|claimed| claimed.lease.job()).eq([new.id]);
        under.ensure(is_it, "the job that was stored meanwhile", &claimed)?;
        let expected = format!("an answer within {DUE:?}");
        under.ensure(elapsed < DUE, expected, &format!("one after {elapsed:?}"))?;
    }
    Ok(())
}

async fn claims_that_wait_share_the_jobs_that_come(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ClaimWaits);
    let jobs = jobs("job", 8, "free");
    let start = Instant::now();
    let (claimed, stored) = tokio::join!(under.claims_at_once(1, LONG, WAIT), async {
        sleep(SHORT / 3).await;
        under.stores(&jobs).await
    });
    stored?;
    let (claimed, elapsed) = (claimed?, start.elapsed());
    let distinct: HashSet<_> = claimed.iter().map(|claimed| claimed.lease.job()).collect();
    let each_once = (claimed.len(), distinct.len()) == (8, 8);
    under.ensure(each_once, "each claim has a job, and each job one claim", &claimed)?;
    let expected = format!("answers within {DUE:?}");
    under.ensure(elapsed < DUE, expected, &format!("after {elapsed:?}"))
}
