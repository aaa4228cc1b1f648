//! A queue that cannot be reached, panics, or loses an answer on demand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tower_webhook::queue::{
    ClaimedJob, Enqueued, HookStats, Job, JobChange, JobCursor, JobFilter, JobId, JobQueue,
    JobState, Lease, LeaseState, MemoryQueue, NewJob, QueueError, Retention,
};

#[derive(Clone, Default)]
pub(crate) struct Unreliable {
    pub(crate) inner: MemoryQueue,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) panics: Arc<AtomicBool>,
    /// The next change under a lease is made, and its answer is lost.
    pub(crate) loses_an_answer: Arc<AtomicBool>,
    /// Whether each job is larger than it takes.
    pub(crate) is_small: Arc<AtomicBool>,
    /// The job of which no end is taken.
    pub(crate) endless: Arc<Mutex<Option<JobId>>>,
    pub(crate) heartbeats: Arc<AtomicU64>,
    pub(crate) claims: Arc<AtomicU64>,
    /// How often jobs that wait were counted.
    pub(crate) counts: Arc<AtomicU64>,
}

impl Unreliable {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn set_panics(&self, panics: bool) {
        self.panics.store(panics, Ordering::SeqCst);
    }

    fn up(&self) -> Result<&MemoryQueue, QueueError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a fault of the queue");
        if self.down.load(Ordering::SeqCst) {
            return Err(QueueError::unavailable("the cable is out"));
        }
        Ok(&self.inner)
    }

    fn takes_end_of(&self, lease: &Lease) -> Result<&MemoryQueue, QueueError> {
        if *self.endless.lock().unwrap() == Some(lease.job()) {
            return Err(QueueError::too_large("a byte is too much"));
        }
        self.up()
    }

    fn answer(&self, answer: LeaseState) -> Result<LeaseState, QueueError> {
        if self.loses_an_answer.swap(false, Ordering::SeqCst) {
            return Err(QueueError::unavailable("the answer is lost"));
        }
        Ok(answer)
    }
}

#[async_trait]
impl JobQueue for Unreliable {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        if self.is_small.load(Ordering::SeqCst) {
            return Err(QueueError::too_large("a byte is too much"));
        }
        self.up()?.enqueue(job).await
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        let claimed = self.up()?.claim(max, lease, wait).await?;
        self.claims.fetch_add(claimed.len() as u64, Ordering::SeqCst);
        Ok(claimed)
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        self.heartbeats.fetch_add(1, Ordering::SeqCst);
        self.up()?.heartbeat(lease, lasts).await
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        self.answer(self.takes_end_of(lease)?.complete(lease, outcome).await?)
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        self.answer(self.takes_end_of(lease)?.retry_after(lease, delay, error).await?)
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        self.answer(self.up()?.release(lease, delay).await?)
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        self.answer(self.takes_end_of(lease)?.bury(lease, error, ran).await?)
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        self.up()?.state(id).await
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        self.up()?.list(filter, after, limit).await
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        self.up()?.retry(id).await
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        self.up()?.remove(id).await
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        self.up()?.purge(state, retention, max).await
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        self.counts.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            // The deadline of an engine that is silent.
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let count = self.up()?.backlog(hook, at_most).await;
        // An answer that takes its time, as that of a server.
        tokio::task::yield_now().await;
        count
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        self.up()?.stats().await
    }
}
