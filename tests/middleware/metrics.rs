//! What Prometheus gets to see: all series from the start, and one measurement for each request and execution.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Method, Request, StatusCode};
use metrics::with_local_recorder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::metrics::Metrics;

use crate::support::wire::{exchange, serve};
use crate::support::{Keys, Logins, Mode, Recorder, scope};

/// Metrics in a registry of their own.
fn metrics(register: impl FnOnce() -> Metrics) -> (Metrics, PrometheusHandle) {
    let builder = PrometheusBuilder::new().set_buckets(&[0.1, 1.0]).unwrap();
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    (with_local_recorder(&recorder, register), handle)
}

/// Each series with its value.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let parsed = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.strip_prefix("tower_webhook_").unwrap().to_owned(), value.parse().unwrap())
    });
    parsed.collect()
}

/// The counters that are not at zero, and the counts of the histograms.
fn counts(handle: &PrometheusHandle) -> Vec<(String, f64)> {
    let is_count = |name: &str| name.contains("_total{") || name.contains("_count{");
    let all = series(&handle.render()).into_iter();
    all.filter(|(name, value)| is_count(name) && *value > 0.0).collect()
}

fn assert_counts(handle: &PrometheusHandle, expected: &[(&str, f64)]) {
    let mut expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(counts(handle), expected);
}

fn request(
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    let policy = match head.original_path() {
        "/public" => return Some(Policy::public()),
        "/user" => Policy::user(),
        "/admin" => Policy::token().with_scope(scope("admin")),
        "/none" => return None,
        _ => Policy::token().with_methods([Method::POST]).with_probe([Method::HEAD]),
    };
    Some(policy.with_hook(head.original_path().trim_start_matches('/').to_owned()))
}

fn layer(keys: &Keys, metrics: Metrics) -> AuthLayer {
    let placements = [Placement::header("x-api-key").unwrap(), Placement::query("key").unwrap()];
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, placements)
        .unwrap()
        .with_authenticator(Logins, [Placement::bearer()])
        .unwrap()
        .with_metrics(metrics)
}

#[tokio::test]
async fn every_series_is_at_zero_before_the_first_request() {
    let (_metrics, handle) = metrics(|| Metrics::register().with_hooks(["deploy"]));
    let scraped = serve(Router::new().route("/metrics", get(async move || handle.render()))).await;
    let sent = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = exchange(scraped, sent).await;
    let (_, text) = response.split_once("\r\n\r\n").unwrap();
    for name in ["decisions_total counter", "decision_duration_seconds histogram"] {
        assert!(text.contains(&format!("# TYPE tower_webhook_{name}")), "{text}");
    }

    let series = series(text);
    assert!(series.values().all(|value| *value == 0.0), "{text}");
    for hook in ["", "deploy"] {
        for (outcome, reason, placement) in [
            ("accepted", "none", "none"),
            ("accepted", "none", "header"),
            ("accepted", "none", "custom"),
            ("refused", "missing", "none"),
            ("refused", "body_too_large", "none"),
            ("refused", "misconfigured", "none"),
        ] {
            let name = format!(
                r#"decisions_total{{outcome="{outcome}",reason="{reason}",placement="{placement}",hook="{hook}"}}"#
            );
            assert!(series.contains_key(&name), "no {name} in {text}");
        }
        for (outcome, reason) in [("succeeded", "none"), ("failed", "busy"), ("failed", "panicked")]
        {
            let name = format!(
                r#"executions_total{{outcome="{outcome}",reason="{reason}",hook="{hook}"}}"#
            );
            assert!(series.contains_key(&name), "no {name} in {text}");
        }
        for (name, outcomes) in
            [("decision", ["accepted", "refused"]), ("execution", ["succeeded", "failed"])]
        {
            for outcome in outcomes {
                let name = format!(
                    r#"{name}_duration_seconds_count{{outcome="{outcome}",hook="{hook}"}}"#
                );
                assert!(series.contains_key(&name), "no {name} in {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_layer_measures_every_request_once() {
    let keys = Keys::new().await;
    let key = ("x-api-key", &*keys.text);
    let query = format!("/b?key={}", keys.text);
    for mode in [Mode::Ready, Mode::Later] {
        for buffered in [false, true] {
            keys.store.set_mode(mode);
            let (metrics, handle) = metrics(|| Metrics::register().with_hooks(["deploy", "user"]));
            let auth = layer(&keys, metrics);
            for (method, path, headers, status) in [
                (Method::POST, "/deploy", vec![key], 200),
                (Method::POST, "/deploy", vec![key], 200),
                (Method::HEAD, "/deploy", vec![key], 200),
                (Method::POST, "/deploy", vec![("x-api-key", "junk")], 401),
                (Method::PUT, "/deploy", vec![key], 405),
                (Method::POST, "/deploy", vec![key, key], 400),
                (Method::POST, &query, vec![], 200),
                (Method::POST, "/user", vec![("authorization", "Bearer sesame")], 200),
                (Method::POST, "/user", vec![], 401),
                (Method::POST, "/admin", vec![key], 403),
                (Method::POST, "/none", vec![key], 404),
                (Method::POST, "/public", vec![], 200),
            ] {
                let request = request(&method, path, &headers, "");
                let inner = Recorder::default();
                let response = match buffered {
                    false => auth.layer(inner).oneshot(request).await.unwrap().status(),
                    true => {
                        let layer = auth.clone().with_buffer(BodyBufferLayer::new());
                        layer.layer(inner).oneshot(request).await.unwrap().status()
                    }
                };
                assert_eq!(response, status, "{method} {path}");
            }
            assert_counts(
                &handle,
                &[
                    (
                        r#"decisions_total{outcome="accepted",reason="none",placement="header",hook="deploy"}"#,
                        3.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="malformed",placement="none",hook="deploy"}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="method_not_allowed",placement="none",hook="deploy"}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="ambiguous",placement="none",hook="deploy"}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="accepted",reason="none",placement="query",hook=""}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="accepted",reason="none",placement="bearer",hook="user"}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="missing",placement="none",hook="user"}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="forbidden",placement="none",hook=""}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="refused",reason="not_found",placement="none",hook=""}"#,
                        1.0,
                    ),
                    (
                        r#"decisions_total{outcome="accepted",reason="none",placement="none",hook=""}"#,
                        1.0,
                    ),
                    (r#"decision_duration_seconds_count{outcome="accepted",hook="deploy"}"#, 3.0),
                    (r#"decision_duration_seconds_count{outcome="refused",hook="deploy"}"#, 3.0),
                    (r#"decision_duration_seconds_count{outcome="accepted",hook="user"}"#, 1.0),
                    (r#"decision_duration_seconds_count{outcome="refused",hook="user"}"#, 1.0),
                    (r#"decision_duration_seconds_count{outcome="accepted",hook=""}"#, 2.0),
                    (r#"decision_duration_seconds_count{outcome="refused",hook=""}"#, 2.0),
                ],
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_after_the_verdict_is_no_acceptance() {
    let keys = Keys::new().await;
    let key = ("x-api-key", &*keys.text);
    let (metrics, handle) = metrics(Metrics::register);
    let auth = layer(&keys, metrics);

    let small = auth.clone().with_buffer(BodyBufferLayer::new().with_max_bytes(3));
    let long = request(&Method::POST, "/deploy", &[key], "long");
    let response = small.layer(Recorder::default()).oneshot(long).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    // One request takes the only permit, and its response never comes.
    let busy = ServiceBuilder::new()
        .layer(auth.with_readiness_deadline(Duration::from_secs(1)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service_fn(|_: Request<Body>| {
            pending::<Result<http::Response<Body>, std::convert::Infallible>>()
        });
    let call = || busy.clone().oneshot(request(&Method::POST, "/deploy", &[key], ""));
    let first = tokio::spawn(call());
    tokio::task::yield_now().await;
    assert_eq!(call().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    first.abort();

    assert_counts(
        &handle,
        &[
            (
                r#"decisions_total{outcome="accepted",reason="none",placement="header",hook=""}"#,
                1.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="at_capacity",placement="none",hook=""}"#,
                1.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="body_too_large",placement="none",hook=""}"#,
                1.0,
            ),
            (r#"decision_duration_seconds_count{outcome="accepted",hook=""}"#, 1.0),
            (r#"decision_duration_seconds_count{outcome="refused",hook=""}"#, 2.0),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_measure_decisions_and_executions() {
    let keys = Keys::new().await;
    let (metrics, handle) = metrics(|| Metrics::register().with_hooks(["deploy"]));
    let run = async |invocation: Invocation| match &invocation.body()[..] {
        b"\"fail\"" => Err("no".into()),
        b"\"busy\"" => Err(ExecutorError::busy(Duration::from_secs(1))),
        b"\"invalid\"" => Err(ExecutorError::invalid("no branch")),
        b"\"panic\"" => panic!("oh"),
        b"\"hang\"" => pending().await,
        _ => Ok(Outcome::empty()),
    };
    let hooks = Hooks::new(layer(&keys, metrics), run);
    let json = ("content-type", "application/json");
    let key = ("x-api-key", &*keys.text);
    for (headers, body, status) in [
        (vec![key, json], "1", 200),
        (vec![key, json], "\"fail\"", 502),
        (vec![key, json], "\"busy\"", 503),
        (vec![key, json], "\"invalid\"", 422),
        (vec![key, json], "\"panic\"", 500),
        (vec![key, json], "\"hang\"", 504),
        (vec![key, json], "{", 400),
        (vec![key, ("content-type", "a/b")], "1", 415),
        (vec![json], "1", 401),
    ] {
        let request = request(&Method::POST, "/deploy", &headers, body);
        assert_eq!(hooks.clone().oneshot(request).await.unwrap().status(), status, "{body}");
    }
    let probe = request(&Method::HEAD, "/deploy", &[key], "");
    assert_eq!(hooks.clone().oneshot(probe).await.unwrap().status(), StatusCode::OK);

    assert_counts(
        &handle,
        &[
            (
                r#"decisions_total{outcome="accepted",reason="none",placement="header",hook="deploy"}"#,
                7.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="malformed_body",placement="none",hook="deploy"}"#,
                1.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="unsupported_media_type",placement="none",hook="deploy"}"#,
                1.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="missing",placement="none",hook="deploy"}"#,
                1.0,
            ),
            (r#"decision_duration_seconds_count{outcome="accepted",hook="deploy"}"#, 7.0),
            (r#"decision_duration_seconds_count{outcome="refused",hook="deploy"}"#, 3.0),
            (r#"executions_total{outcome="succeeded",reason="none",hook="deploy"}"#, 1.0),
            (r#"executions_total{outcome="failed",reason="failed",hook="deploy"}"#, 1.0),
            (r#"executions_total{outcome="failed",reason="busy",hook="deploy"}"#, 1.0),
            (r#"executions_total{outcome="failed",reason="invalid",hook="deploy"}"#, 1.0),
            (r#"executions_total{outcome="failed",reason="panicked",hook="deploy"}"#, 1.0),
            (r#"executions_total{outcome="failed",reason="timeout",hook="deploy"}"#, 1.0),
            (r#"execution_duration_seconds_count{outcome="succeeded",hook="deploy"}"#, 1.0),
            (r#"execution_duration_seconds_count{outcome="failed",hook="deploy"}"#, 5.0),
        ],
    );
}

#[tokio::test]
async fn no_request_makes_a_series() {
    let keys = Keys::new().await;
    let (metrics, handle) = metrics(|| Metrics::register().with_hooks(["deploy"]));
    let before: Vec<_> = series(&handle.render()).into_keys().collect();
    let auth = layer(&keys, metrics);
    for number in 0..1_000 {
        let key = if number % 2 == 0 { &*keys.text } else { "junk" };
        let path = format!("/{:x}", number * 7_919 % 65_537);
        let request = request(&Method::POST, &path, &[("x-api-key", key)], "");
        auth.layer(Recorder::default()).oneshot(request).await.unwrap();
    }
    assert_counts(
        &handle,
        &[
            (
                r#"decisions_total{outcome="accepted",reason="none",placement="header",hook=""}"#,
                500.0,
            ),
            (
                r#"decisions_total{outcome="refused",reason="malformed",placement="none",hook=""}"#,
                500.0,
            ),
            (r#"decision_duration_seconds_count{outcome="accepted",hook=""}"#, 500.0),
            (r#"decision_duration_seconds_count{outcome="refused",hook=""}"#, 500.0),
        ],
    );
    let text = handle.render();
    assert!(series(&text).into_keys().eq(before));
    assert!(!text.contains(keys.id.as_str()) && !text.contains("alice"), "{text}");
}
