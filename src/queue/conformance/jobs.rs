use std::time::Duration;

use super::rule::Rule;
use super::sample::{id, job, jobs, large, of, texts};
use super::trial::{Checked, LONG, Trial};
use super::{Check, checks};

use crate::queue::{Enqueued, JobChange, JobId, JobState, LeaseState, NewJob};
use crate::util::conformance::{Call, together};

pub(super) const CHECKS: &[Check] = checks![
    an_id_without_a_job_is_none,
    a_stored_job_is_shown_and_claimed,
    every_text_comes_back_as_it_was,
    an_end_is_final_and_keeps_its_text,
    an_id_is_one_job_in_every_state,
    of_many_jobs_with_one_id_one_is_stored,
    every_id_is_a_job_of_its_own,
    backlog_and_stats_count_the_jobs,
];

async fn an_id_without_a_job_is_none(trial: &Trial) -> Checked {
    let under = trial.under(Rule::StateShowsTheJob);
    under.is(under.state(id("a")).await?, None)?;
    under.stores(&[job("a")]).await?;
    under.is(under.state(id("b")).await?, None)
}

async fn a_stored_job_is_shown_and_claimed(trial: &Trial) -> Checked {
    let under = trial.under(Rule::StateShowsTheJob);
    let a = of(job("a"), "ann");
    under.stores(std::slice::from_ref(&a)).await?;
    let stored = under.shows(&a, JobState::Queued, 0).await?;
    let claimed = under.claims_one(&a, LONG).await?;
    let running = under.shows(&a, JobState::Running, 1).await?;
    under.is(under.complete(&claimed.lease, "done").await?, LeaseState::Held)?;
    let ended = under.shows(&a, JobState::Succeeded, 1).await?;
    for later in [running, ended] {
        let (actual, expected) = (later.created_at, stored.created_at);
        under.ensure(actual == expected, format!("created_at {expected}"), &actual.to_string())?;
    }
    Ok(())
}

async fn every_text_comes_back_as_it_was(trial: &Trial) -> Checked {
    let under = trial.under(Rule::StateShowsTheJob);
    let mut made = Vec::new();
    for (index, text) in texts().iter().enumerate() {
        // Every byte, 32 of them in each job.
        let fingerprint = std::array::from_fn(|at| (index * 32 + at).to_le_bytes()[0]);
        let new = NewJob::new(id(&format!("text{index}")), text);
        made.push(of(new.with_hook(text).with_fingerprint(fingerprint), text));
    }
    made.push(NewJob::new(id("large"), large()));
    under.stores(&made).await?;
    for new in &made {
        under.shows(new, JobState::Queued, 0).await?;
    }
    under.claims(&made, LONG).await.map(drop)
}

async fn an_end_is_final_and_keeps_its_text(trial: &Trial) -> Checked {
    let under = trial.under(Rule::EndIsFinal);
    for (index, text) in texts().into_iter().chain([large()]).enumerate() {
        let (good, bad) = (job(&format!("good{index}")), job(&format!("bad{index}")));
        let claimed = under.runs(&good).await?;
        under.is(under.complete(&claimed.lease, &text).await?, LeaseState::Held)?;
        let ended = under.shows(&good, JobState::Succeeded, 1).await?;
        under.same_text("outcome", &ended.outcome.unwrap_or_default(), &text)?;
        let claimed = under.runs(&bad).await?;
        under.is(under.bury(&claimed.lease, &text).await?, LeaseState::Held)?;
        let ended = under.shows(&bad, JobState::Dead, 1).await?;
        let Some(error) = ended.error else { return Err(under.mismatch("an error", "None")) };
        under.same_text("error", &error, &text)?;
    }
    let unrun = job("unrun");
    let claimed = under.runs(&unrun).await?;
    under.is(under.bury_unrun(&claimed.lease, "used up").await?, LeaseState::Held)?;
    under.shows(&unrun, JobState::Dead, 0).await?;
    under.claims_none().await
}

async fn an_id_is_one_job_in_every_state(trial: &Trial) -> Checked {
    let under = trial.under(Rule::IdIsOneJob);
    let first = of(job("a"), "ann");
    let second = NewJob::new(first.id, "other").with_hook("one").with_fingerprint([255; 32]);
    let again = async |state, attempts| match under.enqueue(&second).await? {
        Enqueued::New => Err(under.mismatch("Known", "New")),
        Enqueued::Known(known) => {
            under.matches(&known, &first)?;
            under.is((known.state, known.attempts), (state, attempts))?;
            let shown = under.shows(&first, state, attempts).await?;
            under.same(&known, &shown)
        }
    };
    under.stores(std::slice::from_ref(&first)).await?;
    again(JobState::Queued, 0).await?;
    let claimed = under.claims_one(&first, LONG).await?;
    again(JobState::Running, 1).await?;
    under.is(under.bury(&claimed.lease, "broken").await?, LeaseState::Held)?;
    again(JobState::Dead, 1).await?;
    under.is(under.retry(first.id).await?, JobChange::Changed)?;
    again(JobState::Queued, 0).await?;
    let claimed = under.claims_one(&first, LONG).await?;
    under.is(under.complete(&claimed.lease, "done").await?, LeaseState::Held)?;
    again(JobState::Succeeded, 1).await?;
    under.claims_none().await
}

async fn of_many_jobs_with_one_id_one_is_stored(trial: &Trial) -> Checked {
    let under = trial.under(Rule::IdIsOneJob);
    for round in 0..8 {
        let new: Vec<_> = (0..8)
            .map(|number| NewJob::new(id(&format!("job{round}")), format!("payload {number}")))
            .collect();
        let calls = new.iter().map(|job| Box::pin(under.enqueue(job)) as Call<'_, _>);
        let answers: Vec<_> =
            together(calls.collect()).await.into_iter().collect::<Checked<_>>()?;
        let stored = answers.iter().filter(|answer| **answer == Enqueued::New).count();
        under.ensure(stored == 1, "New once", &format!("{stored} times"))?;
        let winner = answers.iter().position(|answer| *answer == Enqueued::New);
        let winner = winner.and_then(|index| new.get(index));
        let winner = winner.ok_or_else(|| under.mismatch("New once", "none"))?;
        let claimed = under.claims_one(winner, LONG).await?;
        under.is(under.complete(&claimed.lease, "").await?, LeaseState::Held)?;
    }
    under.claims_none().await
}

async fn every_id_is_a_job_of_its_own(trial: &Trial) -> Checked {
    let under = trial.under(Rule::IdIsOneJob);
    let mut bytes = vec![[0; 16], [0x7f; 16], [0x80; 16], [0xff; 16], [b'*'; 16], [b'%'; 16]];
    bytes.extend((0..128).step_by(9).map(|bit| (1_u128 << bit).to_be_bytes()));
    let jobs: Vec<_> = bytes
        .into_iter()
        .enumerate()
        .map(|(index, bytes)| NewJob::new(JobId::from_bytes(bytes), index.to_string()))
        .collect();
    under.stores(&jobs).await?;
    for job in &jobs {
        under.shows(job, JobState::Queued, 0).await?;
    }
    under.claims(&jobs, LONG).await.map(drop)
}

async fn backlog_and_stats_count_the_jobs(trial: &Trial) -> Checked {
    let under = trial.under(Rule::StateShowsTheJob);
    let wait = Duration::from_millis(300);
    let (free, none) = (jobs("free", 5, "free"), jobs("none", 2, ""));
    under.stores(&free).await?;
    under.stores(&none).await?;
    for (hook, at_most, expected) in
        [("free", 10, 5), ("free", 5, 5), ("free", 3, 3), ("", 10, 2), ("fre", 10, 0), ("%", 9, 0)]
    {
        under.is(under.backlog(hook, at_most).await?, expected)?;
    }
    tokio::time::sleep(wait).await;
    let claimed = under.claims(&[free.clone(), none.clone()].concat(), LONG).await?;
    let mut leases: Vec<_> = claimed.iter().map(|claimed| claimed.lease).collect();
    leases.truncate(free.len());
    // One of each: running, succeeded, dead, delayed, given back.
    let [_, succeeded, dead, delayed, released] = leases[..] else { return Ok(()) };
    under.is(under.complete(&succeeded, "").await?, LeaseState::Held)?;
    under.is(under.bury(&dead, "").await?, LeaseState::Held)?;
    under.is(under.retry_after(&delayed, LONG, "").await?, LeaseState::Held)?;
    under.is(under.release(&released, Duration::ZERO).await?, LeaseState::Held)?;
    under.is(under.backlog("free", 10).await?, 2)?;
    let stats = under.stats("free").await?;
    under.is(format!("{:?}", (stats.queued, stats.running, stats.dead)), "(2, 1, 1)".to_owned())?;
    let age = stats.oldest_queued;
    let is_near = age.is_some_and(|age| (wait / 2..LONG).contains(&age));
    under.ensure(is_near, format!("oldest_queued of about {wait:?}"), &format!("{age:?}"))?;
    let stats = under.stats("").await?;
    under.is(format!("{:?}", (stats.queued, stats.running, stats.dead)), "(0, 2, 0)".to_owned())?;
    under.is(format!("{:?}", stats.oldest_queued), "None".to_owned())?;
    Ok(())
}
