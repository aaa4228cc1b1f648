use super::*;
use crate::Clock;
use crate::queue::MemoryQueue;

fn memory(limits: HookLimits) -> MemoryQueue {
    let start = (time::OffsetDateTime::now_utc(), tokio::time::Instant::now());
    let clock = Clock::from_fn(move || start.0 + start.1.elapsed());
    MemoryQueue::new().with_hook_limits(limits).with_clock(clock)
}

#[tokio::test(start_paused = true)]
async fn the_queue_in_memory_keeps_the_rules() {
    check(async |limits| memory(limits)).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_opened_again_has_its_jobs() {
    let queue = memory(HookLimits::new());
    check_durable(async || queue.clone()).await;
}
