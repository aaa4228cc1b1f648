use super::rule::Rule;
use super::sample::{id, job, jobs, large, of};
use super::trial::{Checked, History, LONG, SHORT, Scope, Trial};
use super::{Violation, outcome};
use crate::queue::{Enqueued, Job, JobChange, JobFilter, JobQueue, JobState, LeaseState, NewJob};

pub(super) async fn run<Q: JobQueue>(open: impl AsyncFn() -> Q) -> Result<(), Violation> {
    let history = History::default();
    let name = "durable: jobs in every state outlive the queue";
    outcome(&history, name, jobs_in_every_state(open, &history)).await
}

/// Twice: what opens the place must not change what is in it.
async fn is_unchanged<Q: JobQueue>(
    open: &impl AsyncFn() -> Q,
    history: &History,
    before: &Vec<Job>,
) -> Checked {
    for _ in 0..2 {
        let trial = opened(open, history).await;
        let under = trial.under(Rule::NewIsDurable);
        under.are(&all(under).await?, before)?;
    }
    Ok(())
}

async fn opened<Q: JobQueue>(open: &impl AsyncFn() -> Q, history: &History) -> Trial {
    history.note("(opened)".to_owned());
    Trial::new(open().await, history.clone())
}

async fn all(under: Scope<'_>) -> Checked<Vec<Job>> {
    let mut jobs = Vec::new();
    for listed in under.list(&JobFilter::all(), None, 100).await? {
        jobs.extend(under.state(listed.id).await?);
    }
    Ok(jobs)
}

async fn jobs_in_every_state<Q: JobQueue>(open: impl AsyncFn() -> Q, history: &History) -> Checked {
    let trial = opened(&open, history).await;
    let under = trial.under(Rule::NewIsDurable);
    under.lists(&all(under).await?, &Vec::new())?;
    let [running, ending, delayed, soon, good, bad, gone] =
        ["running", "ending", "delayed", "soon", "good", "bad", "gone"].map(job);
    let lease = under.runs(&good).await?.lease;
    under.is(under.complete(&lease, &large()).await?, LeaseState::Held)?;
    let lease = under.runs(&bad).await?.lease;
    under.is(under.bury(&lease, "broken").await?, LeaseState::Held)?;
    let lease = under.runs(&delayed).await?.lease;
    under.is(under.retry_after(&lease, LONG, "later").await?, LeaseState::Held)?;
    let held = under.runs(&running).await?.lease;
    under.stores(std::slice::from_ref(&gone)).await?;
    under.is(under.remove(gone.id).await?, JobChange::Changed)?;
    let lease = under.runs(&soon).await?.lease;
    under.is(under.retry_after(&lease, SHORT, "soon").await?, LeaseState::Held)?;
    under.stores(std::slice::from_ref(&ending)).await?;
    let stale = under.claims_one(&ending, SHORT).await?.lease;
    let mut queued = jobs("queued", 3, "free");
    queued.push(of(NewJob::new(id("large"), large()).with_fingerprint([255; 32]), "ann"));
    under.stores(&queued).await?;
    let before = all(under).await?;
    drop(trial);
    is_unchanged(&open, history, &before).await?;

    let trial = opened(&open, history).await;
    let under = trial.under(Rule::NewIsDurable);
    under.is(under.state(gone.id).await?, None)?;
    for stored in &before {
        match under.enqueue(&NewJob::new(stored.id, "other")).await? {
            Enqueued::New => return Err(under.mismatch("Known", "New")),
            Enqueued::Known(known) => under.are(&vec![*known], &vec![stored.clone()])?,
        }
    }
    // What is due, and neither what is delayed nor what is under a lease.
    let due = [queued, vec![soon.clone(), ending.clone()]].concat();
    let claimed = under.claims(&due, LONG).await?;
    under.claims_none().await?;
    let attempts: Vec<_> = claimed.iter().map(|claimed| claimed.attempt).collect();
    under.is(format!("attempts {attempts:?}"), "attempts [1, 1, 1, 1, 2, 2]".to_owned())?;
    under.is(under.complete(&stale, "stale").await?, LeaseState::Lost)?;
    under.is(under.retry(bad.id).await?, JobChange::Changed)?;
    let before = all(under).await?;
    drop(trial);
    is_unchanged(&open, history, &before).await?;

    let trial = opened(&open, history).await;
    let under = trial.under(Rule::NewIsDurable);
    let retried = under.claims_one(&bad, LONG).await?;
    under.is(retried.attempt, 1)?;
    let leases = claimed.iter().map(|claimed| claimed.lease);
    for lease in leases.chain([held, retried.lease]) {
        under.is(under.complete(&lease, "done").await?, LeaseState::Held)?;
    }
    under.claims_none().await?;
    under.shows(&running, JobState::Succeeded, 1).await?;
    under.shows(&delayed, JobState::Queued, 1).await?;
    let before = all(under).await?;
    drop(trial);
    is_unchanged(&open, history, &before).await
}
