//! Claims that wait hear of jobs.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::{Instant, sleep, timeout};
use tower_webhook::queue::{HookLimits, JobQueue, PostgresQueue};

use super::server::{self, Server};
use super::{LEASE, enqueue, fresh_schema, open};

const LONG: Duration = Duration::from_secs(60);

async fn open_without_polls(server: &Server, schema: &str) -> PostgresQueue {
    open(server, schema, HookLimits::new()).await.with_poll_interval(LONG).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_hears_of_jobs_of_other_queues() {
    let server = server::shared();
    let schema = fresh_schema();
    let (here, there) =
        (open_without_polls(&server, &schema).await, open_without_polls(&server, &schema).await);
    for producer in [&here, &there] {
        let waiting = here.clone();
        let claim = tokio::spawn(async move { waiting.claim(1, LEASE, LONG).await.unwrap() });
        // Long enough to be waiting.
        sleep(Duration::from_millis(500)).await;
        let id = enqueue(producer, "a").await;
        let claimed = timeout(LONG / 6, claim).await.expect("no wake-up").unwrap();
        assert_eq!(claimed[0].lease.job(), id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_is_claimed_when_it_is_due() {
    let server = server::shared();
    let queue = open_without_polls(&server, &fresh_schema()).await;
    enqueue(&queue, "a").await;
    let lease = queue.claim(1, LEASE, LONG).await.unwrap()[0].lease;
    let started = Instant::now();
    let _ = queue.retry_after(&lease, Duration::from_secs(1), "later").await.unwrap();
    let claimed = timeout(LONG / 6, queue.claim(1, LEASE, LONG)).await.unwrap().unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(started.elapsed() >= Duration::from_millis(990));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_few_notifications() {
    let server = Server::start();
    let queue = open(&server, "public", HookLimits::new()).await;
    let mut listener = PgListener::connect(&server.url()).await.unwrap();
    let channel = queue.channel().to_owned();
    listener.listen(&channel).await.unwrap();
    let started = Instant::now();
    let producers = (0..8).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move {
            for _ in 0..125 {
                enqueue(&queue, "a").await;
            }
        })
    });
    futures_util::future::join_all(producers).await;
    let mut count: u128 = 0;
    while timeout(Duration::from_secs(1), listener.recv()).await.is_ok() {
        count += 1;
    }
    // One for each 25 ms, the first, and the last.
    assert!(count >= 1 && count <= 2 + started.elapsed().as_millis() / 25, "{count}");
    assert!(count < 500, "{count}");
}
