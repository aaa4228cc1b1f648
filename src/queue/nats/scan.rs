//! What looks at many jobs: lists, numbers, and the removal of those that have ended.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use time::OffsetDateTime;

use super::Inner;
use super::change::unclaimed;
use super::link::Line;
use super::names::{Place, parts};
use super::record::Stored;
use crate::queue::{HookStats, Job, JobCursor, JobFilter, JobId, JobState, QueueError, Retention};

/// How many messages are asked for at a time.
const IN_FLIGHT: usize = 64;
/// For how long the entry of a removed job is kept: longer than a worker takes from the message to the entry.
const REMOVED_FOR: Duration = Duration::from_secs(60);

impl Inner {
    pub(super) async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        let mut jobs = Jobs { filter, after, limit, kept: Vec::new() };
        let names = &self.link.names;
        let (stream, everywhere) = (names.jobs(), names.everywhere(Place::Due));
        // Messages first: a job that is claimed in between has an entry then.
        let (messages, _) = self.link.subjects(&stream, &everywhere).await?;
        let mut with_entry = HashSet::new();
        for ids in self.ids().await?.0.chunks(IN_FLIGHT) {
            for stored in self.all_stored(ids).await? {
                with_entry.insert(stored.entry.job.id);
                if !stored.entry.is_removed {
                    jobs.keep(stored.entry.job);
                }
            }
        }
        let messages = messages.iter().filter_map(|subject| Some((subject, parts(subject)?.1)));
        let without: Vec<_> = messages.filter(|(_, id)| !with_entry.contains(id)).collect();
        for messages in without.chunks(IN_FLIGHT) {
            let found = messages.iter().map(|(subject, id)| self.waiting(subject, id));
            try_join_all(found).await?.into_iter().flatten().for_each(|job| jobs.keep(job));
        }
        Ok(jobs.finish())
    }

    /// The job of a message, which a worker may have taken since.
    async fn waiting(&self, subject: &str, id: &JobId) -> Result<Option<Job>, QueueError> {
        match self.link.last(&self.link.names.jobs(), subject).await? {
            Some(found) => unclaimed(*id, &found).map(Some),
            None => self.job(id).await,
        }
    }

    async fn all_stored(&self, ids: &[JobId]) -> Result<Vec<Stored>, QueueError> {
        let stored = try_join_all(ids.iter().map(|id| self.link.stored(id))).await?;
        Ok(stored.into_iter().flatten().collect())
    }

    /// The ids that have an entry, and the time of the server.
    async fn ids(&self) -> Result<(Vec<JobId>, OffsetDateTime), QueueError> {
        let names = &self.link.names;
        let (subjects, now) = self.link.subjects(&names.states(), &names.all_states()).await?;
        let id = |subject: &String| subject.rsplit('.').next()?.parse().ok();
        Ok((subjects.iter().filter_map(id).collect(), now))
    }

    pub(super) async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        if !state.is_ended() {
            return Ok(0);
        }
        let (ids, now) = self.ids().await?;
        let (mut ended, mut removed) = (Vec::new(), Vec::new());
        for ids in ids.chunks(IN_FLIGHT) {
            for stored in self.all_stored(ids).await? {
                if stored.entry.is_removed {
                    removed.push(stored);
                } else if stored.entry.job.state == state {
                    ended.push(stored);
                }
            }
        }
        self.sweep(removed, now).await?;
        ended.sort_unstable_by_key(|stored| (stored.written_at, stored.entry.job.id));
        let surplus = surplus(ended.len(), retention);
        let mut index = 0;
        ended.retain(|stored| {
            index += 1;
            let is_old = retention.max_age.is_some_and(|age| now - stored.written_at > age);
            index <= surplus || is_old
        });
        ended.truncate(max);
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

/// The first jobs of a list, without the others in memory.
struct Jobs<'a> {
    filter: &'a JobFilter,
    after: Option<&'a JobCursor>,
    limit: usize,
    kept: Vec<Job>,
}

impl Jobs<'_> {
    fn keep(&mut self, job: Job) {
        let is_after = self.after.is_none_or(|after| JobCursor::from(&job) < *after);
        if is_after && self.filter.fits(&job) {
            self.kept.push(job);
        }
        if self.kept.len() > self.limit.saturating_mul(2).saturating_add(1024) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.kept.sort_by_key(|job| Reverse(JobCursor::from(job)));
        self.kept.truncate(self.limit);
    }

    fn finish(mut self) -> Vec<Job> {
        self.shorten();
        self.kept
    }
}

/// How many of so many ended jobs are beyond the count.
fn surplus(ended: usize, retention: &Retention) -> usize {
    let count = retention.max_count.and_then(|count| usize::try_from(count).ok());
    ended.saturating_sub(count.unwrap_or(usize::MAX))
}
