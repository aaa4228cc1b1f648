//! A queue whose dropped calls take effect later, as those of a server do.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;

use super::tests::memory;
use crate::queue::{
    ClaimedJob, Enqueued, HookStats, Job, JobChange, JobCursor, JobFilter, JobId, JobQueue,
    JobState, Lease, LeaseState, MemoryQueue, NewJob, QueueError, Retention,
};

/// Every call is a task that goes on when the call is dropped, when so many later calls have begun.
struct Late {
    queue: MemoryQueue,
    calls: usize,
    begun: watch::Sender<usize>,
}

impl Late {
    async fn spawn<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.begun.send_modify(|begun| *begun += 1);
        let (mut begun, calls) = (self.begun.subscribe(), self.calls);
        let (sender, answer) = oneshot::channel();
        tokio::spawn(async move {
            for _ in 0..4 {
                yield_now().await;
            }
            if sender.is_closed() {
                let due = *begun.borrow() + calls;
                let _ = begun.wait_for(|&begun| begun >= due).await;
            }
            let _ = sender.send(call.await);
        });
        answer.await.map_err(QueueError::unavailable)?
    }
}

/// Methods that pass their call on. Each argument is owned by the task first.
macro_rules! passes_on {
    ($($method:ident($($arg:ident: $type:ty = $owned:expr => $passed:expr),*) -> $answer:ty;)*) => {
        #[allow(clippy::redundant_locals, reason = "some arguments are owned already")]
        #[async_trait]
        impl JobQueue for Late {
            $(async fn $method(&self, $($arg: $type),*) -> Result<$answer, QueueError> {
                let queue = self.queue.clone();
                $(let $arg = $owned;)*
                self.spawn(async move { queue.$method($($passed),*).await }).await
            })*
        }
    };
}

passes_on! {
    enqueue(job: NewJob = job => job) -> Enqueued;
    claim(
        max: usize = max => max,
        lease: Duration = lease => lease,
        wait: Duration = wait => wait
    ) -> Vec<ClaimedJob>;
    heartbeat(lease: &Lease = *lease => &lease, lasts: Duration = lasts => lasts) -> LeaseState;
    complete(lease: &Lease = *lease => &lease, outcome: &str = outcome.to_owned() => &outcome) -> LeaseState;
    retry_after(
        lease: &Lease = *lease => &lease,
        delay: Duration = delay => delay,
        error: &str = error.to_owned() => &error
    ) -> LeaseState;
    release(lease: &Lease = *lease => &lease, delay: Duration = delay => delay) -> LeaseState;
    bury(
        lease: &Lease = *lease => &lease,
        error: &str = error.to_owned() => &error,
        ran: bool = ran => ran
    ) -> LeaseState;
    state(id: &JobId = *id => &id) -> Option<Job>;
    list(
        filter: &JobFilter = filter.clone() => &filter,
        after: Option<&JobCursor> = after.copied() => after.as_ref(),
        limit: usize = limit => limit
    ) -> Vec<Job>;
    retry(id: &JobId = *id => &id) -> JobChange;
    remove(id: &JobId = *id => &id) -> JobChange;
    purge(
        state: JobState = state => state,
        retention: &Retention = *retention => &retention,
        max: usize = max => max
    ) -> usize;
    backlog(hook: &str = hook.to_owned() => &hook, at_most: u64 = at_most => at_most) -> u64;
    stats() -> Vec<HookStats>;
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_dropped_calls_come_late_passes() {
    for calls in 0..=24 {
        super::check(async |limits| Late {
            queue: memory(limits),
            calls,
            begun: watch::Sender::default(),
        })
        .await;
    }
}
