//! What looks at many jobs: lists, numbers, and the removal of those that have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use time::OffsetDateTime;

use super::Inner;
use super::change::unclaimed;
use super::link::Line;
use super::names::{Place, token};
use super::read::Walk;
use super::record::Stored;
use crate::queue::{HookStats, Job, JobCursor, JobFilter, JobId, JobState, QueueError, Retention};

/// How many messages are asked for at a time.
const IN_FLIGHT: usize = 64;
/// For how long the entry of a removed job is kept: longer than a worker takes from the message to the entry.
const REMOVED_FOR: Duration = Duration::from_secs(60);

impl Inner {
    /// Walks back from the newest record until the page is full. No record is older than its job, so that a job of the
    /// records that are left would come after the page.
    pub(super) async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        let mut page = Page { filter, after, limit, jobs: BTreeMap::new() };
        let names = &self.link.names;
        // Messages first: a job that is claimed in between has an entry then.
        if filter.state.is_none_or(|state| state == JobState::Queued) {
            let subject = match &filter.hook {
                Some(hook) => names.of_hook(Place::Due, &token(hook)),
                None => names.everywhere(Place::Due),
            };
            let mut walk = Walk::new(&self.link, names.jobs(), subject).await?;
            while let Some(found) = walk.next(|oldest| page.is_full(oldest)).await? {
                let mut waiting = Vec::new();
                for found in found {
                    let Some(id) = found.id() else { continue };
                    waiting.extend(Some(unclaimed(id, &found)?).filter(|job| page.wants(job)));
                }
                for jobs in waiting.chunks(IN_FLIGHT) {
                    let stored = jobs.iter().map(|job| self.link.stored(&job.id));
                    let stored = try_join_all(stored).await?;
                    let without = jobs.iter().zip(stored).filter(|(_, stored)| stored.is_none());
                    without.for_each(|(job, _)| page.keep(job.clone()));
                }
            }
        }
        let mut walk = Walk::new(&self.link, names.states(), names.all_states()).await?;
        while let Some(found) = walk.next(|oldest| page.is_full(oldest)).await? {
            for found in found {
                let Some(id) = found.id() else { continue };
                let Stored { entry, .. } = found.entry(id)?;
                if !entry.is_removed {
                    page.keep(Job { outcome: None, ..entry.job });
                }
            }
        }
        Ok(page.jobs.into_values().rev().collect())
    }

    /// Reads entries from the oldest on. An entry of an ended job was written when the job ended.
    pub(super) async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        if !state.is_ended() {
            return Ok(0);
        }
        let now = self.link.now().await?;
        let is_old = |time| retention.max_age.is_some_and(|age| now - time > age);
        let (stream, subject) = (self.link.names.states(), self.link.names.all_states());
        let (mut ended, mut removed, mut old) = (Vec::new(), Vec::new(), 0);
        let mut from = 1;
        loop {
            let batch = self.link.batch(&stream, &subject, from).await?;
            let Some(last) = batch.last() else { break };
            from = last.sequence + 1;
            let is_enough = retention.max_count.is_none() && (old >= max || !is_old(last.time));
            for found in batch {
                let Some(id) = found.id() else { continue };
                let mut stored = found.entry(id)?;
                let job = &mut stored.entry.job;
                (job.outcome, job.error) = (None, None);
                if stored.entry.is_removed {
                    removed.push(stored);
                } else if job.state == state {
                    old += usize::from(is_old(stored.written_at));
                    ended.push(stored);
                }
            }
            if is_enough {
                break;
            }
        }
        self.sweep(removed, now).await?;
        ended.truncate(old.max(surplus(ended.len(), retention)).min(max));
        let mut gone = 0;
        for ended in ended.chunks(IN_FLIGHT) {
            let erased = try_join_all(ended.iter().map(|stored| self.erase_ended(stored))).await?;
            gone += erased.into_iter().filter(|is_gone| *is_gone).count();
        }
        Ok(gone)
    }

    /// Deletes the entries of removed jobs that nothing is under way to any more.
    async fn sweep(&self, removed: Vec<Stored>, now: OffsetDateTime) -> Result<(), QueueError> {
        for stored in removed {
            let is_old = now - stored.written_at > REMOVED_FOR;
            if is_old && !self.is_under_way(&stored.entry.job).await? {
                self.erase_entry(&stored).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        let lines = self.lines().await?;
        let line = lines.iter().find(|line| line.hook.as_deref() == Some(hook));
        let Some(line) = line else { return Ok(0) };
        Ok(self.queued(line).await?.min(at_most))
    }

    /// How many jobs wait: messages, without those that are under way.
    async fn queued(&self, line: &Line) -> Result<u64, QueueError> {
        let of_hook = |place| self.link.names.of_hook(place, &line.consumer);
        let due = self.link.count(&of_hook(Place::Due)).await?;
        let later = self.link.count(&of_hook(Place::Later)).await?;
        Ok(due.saturating_sub(line.under_way).saturating_add(later))
    }

    pub(super) async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        let lines = self.lines().await?;
        let now = self.link.now().await?;
        let mut hooks = Vec::new();
        for line in lines {
            let Some(hook) = &line.hook else { continue };
            let dead = self.link.names.of_hook(Place::Dead, &line.consumer);
            let mut stats = HookStats::new(hook);
            stats.queued = self.queued(&line).await?;
            stats.running = line.under_way;
            stats.dead = self.link.count(&dead).await?;
            if stats.queued > 0 {
                let oldest = self.oldest(&line).await?;
                stats.oldest_queued =
                    oldest.map(|oldest| Duration::try_from(now - oldest).unwrap_or_default());
            }
            hooks.push(stats);
        }
        Ok(hooks)
    }

    /// When the oldest of the first messages of a hook was stored.
    async fn oldest(&self, line: &Line) -> Result<Option<OffsetDateTime>, QueueError> {
        let mut oldest = None;
        for (place, from) in [(Place::Due, line.delivered.saturating_add(1)), (Place::Later, 1)] {
            let subject = self.link.names.of_hook(place, &line.consumer);
            if let Some(found) = self.link.next(&subject, from).await? {
                // The id has no part in the time.
                let job = unclaimed(JobId::from_bytes([0; 16]), &found)?;
                oldest = Some(oldest.map_or(job.created_at, |oldest| job.created_at.min(oldest)));
            }
        }
        Ok(oldest)
    }
}

/// The first jobs of a list.
struct Page<'a> {
    filter: &'a JobFilter,
    after: Option<&'a JobCursor>,
    limit: usize,
    jobs: BTreeMap<JobCursor, Job>,
}

impl Page<'_> {
    fn wants(&self, job: &Job) -> bool {
        let place = JobCursor::from(job);
        let last = self.jobs.keys().next().filter(|_| self.jobs.len() >= self.limit);
        self.after.is_none_or(|after| place < *after)
            && last.is_none_or(|last| place > *last)
            && self.filter.fits(job)
    }

    fn keep(&mut self, job: Job) {
        if self.wants(&job) {
            self.jobs.insert(JobCursor::from(&job), job);
        }
        if self.jobs.len() > self.limit {
            self.jobs.pop_first();
        }
    }

    /// Whether no job that was stored by then comes in.
    fn is_full(&self, time: OffsetDateTime) -> bool {
        let last = self.jobs.keys().next();
        self.jobs.len() >= self.limit && last.is_none_or(|last| last.created_at() > time)
    }
}

/// How many of so many ended jobs are beyond the count.
fn surplus(ended: usize, retention: &Retention) -> usize {
    let count = retention.max_count.and_then(|count| usize::try_from(count).ok());
    ended.saturating_sub(count.unwrap_or(usize::MAX))
}
