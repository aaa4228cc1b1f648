//! Servers that are killed, stopped and away.

use std::error::Error;
use std::time::Duration;

use tower_webhook::queue::{HookLimits, JobId, JobQueue, JobState, LeaseState, NatsQueue, NewJob};

use super::server::Server;
use super::{LEASE, claim, enqueue, wait_for};

#[tokio::test]
async fn a_stopped_server_acknowledges_nothing() {
    let server = Server::start();
    let queue = server.queue().await.with_deadline(Duration::from_millis(500));
    let id = enqueue(&queue, "a").await;
    server.pause();
    let new = NewJob::new(JobId::random().unwrap(), "{}").with_hook("a");
    let error = queue.enqueue(new).await.unwrap_err();
    assert!(error.source().is_some());
    queue.claim(1, LEASE, Duration::ZERO).await.unwrap_err();
    queue.state(&id).await.unwrap_err();
    server.resume();
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let mut server = Server::start();
    let queue = server.queue().await.with_deadline(Duration::from_secs(2));
    let producer = tokio::spawn({
        let queue = queue.clone();
        async move {
            let mut stored = Vec::new();
            for _ in 0..2000 {
                let id = JobId::random().unwrap();
                if queue.enqueue(NewJob::new(id, "{}").with_hook("a")).await.is_ok() {
                    stored.push(id);
                }
            }
            stored
        }
    });
    let worker = tokio::spawn({
        let queue = queue.clone();
        async move {
            let mut done = 0;
            while done < 500 {
                let wait = Duration::from_secs(1);
                let Ok(jobs) = queue.claim(8, Duration::from_secs(2), wait).await else { continue };
                for job in jobs {
                    done += usize::from(
                        queue.complete(&job.lease, "").await.is_ok_and(|x| x == LeaseState::Held),
                    );
                }
            }
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.restart();
    }
    let stored = producer.await.unwrap();
    worker.await.unwrap();
    assert!(stored.len() > 100, "{}", stored.len());
    loop {
        let jobs = queue.claim(64, LEASE, Duration::from_secs(12)).await.unwrap();
        if jobs.is_empty() {
            break;
        }
        for job in jobs {
            assert_eq!(queue.complete(&job.lease, "").await.unwrap(), LeaseState::Held);
        }
    }
    for id in stored {
        let job = queue.state(&id).await.unwrap().expect("an acknowledged job is lost");
        assert_eq!(job.state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn a_job_ends_although_the_server_has_forgotten_its_delivery() {
    let mut server = Server::start();
    let queue = server.queue().await;
    for _ in 0..4 {
        let id = enqueue(&queue, "a").await;
        let lease = claim(&queue, 1).await.pop().unwrap().lease;
        // What was delivered is on the disk later.
        server.restart();
        wait_for(async || queue.state(&id).await.is_ok()).await;
        assert_eq!(queue.complete(&lease, "done").await.unwrap(), LeaseState::Held);
        wait_for(async || queue.claim(1, LEASE, Duration::ZERO).await.is_ok()).await;
        assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn other_limits_are_refused() {
    let server = Server::start();
    let limits = |limit| HookLimits::new().with("a", limit).unwrap();
    let queue =
        async |limits| NatsQueue::connect(&server.url()).await.unwrap().with_hook_limits(limits);
    let one = queue(limits(1)).await;
    one.setup().await.unwrap();
    one.setup().await.unwrap();
    queue(limits(1)).await.setup().await.unwrap();
    for other in [limits(2), HookLimits::new()] {
        let other = queue(other).await;
        let error = other.setup().await.unwrap_err();
        assert!(error.source().unwrap().to_string().contains("limits"), "{error:?}");
        other.claim(1, LEASE, Duration::ZERO).await.unwrap_err();
    }
    enqueue(&one, "b").await;
    let other = queue(limits(1).with("b", 1).unwrap()).await;
    other.setup().await.unwrap_err();
    let new = NewJob::new(JobId::random().unwrap(), "{}").with_hook("b");
    let error = other.enqueue(new).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("limit"), "{error:?}");
    assert_eq!(claim(&one, 1).await.len(), 1);
}
