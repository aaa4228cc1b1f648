//! Several queues, and several processes, on one file.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_webhook::queue::{HookLimits, JobQueue, JobState, LeaseState, SqliteQueue};

use super::{LEASE, claim, enqueue, file, in_an_hour, open};
use crate::races::{each_stored_job_goes_once, one_job_runs_under_a_limit_of_one};
use crate::support::folder::Folder;
use crate::support::process::{Running, child, given_file};

/// Claims a job of the parent, and waits for its end.
#[tokio::test]
async fn a_worker_that_is_to_be_killed() {
    let Some(file) = given_file() else { return };
    let queue = SqliteQueue::open(file).await.unwrap();
    let claimed = queue.claim(1, LEASE, LEASE).await.unwrap();
    println!("\nclaimed {} {}", claimed[0].lease.job(), claimed[0].lease.token());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_job_of_a_killed_worker_is_claimed_again() {
    let folder = Folder::new();
    let queue = open(&folder).await;
    let name = "sqlite::processes::a_worker_that_is_to_be_killed";
    let mut worker = Running(child(name, &file(&folder)).spawn().unwrap());
    // The worker may wait already: it hears of the job nevertheless.
    let id = enqueue(&queue, "a").await;
    let mut output = BufReader::new(worker.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("claimed ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the worker failed");
    }
    assert_eq!(line.split(' ').nth(1).unwrap(), id.to_string());
    worker.0.kill().unwrap();
    worker.0.wait().unwrap();

    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Running);
    assert!(claim(&queue, 1).await.is_empty());
    let later = queue.clone().with_clock(in_an_hour());
    let claimed = claim(&later, 1).await;
    assert_eq!((claimed[0].lease.job(), claimed[0].attempt), (id, 2));
    assert_ne!(line.trim().split(' ').nth(2).unwrap(), claimed[0].lease.token().to_string());
    assert_eq!(queue.complete(&claimed[0].lease, "done").await.unwrap(), LeaseState::Held);
}

#[tokio::test]
async fn a_claim_hears_of_jobs_of_another_queue() {
    let folder = Folder::new();
    let (here, there) = (open(&folder).await, open(&folder).await);
    let claims = tokio::spawn(async move { here.claim(1, LEASE, Duration::MAX).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let id = enqueue(&there, "a").await;
    assert_eq!(claims.await.unwrap()[0].lease.job(), id);
}

#[tokio::test]
async fn a_claim_wakes_up_for_the_next_job_that_is_due() {
    let folder = Folder::new();
    let queue = open(&folder).await.with_poll_interval(LEASE).unwrap();
    let id = enqueue(&queue, "a").await;
    let first = claim(&queue, 1).await;
    let delay = Duration::from_millis(200);
    let retried = queue.retry_after(&first[0].lease, delay, "busy").await.unwrap();
    assert_eq!(retried, LeaseState::Held);
    let second = queue.claim(1, LEASE, Duration::MAX).await.unwrap();
    assert_eq!((second[0].lease.job(), second[0].attempt), (id, 2));
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!(job.error.as_deref(), Some("busy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_claims_are_exclusive_over_several_queues() {
    static RUNNING: AtomicU32 = AtomicU32::new(0);

    let folder = Folder::new();
    let limits = HookLimits::new().with("limited", 3).unwrap();
    let producer = open(&folder).await;
    let mut expected = BTreeSet::new();
    for _ in 0..40 {
        expected.insert(enqueue(&producer, "limited").await);
        expected.insert(enqueue(&producer, "free").await);
    }
    let mut workers = Vec::new();
    for _ in 0..4 {
        let queue = open(&folder).await.with_hook_limits(limits.clone());
        workers.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            loop {
                let jobs = queue.claim(5, LEASE, Duration::ZERO).await.unwrap();
                let limited = jobs.iter().filter(|job| job.hook == "limited").count();
                let limited = u32::try_from(limited).unwrap();
                let running = RUNNING.fetch_add(limited, Ordering::SeqCst) + limited;
                assert!(running <= 3, "{running} jobs run");
                for job in &jobs {
                    assert_eq!(job.attempt, 1);
                    if job.hook == "limited" {
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                    }
                    let held = queue.complete(&job.lease, "").await.unwrap();
                    assert_eq!(held, LeaseState::Held);
                    ids.push(job.lease.job());
                }
                if jobs.is_empty() && queue.backlog("limited", 1).await.unwrap() == 0 {
                    return ids;
                }
            }
        }));
    }
    let mut ended = Vec::new();
    for worker in workers {
        ended.extend(worker.await.unwrap());
    }
    ended.sort_unstable();
    assert_eq!(ended, Vec::from_iter(expected));
}

#[tokio::test]
async fn a_limit_makes_room_when_a_lease_has_ended() {
    let folder = Folder::new();
    let limits = HookLimits::new().with("a", 1).unwrap();
    let queue = open(&folder).await.with_hook_limits(limits);
    let (first, second) = (enqueue(&queue, "a").await, enqueue(&queue, "a").await);
    assert_eq!(claim(&queue, 5).await[0].lease.job(), first);
    assert!(claim(&queue, 5).await.is_empty());
    // Two are due, and there is room for one.
    let later = queue.clone().with_clock(in_an_hour());
    assert_eq!(claim(&later, 5).await.len(), 1);
    let listed = later.list(&Default::default(), None, 5).await.unwrap();
    let running = listed.iter().filter(|job| job.state == JobState::Running).count();
    assert!(running <= 2 && listed.iter().any(|job| job.id == second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_and_claims_keep_to_a_limit() {
    let folder = Folder::new();
    let limits = HookLimits::new().with("narrow", 1).unwrap();
    let open = async || open(&folder).await.with_hook_limits(limits.clone());
    one_job_runs_under_a_limit_of_one([open().await, open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_changed_by_many_at_once_goes_once() {
    let folder = Folder::new();
    each_stored_job_goes_once([open(&folder).await, open(&folder).await]).await;
}
