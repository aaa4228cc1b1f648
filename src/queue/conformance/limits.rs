use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::rule::Rule;
use super::sample::{job, jobs, limits};
use super::trial::{Checked, DUE, LONG, SHORT, Scope, Trial};
use super::{Check, checks};
use crate::queue::{ClaimedJob, LeaseState};
use crate::util::conformance::interleaved;

pub(super) const CHECKS: &[Check] = checks![
    claims_at_once_keep_to_the_limits,
    claims_that_overlap_keep_to_a_limit,
    whatever_ends_a_lease_makes_room,
    a_hook_at_its_limit_blocks_no_other,
    a_lease_that_has_ended_goes_on_if_there_is_room,
];

/// Claims again and again until there is nothing left, eight at once.
async fn drains(under: Scope<'_>, lease: Duration, at_least: usize) -> Checked<Vec<ClaimedJob>> {
    let end = Instant::now() + DUE;
    let mut all = Vec::new();
    loop {
        let claimed = under.claims_at_once(3, lease, SHORT / 3).await?;
        let is_last = claimed.is_empty();
        all.extend(claimed);
        if is_last && (all.len() >= at_least || Instant::now() > end) {
            return Ok(all);
        }
    }
}

async fn claims_at_once_keep_to_the_limits(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LimitsHold);
    for (hook, start) in [("one", "one"), ("two.a b*>", "two"), ("free", "free"), ("", "none")] {
        under.stores(&jobs(start, 6, hook)).await?;
    }
    let claimed = drains(under, LONG, 15).await?;
    for (hook, limit) in limits().iter() {
        let count = claimed.iter().filter(|claimed| claimed.hook == hook).count();
        let expected = format!("{limit} jobs of the hook {hook:?}");
        under.ensure(u32::try_from(count) == Ok(limit), expected, &format!("{count} jobs"))?;
    }
    under.ensure(claimed.len() == 15, "every job of a hook without a limit", &claimed)
}

async fn claims_that_overlap_keep_to_a_limit(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LimitsHold);
    under.stores(&jobs("job", 82, "one")).await?;
    for polls in 0..40 {
        let first = Box::pin(under.claim(2, LONG, Duration::ZERO));
        let second = Box::pin(under.claim(2, LONG, Duration::ZERO));
        let Some((first, second, over)) = interleaved(polls, first, second).await else { break };
        let mut claimed = [first?, second?].concat();
        if claimed.is_empty() {
            claimed = under.claim(2, LONG, DUE).await?;
        }
        under.ensure(claimed.len() == 1, "one job under a limit of 1", &claimed)?;
        for claimed in &claimed {
            under.is(under.complete(&claimed.lease, "").await?, LeaseState::Held)?;
        }
        if over {
            break;
        }
    }
    Ok(())
}

async fn whatever_ends_a_lease_makes_room(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LimitsHold);
    under.stores(&jobs("job", 12, "one")).await?;
    for way in 0..6 {
        let lease = if way == 5 { SHORT } else { LONG };
        let claimed = under.claim(3, lease, DUE).await?;
        under.ensure(claimed.len() == 1, "one job under a limit of 1", &claimed)?;
        if way != 5 {
            under.claims_none().await?;
        }
        for ClaimedJob { lease, .. } in &claimed {
            let state = match way {
                0 => under.complete(lease, "").await?,
                1 => under.bury(lease, "").await?,
                2 => under.retry_after(lease, LONG, "").await?,
                3 => under.retry_after(lease, Duration::ZERO, "").await?,
                4 => under.release(lease, Duration::ZERO).await?,
                _ => LeaseState::Held,
            };
            under.is(state, LeaseState::Held)?;
        }
    }
    let last = under.claim(3, LONG, DUE).await?;
    under.ensure(last.len() == 1, "one job under a limit of 1", &last)
}

async fn a_hook_at_its_limit_blocks_no_other(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LimitsHold);
    under.stores(&jobs("job", 60, "one")).await?;
    let first = under.claim(3, LONG, DUE).await?;
    under.ensure(first.len() == 1, "one job under a limit of 1", &first)?;
    let free = job("free");
    under.stores(std::slice::from_ref(&free)).await?;
    under.claims_one(&free, LONG).await?;
    under.claims_none().await
}

async fn a_lease_that_has_ended_goes_on_if_there_is_room(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LimitsHold);
    let claims_one = async |lease| {
        let claimed = under.claim(3, lease, DUE).await?;
        under.ensure(claimed.len() == 1, "one job under a limit of 1", &claimed)?;
        claimed.first().map(|claimed| claimed.lease).ok_or_else(|| under.mismatch("a job", "none"))
    };
    for (start, can_go_on) in [("a", true), ("b", false)] {
        let [older, other] = &jobs(start, 2, "one")[..] else { return Ok(()) };
        // The older job is due before the lease of the other one ends: it comes next in either order.
        let lease = under.runs(older).await?.lease;
        under.stores(std::slice::from_ref(other)).await?;
        under.is(under.retry_after(&lease, SHORT, "").await?, LeaseState::Held)?;
        let ended = claims_one(SHORT).await?;
        sleep(SHORT * 2).await;
        under.is(under.heartbeat(&ended, SHORT).await?, LeaseState::Held)?;
        // Of the same job, or of another one that has taken its place.
        let next = claims_one(LONG).await?;
        under.is(under.heartbeat(&ended, LONG).await?, LeaseState::Lost)?;
        if next.job() == ended.job() {
            under.is(under.complete(&next, "").await?, LeaseState::Held)?;
            under.is(under.complete(&claims_one(LONG).await?, "").await?, LeaseState::Held)?;
            continue;
        }
        if can_go_on {
            under.is(under.complete(&next, "").await?, LeaseState::Held)?;
            under.is(under.heartbeat(&ended, LONG).await?, LeaseState::Held)?;
            under.claims_none().await?;
            under.is(under.complete(&ended, "").await?, LeaseState::Held)?;
        } else {
            under.is(under.complete(&ended, "").await?, LeaseState::Held)?;
            under.claims_none().await?;
            under.is(under.complete(&next, "").await?, LeaseState::Held)?;
        }
    }
    Ok(())
}
