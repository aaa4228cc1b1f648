//! What operators read of jobs in the log.

use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::time::sleep;
use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
use tower_webhook::queue::{Backoff, JobId, JobQueue, NewJob, Worker};

use super::unreliable::Unreliable;
use super::{Running, exact_backoff, payload, seconds};
use crate::support::Logs;

/// Level, name, index of the job, attempt.
type Event = (String, String, Option<usize>, Option<u64>);

/// The events of jobs and queues.
fn events(logs: &Logs, ids: &[String]) -> Vec<Event> {
    let text = logs.text();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["target"] == "tower_webhook")
        .filter(|event| {
            let name = event["fields"]["event"].as_str().unwrap_or_default();
            name.starts_with("job_") || name.starts_with("queue_")
        })
        .map(|event| {
            let fields = &event["fields"];
            let (level, name) =
                (event["level"].as_str().unwrap(), fields["event"].as_str().unwrap());
            let id = fields["job.id"].as_str().unwrap_or_default();
            let job = ids.iter().position(|other| other == id);
            (level.to_owned(), name.to_owned(), job, fields["job.attempt"].as_u64())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_each_attempt_and_an_outage_are_logged() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = Unreliable::default();
    let run = async |invocation: Invocation| -> Result<Outcome, ExecutorError> {
        match invocation.body().as_ref() {
            b"1" => Ok(Outcome::empty()),
            _ => Err("the secret of the sender".into()),
        }
    };
    let worker = Worker::new(queue.clone(), run).with_attempts(2).unwrap();
    let running = Running::start(worker.with_backoff(exact_backoff()));
    let mut ids = Vec::new();
    for body in ["1", "2"] {
        let id = JobId::random().unwrap();
        let job = NewJob::new(id, payload(body).await).with_hook("deploy");
        let _ = queue.enqueue(job).await.unwrap();
        ids.push(id.to_string());
        sleep(seconds(10)).await;
    }
    queue.set_down(true);
    sleep(seconds(100)).await;
    queue.set_down(false);
    sleep(seconds(10)).await;
    running.stop().await;
    drop(guard);

    let events = events(&logs, &ids);
    let expected = [
        ("DEBUG", "job_succeeded", Some(0), Some(1)),
        ("WARN", "job_failed", Some(1), Some(1)),
        ("ERROR", "job_dead", Some(1), Some(2)),
        ("ERROR", "queue_unavailable", None, None),
        ("INFO", "queue_available", None, None),
    ];
    let expected = expected
        .map(|(level, name, job, attempt)| (level.to_owned(), name.to_owned(), job, attempt));
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_later_version_is_logged_once_a_minute() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = Unreliable::default();
    let later = payload("1").await.replacen(r#""v":1"#, r#""v":2"#, 1);
    for _ in 0..3 {
        let job = NewJob::new(JobId::random().unwrap(), later.as_str());
        let _ = queue.enqueue(job).await.unwrap();
    }
    let run = async |_: Invocation| Ok(Outcome::empty());
    let running = Running::start(Worker::new(queue.clone(), run));
    sleep(seconds(275)).await;
    running.stop().await;
    drop(guard);
    let events = events(&logs, &[]);
    assert_eq!(events, vec![("WARN".to_owned(), "job_too_new".to_owned(), None, Some(1)); 5]);
}

/// Whether the queue has taken the end of an attempt is found out.
#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_is_lost_is_logged_as_it_is() {
    for (body, level, name) in
        [("1", "DEBUG", "job_succeeded"), ("2", "WARN", "job_failed"), ("3", "ERROR", "job_dead")]
    {
        let logs = Logs::default();
        let guard = logs.capture_json();
        let queue = Unreliable::default();
        let run = async |invocation: Invocation| match invocation.body().as_ref() {
            b"1" => Ok(Outcome::empty()),
            b"2" => Err("not yet".into()),
            _ => Err(ExecutorError::public("no").without_retry()),
        };
        let backoff = Backoff::new(seconds(100), seconds(100)).unwrap();
        let worker = Worker::new(queue.clone(), run).with_backoff(backoff);
        let running = Running::start(worker);
        queue.loses_an_answer.store(true, Ordering::SeqCst);
        super::enqueue(&queue, body).await;
        sleep(seconds(10)).await;
        running.stop().await;
        drop(guard);
        let events = events(&logs, &[]).into_iter().map(|event| (event.0, event.1));
        let events: Vec<_> = events.filter(|event| event.1.starts_with("job_")).collect();
        assert_eq!(events, [(level.to_owned(), name.to_owned())]);
    }
}
