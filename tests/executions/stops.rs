//! Workers that stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, sleep};
use tower_webhook::hook::{Invocation, Outcome};
use tower_webhook::queue::{JobQueue, JobState, MemoryQueue, Worker};

use super::unreliable::Unreliable;
use super::{Running, ended, enqueue, seconds, worker};

struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_may_end_within_the_limit() {
    let queue = MemoryQueue::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let run = move |invocation: Invocation| {
        let flag = Flag(Arc::clone(&flag));
        async move {
            let long = invocation.body().as_ref() == b"long";
            sleep(seconds(if invocation.body().as_ref() == b"60" { 60 } else { 3 })).await;
            assert!(!long);
            std::mem::forget(flag);
            Ok(Outcome::empty())
        }
    };
    let running = Running::start(worker(&queue, run).with_stop_limit(seconds(5)));
    let (short, long) = (enqueue(&queue, "3").await, enqueue(&queue, "60").await);
    sleep(seconds(1)).await;
    let begun = Instant::now();
    running.stop().await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(queue.state(&short).await.unwrap().unwrap().state, JobState::Succeeded);
    // Given back, at once and as if it had not begun. Its future is gone.
    let job = queue.state(&long).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
    assert!(dropped.load(Ordering::SeqCst));

    let running = Running::start(worker(&queue, async |_| Ok(Outcome::empty())));
    assert_eq!(ended(&queue, long).await.attempts, 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_soon_and_claims_nothing_more() {
    let queue = MemoryQueue::new();
    let running = Running::start(worker(&queue, async |_| Ok(Outcome::empty())));
    sleep(seconds(10)).await;
    let begun = Instant::now();
    let stopping = tokio::spawn(running.stop());
    tokio::task::yield_now().await;
    let id = enqueue(&queue, "1").await;
    stopping.await.unwrap();
    assert!(begun.elapsed() <= seconds(2), "{:?}", begun.elapsed());
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_although_its_queue_is_away() {
    let queue = Unreliable::default();
    let run = async |_| {
        sleep(seconds(1000)).await;
        Ok(Outcome::empty())
    };
    let running = Running::start(Worker::new(queue.clone(), run).with_stop_limit(seconds(5)));
    let id = enqueue(&queue, "1").await;
    sleep(seconds(1)).await;
    queue.set_down(true);
    sleep(seconds(20)).await;
    let begun = Instant::now();
    running.stop().await;
    assert!(begun.elapsed() <= seconds(10), "{:?}", begun.elapsed());
    queue.set_down(false);
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Running);
}
