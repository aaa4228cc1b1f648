//! Many callers, in several values of one queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tower_webhook::queue::{
    HookLimits, JobChange, JobId, JobQueue, JobState, LeaseState, NatsQueue, NewJob, QueueErrorKind,
};

use super::server::Server;
use super::{LEASE, claim, enqueue, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_in_all_values_together() {
    let server = Server::start();
    let limits = HookLimits::new().with("a", 2).unwrap();
    let mut queues = Vec::new();
    for _ in 0..2 {
        let queue = NatsQueue::connect(&server.url()).await.unwrap();
        let queue = queue.with_hook_limits(limits.clone());
        queue.setup().await.unwrap();
        queues.push(queue);
    }
    for _ in 0..60 {
        enqueue(&queues[0], "a").await;
    }
    let (running, most, done) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let tasks = (0..8).map(|index| {
        let queue = queues[index % 2].clone();
        let (running, most, done) = (running.clone(), most.clone(), done.clone());
        tokio::spawn(async move {
            while done.load(Ordering::SeqCst) < 60 {
                let wait = Duration::from_millis(200);
                for job in queue.claim(3, LEASE, wait).await.unwrap() {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(queue.complete(&job.lease, "").await.unwrap(), LeaseState::Held);
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_delay_takes_no_place_under_a_limit() {
    let server = Server::start();
    let queue = NatsQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_hook_limits(HookLimits::new().with("a", 1).unwrap());
    queue.setup().await.unwrap();
    let first = enqueue(&queue, "a").await;
    let second = enqueue(&queue, "a").await;
    let job = claim(&queue, 2).await.pop().unwrap();
    assert_eq!(job.lease.job(), first);
    assert!(claim(&queue, 2).await.is_empty());
    assert_eq!(queue.retry_after(&job.lease, LEASE, "no").await.unwrap(), LeaseState::Held);
    assert_eq!(claim(&queue, 2).await.pop().unwrap().lease.job(), second);
}

#[tokio::test]
async fn an_ended_lease_keeps_its_place_under_a_limit() {
    let mut server = Server::start();
    let queue = NatsQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_hook_limits(HookLimits::new().with("a", 1).unwrap());
    queue.setup().await.unwrap();
    let first = enqueue(&queue, "a").await;
    let second = enqueue(&queue, "a").await;
    let short = Duration::from_millis(300);
    for restarts in [false, true] {
        let job = queue.claim(2, short, LEASE).await.unwrap().pop().unwrap();
        assert_eq!(job.lease.job(), first);
        tokio::time::sleep(2 * short).await;
        if restarts {
            server.restart();
            wait_for(async || queue.backlog("a", 9).await.is_ok()).await;
        }
        // There is room for it, and no other job is given the place.
        assert_eq!(queue.heartbeat(&job.lease, LEASE).await.unwrap(), LeaseState::Held);
        assert!(claim(&queue, 2).await.is_empty());

        assert_eq!(queue.heartbeat(&job.lease, short).await.unwrap(), LeaseState::Held);
        let again = queue.claim(2, LEASE, LEASE).await.unwrap();
        assert_eq!((again.len(), again[0].lease.job()), (1, first));
        assert_eq!(queue.heartbeat(&job.lease, LEASE).await.unwrap(), LeaseState::Lost);
        assert!(claim(&queue, 2).await.is_empty());
        assert_eq!(queue.release(&again[0].lease, Duration::ZERO).await.unwrap(), LeaseState::Held);
        let other = claim(&queue, 2).await.pop().unwrap();
        assert_eq!(other.lease.job(), second);
        assert_eq!(queue.release(&other.lease, Duration::ZERO).await.unwrap(), LeaseState::Held);
    }
}

#[tokio::test]
async fn callers_that_wait_for_a_state_make_no_consumers() {
    let server = Server::start();
    let queue = server.queue().await;
    let id = enqueue(&queue, "a").await;
    let waiting = (0..200).map(|_| async {
        while queue.state(&id).await.unwrap().unwrap().state != JobState::Succeeded {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let work = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let mut consumers = 0;
        for stream in ["tower-webhook-jobs", "KV_tower-webhook-state"] {
            let stream = context.get_stream(stream).await.unwrap();
            consumers += stream.get_info().await.unwrap().state.consumer_count;
        }
        // That of the hook, and that of the jobs that wait.
        assert_eq!(consumers, 2);
        let job = claim(&queue, 1).await.pop().unwrap();
        assert_eq!(queue.complete(&job.lease, "").await.unwrap(), LeaseState::Held);
    };
    tokio::join!(join_all(waiting), work);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_callers_makes_a_job_and_one_claims_it() {
    let server = Server::start();
    let (one, two) = (server.queue().await, server.queue().await);
    for _ in 0..50 {
        let job = NewJob::new(JobId::random().unwrap(), "{}").with_hook("a");
        let made = (0..8).map(|index| [&one, &two][index % 2].enqueue(job.clone()));
        let made = join_all(made).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let new = made.iter().filter(|made| matches!(made, tower_webhook::queue::Enqueued::New));
        assert_eq!(new.count(), 1);
    }
    let claims = (0..8).map(|index| claim([&one, &two][index % 2], 20));
    let claimed: Vec<_> = join_all(claims).await.into_iter().flatten().collect();
    let ids: HashSet<_> = claimed.iter().map(|job| job.lease.job()).collect();
    assert_eq!((claimed.len(), ids.len()), (50, 50));
}

#[tokio::test]
async fn a_hook_of_another_process_is_found() {
    let server = Server::start();
    let (one, two) = (server.queue().await, server.queue().await);
    assert!(claim(&two, 1).await.is_empty());
    let waiting = tokio::spawn(async move { two.claim(1, LEASE, LEASE).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let id = enqueue(&one, "new").await;
    assert_eq!(waiting.await.unwrap()[0].lease.job(), id);
}

#[tokio::test]
async fn a_claim_that_is_dropped_leaves_its_jobs_to_others() {
    let server = Server::start();
    let queue = server.queue().await;
    let mut ids = HashSet::new();
    for _ in 0..20 {
        ids.insert(enqueue(&queue, "a").await);
    }
    for micros in (0..2000).step_by(100) {
        let claim = queue.claim(1, LEASE, Duration::ZERO);
        let _ = tokio::time::timeout(Duration::from_micros(micros), claim).await.map(|claimed| {
            ids.retain(|id| claimed.as_ref().unwrap().iter().all(|job| job.lease.job() != *id));
        });
    }
    while !ids.is_empty() {
        let wait = Duration::from_secs(2);
        let claimed = queue.claim(20, LEASE, wait).await.unwrap();
        assert!(!claimed.is_empty(), "{} jobs are held by callers that have left", ids.len());
        ids.retain(|id| claimed.iter().all(|job| job.lease.job() != *id));
    }
}

#[tokio::test]
async fn a_claim_that_waits_ends_with_its_caller() {
    let server = Server::start();
    let queue = server.queue().await;
    for _ in 0..5 {
        let claim = queue.claim(1, LEASE, LEASE);
        tokio::time::timeout(Duration::from_millis(50), claim).await.unwrap_err();
    }
    let id = enqueue(&queue, "a").await;
    let claimed = queue.claim(1, LEASE, Duration::from_secs(2)).await.unwrap();
    assert_eq!(claimed[0].lease.job(), id);
}

#[tokio::test]
async fn a_job_counts_as_soon_as_it_is_stored() {
    let server = Server::start();
    let queue = server.queue().await;
    for count in 1..=300 {
        enqueue(&queue, "a").await;
        assert_eq!(queue.backlog("a", 1000).await.unwrap(), count);
    }
    assert_eq!(queue.backlog("a", 7).await.unwrap(), 7);
}

#[tokio::test]
async fn a_large_job_is_refused() {
    let server = Server::start();
    let queue = server.queue().await;
    let id = JobId::random().unwrap();
    let large = NewJob::new(id, "x".repeat(1 << 20)).with_hook("a");
    assert_eq!(queue.enqueue(large).await.unwrap_err().kind(), QueueErrorKind::TooLarge);
    assert_eq!(queue.state(&id).await.unwrap(), None);
}

#[tokio::test]
async fn the_largest_job_that_is_taken_fails_dies_and_starts_again() {
    let server = Server::start();
    let queue = server.queue().await;
    let enqueue = async |size| {
        let id = JobId::random().unwrap();
        let job = NewJob::new(id, "x".repeat(size)).with_hook("a");
        queue.enqueue(job).await.map(|_| id)
    };
    // By bisection.
    let (mut taken, mut refused) = (1_000_000, 1 << 20);
    while refused - taken > 1 {
        let middle = usize::midpoint(taken, refused);
        match enqueue(middle).await {
            Ok(id) => {
                let _ = queue.remove(&id).await.unwrap();
                taken = middle;
            }
            Err(error) => {
                assert_eq!(error.kind(), QueueErrorKind::TooLarge);
                refused = middle;
            }
        }
    }
    let id = enqueue(taken).await.unwrap();
    let job = claim(&queue, 1).await.pop().unwrap();
    let state = queue.retry_after(&job.lease, Duration::ZERO, "one").await;
    assert_eq!(state.unwrap(), LeaseState::Held);
    let job = claim(&queue, 1).await.pop().unwrap();
    assert_eq!(queue.bury(&job.lease, "two", true).await.unwrap(), LeaseState::Held);
    assert_eq!(queue.retry(&id).await.unwrap(), JobChange::Changed);
    let job = claim(&queue, 1).await.pop().unwrap();
    assert_eq!((job.attempt, job.payload.len()), (1, taken));
}
