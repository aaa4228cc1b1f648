use std::time::Duration;

use super::rule::Rule;
use super::sample::job;
use super::trial::{Checked, LONG, SHORT, Scope, Trial};
use super::{Check, checks};
use crate::queue::{JobChange, JobState, Lease, LeaseState, NewJob};

pub(super) const CHECKS: &[Check] = checks![
    a_lease_that_another_claim_has_replaced_is_lost,
    a_lease_that_has_ended_and_was_not_replaced_is_held,
    a_lease_of_a_job_that_was_given_back_is_lost,
    a_lease_of_an_ended_job_is_lost,
    a_lease_of_a_removed_job_is_lost,
    a_lease_that_no_claim_has_returned_is_lost,
];

/// All that can be done with a lease answers that it is lost, and the job is as before.
async fn is_lost(under: Scope<'_>, lease: &Lease) -> Checked {
    let before = under.state(lease.job()).await?;
    for method in 0..5 {
        let state = match method {
            0 => under.heartbeat(lease, LONG).await?,
            1 => under.complete(lease, "stale").await?,
            2 => under.retry_after(lease, LONG, "stale").await?,
            3 => under.release(lease, Duration::ZERO).await?,
            _ => under.bury(lease, "stale").await?,
        };
        under.is(state, LeaseState::Lost)?;
        let after = under.state(lease.job()).await?;
        match (&after, &before) {
            (Some(after), Some(before)) => under.same(after, before)?,
            _ => under.is(after, before.clone())?,
        }
    }
    Ok(())
}

async fn a_lease_that_another_claim_has_replaced_is_lost(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    let new = job("a");
    under.stores(std::slice::from_ref(&new)).await?;
    let stale = under.claims_one(&new, SHORT).await?;
    let held = under.claims_one(&new, LONG).await?;
    is_lost(under, &stale.lease).await?;
    under.claims_none().await?;
    under.is(under.complete(&held.lease, "done").await?, LeaseState::Held)
}

async fn a_lease_that_has_ended_and_was_not_replaced_is_held(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    for method in 0..5 {
        let new = job(&format!("job{method}"));
        under.stores(std::slice::from_ref(&new)).await?;
        let lease = under.claims_one(&new, SHORT).await?.lease;
        tokio::time::sleep(SHORT * 2).await;
        under.shows(&new, JobState::Running, 1).await?;
        let state = match method {
            0 => under.heartbeat(&lease, LONG).await?,
            1 => under.complete(&lease, "late").await?,
            2 => under.retry_after(&lease, LONG, "late").await?,
            3 => under.bury(&lease, "late").await?,
            _ => under.release(&lease, Duration::ZERO).await?,
        };
        under.is(state, LeaseState::Held)?;
        if method < 4 {
            under.claims_none().await?;
        }
    }
    Ok(())
}

async fn a_lease_of_a_job_that_was_given_back_is_lost(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    let (delayed, released) = (job("delayed"), job("released"));
    let lease = under.runs(&delayed).await?.lease;
    under.is(under.retry_after(&lease, LONG, "later").await?, LeaseState::Held)?;
    is_lost(under, &lease).await?;
    let lease = under.runs(&released).await?.lease;
    under.is(under.release(&lease, Duration::ZERO).await?, LeaseState::Held)?;
    is_lost(under, &lease).await?;
    let again = under.claims_one(&released, LONG).await?.lease;
    is_lost(under, &lease).await?;
    under.is(under.retry_after(&again, Duration::ZERO, "").await?, LeaseState::Held)?;
    let last = under.claims_one(&released, LONG).await?.lease;
    is_lost(under, &again).await?;
    under.is(under.complete(&last, "done").await?, LeaseState::Held)
}

async fn a_lease_of_an_ended_job_is_lost(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    let lease = under.runs(&job("good")).await?.lease;
    under.is(under.complete(&lease, "done").await?, LeaseState::Held)?;
    is_lost(under, &lease).await?;
    let bad = job("bad");
    let lease = under.runs(&bad).await?.lease;
    under.is(under.bury(&lease, "broken").await?, LeaseState::Held)?;
    is_lost(under, &lease).await?;
    under.is(under.retry(bad.id).await?, JobChange::Changed)?;
    is_lost(under, &lease).await?;
    let again = under.claims_one(&bad, LONG).await?.lease;
    is_lost(under, &lease).await?;
    under.is(under.complete(&again, "done").await?, LeaseState::Held)
}

async fn a_lease_of_a_removed_job_is_lost(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    let old = job("a");
    let lease = under.runs(&old).await?.lease;
    under.is(under.release(&lease, Duration::ZERO).await?, LeaseState::Held)?;
    under.is(under.remove(old.id).await?, JobChange::Changed)?;
    is_lost(under, &lease).await?;
    // The next job under the id is another one.
    let new = NewJob::new(old.id, "new").with_hook("other");
    under.stores(std::slice::from_ref(&new)).await?;
    is_lost(under, &lease).await?;
    let again = under.claims_one(&new, LONG).await?.lease;
    is_lost(under, &lease).await?;
    under.is(under.complete(&again, "done").await?, LeaseState::Held)
}

async fn a_lease_that_no_claim_has_returned_is_lost(trial: &Trial) -> Checked {
    let under = trial.under(Rule::LeasesAreFenced);
    let (a, b) = (job("a"), job("b"));
    let lease = under.runs(&a).await?.lease;
    under.stores(std::slice::from_ref(&b)).await?;
    let token = lease.token();
    for made_up in [
        Lease::new(a.id, 0),
        Lease::new(a.id, u128::MAX),
        Lease::new(a.id, token ^ 1),
        Lease::new(a.id, token ^ (1 << 127)),
        Lease::new(b.id, token),
        Lease::new(job("c").id, token),
    ] {
        is_lost(under, &made_up).await?;
    }
    under.is(under.complete(&lease, "done").await?, LeaseState::Held)
}
