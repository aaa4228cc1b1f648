//! Claims that wait hear of jobs.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{Instant, sleep, timeout};
use tower_webhook::queue::{HookLimits, JobId, JobQueue, NewJob, PostgresQueue};

use super::cuts::proxy::{Fault, Proxy};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_one_connection_is_enough() {
    let server = server::shared();
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap();
    let queue = PostgresQueue::new(pool).with_schema(&fresh_schema()).unwrap();
    let queue = queue.with_poll_interval(LONG).unwrap();
    queue.migrate().await.unwrap();
    let waiting = queue.clone();
    let claim = tokio::spawn(async move { waiting.claim(1, LEASE, LONG).await.unwrap() });
    // Long enough to be listening.
    sleep(Duration::from_millis(500)).await;
    let id = enqueue(&queue, "a").await;
    assert_eq!(timeout(LONG / 6, claim).await.unwrap().unwrap()[0].lease.job(), id);
}

#[test]
fn a_queue_is_heard_and_hears_in_its_second_runtime() {
    let server = server::shared();
    let schema = fresh_schema();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let queue = runtime().block_on(async {
        let queue = open_without_polls(&server, &schema).await;
        enqueue(&queue, "a").await;
        assert_eq!(queue.claim(1, LEASE, Duration::ZERO).await.unwrap().len(), 1);
        sleep(Duration::from_millis(200)).await;
        queue
    });
    runtime().block_on(async {
        let other = open_without_polls(&server, &schema).await;
        for (producer, worker) in [(&queue, &other), (&other, &queue)] {
            let waiting = worker.clone();
            let claim = tokio::spawn(async move { waiting.claim(1, LEASE, LONG).await.unwrap() });
            sleep(Duration::from_millis(500)).await;
            let id = JobId::random().unwrap();
            // `Known`, if a connection of the first runtime breaks.
            let _ = producer.enqueue(NewJob::new(id, "{}")).await.unwrap();
            let claimed = timeout(LONG / 6, claim).await.expect("no wake-up").unwrap();
            assert_eq!(claimed[0].lease.job(), id);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_notification_does_not_stop_the_next_ones() {
    let server = server::shared();
    let schema = fresh_schema();
    let worker = open_without_polls(&server, &schema).await;
    let proxy = Proxy::start(server.port()).await;
    let producer = PostgresQueue::connect(&proxy.url()).await.unwrap();
    let producer = producer.with_schema(&schema).unwrap().with_deadline(Duration::from_secs(1));
    for _ in 0..50 {
        enqueue(&producer, "a").await;
    }
    // The last notification waits for the end of the pause after the one before.
    proxy.set(Fault::Stall);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(worker.claim(50, LEASE, Duration::ZERO).await.unwrap().len(), 50);
    proxy.set(Fault::None);
    let waiting = worker.clone();
    let mut claim = tokio::spawn(async move { waiting.claim(1, LEASE, LONG).await.unwrap() });
    let started = Instant::now();
    while !claim.is_finished() && started.elapsed() < LONG / 3 {
        let new = NewJob::new(JobId::random().unwrap(), "{}");
        let _ = producer.enqueue(new).await;
        let _ = timeout(Duration::from_millis(200), &mut claim).await;
    }
    assert!(claim.is_finished(), "no wake-up");
}
