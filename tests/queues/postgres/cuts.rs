//! Connections that break after the server has made a change, and before its answer is there.

#[allow(dead_code)]
#[path = "../../stores/postgres/proxy.rs"]
pub(super) mod proxy;

use std::time::{Duration, Instant};

use tower_webhook::queue::{
    Enqueued, HookLimits, JobId, JobQueue, JobState, LeaseState, NewJob, PostgresQueue,
};

use self::proxy::{Fault, Proxy};
use super::server::{self, Server};
use super::{LEASE, claim, enqueue, fresh_schema, open};

/// A queue behind a proxy, and the same one without it.
async fn queues(server: &Server, limits: HookLimits) -> (Proxy, PostgresQueue, PostgresQueue) {
    let schema = fresh_schema();
    let direct = open(server, &schema, limits.clone()).await;
    let proxy = Proxy::start(server.port()).await;
    let queue = PostgresQueue::connect(&proxy.url()).await.unwrap();
    let queue = queue.with_schema(&schema).unwrap().with_hook_limits(limits);
    (proxy, queue, direct)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_answer_is_lost_is_made_once() {
    let server = server::shared();
    let (proxy, queue, _) = queues(&server, HookLimits::new()).await;
    let id = JobId::random().unwrap();
    proxy.set(Fault::CutAnswerTo("a payload of its own"));
    let enqueued = queue.enqueue(NewJob::new(id, "a payload of its own")).await.unwrap();
    match enqueued {
        Enqueued::New => {}
        Enqueued::Known(job) => assert_eq!(job.id, id),
    }
    let lease = claim(&queue, 2).await[0].lease;
    proxy.set(Fault::CutAnswerTo("an error of its own"));
    let retried = queue.retry_after(&lease, Duration::ZERO, "an error of its own").await;
    assert_eq!(retried.unwrap(), LeaseState::Held);

    let lease = claim(&queue, 2).await[0].lease;
    proxy.set(Fault::CutAnswerTo("an outcome of its own"));
    let completed = queue.complete(&lease, "an outcome of its own").await;
    assert_eq!(completed.unwrap(), LeaseState::Held);
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Succeeded, 2));
    // It was made once: the lease is lost now.
    assert_eq!(queue.complete(&lease, "again").await.unwrap(), LeaseState::Lost);

    let other = enqueue(&queue, "a").await;
    let lease = claim(&queue, 2).await[0].lease;
    proxy.set(Fault::CutAnswerTo("a last error of its own"));
    assert_eq!(
        queue.bury(&lease, "a last error of its own", true).await.unwrap(),
        LeaseState::Held
    );
    assert_eq!(queue.state(&other).await.unwrap().unwrap().state, JobState::Dead);
}

/// A claim whose answer is cut anywhere gets its jobs nevertheless, or leaves them for others.
#[tokio::test(flavor = "multi_thread")]
async fn no_cut_of_a_claim_gives_a_job_to_two() {
    let server = server::shared();
    for limits in [HookLimits::new(), HookLimits::new().with("a", 100).unwrap()] {
        let (proxy, queue, direct) = queues(&server, limits).await;
        for bytes in (0..2000).step_by(100) {
            let ids = [enqueue(&direct, "a").await, enqueue(&direct, "b").await];
            proxy.set(Fault::CutAnswerAfter(bytes));
            let claimed = queue.claim(10, LEASE, Duration::ZERO).await.unwrap_or_default();
            proxy.set(Fault::None);
            let mut held: Vec<_> = claimed.iter().map(|job| job.lease.job()).collect();
            let rest = claim(&direct, 10).await;
            held.extend(rest.iter().map(|job| job.lease.job()));
            let count = held.len();
            held.sort_unstable();
            held.dedup();
            assert_eq!(held.len(), count, "a job was claimed by two, after {bytes} bytes");
            for job in claimed.iter().chain(&rest) {
                assert_eq!(job.attempt, 1);
                assert_eq!(direct.complete(&job.lease, "done").await.unwrap(), LeaseState::Held);
            }
            // What a lost claim holds is due when its lease has ended.
            for id in ids {
                let job = direct.state(&id).await.unwrap().unwrap();
                assert!(matches!(job.state, JobState::Succeeded | JobState::Running));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_in_its_turn_does_not_stop_the_others() {
    let server = server::shared();
    let limits = HookLimits::new().with("a", 1).unwrap();
    let (proxy, queue, direct) = queues(&server, limits).await;
    let id = enqueue(&direct, "a").await;
    proxy.set(Fault::StallAnswerTo("pg_advisory_xact_lock"));
    let queue = queue.with_deadline(Duration::from_millis(500));
    assert!(queue.claim(1, LEASE, Duration::ZERO).await.is_err());
    let started = Instant::now();
    loop {
        if let Ok(claimed) = direct.claim(1, LEASE, Duration::ZERO).await {
            assert_eq!(claimed[0].lease.job(), id);
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "no turn");
    }
}
