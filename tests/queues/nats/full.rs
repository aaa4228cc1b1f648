//! Servers without room.

use std::time::Duration;

use tower_webhook::queue::{
    Enqueued, JobId, JobQueue, JobState, LeaseState, NewJob, QueueErrorKind, Retention,
};

use super::server::Server;
use super::{LEASE, claim, wait_for};

fn large() -> NewJob {
    NewJob::new(JobId::random().unwrap(), "x".repeat(100_000)).with_hook("a")
}

#[tokio::test]
async fn a_full_server_acknowledges_nothing_and_loses_nothing() {
    let mut server = Server::with("max_file_store: 2MB", "");
    let queue = server.queue().await;
    let ended = large();
    assert_eq!(queue.enqueue(ended.clone()).await.unwrap(), Enqueued::New);
    let lease = claim(&queue, 1).await.pop().unwrap().lease;
    assert_eq!(queue.complete(&lease, "done").await.unwrap(), LeaseState::Held);
    let running = large();
    assert_eq!(queue.enqueue(running.clone()).await.unwrap(), Enqueued::New);
    let lease = claim(&queue, 1).await.pop().unwrap().lease;

    let mut stored = Vec::new();
    let refused = loop {
        let job = if stored.len() % 2 == 0 { large() } else { large().with_fresh_id() };
        match queue.enqueue(job.clone()).await {
            Ok(made) => assert_eq!(made, Enqueued::New),
            Err(error) => {
                assert_eq!(error.kind(), QueueErrorKind::Unavailable);
                break job;
            }
        }
        stored.push(job.id);
        assert!(stored.len() < 30, "the server is never full");
    };
    assert!(stored.len() > 10, "{}", stored.len());
    queue.enqueue(refused.clone()).await.unwrap_err();
    // It reads, and it changes nothing.
    assert_eq!(queue.state(&refused.id).await.unwrap(), None);
    assert_eq!(queue.state(&running.id).await.unwrap().unwrap().state, JobState::Running);
    assert!(matches!(queue.enqueue(ended).await.unwrap(), Enqueued::Known(_)));
    queue.claim(1, LEASE, Duration::ZERO).await.unwrap_err();
    queue.heartbeat(&lease, LEASE).await.unwrap_err();
    queue.complete(&lease, "done").await.unwrap_err();
    // Jobs that have ended make room, but not enough here.
    let now = Retention::forever().with_max_count(0);
    assert_eq!(queue.purge(JobState::Succeeded, &now, 9).await.unwrap(), 1);

    server.set("max_file_store: 20MB", "");
    server.restart();
    wait_for(async || queue.backlog("a", 9).await.is_ok()).await;
    assert_eq!(queue.complete(&lease, "done").await.unwrap(), LeaseState::Held);
    assert_eq!(queue.enqueue(refused.clone()).await.unwrap(), Enqueued::New);
    stored.push(refused.id);
    let mut claimed = Vec::new();
    while claimed.len() < stored.len() {
        // One was pulled when it could not be claimed, and comes again.
        let jobs = queue.claim(99, LEASE, LEASE).await.unwrap();
        assert!(!jobs.is_empty(), "{} of {}", claimed.len(), stored.len());
        claimed.extend(jobs.iter().map(|job| job.lease.job()));
    }
    claimed.sort_unstable();
    stored.sort_unstable();
    assert_eq!(claimed, stored);
}
