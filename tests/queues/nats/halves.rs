//! Changes that a process has left half done, as another client leaves them in the server.

use std::collections::HashSet;
use std::future::ready;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use tower_webhook::queue::{Enqueued, JobChange, JobId, JobQueue, JobState, LeaseState, NewJob};

use super::server::Server;
use super::{LEASE, claim, enqueue, wait_for};

/// The messages of the queue, and the entries.
async fn streams(server: &Server) -> (jetstream::stream::Stream, jetstream::kv::Store) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    let jobs = context.get_stream("tower-webhook-jobs").await.unwrap();
    (jobs, context.get_key_value("tower-webhook-state").await.unwrap())
}

#[tokio::test]
async fn a_job_whose_message_is_lost_is_published_again() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, _) = streams(&server).await;
    let job = NewJob::new(JobId::random().unwrap(), "{}").with_hook("a");
    let _ = queue.enqueue(job.clone()).await.unwrap();
    let lease = claim(&queue, 1).await.pop().unwrap().lease;
    assert_eq!(queue.release(&lease, Duration::ZERO).await.unwrap(), LeaseState::Held);
    jobs.purge().await.unwrap();
    assert!(claim(&queue, 1).await.is_empty());

    let Enqueued::Known(known) = queue.enqueue(job.clone()).await.unwrap() else {
        panic!("the entry is there");
    };
    assert_eq!(known.state, JobState::Queued);
    // One message, however often it is asked for.
    let _ = queue.enqueue(job).await.unwrap();
    assert_eq!(jobs.get_info().await.unwrap().state.messages, 1);
    let again = claim(&queue, 2).await;
    assert_eq!(again.len(), 1);
    assert_eq!(queue.complete(&again[0].lease, "").await.unwrap(), LeaseState::Held);
}

#[tokio::test]
async fn a_message_whose_job_has_ended_does_not_run() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, _) = streams(&server).await;
    enqueue(&queue, "a").await;
    let message = jobs.get_raw_message(1).await.unwrap();
    let lease = claim(&queue, 1).await.pop().unwrap().lease;
    assert_eq!(queue.complete(&lease, "").await.unwrap(), LeaseState::Held);

    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    let again = context.publish(message.subject, message.payload).await.unwrap();
    again.await.unwrap();
    assert!(claim(&queue, 1).await.is_empty());
    assert_eq!(jobs.get_info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn a_job_with_two_messages_runs_once() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, _) = streams(&server).await;
    enqueue(&queue, "a").await;
    let message = jobs.get_raw_message(1).await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    let again = context.publish(message.subject, message.payload).await.unwrap();
    again.await.unwrap();

    let claimed = claim(&queue, 2).await;
    assert_eq!(claimed.len(), 1);
    assert!(claim(&queue, 2).await.is_empty());
    assert_eq!(queue.complete(&claimed[0].lease, "").await.unwrap(), LeaseState::Held);
    let short = Duration::from_millis(300);
    assert!(queue.claim(2, LEASE, short).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_that_was_cut_short_is_finished_by_a_worker() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, states) = streams(&server).await;
    let id = enqueue(&queue, "a").await;
    let lease = claim(&queue, 1).await.pop().unwrap().lease;
    assert_eq!(queue.bury(&lease, "no", true).await.unwrap(), LeaseState::Held);
    let dead = states.entry(id.to_string()).await.unwrap().unwrap();
    assert_eq!(queue.retry(&id).await.unwrap(), JobChange::Changed);

    // The dead entry is back, as if it had not been changed yet. The message names its revision.
    let revision = states.put(id.to_string(), dead.value).await.unwrap();
    let message = jobs.direct_get_last_for_subject("tower-webhook.later.*.*").await;
    let message = match message {
        Ok(message) => message,
        Err(_) => jobs.get_last_raw_message_by_subject("tower-webhook.later.*.*").await.unwrap(),
    };
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    let named = format!("\"revives\":{}", dead.revision);
    assert!(text.contains(&named), "{text}");
    let text = text.replace(&named, &format!("\"revives\":{revision}"));
    jobs.purge().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    context.publish(message.subject, text.into()).await.unwrap().await.unwrap();

    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Dead);
    let job = claim(&queue, 1).await.pop().unwrap();
    assert_eq!((job.lease.job(), job.attempt), (id, 1));
}

#[tokio::test]
async fn a_removed_job_that_was_delivered_does_not_run() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, states) = streams(&server).await;
    let id = enqueue(&queue, "a").await;
    let message = jobs.get_raw_message(1).await.unwrap();
    assert_eq!(queue.remove(&id).await.unwrap(), JobChange::Changed);
    assert_eq!(queue.state(&id).await.unwrap(), None);
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    context.publish(message.subject, message.payload).await.unwrap().await.unwrap();
    assert!(claim(&queue, 1).await.is_empty());
    assert!(states.entry(id.to_string()).await.unwrap().is_some());
    // The id is free.
    let job = NewJob::new(id, "{}").with_hook("a");
    assert_eq!(queue.enqueue(job).await.unwrap(), Enqueued::New);
    assert_eq!(claim(&queue, 1).await.len(), 1);
}

#[tokio::test]
async fn a_consumer_that_was_deleted_is_made_again() {
    let server = Server::start();
    let queue = server.queue().await;
    let (jobs, _) = streams(&server).await;
    let first = enqueue(&queue, "a").await;
    let hook = jobs.consumer_names().map(Result::unwrap).filter(|name| ready(name != "later"));
    for consumer in hook.collect::<Vec<_>>().await {
        jobs.delete_consumer(&consumer).await.unwrap();
    }
    wait_for(async || queue.claim(1, LEASE, Duration::ZERO).await.is_ok()).await;
    let second = enqueue(&queue, "a").await;
    let mut claimed = HashSet::new();
    while claimed.len() < 2 {
        let jobs = queue.claim(2, LEASE, Duration::from_secs(5)).await.unwrap();
        assert!(!jobs.is_empty());
        claimed.extend(jobs.iter().map(|job| job.lease.job()));
    }
    assert_eq!(claimed, HashSet::from([first, second]));
}
