use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{JobQueue, QueueError};

/// A bound on the jobs of each hook that wait: counted by the queue once a second, and in between by this process.
#[derive(Debug)]
pub(super) struct BacklogLimit {
    limit: u64,
    counts: Mutex<HashMap<String, Count>>,
}

#[derive(Debug)]
struct Count {
    queued: u64,
    taken_at: Instant,
}

/// For how long a count of the queue is used.
const FRESH: Duration = Duration::from_secs(1);

impl BacklogLimit {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, counts: Mutex::default() }
    }

    /// Whether one more job may wait. It counts as one that does.
    pub(super) async fn admits(
        &self,
        hook: &str,
        queue: &dyn JobQueue,
    ) -> Result<bool, QueueError> {
        if let Some(admitted) = self.admits_now(hook, Instant::now()) {
            return Ok(admitted);
        }
        let queued = queue.backlog(hook, self.limit).await?;
        let now = Instant::now();
        let mut counts = self.counts();
        // Names of hooks that are not used any more take no memory.
        counts.retain(|_, count| count.is_fresh(now));
        // A call at the same time may have counted as well: jobs that it has let in are in its count alone.
        counts.entry(hook.to_owned()).or_insert(Count { queued, taken_at: now });
        drop(counts);
        Ok(self.admits_now(hook, now).unwrap_or(false))
    }

    /// Takes back what [`admits`](Self::admits) has counted for a job that was stored before.
    pub(super) fn take_back(&self, hook: &str) {
        if let Some(count) = self.counts().get_mut(hook) {
            count.queued = count.queued.saturating_sub(1);
        }
    }

    fn admits_now(&self, hook: &str, now: Instant) -> Option<bool> {
        let mut counts = self.counts();
        let count = counts.get_mut(hook).filter(|count| count.is_fresh(now))?;
        let admitted = count.queued < self.limit;
        if admitted {
            count.queued = count.queued.saturating_add(1);
        }
        Some(admitted)
    }

    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn counts(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.taken_at) < FRESH
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
        assert!(limit.admits("a", &queue).await.unwrap());
        // The job that was let in counts, although the queue was not asked again.
        assert!(!limit.admits("a", &queue).await.unwrap());
        assert!(limit.admits("b", &queue).await.unwrap());

        tokio::time::advance(FRESH).await;
        assert!(limit.admits("a", &queue).await.unwrap());
        limit.take_back("a");
        assert!(limit.admits("a", &queue).await.unwrap());
        assert!(!limit.admits("a", &queue).await.unwrap());
        assert_eq!(limit.counts().len(), 1);
        enqueue("a").await;
        tokio::time::advance(FRESH).await;
        assert!(!limit.admits("a", &queue).await.unwrap());
    }
}
