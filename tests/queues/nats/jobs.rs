//! The way of a job.

use std::time::Duration;

use tower_webhook::queue::{
    Enqueued, JobChange, JobFilter, JobQueue, JobState, LeaseState, NewJob,
};

use super::server::Server;
use super::{LEASE, claim, enqueue};

#[tokio::test]
async fn a_job_runs_fails_dies_and_starts_again() {
    let server = Server::start();
    let queue = server.queue().await;
    let id = enqueue(&queue, "a").await;
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Queued);
    assert_eq!(queue.backlog("a", 10).await.unwrap(), 1);

    let job = claim(&queue, 2).await.pop().unwrap();
    assert_eq!((job.lease.job(), job.attempt, &*job.payload), (id, 1, "{}"));
    assert_eq!(queue.backlog("a", 10).await.unwrap(), 0);
    let delay = Duration::from_millis(400);
    assert_eq!(queue.retry_after(&job.lease, delay, "one").await.unwrap(), LeaseState::Held);
    assert_eq!(queue.backlog("a", 10).await.unwrap(), 1);
    assert!(claim(&queue, 2).await.is_empty());

    let job = queue.claim(2, LEASE, LEASE).await.unwrap().pop().unwrap();
    assert_eq!(job.attempt, 2);
    assert_eq!(queue.release(&job.lease, Duration::ZERO).await.unwrap(), LeaseState::Held);
    let job = claim(&queue, 2).await.pop().unwrap();
    assert_eq!(job.attempt, 2);
    assert_eq!(queue.bury(&job.lease, "two", true).await.unwrap(), LeaseState::Held);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats[0].queued, stats[0].running, stats[0].dead), (0, 0, 1));

    assert_eq!(queue.retry(&id).await.unwrap(), JobChange::Changed);
    let job = claim(&queue, 2).await.pop().unwrap();
    assert_eq!((job.attempt, &*job.payload), (1, "{}"));
    assert_eq!(queue.complete(&job.lease, "done").await.unwrap(), LeaseState::Held);
    let known = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((known.state, known.outcome.as_deref()), (JobState::Succeeded, Some("done")));
    let listed = queue.list(&JobFilter::all(), None, 10).await.unwrap();
    let mut shown = known.clone();
    shown.outcome = None;
    assert_eq!(listed, [shown]);
    let again = queue.enqueue(NewJob::new(id, "{}").with_hook("a")).await.unwrap();
    assert_eq!(again, Enqueued::Known(Box::new(known)));
    assert!(claim(&queue, 2).await.is_empty());
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats[0].queued, stats[0].running, stats[0].dead), (0, 0, 0));
}
