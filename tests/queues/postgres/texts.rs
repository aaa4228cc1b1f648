//! Texts that PostgreSQL does not keep.

use std::error::Error;
use std::time::Duration;

use tower_webhook::queue::{
    JobFilter, JobId, JobQueue, JobState, LeaseState, NewJob, QueueErrorKind,
};

use super::{claim, enqueue, queue, server};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_a_field_should_be_is_too_large() {
    let server = server::shared();
    let queue = queue(&server).await;
    let large = "x".repeat((256 << 20) + 1);
    let new = NewJob::new(JobId::random().unwrap(), &*large);
    let error = queue.enqueue(new).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::TooLarge, "{error:?}");
    // More than fits into an index, and nothing that can be compressed.
    let hook: String = (0..500).map(|_| JobId::random().unwrap().to_string()).collect();
    let new = NewJob::new(JobId::random().unwrap(), "{}").with_hook(hook);
    assert_eq!(queue.enqueue(new).await.unwrap_err().kind(), QueueErrorKind::TooLarge);
    let id = enqueue(&queue, "a").await;
    let lease = claim(&queue, 1).await[0].lease;
    for error in [
        queue.complete(&lease, &large).await.unwrap_err(),
        queue.retry_after(&lease, Duration::ZERO, &large).await.unwrap_err(),
        queue.bury(&lease, &large, true).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), QueueErrorKind::TooLarge, "{error:?}");
    }
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Running);
    assert_eq!(queue.complete(&lease, "done").await.unwrap(), LeaseState::Held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_refused_and_found_in_no_job() {
    let server = server::shared();
    let queue = queue(&server).await;
    let id = JobId::random().unwrap();
    for new in [NewJob::new(id, "a\0b"), NewJob::new(id, "{}").with_hook("a\0b")] {
        let error = queue.enqueue(new).await.unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("0x00"), "{cause}");
    }
    assert_eq!(queue.state(&id).await.unwrap(), None);
    let filter = JobFilter::all().with_hook("a\0b");
    assert_eq!(queue.list(&filter, None, 10).await.unwrap(), []);
    assert_eq!(queue.backlog("a\0b", 10).await.unwrap(), 0);
}
