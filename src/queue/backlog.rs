use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{JobQueue, QueueError};

/// A bound on the jobs of each hook that wait: counted by the queue, and in between by this process. Calls at the same
/// time share one count (single flight).
#[derive(Debug)]
pub(super) struct BacklogLimit {
    limit: u64,
    hooks: Mutex<HashMap<String, Arc<Backlog>>>,
}

/// The jobs of one hook.
#[derive(Debug, Default)]
struct Backlog {
    count: Mutex<Count>,
    /// Held by the call that asks the queue.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Count {
    /// What the queue has counted.
    counted: u64,
    /// The jobs of this process that may not be in it: let in since, or being stored when it began.
    added: u64,
    /// The jobs that are being stored.
    storing: u64,
    /// `None` without a count, and while the queue counts.
    taken_at: Option<Instant>,
    /// When the queue could not count.
    failed_at: Option<Instant>,
}

/// A job that may wait. It is being stored until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted(Arc<Backlog>);

/// For how long a count of the queue is used.
const FRESH: Duration = Duration::from_secs(1);

/// For how long a count is used that says that the bound is reached. Where less than half of the bound waits, the queue
/// is asked again at once: it reads fewer jobs than it lets in.
const FULL: Duration = Duration::from_millis(100);

impl BacklogLimit {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, hooks: Mutex::default() }
    }

    /// Lets one more job wait, if there is room. It counts as one that does.
    pub(super) async fn admit(
        &self,
        hook: &str,
        queue: &dyn JobQueue,
    ) -> Result<Option<Admitted>, QueueError> {
        let backlog = self.backlog(hook);
        let asked_at = Instant::now();
        let mut admits = backlog.count().admits(self.limit, asked_at);
        if admits.is_none() {
            let _flight = backlog.flight.lock().await;
            admits = backlog.count().admits(self.limit, asked_at);
            if admits.is_none() {
                backlog.count().begin(asked_at)?;
                let counted = queue.backlog(hook, self.limit).await;
                backlog.count().end(counted)?;
                admits = backlog.count().admits(self.limit, asked_at);
            }
        }
        Ok((admits == Some(true)).then(|| Admitted(backlog)))
    }

    fn backlog(&self, hook: &str) -> Arc<Backlog> {
        // No code that can panic runs under this lock and the next, so a poisoned one holds what it should.
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backlog) = hooks.get(hook) {
            return Arc::clone(backlog);
        }
        // Names of hooks that are not used any more take no memory.
        let now = Instant::now();
        hooks.retain(|_, backlog| Arc::strong_count(backlog) > 1 || backlog.count().is_fresh(now));
        Arc::clone(hooks.entry(hook.to_owned()).or_default())
    }
}

impl Backlog {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// Whether a job may wait, which counts it. `None`: the queue has to count.
    fn admits(&mut self, limit: u64, asked_at: Instant) -> Option<bool> {
        let now = Instant::now();
        let taken_at = self.taken_at.filter(|_| self.is_fresh(now))?;
        if self.counted.saturating_add(self.added) < limit {
            self.added = self.added.saturating_add(1);
            self.storing = self.storing.saturating_add(1);
            return Some(true);
        }
        let is_final = taken_at >= asked_at
            || self.counted >= limit.div_ceil(2) && now.saturating_duration_since(taken_at) < FULL;
        is_final.then_some(false)
    }

    /// Begins to count, unless a count that this call has waited for has failed.
    fn begin(&mut self, asked_at: Instant) -> Result<(), QueueError> {
        if self.failed_at.is_some_and(|failed_at| failed_at > asked_at) {
            return Err(QueueError::unavailable("the jobs that wait could not be counted"));
        }
        self.taken_at = None;
        self.added = self.storing;
        Ok(())
    }

    fn end(&mut self, counted: Result<u64, QueueError>) -> Result<(), QueueError> {
        let now = Instant::now();
        self.failed_at = counted.is_err().then_some(now);
        self.counted = counted?;
        self.taken_at = Some(now);
        Ok(())
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.taken_at.is_some_and(|taken_at| now.saturating_duration_since(taken_at) < FRESH)
    }
}

impl Admitted {
    /// Says that the job was stored before.
    pub(super) fn take_back(self) {
        let mut count = self.0.count();
        count.added = count.added.saturating_sub(1);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut count = self.0.count();
        count.storing = count.storing.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{JobId, MemoryQueue, NewJob};

    #[tokio::test(start_paused = true)]
    async fn each_hook_has_a_bound() {
        let queue = MemoryQueue::new();
        let enqueue = async |hook: &str| {
            let job = NewJob::new(JobId::random().unwrap(), "").with_hook(hook);
            let _ = queue.enqueue(job).await.unwrap();
        };
        enqueue("a").await;
        let limit = BacklogLimit::new(2);
        let admits = async |hook: &str| limit.admit(hook, &queue).await.unwrap().is_some();
        assert!(admits("a").await);
        // The job that was let in counts, although the queue was not asked again.
        assert!(!admits("a").await);
        assert!(admits("b").await);

        tokio::time::advance(FRESH).await;
        assert!(admits("a").await);
        assert!(!admits("a").await);
        tokio::time::advance(FULL).await;
        limit.admit("a", &queue).await.unwrap().unwrap().take_back();
        assert!(admits("a").await);
        assert!(!admits("a").await);
        enqueue("a").await;
        tokio::time::advance(FRESH).await;
        assert!(!admits("a").await);
        assert!(admits("c").await);
        let mut hooks: Vec<_> = limit.hooks.lock().unwrap().keys().cloned().collect();
        hooks.sort();
        assert_eq!(hooks, ["a", "c"]);
    }

    /// A job that is not stored yet is in no count of the queue.
    #[tokio::test(start_paused = true)]
    async fn jobs_that_are_being_stored_count() {
        let queue = MemoryQueue::new();
        let limit = BacklogLimit::new(2);
        let admit = async || limit.admit("a", &queue).await.unwrap();
        let (first, second) = (admit().await.unwrap(), admit().await.unwrap());
        tokio::time::advance(FRESH).await;
        assert!(admit().await.is_none());
        drop((first, second));
        tokio::time::advance(FULL).await;
        assert!(admit().await.is_some());
    }
}
