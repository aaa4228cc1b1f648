use std::collections::HashSet;
use std::time::Duration;

use time::PrimitiveDateTime;
use tokio::time::sleep;

use super::rule::Rule;
use super::sample::{id, job, jobs, of, texts};
use super::trial::{Checked, LONG, Scope, Trial};
use super::{Check, checks};
use crate::key::Owner;
use crate::queue::{Job, JobChange, JobCursor, JobFilter, JobState, LeaseState, NewJob, Retention};

pub(super) const CHECKS: &[Check] = checks![
    a_list_has_each_job_that_fits_once_the_newest_first,
    filters_compare_whole_texts,
    jobs_that_come_and_go_move_no_other_job,
    a_dead_job_is_retried_from_the_start,
    only_a_dead_job_is_retried,
    remove_leaves_running_jobs,
    a_removed_id_is_free,
    purge_leaves_jobs_that_have_not_ended,
    purge_removes_what_is_too_old,
    purge_removes_the_oldest_beyond_the_count,
];

/// More than the resolution of an engine's clock.
const TICK: Duration = Duration::from_millis(20);

/// Ends a job of this name.
async fn ends(under: Scope<'_>, job: &NewJob, state: JobState) -> Checked {
    let lease = under.runs(job).await?.lease;
    let ended = match state {
        JobState::Dead => under.bury(&lease, "broken").await?,
        _ => under.complete(&lease, "done").await?,
    };
    under.is(ended, LeaseState::Held)
}

/// The pages of this size behind one another.
async fn pages(under: Scope<'_>, filter: &JobFilter, limit: usize) -> Checked<Vec<Job>> {
    let mut all: Vec<Job> = Vec::new();
    loop {
        let after = all.last().map(JobCursor::from);
        let page = under.list(filter, after.as_ref(), limit).await?;
        all.extend(page.iter().cloned());
        if page.len() < limit || all.len() > 500 {
            return Ok(all);
        }
    }
}

/// Jobs of three hooks and owners in every state, some of them at one time.
async fn stock(under: Scope<'_>) -> Checked<Vec<NewJob>> {
    use JobState::{Dead, Queued, Running, Succeeded};
    let mut made = Vec::new();
    for (round, state) in [Dead, Running, Succeeded, Queued].into_iter().enumerate() {
        for (hook, owner) in [("free", "ann"), ("other", "ann"), ("", "bob"), ("free", "")] {
            // An id says nothing about the time.
            let number = (made.len() * 7) % 16;
            let job = of(job(&format!("{number:02}-{round}")).with_hook(hook), owner);
            match state {
                Queued => under.stores(std::slice::from_ref(&job)).await?,
                Running => drop(under.runs(&job).await?),
                ended => ends(under, &job, ended).await?,
            }
            made.push(job);
        }
        sleep(TICK).await;
    }
    Ok(made)
}

/// Filters with each part and without it.
fn filters() -> Vec<JobFilter> {
    let mut filters = Vec::new();
    for state in JobState::ALL.into_iter().map(Some).chain([None]) {
        for hook in [None, Some("free"), Some(""), Some("none")] {
            for owner in ["", "ann", "carol"] {
                let hook = hook.map(str::to_owned);
                filters.push(JobFilter { state, hook, owner: Owner::new(owner).ok() });
            }
        }
    }
    filters
}

async fn a_list_has_each_job_that_fits_once_the_newest_first(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ListIsNewestFirst);
    let mut stored = Vec::new();
    for new in stock(under).await? {
        stored.extend(under.state(new.id).await?);
    }
    stored.sort_by_key(|job| std::cmp::Reverse(JobCursor::from(job)));
    for filter in filters() {
        let expected: Vec<_> = stored.iter().filter(|job| filter.fits(job)).cloned().collect();
        let listed = under.list(&filter, None, 100).await?;
        under.lists(&listed, &expected)?;
        under.lists(&pages(under, &filter, 3).await?, &expected)?;
    }
    for limit in [1, 16, 17] {
        under.lists(&pages(under, &JobFilter::all(), limit).await?, &stored)?;
    }
    for job in &stored {
        let after = JobCursor::from(job);
        let expected: Vec<_> =
            stored.iter().filter(|job| JobCursor::from(*job) < after).cloned().collect();
        under.lists(&under.list(&JobFilter::all(), Some(&after), 100).await?, &expected)?;
    }
    let ends_of_time = [PrimitiveDateTime::MAX, PrimitiveDateTime::MIN];
    for (time, expected) in ends_of_time.into_iter().zip([&stored, &Vec::new()]) {
        let after = JobCursor::new(time.assume_utc(), id("any"));
        let listed = under.list(&JobFilter::all(), Some(&after), usize::MAX).await?;
        under.lists(&listed, expected)?;
    }
    Ok(())
}

async fn filters_compare_whole_texts(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ListIsNewestFirst);
    let texts = texts();
    let jobs: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| of(job(&format!("job{index}")).with_hook(text), text))
        .collect();
    under.stores(&jobs).await?;
    for (job, text) in jobs.iter().zip(&texts) {
        let by_hook = JobFilter::all().with_hook(text);
        let by_owner = JobFilter { owner: job.owner.clone(), ..JobFilter::all() };
        for filter in [by_hook, by_owner] {
            let one = filter.hook.is_some() || filter.owner.is_some();
            let listed = under.list(&filter, None, 100).await?;
            let is_it = listed.iter().map(|job| job.id).eq([job.id]);
            under.ensure(is_it || !one, format!("the job of {text:?}"), &listed)?;
        }
        under.is(under.backlog(text, 9).await?, 1)?;
        under.is(under.stats(text).await?.queued, 1)?;
    }
    Ok(())
}

async fn jobs_that_come_and_go_move_no_other_job(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ListIsNewestFirst);
    let all = JobFilter::all();
    let (stay, go) = (jobs("stay", 9, "free"), jobs("go", 9, "free"));
    for (stay, go) in stay.iter().zip(&go) {
        under.stores(&[go.clone(), stay.clone()]).await?;
        sleep(TICK / 4).await;
    }
    let (mut seen, mut after, mut gone) = (Vec::new(), None, go.iter());
    for round in 0..30 {
        let page = under.list(&all, after.as_ref(), 2).await?;
        let Some(last) = page.last() else { break };
        seen.extend(page.iter().map(|job| job.id));
        after = Some(JobCursor::from(last));
        sleep(TICK / 4).await;
        under.stores(&[job(&format!("new{round}"))]).await?;
        // One of the jobs to come, one that is listed already, and the one under the cursor.
        for id in gone.next().map(|job| job.id).into_iter().chain([last.id]) {
            if go.iter().any(|job| job.id == id) {
                let _ = under.remove(id).await?;
            }
        }
    }
    let distinct: HashSet<_> = seen.iter().collect();
    under.ensure(
        distinct.len() == seen.len(),
        "each job once",
        &format!("{} twice", seen.len()),
    )?;
    let expected: Vec<_> = stay.iter().rev().map(|job| job.id).collect();
    seen.retain(|id| expected.contains(id));
    let mut in_order = expected.clone();
    if stay.len() == seen.len() {
        // Jobs of one tick are ordered by their ids.
        let mut cursors = Vec::new();
        for id in &expected {
            cursors.extend(under.state(*id).await?.as_ref().map(JobCursor::from));
        }
        cursors.sort_by_key(|cursor| std::cmp::Reverse(*cursor));
        in_order = cursors.iter().map(JobCursor::id).collect();
    }
    under.ensure(seen == in_order, format!("{in_order:?}"), &format!("{seen:?}"))
}

async fn a_dead_job_is_retried_from_the_start(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DeadIsRetriedFromTheStart);
    let (new, other) = (job("a"), job("b"));
    ends(under, &other, JobState::Dead).await?;
    let mut claimed = under.runs(&new).await?;
    let created = under.shows(&new, JobState::Running, 1).await?.created_at;
    under.is(under.retry_after(&claimed.lease, Duration::ZERO, "x").await?, LeaseState::Held)?;
    for attempts in [2, 1] {
        claimed = under.claims_one(&new, LONG).await?;
        under.is(claimed.attempt, attempts)?;
        under.is(under.bury(&claimed.lease, "broken").await?, LeaseState::Held)?;
        under.claims_none().await?;
        under.is(under.retry(new.id).await?, JobChange::Changed)?;
        let shown = under.shows(&new, JobState::Queued, 0).await?;
        under.same(&shown, &Job::queued(&new, created))?;
        under.shows(&other, JobState::Dead, 1).await?;
    }
    claimed = under.claims_one(&new, LONG).await?;
    under.is(under.complete(&claimed.lease, "done").await?, LeaseState::Held)?;
    under.claims_none().await
}

async fn only_a_dead_job_is_retried(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DeadIsRetriedFromTheStart);
    under.is(under.retry(id("none")).await?, JobChange::NotFound)?;
    let new = job("a");
    let wrong = async |state, attempts| {
        under.is(under.retry(new.id).await?, JobChange::WrongState)?;
        under.shows(&new, state, attempts).await.map(drop)
    };
    under.stores(std::slice::from_ref(&new)).await?;
    wrong(JobState::Queued, 0).await?;
    let lease = under.claims_one(&new, LONG).await?.lease;
    wrong(JobState::Running, 1).await?;
    under.is(under.retry_after(&lease, Duration::ZERO, "x").await?, LeaseState::Held)?;
    wrong(JobState::Queued, 1).await?;
    let lease = under.claims_one(&new, LONG).await?.lease;
    under.is(under.complete(&lease, "done").await?, LeaseState::Held)?;
    wrong(JobState::Succeeded, 2).await
}

async fn remove_leaves_running_jobs(trial: &Trial) -> Checked {
    let under = trial.under(Rule::RemoveLeavesRunning);
    under.is(under.remove(id("none")).await?, JobChange::NotFound)?;
    let [running, delayed, queued] = ["running", "delayed", "queued"].map(job);
    let (good, bad) = (job("good"), job("bad"));
    ends(under, &good, JobState::Succeeded).await?;
    ends(under, &bad, JobState::Dead).await?;
    let held = under.runs(&running).await?.lease;
    let lease = under.runs(&delayed).await?.lease;
    under.is(under.retry_after(&lease, TICK, "x").await?, LeaseState::Held)?;
    under.stores(std::slice::from_ref(&queued)).await?;
    for gone in [&good, &bad, &delayed, &queued] {
        under.is(under.remove(gone.id).await?, JobChange::Changed)?;
        under.is(under.state(gone.id).await?, None)?;
        under.is(under.remove(gone.id).await?, JobChange::NotFound)?;
    }
    under.is(under.remove(running.id).await?, JobChange::WrongState)?;
    under.shows(&running, JobState::Running, 1).await?;
    under.claims_none().await?;
    under.is(under.complete(&held, "done").await?, LeaseState::Held)?;
    let listed = under.list(&JobFilter::all(), None, 10).await?;
    under.ensure(listed.iter().map(|job| job.id).eq([running.id]), "one job", &listed)
}

async fn a_removed_id_is_free(trial: &Trial) -> Checked {
    let under = trial.under(Rule::RemoveLeavesRunning);
    for round in 0..3 {
        let new = NewJob::new(id("a"), format!("payload {round}")).with_hook(format!("{round}"));
        under.stores(std::slice::from_ref(&new)).await?;
        if round > 0 {
            let claimed = under.claims_one(&new, LONG).await?;
            under.is(claimed.attempt, 1)?;
            under.is(under.bury(&claimed.lease, "broken").await?, LeaseState::Held)?;
        }
        under.is(under.remove(new.id).await?, JobChange::Changed)?;
        under.claims_none().await?;
    }
    Ok(())
}

async fn purge_leaves_jobs_that_have_not_ended(trial: &Trial) -> Checked {
    let under = trial.under(Rule::PurgeRemovesEnded);
    let made = stock(under).await?;
    sleep(TICK).await;
    let everything = Retention::forever().with_max_age(Duration::ZERO).with_max_count(0);
    for state in [JobState::Queued, JobState::Running] {
        under.is(under.purge(state, everything, 100).await?, 0)?;
    }
    for state in [JobState::Succeeded, JobState::Dead] {
        under.is(under.purge(state, Retention::forever(), 100).await?, 0)?;
    }
    let mut left = made.len();
    for state in [JobState::Succeeded, JobState::Dead] {
        under.is(under.list(&JobFilter::all(), None, 100).await?.len(), left)?;
        under.is(under.purge(state, everything, 100).await?, 4)?;
        let filter = JobFilter::all().with_state(state);
        under.is(under.list(&filter, None, 100).await?, Vec::new())?;
        left -= 4;
    }
    under.is(under.list(&JobFilter::all(), None, 100).await?.len(), left)
}

async fn purge_removes_what_is_too_old(trial: &Trial) -> Checked {
    let under = trial.under(Rule::PurgeRemovesEnded);
    let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
    let (age, forever) = (|age| Retention::forever().with_max_age(age), Retention::forever());
    let (old, new) = (jobs("old", 3, "free"), job("new"));
    for old in &old {
        ends(under, old, JobState::Succeeded).await?;
    }
    sleep(second + TICK * 10).await;
    ends(under, &new, JobState::Succeeded).await?;
    under.is(under.purge(JobState::Succeeded, age(hour), 100).await?, 0)?;
    let count = forever.with_max_count(100);
    under.is(under.purge(JobState::Succeeded, count.with_max_age(hour), 100).await?, 0)?;
    for expected in [2, 1, 0] {
        under.is(under.purge(JobState::Succeeded, age(second), 2).await?, expected)?;
    }
    for old in &old {
        under.is(under.state(old.id).await?, None)?;
        // The id is free again.
        under.stores(std::slice::from_ref(old)).await?;
    }
    under.shows(&new, JobState::Succeeded, 1).await.map(drop)
}

async fn purge_removes_the_oldest_beyond_the_count(trial: &Trial) -> Checked {
    let under = trial.under(Rule::PurgeRemovesEnded);
    ends(under, &job("good"), JobState::Succeeded).await?;
    // What counts is the end, and not when a job was stored.
    let jobs = jobs("dead", 5, "free");
    under.stores(&jobs).await?;
    let claimed = under.claims(&jobs, LONG).await?;
    for claimed in claimed.iter().rev() {
        under.is(under.bury(&claimed.lease, "").await?, LeaseState::Held)?;
        sleep(TICK).await;
    }
    let keep = |count| Retention::forever().with_max_count(count);
    for (count, max, expected) in [(9, 9, 0), (5, 9, 0), (2, 2, 2), (2, 9, 1), (2, 9, 0)] {
        under.is(under.purge(JobState::Dead, keep(count), max).await?, expected)?;
    }
    let (newest, oldest) = jobs.split_at(2);
    for job in newest {
        under.shows(job, JobState::Dead, 1).await?;
    }
    for job in oldest {
        under.is(under.state(job.id).await?, None)?;
    }
    under.shows(&job("good"), JobState::Succeeded, 1).await.map(drop)
}
