use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{
    ClaimedJob, Enqueued, HookLimits, HookStats, Job, JobChange, JobCursor, JobFilter, JobId,
    JobQueue, JobState, Lease, LeaseState, NewJob, QueueError, Retention,
};
use crate::Clock;
use crate::util::after;

/// Keeps jobs in this process, for tests. **Nothing is durable**: jobs end with the process.
///
/// A claim looks at every job, so this queue is for small numbers of them. Times follow tokio's clock, which tests can
/// pause, but for those that are shown. Clones share the jobs.
///
/// # Examples
///
/// ```
/// use tower_webhook::queue::{JobId, JobQueue, MemoryQueue, NewJob};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::queue::QueueError> {
/// let queue = MemoryQueue::new();
/// let id = JobId::random()?;
/// let _ = queue.enqueue(NewJob::new(id, "{}")).await?;
/// assert_eq!(queue.state(&id).await?.unwrap().attempts, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryQueue {
    limits: HookLimits,
    clock: Clock,
    shared: Arc<Shared>,
    #[cfg(test)]
    is_in_order_of_storage: bool,
}

#[derive(Default)]
struct Shared {
    entries: Mutex<HashMap<JobId, Entry>>,
    /// Rings when a job may be due.
    bell: Notify,
}

type Entries<'a> = MutexGuard<'a, HashMap<JobId, Entry>>;

struct Entry {
    job: Job,
    payload: String,
    /// When it can be claimed: at the end of a delay, or of its lease.
    due: Instant,
    /// The token of the lease under which it runs.
    token: Option<u128>,
}

impl Entry {
    fn is_leased(&self, now: Instant) -> bool {
        self.token.is_some() && self.due > now
    }
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits how many jobs of a hook run at a time.
    #[must_use]
    pub fn with_hook_limits(mut self, limits: HookLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces the clock of the times that are shown.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Claims what is due in the order in which it was stored, as some queues do.
    #[cfg(test)]
    pub(super) fn in_order_of_storage(mut self) -> Self {
        self.is_in_order_of_storage = true;
        self
    }

    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn entries(&self) -> Entries<'_> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that are due now, and when the next one will be.
    fn claim_now(
        &self,
        max: usize,
        lease: Duration,
    ) -> Result<(Vec<ClaimedJob>, Option<Instant>), QueueError> {
        let (now, time) = (Instant::now(), self.clock.now());
        let mut entries = self.entries();
        let mut leased = leased(&entries, now);
        let open = entries.values_mut().filter(|entry| !entry.job.state.is_ended());
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|entry| (entry.due, entry.job.created_at, entry.job.id));
        #[cfg(test)]
        if self.is_in_order_of_storage {
            open.sort_by_key(|entry| (entry.due > now, entry.job.created_at, entry.job.id));
        }
        let next = open.iter().map(|entry| entry.due).find(|due| *due > now);
        let mut claimed = Vec::new();
        for entry in open {
            if entry.due > now || claimed.len() >= max {
                break;
            }
            if !self.has_room(&entry.job.hook, leased.get(&entry.job.hook)) {
                continue;
            }
            *leased.entry(entry.job.hook.clone()).or_default() += 1;
            let held = Lease::random(entry.job.id)?;
            entry.token = Some(held.token());
            entry.due = after(now, lease);
            entry.job.state = JobState::Running;
            entry.job.attempts = entry.job.attempts.saturating_add(1);
            entry.job.started_at = Some(time);
            let (hook, payload) = (entry.job.hook.clone(), entry.payload.clone());
            claimed.push(ClaimedJob::new(held, hook, payload, entry.job.attempts));
        }
        Ok((claimed, next))
    }

    /// Whether one more job of a hook may run beside those that are under a lease.
    fn has_room(&self, hook: &str, leased: Option<&u32>) -> bool {
        self.limits.of(hook).is_none_or(|limit| *leased.unwrap_or(&0) < limit)
    }

    /// Changes a job, if the lease is held.
    fn under(
        &self,
        mut entries: Entries<'_>,
        lease: &Lease,
        change: impl FnOnce(&mut Entry),
    ) -> LeaseState {
        let entry = entries.get_mut(&lease.job());
        let Some(entry) = entry.filter(|entry| entry.token == Some(lease.token())) else {
            return LeaseState::Lost;
        };
        change(entry);
        drop(entries);
        self.shared.bell.notify_waiters();
        LeaseState::Held
    }

    fn end(&self, lease: &Lease, change: impl FnOnce(&mut Job)) -> LeaseState {
        let now = self.clock.now();
        self.under(self.entries(), lease, |entry| {
            entry.token = None;
            entry.job.ended_at = Some(now);
            change(&mut entry.job);
            if entry.job.state == JobState::Succeeded {
                entry.payload = String::new();
            }
        })
    }

    fn give_back(
        &self,
        lease: &Lease,
        delay: Duration,
        change: impl FnOnce(&mut Job),
    ) -> LeaseState {
        self.under(self.entries(), lease, |entry| {
            entry.token = None;
            entry.due = after(Instant::now(), delay);
            entry.job.state = JobState::Queued;
            change(&mut entry.job);
        })
    }
}

/// How many jobs of each hook are under a lease.
fn leased(entries: &HashMap<JobId, Entry>, now: Instant) -> HashMap<String, u32> {
    let mut leased = HashMap::<String, u32>::new();
    for entry in entries.values().filter(|entry| entry.is_leased(now)) {
        *leased.entry(entry.job.hook.clone()).or_default() += 1;
    }
    leased
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let created_at = self.clock.now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&job.id) {
            return Ok(Enqueued::Known(Box::new(entry.job.clone())));
        }
        let entry = Entry {
            job: Job::queued(&job, created_at),
            payload: job.payload,
            due: Instant::now(),
            token: None,
        };
        entries.insert(job.id, entry);
        drop(entries);
        self.shared.bell.notify_waiters();
        Ok(Enqueued::New)
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        let end = after(Instant::now(), wait);
        loop {
            // Armed before the look, so that a job that comes in between rings.
            let bell = self.shared.bell.notified();
            let (claimed, next) = self.claim_now(max, lease)?;
            if !claimed.is_empty() || Instant::now() >= end {
                return Ok(claimed);
            }
            let _ = timeout_at(next.map_or(end, |next| next.min(end)), bell).await;
        }
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        let now = Instant::now();
        let entries = self.entries();
        let leased = leased(&entries, now);
        let has_room = |entry: &Entry| {
            entry.is_leased(now) || self.has_room(&entry.job.hook, leased.get(&entry.job.hook))
        };
        if !entries.get(&lease.job()).is_some_and(has_room) {
            return Ok(LeaseState::Lost);
        }
        Ok(self.under(entries, lease, |entry| entry.due = after(now, lasts)))
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        Ok(self.end(lease, |job| {
            job.state = JobState::Succeeded;
            job.outcome = Some(outcome.to_owned());
            job.error = None;
        }))
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        Ok(self.give_back(lease, delay, |job| job.error = Some(error.to_owned())))
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        let uncount = |job: &mut Job| job.attempts = job.attempts.saturating_sub(1);
        Ok(self.give_back(lease, delay, uncount))
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        Ok(self.end(lease, |job| {
            job.state = JobState::Dead;
            job.error = Some(error.to_owned());
            job.attempts = job.attempts.saturating_sub(u32::from(!ran));
        }))
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        Ok(self.entries().get(id).map(|entry| entry.job.clone()))
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        let entries = self.entries();
        let jobs = entries.values().map(|entry| &entry.job).filter(|job| filter.fits(job));
        let mut jobs: Vec<_> = jobs
            .filter(|job| after.is_none_or(|after| JobCursor::from(*job) < *after))
            .map(|job| Job { outcome: None, ..job.clone() })
            .collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(JobCursor::from(job)));
        jobs.truncate(limit);
        Ok(jobs)
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(id) else { return Ok(JobChange::NotFound) };
        if entry.job.state != JobState::Dead {
            return Ok(JobChange::WrongState);
        }
        entry.due = Instant::now();
        let job = &mut entry.job;
        (job.state, job.attempts) = (JobState::Queued, 0);
        (job.error, job.started_at, job.ended_at) = (None, None, None);
        drop(entries);
        self.shared.bell.notify_waiters();
        Ok(JobChange::Changed)
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let mut entries = self.entries();
        match entries.get(id).map(|entry| entry.job.state) {
            None => Ok(JobChange::NotFound),
            Some(JobState::Running) => Ok(JobChange::WrongState),
            Some(_) => {
                entries.remove(id);
                Ok(JobChange::Changed)
            }
        }
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        let now = self.clock.now();
        let mut entries = self.entries();
        let jobs = entries.values().map(|entry| &entry.job).filter(|job| job.state == state);
        let ended = jobs.filter_map(|job| Some((job.ended_at?, job.id)));
        let mut ended: Vec<_> = ended.filter(|_| state.is_ended()).collect();
        ended.sort_unstable();
        let count = retention.max_count.and_then(|count| usize::try_from(count).ok());
        let surplus = ended.len().saturating_sub(count.unwrap_or(usize::MAX));
        let is_old =
            |ended_at: OffsetDateTime| retention.max_age.is_some_and(|age| now - ended_at > age);
        let gone = ended
            .iter()
            .enumerate()
            .filter(|(index, (ended_at, _))| *index < surplus || is_old(*ended_at));
        let gone: Vec<_> = gone.map(|(_, (_, id))| *id).take(max).collect();
        for id in &gone {
            entries.remove(id);
        }
        Ok(gone.len())
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        let filter = JobFilter::all().with_state(JobState::Queued).with_hook(hook);
        let count = self.entries().values().filter(|entry| filter.fits(&entry.job)).count();
        Ok(at_most.min(count as u64))
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        let now = self.clock.now();
        let mut hooks = HashMap::<String, HookStats>::new();
        for Entry { job, .. } in self.entries().values() {
            let stats = hooks.entry(job.hook.clone()).or_insert_with(|| HookStats::new(&*job.hook));
            match job.state {
                JobState::Queued => {
                    stats.queued += 1;
                    let age = Duration::try_from(now - job.created_at).unwrap_or_default();
                    stats.oldest_queued = stats.oldest_queued.max(Some(age));
                }
                JobState::Running => stats.running += 1,
                JobState::Succeeded => {}
                JobState::Dead => stats.dead += 1,
            }
        }
        Ok(hooks.into_values().collect())
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryQueue").field("limits", &self.limits).finish_non_exhaustive()
    }
}
