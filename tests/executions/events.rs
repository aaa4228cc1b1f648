//! What operators read of jobs in the log.

use serde_json::Value;
use tokio::time::sleep;
use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
use tower_webhook::queue::{JobId, JobQueue, NewJob, Worker};

use super::unreliable::Unreliable;
use super::{Running, exact_backoff, payload, seconds};
use crate::support::Logs;

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

    let text = logs.text();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<_> = events
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
        .collect();
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
