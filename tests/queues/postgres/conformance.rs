//! The rules of `JobQueue`.

use std::time::Duration;

use tower_webhook::queue::{HookLimits, PostgresQueue, conformance};

use super::server::{self, Server};
use super::{fresh_schema, open};

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_kept() {
    let server = server::shared();
    conformance::check(async |limits| open(&server, &fresh_schema(), limits).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_the_queue() {
    let server = server::shared();
    let schema = fresh_schema();
    conformance::check_durable(async || open(&server, &schema, HookLimits::new()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_an_error() {
    let server = Server::start();
    let queue = PostgresQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_deadline(Duration::from_secs(2));
    queue.migrate().await.unwrap();
    server.kill();
    conformance::check_outage(async || queue.clone()).await;
}
