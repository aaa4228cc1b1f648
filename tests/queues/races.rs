//! Calls of several tasks at once, whose order is left to chance.

use std::time::Duration;

use tokio::time::sleep;
use tower_webhook::queue::{JobId, JobQueue, LeaseState, NewJob};

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
