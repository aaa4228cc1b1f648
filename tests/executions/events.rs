//! What operators read of jobs in the log.

use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::time::sleep;
use tower::Layer;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::key::{NewKey, Scopes};
use tower_webhook::queue::{
    Backoff, Executions, JobId, JobQueue, MemoryQueue, NewJob, Queued, Worker, idempotency_key,
};

use super::unreliable::Unreliable;
use super::{Running, exact_backoff, payload, post, seconds};
use crate::support::{Keys, Logs, owner, scope};

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

/// What is logged by and about the attempts of one job: level, event, and the members that say what failed.
async fn attempts(hook: &str, body: &'static str) -> (String, Vec<Value>) {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = Unreliable::default();
    let run = async |invocation: Invocation| -> Result<Outcome, ExecutorError> {
        tracing::info!(target: "app", "at work");
        match invocation.body().as_ref() {
            b"1" => Err(ExecutorError::public("no branch").with_source("git says no")),
            b"2" => Err(ExecutorError::busy(seconds(1))),
            b"3" => Err(ExecutorError::invalid("no branch")),
            _ => panic!("at the disco"),
        }
    };
    let worker = Worker::new(queue.clone(), run).with_attempts(2).unwrap();
    let running = Running::start(worker.with_backoff(exact_backoff()));
    let id = JobId::random().unwrap();
    let _ = queue.enqueue(NewJob::new(id, payload(body).await).with_hook(hook)).await.unwrap();
    super::ended(&queue, id).await;
    running.stop().await;
    drop(guard);
    let text = logs.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let targets = ["app", "tower_webhook"];
    let of_crate = |line: &Value| targets.iter().any(|target| line["target"] == *target);
    let lines = lines.filter(of_crate).filter(|line| line["fields"]["event"] != "worker_stopped");
    (id.to_string(), lines.collect())
}

#[tokio::test(start_paused = true)]
async fn each_line_of_an_attempt_names_its_job() {
    let (id, lines) = attempts("deploy", "1").await;
    let attempts: Vec<_> = lines.iter().map(|line| &line["span"]["job.attempt"]).collect();
    assert_eq!(attempts, [1, 1, 2, 2], "{lines:#?}");
    for line in lines {
        let span = &line["span"];
        assert_eq!((&span["name"], &span["job.id"]), (&"job".into(), &id.as_str().into()));
        assert_eq!(span["hook.name"], "deploy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_one_event() {
    let event = |level, event, reason, message, error| {
        serde_json::json!([level, event, reason, message, error])
    };
    let (failed, dead) = ("job_failed", "job_dead");
    let cases = [
        (
            "1",
            vec![
                event("WARN", failed, "failed", "no branch", "git says no".into()),
                event("ERROR", dead, "failed", "no branch", "git says no".into()),
            ],
        ),
        (
            "2",
            vec![
                event("WARN", failed, "busy", "busy", Value::Null),
                event("ERROR", dead, "busy", "busy", Value::Null),
            ],
        ),
        ("3", vec![event("WARN", dead, "invalid", "no branch", Value::Null)]),
        (
            "4",
            vec![
                event("WARN", failed, "panicked", "internal error", Value::Null),
                event("ERROR", dead, "panicked", "internal error", Value::Null),
            ],
        ),
    ];
    for (body, expected) in cases {
        let (_, lines) = attempts("", body).await;
        let lines = lines.iter().filter(|line| line["target"] != "app");
        let events: Vec<_> = lines
            .map(|line| {
                let fields = &line["fields"];
                assert!(fields.get("hook.name").is_none(), "{line}");
                serde_json::json!([
                    line["level"],
                    fields["event"],
                    fields["executor.reason"],
                    fields["executor.message"],
                    fields["error"],
                ])
            })
            .collect();
        assert_eq!(events, expected, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_and_invalid_input_are_no_errors() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = Unreliable::default();
    let executor = Queued::new(queue, "/executions").unwrap().with_key(idempotency_key);
    let hooks = Hooks::new(AuthLayer::public(), executor.with_max_backlog(1).unwrap());
    for (key, body) in [("a", "1"), ("b", "1"), ("a", "2")] {
        let mut request = post("/", body);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        tower::ServiceExt::oneshot(hooks.clone(), request).await.unwrap();
    }
    drop(guard);
    let text = logs.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let failed = lines.filter(|line| line["fields"]["event"] == "executor_fail");
    let failed: Vec<_> = failed
        .map(|line| {
            let fields = &line["fields"];
            let reason = &fields["executor.reason"];
            serde_json::json!([line["level"], reason, fields["executor.message"], fields["error"]])
        })
        .collect();
    let used = "the idempotency key was used for another request";
    assert_eq!(
        failed,
        [
            serde_json::json!(["WARN", "busy", null, "too many jobs of the hook wait"]),
            serde_json::json!(["INFO", "invalid", used, null]),
        ]
    );
}

/// The lines of this crate from the level info on: level, event, and the fields with these names.
fn lines(logs: &Logs, names: &[&str]) -> Vec<Value> {
    let text = logs.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["target"] == "tower_webhook" && line["level"] != "DEBUG");
    let of_names = |line: Value| {
        let fields = names.iter().map(|name| line["fields"][*name].clone());
        [line["level"].clone(), line["fields"]["event"].clone()].into_iter().chain(fields).collect()
    };
    lines.map(of_names).collect()
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_answer_is_one_error_and_no_load() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = Unreliable::default();
    queue.set_down(true);
    let executor = Queued::new(queue, "/executions").unwrap();
    let hooks = Hooks::new(AuthLayer::public(), executor);
    for format in [ResponseFormat::http(), ResponseFormat::status_json()] {
        let hooks = hooks.clone().with_response_format(format);
        let response = tower::ServiceExt::oneshot(hooks, post("/", "1")).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "5");
    }
    drop(guard);
    let error = "the job queue cannot answer: the cable is out";
    let line = serde_json::json!(["ERROR", "executor_fail", "unavailable", error]);
    assert_eq!(lines(&logs, &["executor.reason", "error"]), [line.clone(), line]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stored_is_an_event_with_its_caller() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let keys = Keys::new().await;
    let policy = Policy::token().with_hook("deploy");
    let executor = Queued::new(Unreliable::default(), "/executions").unwrap();
    let auth = AuthLayer::new(policy).unwrap();
    let auth = auth.with_keys(&keys.manager, Placement::header("x-api-key").unwrap()).unwrap();
    let hooks = Hooks::new(auth, executor.with_key(idempotency_key));
    for body in ["1", "1", "2"] {
        let mut request = post("/", body);
        request.headers_mut().insert("idempotency-key", "a".parse().unwrap());
        request.headers_mut().insert("x-api-key", keys.text.parse().unwrap());
        tower::ServiceExt::oneshot(hooks.clone(), request).await.unwrap();
    }
    drop(guard);
    let text = logs.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let queued = lines.filter(|line| line["fields"]["event"] == "job_queued");
    let queued: Vec<_> = queued
        .map(|line| {
            let fields = &line["fields"];
            serde_json::json!([
                line["level"],
                fields["job.id"],
                fields["job.known"],
                fields["hook.name"],
                fields["auth.owner"],
            ])
        })
        .collect();
    let id = JobId::derived(Some(&owner("alice")), "deploy", "a").to_string();
    let event = |known| serde_json::json!(["DEBUG", id, known, "deploy", "alice"]);
    // The third request is no delivery of the job.
    assert_eq!(queued, [event(false), event(true)]);
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_changes_is_logged_with_the_operator() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let keys = Keys::new().await;
    let queue = MemoryQueue::new();
    let executions = Executions::new(queue.clone(), "/").unwrap();
    let executions = executions.with_operator_scope(scope("operate"));
    let new = NewKey::new("a").with_scopes(Scopes::from_iter([scope("operate")]));
    let key = keys.manager.generate(&owner("op"), new).await.unwrap();
    let token = AuthLayer::header("x-api-key", &keys.manager).unwrap().layer(executions.clone());
    let public = AuthLayer::public().layer(executions);
    let mut expected = Vec::new();
    for (of, secret, hook) in
        [(Some("ann"), Some(key.secret().expose_secret()), "deploy"), (None, None, "")]
    {
        let id = JobId::random().unwrap();
        let mut job = NewJob::new(id, "{}").with_hook(hook);
        job.owner = of.map(owner);
        let _ = queue.enqueue(job).await.unwrap();
        let claimed = queue.claim(1, seconds(60), seconds(1)).await.unwrap();
        let _ = queue.bury(&claimed[0].lease, "no", true).await.unwrap();
        for (method, path, event) in [
            ("POST", format!("/{id}/retry"), "job_retried"),
            ("POST", format!("/{id}/retry"), "request_refused"),
            ("DELETE", format!("/{id}"), "job_removed"),
        ] {
            let mut request = http::Request::builder().method(method).uri(path);
            if let Some(secret) = secret {
                request = request.header("x-api-key", secret);
            }
            let request = request.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
            let status = match secret {
                Some(_) => {
                    tower::ServiceExt::oneshot(token.clone(), request).await.unwrap().status()
                }
                None => tower::ServiceExt::oneshot(public.clone(), request).await.unwrap().status(),
            };
            let is_refused = event == "request_refused";
            assert_eq!(!status.is_success(), is_refused);
            let by = secret.map(|_| key.record().id().to_string());
            expected.push(if is_refused {
                serde_json::json!(["INFO", event, null, null, null, null])
            } else {
                let hook = (!hook.is_empty()).then_some(hook);
                let id = id.to_string();
                serde_json::json!(["INFO", event, id, hook, by, secret.map(|_| "op")])
            });
        }
    }
    drop(guard);
    let lines = lines(&logs, &["job.id", "hook.name", "auth.key_id", "auth.owner"]);
    assert_eq!(lines, expected);
}

/// The last worker has ended during the last attempt.
#[tokio::test(start_paused = true)]
async fn a_used_up_job_has_a_reason_and_one_number() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = MemoryQueue::new();
    let id = super::enqueue(&queue, "1").await;
    for _ in 0..2 {
        let claimed = queue.claim(1, seconds(1), seconds(10)).await.unwrap();
        assert_eq!(claimed.len(), 1);
    }
    let worker = super::worker(&queue, async |_: Invocation| Ok(Outcome::empty()));
    let running = Running::start(worker.with_attempts(2).unwrap());
    let job = super::ended(&queue, id).await;
    running.stop().await;
    drop(guard);
    assert_eq!(job.attempts, 2);
    let dead = events(&logs, &[id.to_string()]);
    assert_eq!(dead, [("ERROR".to_owned(), "job_dead".to_owned(), Some(0), Some(2))]);
    let text = logs.text();
    let dead = text.lines().find(|line| line.contains("job_dead")).unwrap();
    let dead: Value = serde_json::from_str(dead).unwrap();
    assert_eq!(dead["span"]["job.attempt"], 2);
    assert_eq!(dead["fields"]["executor.message"], job.error.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_how_many_jobs_were_given_back() {
    let logs = Logs::default();
    let guard = logs.capture_json();
    let queue = MemoryQueue::new();
    let run = async |invocation: Invocation| {
        sleep(seconds(if invocation.body().as_ref() == b"3" { 3 } else { 60 })).await;
        Ok(Outcome::empty())
    };
    let worker = super::worker(&queue, run).with_stop_limit(seconds(5));
    let running = Running::start(worker);
    for body in ["3", "60", "60"] {
        super::enqueue(&queue, body).await;
    }
    sleep(seconds(1)).await;
    running.stop().await;
    drop(guard);
    let line = serde_json::json!(["INFO", "worker_stopped", 2]);
    assert_eq!(lines(&logs, &["job.released"]), [line]);
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
