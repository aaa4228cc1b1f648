//! Calls of several tasks at once, whose order is left to chance.

use std::time::Duration;

use tokio::time::sleep;
use tower_webhook::queue::{
    Enqueued, JobChange, JobFilter, JobId, JobQueue, JobState, LeaseState, NewJob, Retention,
};

/// The last moment of a lease, its heartbeat, and claims of other jobs, where the hook `narrow` has a limit of 1.
pub(crate) async fn one_job_runs_under_a_limit_of_one<Q: JobQueue + Clone>(queues: [Q; 2]) {
    const LEASE: Duration = Duration::from_secs(60);
    const ENDS: Duration = Duration::from_millis(20);
    let [here, there] = queues;
    for round in 0..40_u64 {
        for _ in 0..2 {
            let new = NewJob::new(JobId::random().unwrap(), "{}").with_hook("narrow");
            let _ = here.enqueue(new).await.unwrap();
        }
        let ending = here.claim(1, ENDS, LEASE).await.unwrap()[0].lease;
        // Before the end, after it, and near to it.
        sleep(Duration::from_millis(round / 2 + 6)).await;
        let claims = [&here, &there, &there].map(|queue| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.claim(3, LEASE, Duration::ZERO).await.unwrap() })
        });
        let mut held = Vec::new();
        if here.heartbeat(&ending, LEASE).await.unwrap() == LeaseState::Held {
            held.push(ending);
        }
        for claim in claims {
            held.extend(claim.await.unwrap().iter().map(|job| job.lease));
        }
        if held.is_empty() {
            held.push(there.claim(3, LEASE, LEASE).await.unwrap()[0].lease);
        }
        assert_eq!(held.len(), 1, "round {round}");
        assert_eq!(here.complete(&held[0], "").await.unwrap(), LeaseState::Held);
        let _ = here.complete(&ending, "").await.unwrap();
    }
}

/// Every change of three jobs at once. Each job that was stored was removed once, was purged once, or is there.
pub(crate) async fn each_stored_job_goes_once<Q: JobQueue + Clone>(queues: [Q; 2]) {
    const LEASE: Duration = Duration::from_millis(5);
    let tasks = (0..8_u8).map(|task| {
        let queue = queues[usize::from(task % 2)].clone();
        tokio::spawn(async move {
            let (mut stored, mut gone, all) = (0, 0, Retention::forever().with_max_count(0));
            for round in 0..80_u8 {
                // Neighbours are of different tasks and do different things.
                let id = JobId::from_bytes([round.wrapping_mul(5).wrapping_add(task) % 3; 16]);
                match (round / 8 + round + task) % 8 {
                    0 | 1 => {
                        let enqueued = queue.enqueue(NewJob::new(id, "{}")).await.unwrap();
                        stored += usize::from(enqueued == Enqueued::New);
                    }
                    2 | 3 => {
                        for job in queue.claim(2, LEASE, Duration::ZERO).await.unwrap() {
                            let _ = queue.heartbeat(&job.lease, LEASE).await.unwrap();
                            let buried = queue.bury(&job.lease, "", true).await.unwrap();
                            let again = queue.complete(&job.lease, "").await.unwrap();
                            assert_eq!(again, LeaseState::Lost, "after {buried:?}");
                        }
                    }
                    4 => {
                        for job in queue.claim(2, LEASE, Duration::ZERO).await.unwrap() {
                            let _ = queue.complete(&job.lease, "").await.unwrap();
                        }
                    }
                    5 => drop(queue.retry(&id).await.unwrap()),
                    6 => {
                        let removed = queue.remove(&id).await.unwrap();
                        gone += usize::from(removed == JobChange::Changed);
                    }
                    _ => {
                        for state in [JobState::Dead, JobState::Succeeded] {
                            gone += queue.purge(state, &all, 3).await.unwrap();
                        }
                    }
                }
            }
            (stored, gone)
        })
    });
    let (mut stored, mut gone) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let (of_task, gone_by_task) = task.await.unwrap();
        (stored, gone) = (stored + of_task, gone + gone_by_task);
    }
    let left = queues[0].list(&JobFilter::all(), None, 10).await.unwrap().len();
    assert_eq!(stored, gone + left);
    assert!(gone > 0);
}
