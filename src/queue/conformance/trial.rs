//! A queue on trial: its calls, what was made of them, and what they answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::describe::{Describe, cut, difference, shown};
use super::rule::Rule;
use crate::queue::{
    ClaimedJob, Enqueued, HookStats, Job, JobChange, JobCursor, JobFilter, JobId, JobQueue,
    JobState, Lease, LeaseState, NewJob, QueueError, Retention,
};
use crate::util::ErrorChain;
use crate::util::conformance::{Call, contained, dropped_after, together, within};

/// How long a call of the suite waits for a queue.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How late a job that is due may be claimed. Some engines deliver again only after a tick.
pub(super) const DUE: Duration = Duration::from_secs(5);
/// A lease that does not end during a check.
pub(super) const LONG: Duration = Duration::from_secs(120);
/// A lease or delay that ends during a check.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// How much earlier than its end a lease may be over: the resolution of the engine's clock.
const TOLERANCE: Duration = Duration::from_millis(50);
/// How long a claim waits for a job that must not come.
const LOOK: Duration = Duration::from_millis(150);

/// A rule that was seen broken.
#[derive(Debug)]
pub(super) struct Mismatch {
    pub(super) rule: Rule,
    pub(super) expected: String,
    pub(super) actual: String,
}

pub(super) type Checked<T = ()> = Result<T, Mismatch>;

/// The calls that were made, and their answers.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Vec<String>>>);

impl History {
    pub(super) fn note(&self, text: String) {
        self.lines().push(text);
    }

    /// The last ones. A call that is repeated with the same answer is one line.
    pub(super) fn last(&self) -> Vec<String> {
        const SHOWN: usize = 12;
        let lines = self.lines();
        let groups: Vec<_> = lines.chunk_by(|one, next| one == next).collect();
        let (before, shown) = groups.split_at(groups.len().saturating_sub(SHOWN));
        let before: usize = before.iter().map(|group| group.len()).sum();
        let before = (before > 0).then(|| format!("({before} calls before)"));
        let shown = shown.iter().filter_map(|group| match group {
            [line] => Some(line.clone()),
            group => group.first().map(|line| format!("{line} ({} times)", group.len())),
        });
        before.into_iter().chain(shown).collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Trial {
    pub(super) queue: Box<dyn JobQueue>,
    history: History,
}

impl Trial {
    pub(super) fn new(queue: impl JobQueue, history: History) -> Self {
        Self { queue: Box::new(queue), history }
    }

    /// The calls that a check makes for the sake of this rule.
    pub(super) fn under(&self, rule: Rule) -> Scope<'_> {
        Scope { trial: self, rule }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    trial: &'a Trial,
    rule: Rule,
}

/// Calls.
impl<'a> Scope<'a> {
    fn queue(self) -> &'a dyn JobQueue {
        &*self.trial.queue
    }

    pub(super) async fn enqueue(self, job: &NewJob) -> Checked<Enqueued> {
        self.answer(format!("enqueue({})", shown(job.id)), self.queue().enqueue(job.clone())).await
    }

    pub(super) async fn claim(
        self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Checked<Vec<ClaimedJob>> {
        let text = format!("claim(max {max}, lease {lease:?}, wait {wait:?})");
        let claimed = self.answer(text, self.queue().claim(max, lease, wait)).await?;
        self.ensure(claimed.len() <= max, format!("up to {max} jobs"), &claimed)?;
        Ok(claimed)
    }

    /// Eight claims that are polled in turn, and all that they return.
    pub(super) async fn claims_at_once(
        self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Checked<Vec<ClaimedJob>> {
        let claim = |_| Box::pin(self.claim(max, lease, wait)) as Call<'_, _>;
        let claimed = together((0..8).map(claim).collect()).await;
        Ok(claimed.into_iter().collect::<Checked<Vec<Vec<_>>>>()?.concat())
    }

    pub(super) async fn heartbeat(self, lease: &Lease, lasts: Duration) -> Checked<LeaseState> {
        let text = format!("heartbeat({}, {lasts:?})", shown(lease.job()));
        self.answer(text, self.queue().heartbeat(lease, lasts)).await
    }

    pub(super) async fn complete(self, lease: &Lease, outcome: &str) -> Checked<LeaseState> {
        let text = format!("complete({}, {})", shown(lease.job()), cut(outcome));
        self.answer(text, self.queue().complete(lease, outcome)).await
    }

    pub(super) async fn retry_after(
        self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Checked<LeaseState> {
        let text = format!("retry_after({}, {delay:?}, {})", shown(lease.job()), cut(error));
        self.answer(text, self.queue().retry_after(lease, delay, error)).await
    }

    pub(super) async fn release(self, lease: &Lease, delay: Duration) -> Checked<LeaseState> {
        let text = format!("release({}, {delay:?})", shown(lease.job()));
        self.answer(text, self.queue().release(lease, delay)).await
    }

    /// Buries a job whose attempt did not run.
    pub(super) async fn bury_unrun(self, lease: &Lease, error: &str) -> Checked<LeaseState> {
        let text = format!("bury({}, {}, unrun)", shown(lease.job()), cut(error));
        self.answer(text, self.queue().bury(lease, error, false)).await
    }

    pub(super) async fn bury(self, lease: &Lease, error: &str) -> Checked<LeaseState> {
        let text = format!("bury({}, {})", shown(lease.job()), cut(error));
        self.answer(text, self.queue().bury(lease, error, true)).await
    }

    pub(super) async fn state(self, id: JobId) -> Checked<Option<Job>> {
        self.answer(format!("state({})", shown(id)), self.queue().state(&id)).await
    }

    pub(super) async fn list(
        self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Checked<Vec<Job>> {
        let after_text = after.map_or("the start".to_owned(), |after| shown(after.id()));
        let text = format!("list({}, after {after_text}, limit {limit})", filter.describe());
        let page = self.answer(text, self.queue().list(filter, after, limit)).await?;
        self.ensure(page.len() <= limit, format!("up to {limit} jobs"), &page)?;
        Ok(page)
    }

    pub(super) async fn retry(self, id: JobId) -> Checked<JobChange> {
        self.answer(format!("retry({})", shown(id)), self.queue().retry(&id)).await
    }

    pub(super) async fn remove(self, id: JobId) -> Checked<JobChange> {
        self.answer(format!("remove({})", shown(id)), self.queue().remove(&id)).await
    }

    pub(super) async fn purge(
        self,
        state: JobState,
        retention: Retention,
        max: usize,
    ) -> Checked<usize> {
        let text = format!("purge({state:?}, {retention:?}, max {max})");
        self.answer(text, self.queue().purge(state, &retention, max)).await
    }

    pub(super) async fn backlog(self, hook: &str, at_most: u64) -> Checked<u64> {
        let text = format!("backlog({}, at most {at_most})", cut(hook));
        self.answer(text, self.queue().backlog(hook, at_most)).await
    }

    /// The numbers of a hook. A hook without any need not be listed.
    pub(super) async fn stats(self, hook: &str) -> Checked<HookStats> {
        let all = self.answer("stats()".to_owned(), self.queue().stats()).await?;
        let mut of_hook = all.iter().filter(|stats| stats.hook == hook);
        let stats = of_hook.next().cloned().unwrap_or_else(|| HookStats::new(hook));
        self.ensure(of_hook.next().is_none(), "each hook once", &all)?;
        Ok(stats)
    }

    /// Makes a call, polls it so many times and drops it. `None`: it was not over by then.
    pub(super) async fn dropped<T>(
        self,
        polls: usize,
        call: impl Future<Output = Checked<T>> + Send,
    ) -> Checked<Option<T>> {
        let over = dropped_after(polls, Box::pin(call)).await.transpose()?;
        if over.is_none() {
            self.trial.history.note(format!("(a call that was dropped after {polls} polls)"));
        }
        Ok(over)
    }

    /// Expects an error.
    pub(super) async fn fails<T: Describe>(
        self,
        text: &str,
        call: Call<'_, Result<T, QueueError>>,
    ) -> Checked {
        match self.wait(text, call).await? {
            Ok(value) => Err(self.mismatch(
                format!("{text}: an error, because the queue cannot answer"),
                value.describe(),
            )),
            Err(_) => Ok(()),
        }
    }

    async fn answer<T: Describe>(
        self,
        text: String,
        call: Call<'_, Result<T, QueueError>>,
    ) -> Checked<T> {
        let answer = self.wait(&text, call).await?;
        let described = match &answer {
            Ok(value) => value.describe(),
            Err(error) => format!("an error: {}", ErrorChain(error)),
        };
        self.trial.history.note(format!("{text} -> {described}"));
        let expected = "an answer: the queue is there and the call is valid";
        answer.map_err(|_| self.mismatch(expected, described))
    }

    async fn wait<T>(self, text: &str, call: Call<'_, T>) -> Checked<T> {
        let (answer, actual) = match contained(within(CALL_TIMEOUT, call)).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => ("no answer", format!("nothing within {CALL_TIMEOUT:?}")),
            Err(text) => ("panic", format!("a panic: {text}")),
        };
        self.trial.history.note(format!("{text} -> {answer}"));
        let rule = Rule::FaultIsAnError;
        Err(Mismatch { rule, ..self.mismatch("an answer or an error", actual) })
    }
}

/// Answers that the rule decides.
impl Scope<'_> {
    pub(super) fn mismatch(
        self,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Mismatch {
        Mismatch { rule: self.rule, expected: expected.into(), actual: actual.into() }
    }

    pub(super) fn ensure(
        self,
        kept: bool,
        expected: impl Into<String>,
        actual: &impl Describe,
    ) -> Checked {
        if kept { Ok(()) } else { Err(self.mismatch(expected, actual.describe())) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "answers are compared where they come from")]
    pub(super) fn is<T: Describe + PartialEq>(self, actual: T, expected: T) -> Checked {
        self.ensure(actual == expected, expected.describe(), &actual)
    }

    pub(super) fn same_text(self, name: &str, actual: &str, expected: &str) -> Checked {
        self.ensure(actual == expected, format!("{name} {}", cut(expected)), &cut(actual))
    }

    pub(super) async fn stores(self, jobs: &[NewJob]) -> Checked {
        for job in jobs {
            let answer = self.enqueue(job).await?;
            self.is(answer, Enqueued::New)?;
        }
        Ok(())
    }

    /// Claims these jobs, each once, within the time for what is due. They come back in this order.
    pub(super) async fn claims(self, jobs: &[NewJob], lease: Duration) -> Checked<Vec<ClaimedJob>> {
        const STEP: Duration = Duration::from_millis(250);
        let end = Instant::now() + DUE;
        let mut claimed = Vec::new();
        while claimed.len() < jobs.len() && Instant::now() < end {
            let found = self.claim(jobs.len() - claimed.len(), lease, STEP).await?;
            if found.is_empty() {
                // A claim that does not wait must not make this a busy loop.
                sleep(STEP / 25).await;
            }
            claimed.extend(found);
        }
        let mut ordered = Vec::new();
        for job in jobs {
            let index = claimed.iter().position(|found: &ClaimedJob| found.lease.job() == job.id);
            let missing = || format!("a claim of {} within {DUE:?}", shown(job.id));
            let index = index.ok_or_else(|| self.mismatch(missing(), claimed.describe()))?;
            let found = claimed.swap_remove(index);
            self.same_text("hook", &found.hook, &job.hook)?;
            self.same_text("payload", &found.payload, &job.payload)?;
            ordered.push(found);
        }
        Ok(ordered)
    }

    pub(super) async fn claims_one(self, job: &NewJob, lease: Duration) -> Checked<ClaimedJob> {
        let claimed = self.claims(std::slice::from_ref(job), lease).await?;
        claimed.into_iter().next().ok_or_else(|| self.mismatch("a job", "none"))
    }

    /// Stores a job and claims it.
    pub(super) async fn runs(self, job: &NewJob) -> Checked<ClaimedJob> {
        self.stores(std::slice::from_ref(job)).await?;
        self.claims_one(job, LONG).await
    }

    /// Nothing was claimed before so long after `start`.
    pub(super) fn was_not_due_for(self, delay: Duration, start: Instant) -> Checked {
        let elapsed = start.elapsed();
        let expected = format!("no answer before {delay:?} are over");
        self.ensure(elapsed + TOLERANCE >= delay, expected, &format!("one after {elapsed:?}"))
    }

    pub(super) async fn claims_none(self) -> Checked {
        let claimed = self.claim(100, LONG, LOOK).await?;
        self.ensure(claimed.is_empty(), "no job is due", &claimed)
    }

    /// The job is there, in this state and after so many attempts, with all that was stored.
    pub(super) async fn shows(self, new: &NewJob, state: JobState, attempts: u32) -> Checked<Job> {
        let found = self.state(new.id).await?;
        let found = found.ok_or_else(|| self.mismatch(shown(new.id), "None"))?;
        self.matches(&found, new)?;
        self.is((found.state, found.attempts), (state, attempts))?;
        let started = attempts == 0 || found.started_at.is_some();
        self.ensure(started, "started_at of a job with an attempt", &"None".to_owned())?;
        let expected = format!("ended_at, if and only if {} is", state.as_str());
        let ended = found.ended_at.is_some() == state.is_ended();
        self.ensure(ended, expected, &format!("{:?}", found.ended_at))?;
        let outcome = found.outcome.is_some() == (state == JobState::Succeeded);
        self.ensure(
            outcome,
            "an outcome, if the job succeeded",
            &cut(&format!("{:?}", found.outcome)),
        )?;
        Ok(found)
    }

    /// What was given with a job is shown as it was given.
    pub(super) fn matches(self, found: &Job, new: &NewJob) -> Checked {
        self.is(shown(found.id), shown(new.id))?;
        self.same_text("hook", &found.hook, &new.hook)?;
        self.is(format!("{:?}", found.owner), format!("{:?}", new.owner))?;
        self.is(format!("{:?}", found.fingerprint), format!("{:?}", new.fingerprint))
    }

    /// A page has these jobs in this order, without their outcomes.
    pub(super) fn lists(self, page: &Vec<Job>, expected: &[Job]) -> Checked {
        let listed = |job: &Job| Job { outcome: None, ..job.clone() };
        self.are(page, &expected.iter().map(listed).collect())
    }

    pub(super) fn are(self, page: &Vec<Job>, expected: &Vec<Job>) -> Checked {
        let ids = page.iter().map(|job| job.id).eq(expected.iter().map(|job| job.id));
        self.ensure(ids, expected.describe(), page)?;
        for (job, expected) in page.iter().zip(expected) {
            self.same(job, expected)?;
        }
        Ok(())
    }

    /// Two views of a job agree.
    pub(super) fn same(self, job: &Job, expected: &Job) -> Checked {
        let Some((wanted, actual)) = difference(expected, job) else { return Ok(()) };
        Err(self.mismatch(
            format!("{} with {wanted}", shown(expected.id)),
            format!("{} with {actual}", shown(job.id)),
        ))
    }
}
