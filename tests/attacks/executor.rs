//! M, P and S: how executions end, how many there may be, and what is left of those that are dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::poll;
use http::Response;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_webhook::auth::AuthLayer;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};

use super::fixture::Fixture;
use super::log;
use super::request::{Sent, Watch, key};
use super::row::header;

async fn call(hooks: &Hooks, sent: &Sent) -> Response<Bytes> {
    let response = hooks.clone().oneshot(sent.build(&Watch::default())).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// Ends as the body of its request says.
async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let end = invocation.envelope().json().unwrap().to_owned();
    match end.as_str() {
        "\"ok\"" => Outcome::json("done"),
        "\"error\"" => Err("opensesame".into()),
        "\"public\"" => Err(ExecutorError::public("no branch").with_source("opensesame")),
        "\"panic\"" => std::panic::resume_unwind(Box::new("opensesame")),
        "\"hang\"" => std::future::pending().await,
        "\"large\"" => Outcome::json(&"x".repeat(2_000)),
        "\"map\"" => Outcome::json(&HashMap::from([((1, 2), "opensesame")])),
        "\"deep\"" => Outcome::json_text("[".repeat(10_000) + &"]".repeat(10_000)),
        "\"text\"" => Outcome::json_text("{\"opensesame\""),
        _ => Ok(Outcome::empty()),
    }
}

#[tokio::test]
async fn every_end_of_an_execution_has_an_answer_without_its_secrets() {
    log::listen();
    let f = Fixture::new().await;
    let hooks = |shape| {
        Hooks::new(AuthLayer::token(&f.manager, [header()]).unwrap(), run)
            .with_deadline(Duration::from_millis(30))
            .with_max_response_bytes(1_000)
            .with_response_format(shape)
    };
    let (compatible, http) = (hooks(ResponseFormat::status_json()), hooks(ResponseFormat::http()));
    for (id, end, body, status) in [
        ("S22", "ok", r#"{"status":0,"result":"done"}"#, 200),
        ("S18", "error", r#"{"status":1,"err":"execution failed"}"#, 502),
        ("S18.public", "public", r#"{"status":1,"err":"no branch"}"#, 502),
        ("S19", "hang", r#"{"status":1,"err":"timeout"}"#, 504),
        ("S20", "panic", r#"{"status":1,"err":"internal error"}"#, 500),
        ("S21.large", "large", r#"{"status":1,"err":"internal error"}"#, 500),
        ("M217.map", "map", r#"{"status":1,"err":"execution failed"}"#, 502),
        ("M217.deep", "deep", r#"{"status":1,"err":"execution failed"}"#, 502),
        ("M217.text", "text", r#"{"status":1,"err":"execution failed"}"#, 502),
    ] {
        let sent = key(&f.k).json(format!("\"{end}\""));
        let response = call(&compatible, &sent).await;
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (200, body.as_bytes()),
            "{id}"
        );
        assert_eq!(response.headers()["cache-control"], "no-store");
        let response = call(&http, &sent).await;
        assert_eq!(response.status(), status, "{id}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let text = String::from_utf8_lossy(response.body());
        assert!(!text.contains("opensesame"), "{id}: {text}");
        // The error of an executor is logged. The message of a panic is not.
        let logged = log::take().text;
        assert!(!logged.contains(f.secret()), "{id}");
        assert!(end != "panic" || !logged.contains("opensesame"), "{id}: {logged}");
    }
    // A refusal is never a success, in any shape of executions.
    assert_eq!(call(&compatible, &key("junk")).await.status(), 401);
}

#[tokio::test]
async fn executions_beyond_the_limit_are_refused_and_not_queued() {
    let f = Fixture::new().await;
    let (running, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (count, wait) = (Arc::clone(&running), Arc::clone(&go));
    let hooks =
        Hooks::new(AuthLayer::token(&f.manager, [header()]).unwrap(), move |_: Invocation| {
            count.fetch_add(1, Ordering::SeqCst);
            let wait = Arc::clone(&wait);
            async move {
                wait.notified().await;
                Ok(Outcome::empty())
            }
        })
        .with_max_executions(1)
        .unwrap();
    let sent = key(&f.k);
    let mut first = Box::pin(call(&hooks, &sent));
    assert!(poll!(&mut first).is_pending());

    for _ in 0..100 {
        let response = call(&hooks, &sent).await;
        assert_eq!(response.status(), 503, "S17");
        assert!(response.headers().contains_key("retry-after"));
    }
    // A refusal for another reason needs no execution.
    assert_eq!(call(&hooks, &key("junk")).await.status(), 401);
    assert_eq!(running.load(Ordering::SeqCst), 1);

    go.notify_one();
    assert_eq!(first.await.status(), 200);
    go.notify_one();
    assert_eq!(call(&hooks, &sent).await.status(), 200);
    assert_eq!(running.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_nothing_behind() {
    let f = Fixture::new().await;
    let hang = |_: Invocation| std::future::pending::<Result<Outcome, ExecutorError>>();
    let hooks = Hooks::new(AuthLayer::token(&f.manager, [header()]).unwrap(), hang)
        .with_max_executions(1)
        .unwrap();
    let sent = key(&f.k);
    for _ in 0..1_000 {
        let mut request = Box::pin(call(&hooks, &sent));
        assert!(poll!(&mut request).is_pending(), "P241, K189");
    }
    drop(Box::pin(call(&hooks, &sent)));
}
