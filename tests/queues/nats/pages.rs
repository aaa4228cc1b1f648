//! Lists and removals of many jobs.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tower_webhook::key::Owner;
use tower_webhook::queue::{
    Job, JobCursor, JobFilter, JobId, JobQueue, JobState, LeaseState, NatsQueue, NewJob, Retention,
};

use super::server::Server;
use super::{LEASE, claim};

/// Stores jobs of two hooks and two owners.
async fn fill(queue: &NatsQueue, count: u8) {
    for first in 0..count {
        let stored = (0..10).map(|second| {
            let mut id = [second; 16];
            id[0] = first;
            let job = NewJob::new(JobId::from_bytes(id), "{}")
                .with_hook(if second % 2 == 0 { "even" } else { "odd" })
                .with_owner(Owner::new(if second < 9 { "many" } else { "few" }).unwrap());
            queue.enqueue(job)
        });
        join_all(stored).await.into_iter().for_each(|stored| drop(stored.unwrap()));
    }
}

async fn pages(queue: &NatsQueue, filter: &JobFilter, limit: usize) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let after = jobs.last().map(JobCursor::from);
        let page = queue.list(filter, after.as_ref(), limit).await.unwrap();
        let is_last = page.len() < limit;
        jobs.extend(page);
        if is_last {
            return jobs;
        }
    }
}

#[tokio::test]
async fn pages_have_every_job_once_and_in_order() {
    let server = Server::start();
    let queue = server.queue().await;
    fill(&queue, 120).await;
    for (index, job) in claim(&queue, 700).await.into_iter().enumerate() {
        let (lease, long) = (&job.lease, LEASE);
        let state = match index % 5 {
            0 => queue.complete(lease, "done").await.unwrap(),
            1 => queue.bury(lease, "no", true).await.unwrap(),
            2 => queue.retry_after(lease, long, "later").await.unwrap(),
            3 => queue.release(lease, Duration::ZERO).await.unwrap(),
            _ => LeaseState::Held,
        };
        assert_eq!(state, LeaseState::Held);
    }
    let all = pages(&queue, &JobFilter::all(), 2000).await;
    assert_eq!(all.len(), 1200);
    assert!(all.iter().map(JobCursor::from).is_sorted_by(|one, next| one > next));
    let filters = [
        JobFilter::all(),
        JobFilter::all().with_hook("odd"),
        JobFilter::all().with_hook("other"),
        JobFilter::all().with_owner(Owner::new("few").unwrap()),
        JobFilter::all().with_state(JobState::Queued),
        JobFilter::all().with_state(JobState::Running),
        JobFilter::all().with_state(JobState::Dead).with_hook("even"),
    ];
    for filter in filters {
        let expected: Vec<_> = all.iter().filter(|job| filter.fits(job)).cloned().collect();
        assert!(pages(&queue, &filter, 90).await == expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_change_meanwhile_are_listed_once() {
    let server = Server::start();
    let queue = server.queue().await;
    fill(&queue, 60).await;
    let worker = tokio::spawn({
        let queue = queue.clone();
        async move {
            for index in 0..400 {
                for job in queue.claim(1, LEASE, LEASE).await.unwrap() {
                    let state = match index % 3 {
                        0 => queue.complete(&job.lease, "").await.unwrap(),
                        1 => queue.bury(&job.lease, "no", true).await.unwrap(),
                        _ => queue.release(&job.lease, Duration::ZERO).await.unwrap(),
                    };
                    assert_eq!(state, LeaseState::Held);
                }
            }
        }
    });
    let mut looks = 0;
    while !worker.is_finished() || looks == 0 {
        let listed = queue.list(&JobFilter::all(), None, 1000).await.unwrap();
        let ids: HashSet<_> = listed.iter().map(|job| job.id).collect();
        assert_eq!((listed.len(), ids.len()), (600, 600));
        looks += 1;
    }
    worker.await.unwrap();
}

#[tokio::test]
async fn a_page_is_read_without_the_jobs_behind_it() {
    let server = Server::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let queue = NatsQueue::new(client.clone());
    queue.setup().await.unwrap();
    let received = || client.statistics().in_messages.load(Ordering::Relaxed);
    fill(&queue, 250).await;
    let day = Retention::forever().with_max_age(Duration::from_secs(86_400));
    for (ended, most) in [(0, 700), (1250, 2000)] {
        for job in claim(&queue, ended).await {
            assert_eq!(queue.complete(&job.lease, "").await.unwrap(), LeaseState::Held);
        }
        for state in [JobState::Queued, JobState::Succeeded] {
            let before = received();
            let filter = JobFilter::all().with_state(state);
            let page = queue.list(&filter, None, 20).await.unwrap();
            assert_eq!(page.len(), if state == JobState::Queued || ended > 0 { 20 } else { 0 });
            assert!(received() - before < most, "{} messages", received() - before);
        }
        let before = received();
        assert_eq!(queue.purge(JobState::Succeeded, &day, 100).await.unwrap(), 0);
        assert!(received() - before < 400, "{} messages", received() - before);
    }
}
