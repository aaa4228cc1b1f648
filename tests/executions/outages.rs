//! A queue that cannot be reached for a while.

use std::sync::atomic::Ordering;

use tokio::time::sleep;
use tower_webhook::hook::{Invocation, Outcome};
use tower_webhook::queue::{JobQueue, JobState, LeaseState, Retention, Worker};

use super::unreliable::Unreliable;
use super::{Notes, Running, ended, enqueue, exact_backoff, seconds};

fn worker(queue: &Unreliable, notes: &Notes, run_seconds: u64) -> Worker {
    let run = move |_: Invocation| async move {
        sleep(seconds(run_seconds)).await;
        Ok(Outcome::empty())
    };
    let worker = Worker::new(queue.clone(), notes.executor(run)).with_backoff(exact_backoff());
    worker.with_lease(seconds(3)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_while_its_job_runs() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let workers = [(); 2].map(|()| Running::start(worker(&queue, &notes, 30)));
    let id = enqueue(&queue, "1").await;
    let job = ended(&queue, id).await;
    assert_eq!((job.state, job.attempts), (JobState::Succeeded, 1));
    assert_eq!(notes.calls().len(), 1);
    assert!((25..=35).contains(&queue.heartbeats.load(Ordering::SeqCst)));
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_no_attempt() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let running = Running::start(worker(&queue, &notes, 10));
    let id = enqueue(&queue, "1").await;
    sleep(seconds(1)).await;
    queue.set_down(true);
    // Longer than the attempt and than its lease.
    sleep(seconds(60)).await;
    queue.set_down(false);
    let job = ended(&queue, id).await;
    assert_eq!((job.state, job.attempts), (JobState::Succeeded, 1));
    assert_eq!(notes.calls().len(), 1);

    // The worker goes on with other jobs.
    let id = enqueue(&queue, "2").await;
    assert_eq!(ended(&queue, id).await.state, JobState::Succeeded);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_lost_its_lease_completes_nothing() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let running = Running::start(worker(&queue, &notes, 20));
    let id = enqueue(&queue, "1").await;
    sleep(seconds(1)).await;
    queue.set_down(true);
    sleep(seconds(5)).await;
    // Another worker can reach the queue, and takes the job.
    let mut claimed = queue.inner.claim(1, seconds(1000), seconds(10)).await.unwrap();
    let other = claimed.pop().unwrap();
    assert_eq!((other.lease.job(), other.attempt), (id, 2));
    queue.set_down(false);
    sleep(seconds(60)).await;
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Running, 2));
    assert_eq!(queue.complete(&other.lease, "late").await.unwrap(), LeaseState::Held);
    assert_eq!(notes.calls().len(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_queue_ends_no_attempt() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let running = Running::start(worker(&queue, &notes, 40).with_lease(seconds(60)).unwrap());
    let id = enqueue(&queue, "1").await;
    // While the lease is extended, and when the end is reported.
    for after in [2, 6] {
        sleep(seconds(after)).await;
        queue.set_panics(true);
        sleep(seconds(30)).await;
        queue.set_panics(false);
    }
    let job = ended(&queue, id).await;
    assert_eq!((job.state, job.attempts), (JobState::Succeeded, 1));
    assert_eq!(notes.calls().len(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_queue_does_not_end_the_removal_of_old_jobs() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let keep = Retention::forever().with_max_count(0);
    let worker = worker(&queue, &notes, 0).with_retention(JobState::Succeeded, keep).unwrap();
    let running = Running::start(worker);
    let id = enqueue(&queue, "1").await;
    ended(&queue, id).await;
    queue.set_panics(true);
    sleep(seconds(200)).await;
    queue.set_panics(false);
    assert!(queue.state(&id).await.unwrap().is_some());
    sleep(seconds(200)).await;
    assert_eq!(queue.state(&id).await.unwrap(), None);
    running.stop().await;
}
