//! The rules of `JobQueue`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_webhook::queue::{HookLimits, NatsQueue, conformance};

use super::server::Server;

#[tokio::test]
async fn the_rules_are_kept() {
    let server = Server::start();
    let count = AtomicU32::new(0);
    conformance::check(async |limits: HookLimits| {
        let prefix = format!("queue-{}", count.fetch_add(1, Ordering::Relaxed));
        let queue = NatsQueue::connect(&server.url()).await.unwrap();
        let queue = queue.with_prefix(&prefix).unwrap().with_hook_limits(limits);
        queue.setup().await.unwrap();
        queue
    })
    .await;
}

#[tokio::test]
async fn jobs_outlive_the_process() {
    let server = Server::start();
    conformance::check_durable(async || server.queue().await).await;
}

#[tokio::test]
async fn an_outage_is_an_error() {
    let mut server = Server::start();
    let queue = server.queue().await.with_deadline(Duration::from_millis(500));
    server.kill();
    conformance::check_outage(async || queue.clone()).await;
}
