//! `PostgresQueue` on a server that these tests start.

#[cfg(feature = "conformance")]
mod conformance;
mod cuts;
mod outage;
#[allow(dead_code)]
#[path = "../../stores/postgres/server.rs"]
mod server;
mod start;
mod table;
mod texts;
mod wake_up;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_webhook::queue::{
    ClaimedJob, Enqueued, HookLimits, JobId, JobQueue, NewJob, PostgresQueue,
};

use self::server::Server;

const LEASE: Duration = Duration::from_secs(60);

/// The name of a schema that no other test has.
fn fresh_schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("queue_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A queue in a schema of its own.
async fn queue(server: &Server) -> PostgresQueue {
    open(server, &fresh_schema(), HookLimits::new()).await
}

async fn open(server: &Server, schema: &str, limits: HookLimits) -> PostgresQueue {
    let queue = PostgresQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_schema(schema).unwrap().with_hook_limits(limits);
    queue.migrate().await.unwrap();
    queue
}

async fn enqueue(queue: &PostgresQueue, hook: &str) -> JobId {
    let id = JobId::random().unwrap();
    assert_eq!(queue.enqueue(NewJob::new(id, "{}").with_hook(hook)).await.unwrap(), Enqueued::New);
    id
}

/// What is due now.
async fn claim(queue: &PostgresQueue, max: usize) -> Vec<ClaimedJob> {
    queue.claim(max, LEASE, Duration::ZERO).await.unwrap()
}
