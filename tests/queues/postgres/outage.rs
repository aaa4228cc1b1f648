//! A server that is killed, stopped or full.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_webhook::queue::{Enqueued, JobId, JobQueue, JobState, LeaseState, NewJob};

use super::server::Server;
use super::{claim, enqueue, queue};

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_jobs_outlive_the_server() {
    let server = Server::start();
    let queue = queue(&server).await;
    let mut acknowledged = Vec::new();
    let mut held = None;
    for round in 0..5 {
        let producers = (0..4).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(600) {
                    let id = JobId::random().unwrap();
                    if let Ok(Enqueued::New | Enqueued::Known(_)) =
                        queue.enqueue(NewJob::new(id, "{}")).await
                    {
                        acknowledged.push(id);
                    }
                }
                acknowledged
            })
        });
        let producers: Vec<_> = producers.collect();
        sleep(Duration::from_millis(200)).await;
        if round == 0 {
            held = claim(&queue, 1).await.pop();
        }
        server.kill();
        server.restart();
        for producer in producers {
            acknowledged.extend(producer.await.unwrap());
        }
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    for id in &acknowledged {
        assert!(queue.state(id).await.unwrap().is_some(), "{id} is lost");
    }
    // A lease outlives the server as well.
    let held = held.unwrap();
    assert_eq!(queue.complete(&held.lease, "done").await.unwrap(), LeaseState::Held);
    let job = queue.state(&held.lease.job()).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_is_an_error_and_no_acknowledgement() {
    let server = Server::start();
    let queue = queue(&server).await.with_deadline(Duration::from_secs(1));
    let before = enqueue(&queue, "a").await;
    server.pause();
    let started = Instant::now();
    let id = JobId::random().unwrap();
    assert!(queue.enqueue(NewJob::new(id, "{}")).await.is_err());
    assert!(queue.claim(1, Duration::from_secs(5), Duration::ZERO).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
    server.resume();
    assert_eq!(queue.state(&before).await.unwrap().unwrap().state, JobState::Queued);
    // The same call again, with the same id, is one job.
    let again = queue.enqueue(NewJob::new(id, "{}")).await.unwrap();
    assert!(matches!(again, Enqueued::New | Enqueued::Known(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let server = Server::start();
    let queue = queue(&server).await;
    let payload = "x".repeat(100_000);
    let mut stored = Vec::new();
    server.limit_files(Some(1));
    let mut refused = 0;
    for _ in 0..5 {
        let id = JobId::random().unwrap();
        match queue.enqueue(NewJob::new(id, payload.as_str())).await {
            Ok(_) => stored.push(id),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
    server.limit_files(None);
    server.kill();
    server.restart();
    stored.push(enqueue(&queue, "a").await);
    for id in &stored {
        assert!(queue.state(id).await.unwrap().is_some(), "{id} is lost");
    }
}
