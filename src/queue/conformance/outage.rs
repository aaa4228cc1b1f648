use super::rule::Rule;
use super::sample::{id, job};
use super::trial::{Checked, LONG, SHORT, Trial};
use super::{Check, checks};
use crate::queue::{JobFilter, JobState, Lease, Retention};

pub(super) const CHECKS: &[Check] = checks![every_call_is_an_error];

async fn every_call_is_an_error(trial: &Trial) -> Checked {
    let (under, queue) = (trial.under(Rule::FaultIsAnError), &trial.queue);
    let (id, lease, forever) = (id("a"), Lease::new(id("a"), 1), Retention::forever());
    under.fails("enqueue", queue.enqueue(job("a"))).await?;
    under.fails("claim", queue.claim(1, LONG, SHORT)).await?;
    under.fails("heartbeat", queue.heartbeat(&lease, LONG)).await?;
    under.fails("complete", queue.complete(&lease, "done")).await?;
    under.fails("retry_after", queue.retry_after(&lease, SHORT, "error")).await?;
    under.fails("release", queue.release(&lease, SHORT)).await?;
    under.fails("bury", queue.bury(&lease, "error", true)).await?;
    under.fails("state", queue.state(&id)).await?;
    under.fails("list", queue.list(&JobFilter::all(), None, 10)).await?;
    under.fails("retry", queue.retry(&id)).await?;
    under.fails("remove", queue.remove(&id)).await?;
    under.fails("purge", queue.purge(JobState::Dead, &forever, 10)).await?;
    under.fails("backlog", queue.backlog("free", 10)).await?;
    under.fails("stats", queue.stats()).await?;
    // Not only the first time.
    under.fails("enqueue", queue.enqueue(job("a"))).await?;
    under.fails("state", queue.state(&id)).await
}
