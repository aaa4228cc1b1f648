//! The command line, and the hooks in front of a queue in this process.

use std::ffi::OsString;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, Response};
use serde_json::{Value, json};
use servers::ExecLog;
use tower::ServiceExt;
use tower_webhook::queue::{JobId, MemoryQueue};

use crate::flags::{Engine, Flags};
use crate::{app, instructions, work};

fn parse(line: &str) -> Result<Option<Flags>, servers::Error> {
    Flags::parse(line.split_whitespace().map(OsString::from))
}

#[test]
fn a_process_listens_works_or_does_both() {
    let flags = |line: &str| parse(line).unwrap().unwrap();
    let both = flags("");
    assert_eq!((both.listen.map(|address| address.port()), both.workers), (Some(3000), 1));
    assert_eq!((both.engine, both.data.to_str()), (None, Some(".data/queue")));
    let worker = flags("--worker --workers 3 --listen 127.0.0.1:1");
    assert_eq!((worker.listen, worker.workers), (None, 3));
    let listener = flags("--listen [::1]:1 --workers 0 --engine sqlite:a:b --exec-log c");
    assert_eq!((listener.listen.unwrap().port(), listener.workers), (1, 0));
    assert_eq!(listener.engine, Some(Engine::Sqlite("a:b".into())));
    for (text, address) in [("nats:nats://a:1", "nats://a:1"), ("nats://a:1", "nats://a:1")] {
        let engine = flags(&format!("--engine {text}")).engine;
        assert_eq!(engine, Some(Engine::Nats(address.to_owned())));
    }
    assert!(parse("--data x --help").unwrap().is_none());
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    for line in [
        "--unknown",
        "argument",
        "--data",
        "--listen localhost",
        "--workers -1",
        "--workers two",
        "--workers 256",
        "--worker --workers 0",
        "--engine sqlite",
        "--engine sqlite:",
        "--engine mysql://secret@a",
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains("secret"), "{line}: {error}");
        // What is wrong is named.
        let option = line.split(' ').next().unwrap_or_default();
        assert!(error.contains(option), "{line}: {error}");
    }
    assert!(Flags::parse(["--data", ""].map(OsString::from)).is_err());
}

async fn call(app: &Router, line: &str, key: Option<&str>, body: &str) -> Response<Value> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let text = to_bytes(body, 1024 * 1024).await.unwrap();
    Response::from_parts(parts, serde_json::from_slice(&text).unwrap_or_default())
}

#[tokio::test]
async fn a_job_is_stored_and_runs_when_a_worker_is_there() {
    let queue = MemoryQueue::new();
    let app = app::app(Arc::new(queue.clone())).unwrap();
    let send = async |body: &str| call(&app, "POST /hook/slow", Some("k"), body).await;

    let stored = send(r#"{"ms":1}"#).await;
    let id = JobId::derived(None, "slow", "k").to_string();
    assert_eq!((stored.status().as_u16(), &stored.body()["id"]), (202, &json!(id)));
    let location = stored.headers()["location"].to_str().unwrap();
    assert_eq!(location, format!("/executions/{id}"));
    assert_eq!(send(r#"{"ms":1}"#).await.body(), stored.body());
    assert_eq!(send(r#"{"ms":2}"#).await.status(), 422);

    let shown = call(&app, &format!("GET {location}"), None, "").await;
    assert_eq!((shown.status().as_u16(), &shown.body()["state"]), (200, &json!("queued")));
    let retried = call(&app, &format!("POST {location}/retry"), None, "").await;
    assert_eq!(retried.status(), 409);

    let worker = work::worker(Arc::new(queue), ExecLog::default()).unwrap();
    tokio::spawn(worker.run_until(std::future::pending()));
    let waited = call(&app, "POST /hook/wait", None, "{}").await;
    assert_eq!(waited.status(), 200);
    assert_eq!(waited.body(), &json!({"ms": 0, "attempt": 1}));
    let failed = call(&app, "POST /hook/slow", None, r#"{"fail":true}"#).await;
    assert_eq!(failed.status(), 202);
}

#[tokio::test]
async fn what_is_no_job_is_refused_and_not_stored() {
    let app = app::app(Arc::new(MemoryQueue::new())).unwrap();
    for body in [
        "[]",
        "[1,true,true]",
        "1",
        r#"{"ms":-1}"#,
        r#"{"ms":"1"}"#,
        r#"{"ms":600001}"#,
        r#"{"ms":1.5}"#,
        r#"{"fail":1}"#,
        r#"{"abort":null}"#,
        "",
        "null",
    ] {
        for hook in ["slow", "wait"] {
            let refused = call(&app, &format!("POST /hook/{hook}"), None, body).await;
            assert_eq!(refused.status(), 422, "{body}");
            let body = refused.body();
            assert_eq!((&body["code"], &body["status"]), (&json!("invalid"), &json!(422)));
            assert!(body["detail"].is_string(), "{body}");
        }
    }
    assert_eq!(call(&app, "POST /hook/slow", None, "{").await.status(), 400);
    assert_eq!(call(&app, "GET /hook/slow", None, "").await.status(), 405);
    assert_eq!(call(&app, "POST /hook/other", None, "{}").await.status(), 404);
    let list = call(&app, "GET /executions", None, "").await;
    assert_eq!(list.body(), &json!({"executions": [], "next": null}));
}

/// As deep as an envelope takes, in a member that says nothing.
#[tokio::test]
async fn a_job_may_be_nested_deeply() {
    let queue = MemoryQueue::new();
    let app = app::app(Arc::new(queue.clone())).unwrap();
    let worker = work::worker(Arc::new(queue), ExecLog::default()).unwrap();
    tokio::spawn(worker.run_until(std::future::pending()));
    let send = async |depth: usize| {
        let body = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        call(&app, "POST /hook/wait", None, &body).await.status().as_u16()
    };
    assert_eq!((send(127).await, send(128).await, send(129).await), (200, 200, 400));
}

#[test]
fn the_instructions_are_calls_of_this_address() {
    let text = instructions::text("127.0.0.1:1").unwrap();
    let calls = text.lines().filter(|line| line.starts_with("  ")).count();
    assert_eq!(
        text.matches(" http://127.0.0.1:1/").count()
            + text.matches(" 'http://127.0.0.1:1/").count(),
        calls
    );
    assert_eq!(text.lines().next(), Some("listening on http://127.0.0.1:1"));
}
