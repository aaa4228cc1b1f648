//! What the layer finds out about a caller is in the span around it, so that every line of a request has it.

use axum::Router;
use axum::body::Body;
use axum::routing::{any_service, get};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::trace::TraceLayer;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::trace::request_span;

use crate::support::{Keys, Logins, Logs, Mode, scope};

fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    let policy = match head.original_path() {
        "/public" => return Some(Policy::public().with_hook("public")),
        "/plain" => return Some(Policy::token()),
        "/user" => Policy::user(),
        "/both" => Policy::all_of([Policy::token(), Policy::user()]),
        "/admin" => Policy::token().with_scope(scope("admin")),
        "/none" => return None,
        _ => Policy::token(),
    };
    Some(policy.with_hook("deploy"))
}

fn layer(keys: &Keys) -> AuthLayer {
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, [Placement::header("x-api-key").unwrap()])
        .unwrap()
        .with_authenticator(Logins, [Placement::bearer()])
        .unwrap()
}

/// One app for each way of deciding: at once or later, before or after the body, in front of a service or a hook.
fn apps(keys: &Keys) -> [Router; 3] {
    let work = || async { tracing::info!("work") };
    let auth = layer(keys);
    let run = async |_: Invocation| {
        tokio::task::yield_now().await;
        tracing::info!("work");
        Ok(Outcome::empty())
    };
    [
        Router::new().route("/{*path}", get(work).post(work)).layer(auth.clone()),
        Router::new()
            .route("/{*path}", get(work).post(work))
            .layer(auth.clone().with_buffer(BodyBufferLayer::new())),
        Router::new().route("/{*path}", any_service(Hooks::new(auth, run))),
    ]
}

/// The fields of the span in the lines that have this message.
async fn spans(app: Router, request: Request<Body>, message: &str) -> Vec<Value> {
    let logs = Logs::default();
    let guard = logs.capture_json();
    app.oneshot(request).await.unwrap();
    drop(guard);
    let text = logs.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<_> = lines.filter(|line| line["fields"]["message"] == message).collect();
    found.into_iter().map(|line| line["span"].clone()).collect()
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::post(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn every_line_of_a_request_has_what_is_known() {
    let keys = Keys::new().await;
    let (key, id) = (("x-api-key", &*keys.text), keys.id.as_str());
    let user = ("authorization", "Bearer sesame");
    let known = json!({
        "auth.key_id": id, "auth.owner": "alice", "auth.placement": "header", "hook.name": "deploy",
    });
    let plain = json!({"auth.key_id": id, "auth.owner": "alice", "auth.placement": "header"});
    let by_user = json!({"auth.owner": "alice", "auth.placement": "bearer", "hook.name": "deploy"});
    let both = json!({
        "auth.key_id": id, "auth.owner": "alice", "auth.placement": "bearer", "hook.name": "deploy",
    });
    let forbidden = json!({
        "auth.key_id": id, "auth.owner": "alice", "auth.reason": "forbidden", "hook.name": "deploy",
    });
    let missing = json!({"auth.reason": "missing", "hook.name": "deploy"});
    let malformed = json!({"auth.reason": "malformed", "hook.name": "deploy"});
    let cases = [
        ("/deploy", vec![key], "work", known),
        ("/plain", vec![key], "work", plain),
        ("/user", vec![user], "work", by_user),
        ("/both", vec![key, user], "work", both),
        ("/public", vec![], "work", json!({"hook.name": "public"})),
        ("/admin", vec![key], "request refused", forbidden),
        ("/deploy", vec![], "request refused", missing),
        ("/deploy", vec![("x-api-key", "junk")], "request refused", malformed),
        ("/none", vec![key], "request refused", json!({"auth.reason": "not_found"})),
    ];
    for mode in [Mode::Ready, Mode::Later] {
        keys.store.set_mode(mode);
        for (number, app) in apps(&keys).into_iter().enumerate() {
            let app = app.layer(
                TraceLayer::new_for_http().make_span_with(request_span((&layer(&keys)).into())),
            );
            for (path, headers, message, fields) in &cases {
                let mut expected = json!({
                    "name": "request", "http.request.method": "POST", "url.path": path,
                });
                expected.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
                let spans = spans(app.clone(), request(path, headers), message).await;
                assert_eq!(spans, [expected], "{mode:?} {number} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_span_without_these_fields_stays_as_it_is() {
    let keys = Keys::new().await;
    let key = ("x-api-key", &*keys.text);
    let span = |_: &Request<Body>| tracing::info_span!("own", auth.owner = tracing::field::Empty);
    for app in apps(&keys) {
        let app = app.layer(TraceLayer::new_for_http().make_span_with(span));
        let spans = spans(app, request("/deploy", &[key]), "work").await;
        assert_eq!(spans, [json!({"name": "own", "auth.owner": "alice"})]);
    }
    for app in apps(&keys) {
        let spans = spans(app, request("/deploy", &[key]), "work").await;
        assert_eq!(spans, [json!(null)]);
    }
}
