//! The service `Hooks`: the order of its checks, what an executor gets, and when it is not called.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod executions;
mod grpc;
mod invocations;
mod labelled;
mod responses;
#[cfg(feature = "signature")]
mod signed;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{Executor, ExecutorError, Hooks, Invocation, Outcome, ServiceExecutor};

use crate::support::wire::soon;
use crate::support::{Keys, Mode, owner, scope};

type Body = Full<Bytes>;

/// An executor that counts, and answers with its envelope.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn executor(&self) -> impl Executor + Clone {
        let calls = Arc::clone(&self.0);
        move |invocation: Invocation| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move { Outcome::json_text(invocation.envelope().as_str()) }
        }
    }

    /// How many executions there were since the last call.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// A POST to the target, with a body labelled as JSON.
fn post_to(target: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(target)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn call(hooks: &Hooks, request: Request<Body>) -> Response<String> {
    collect(soon(hooks.clone().oneshot(request)).await.unwrap()).await
}

async fn collect<B>(response: Response<B>) -> Response<String>
where
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(bytes.to_vec()).unwrap())
}

/// A hook of the path `/<policy>`.
fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    let token = || Policy::token().with_hook("token");
    Some(match head.uri().path() {
        "/public" => Policy::public().with_hook("public"),
        "/token" => token(),
        "/scope" => token().with_scope(scope("admin")),
        "/owner" => token().with_owner(owner("bob")),
        "/user" => Policy::user(),
        "/get" => token().with_methods([Method::GET, Method::HEAD]),
        _ => return None,
    })
}

fn auth(keys: &Keys) -> AuthLayer {
    let placements = [Placement::header("x-api-key").unwrap(), Placement::query("key").unwrap()];
    AuthLayer::per_request(resolve).with_keys(&keys.manager, placements).unwrap()
}

/// Each row breaks one more rule than the row before it, and is refused for the first of them.
#[tokio::test]
async fn the_first_rule_that_is_broken_decides() {
    let keys = Keys::new().await;
    let counter = Counter::default();
    let hooks = Hooks::new(auth(&keys), counter.executor()).with_max_body_bytes(16);
    let key = Some(keys.text.as_str());
    let deep = "[".repeat(8) + "]";
    // Target, method, key, second key, content coding, media type, body, and the status.
    type Row<'a> = (&'a str, &'a str, Option<&'a str>, bool, bool, &'a str, &'a str, u16);
    let rows: [Row<'_>; 12] = [
        ("/token", "POST", key, false, false, "application/json", "{}", 200),
        ("/token", "POST", key, false, false, "application/json", &deep, 400),
        (
            "/token",
            "POST",
            key,
            false,
            false,
            "application/x-www-form-urlencoded; charset=latin1",
            &deep,
            415,
        ),
        ("/token", "POST", key, false, false, "a/b; c; d, e", "0123456789abcdef!", 413),
        ("/token", "POST", key, false, true, "a/b; c; d, e", "0123456789abcdef!", 415),
        ("/scope", "POST", key, false, true, "a/b; c; d, e", "0123456789abcdef!", 403),
        ("/owner", "POST", key, false, true, "a/b; c; d, e", "0123456789abcdef!", 401),
        ("/owner", "POST", Some("junk"), false, true, "a/b; c", "0123456789abcdef!", 401),
        ("/owner", "POST", None, false, true, "a/b; c; d, e", "0123456789abcdef!", 401),
        ("/owner", "POST", Some("junk"), true, true, "a/b; c", "0123456789abcdef!", 400),
        ("/owner", "GET", Some("junk"), true, true, "a/b; c", "0123456789abcdef!", 405),
        ("/other", "GET", Some("junk"), true, true, "a/b; c", "0123456789abcdef!", 404),
    ];
    for row in rows {
        let (target, method, key, second, coded, media, body, expected) = row;
        let mut request = Request::builder().method(method).uri(target);
        request = request.header("content-type", media);
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        if second {
            request = request.header("x-api-key", "junk");
        }
        if coded {
            request = request.header("content-encoding", "gzip");
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();

        let response = call(&hooks, request).await;

        assert_eq!(response.status(), expected, "{row:?} {}", response.body());
        assert_eq!(counter.take(), usize::from(expected == 200), "{row:?}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let is_problem = response.headers()["content-type"] == "application/problem+json";
        assert_eq!(is_problem, expected != 200, "{row:?}");
        assert_eq!(response.headers().contains_key("www-authenticate"), expected == 401);
    }
}

#[tokio::test]
async fn a_coded_body_is_refused_unless_it_is_asked_for() {
    let counter = Counter::default();
    let hooks = Hooks::new(AuthLayer::public(), counter.executor());
    let coded = |media: &str| {
        let mut request = post_to("/", "\u{1f}\u{8b}");
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        request.headers_mut().insert("content-type", media.parse().unwrap());
        request
    };
    assert_eq!(call(&hooks, coded("text/plain")).await.status(), 415);

    let envelope = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
    let hooks = hooks.with_encoded_bodies().with_envelope(envelope).unwrap();
    let response = call(&hooks, coded("text/plain")).await;
    assert_eq!(response.status(), 200);
    assert!(response.body().contains(r#""content-encoding":"gzip""#));
    assert_eq!(call(&hooks, coded("application/json")).await.status(), 400);
    assert_eq!(counter.take(), 1);
}

#[tokio::test]
async fn a_hook_is_called_by_post_unless_its_policy_says_otherwise() {
    let keys = Keys::new().await;
    let counter = Counter::default();
    let hooks = Hooks::new(auth(&keys), counter.executor());
    let served = [("/public", "POST"), ("/token", "POST"), ("/get", "GET"), ("/get", "HEAD")];
    for target in ["/public", "/token", "/get"] {
        for method in
            ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post"]
        {
            let request = Request::builder().method(method).uri(target);
            let request = request.header("x-api-key", &keys.text).body(Body::default()).unwrap();

            let response = call(&hooks, request).await;

            let expected = served.contains(&(target, method));
            assert_eq!(response.status() == StatusCode::OK, expected, "{method} {target}");
            assert_eq!(counter.take(), usize::from(expected), "{method} {target}");
            let allow = response.headers().get("allow").map(|allow| allow.to_str().unwrap());
            let methods = if target == "/get" { "GET, HEAD" } else { "POST" };
            assert_eq!(allow, (!expected).then_some(methods));
        }
    }
}

#[tokio::test]
async fn an_executor_runs_once_if_accepted_and_never_if_refused() {
    let counter = Counter::default();
    let good = |keys: &Keys, target: &str| {
        let mut request = post_to(target, r#"{"a":1.0}"#);
        request.headers_mut().insert("x-api-key", keys.text.parse().unwrap());
        request
    };
    for mode in [Mode::Ready, Mode::Later, Mode::Error, Mode::Panic] {
        let keys = Keys::new().await;
        let hooks = Hooks::new(auth(&keys), counter.executor());
        keys.store.set_mode(mode);
        let works = matches!(mode, Mode::Ready | Mode::Later);

        let response = call(&hooks, good(&keys, "/token")).await;
        assert_eq!(response.status(), if works { 200 } else { 503 }, "{mode:?}");
        assert_eq!(response.headers().contains_key("retry-after"), !works);
        assert_eq!(counter.take(), usize::from(works), "{mode:?}");

        // A public hook does not ask the store.
        let response = call(&hooks, post_to("/public", "{}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{mode:?}");
        assert_eq!(counter.take(), 1);
        // There is no authenticator.
        let response = call(&hooks, good(&keys, "/user")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(counter.take(), 0);
    }
}

#[tokio::test]
async fn the_executor_gets_the_caller_and_the_hook() {
    async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
        assert_eq!(invocation.extensions().get::<u8>(), Some(&7));
        let owner = invocation.identity().map(|identity| identity.owner().to_string());
        let seen =
            (invocation.hook(), owner, invocation.method().as_str(), invocation.uri().to_string());
        let outcome = Outcome::json(&seen)?;
        assert!(invocation.into_envelope().json().is_some());
        Ok(outcome)
    }

    let keys = Keys::new().await;
    let hooks = Hooks::new(auth(&keys), run);
    for (target, expected) in [
        (format!("/token?a=1&key={}", keys.text), r#"["token","alice","POST","/token?a=1"]"#),
        (format!("/public?a=1&key={}", keys.text), r#"["public",null,"POST","/public?a=1"]"#),
    ] {
        let mut request = post_to(&target, "{}");
        request.extensions_mut().insert(7_u8);
        let response = call(&hooks, request).await;
        assert_eq!(response.into_body(), expected);
    }
}

#[tokio::test]
async fn no_executor_sees_a_credential_from_any_place() {
    let keys = Keys::new().await;
    let placements = [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::cookie("session").unwrap(),
        Placement::query("key").unwrap(),
        Placement::path("/{hook}/{key}").unwrap(),
        Placement::body("api_key").unwrap(),
    ];
    let policy = |head: RequestHead<'_>| match head.uri().path() {
        path if path.starts_with("/public") => Some(Policy::public()),
        _ => Some(Policy::token()),
    };
    let auth = AuthLayer::per_request(policy).with_keys(&keys.manager, placements).unwrap();
    let hooks = Hooks::new(auth, Counter::default().executor());

    // A key, and a credential of another kind in a configured place.
    for (hook, secret) in
        [("token", keys.text.as_str()), ("public", keys.text.as_str()), ("public", "opensesame")]
    {
        let with = |name: &str, value: String| {
            let mut request = post_to(&format!("/{hook}"), "{}");
            request
                .headers_mut()
                .insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            request
        };
        let requests = [
            with("x-api-key", secret.to_owned()),
            with("authorization", format!("Bearer {secret}")),
            with("cookie", format!("a=1; session={secret}")),
            post_to(&format!("/{hook}?a=1&key={secret}"), "{}"),
            post_to(&format!("/{hook}/{secret}"), "{}"),
            post_to(&format!("/{hook}"), format!(r#"{{"a":1,"api_key":"{secret}"}}"#)),
        ];
        for (index, request) in requests.into_iter().enumerate() {
            let response = call(&hooks, request).await;
            assert_eq!(response.status(), StatusCode::OK, "{hook} {index}");
            assert!(response.body().starts_with(r#"{"GET":"#), "{}", response.body());
            assert!(!response.body().contains(secret), "{hook} {index}: {}", response.body());
        }
    }
}

#[tokio::test]
async fn a_body_has_a_limit_of_its_own_before_the_caller_is_known() {
    let keys = Keys::new().await;
    let counter = Counter::default();
    let placements = [Placement::header("x-api-key").unwrap(), Placement::body("api_key").unwrap()];
    let in_body = AuthLayer::token(&keys.manager, placements.clone()).unwrap();
    let in_head = AuthLayer::token(&keys.manager, placements.into_iter().take(1)).unwrap();
    let hooks = |auth: &AuthLayer| {
        Hooks::new(auth.clone(), counter.executor())
            .with_max_body_bytes(1000)
            .with_pre_auth_max_bytes(100)
    };
    let body = |len: usize| format!(r#""{}""#, "x".repeat(len - 2));
    let cases = [
        // With the key in the head, and a second one that may be in the body.
        (hooks(&in_body), Some(&keys.text), 1000, 200),
        (hooks(&in_body), Some(&keys.text), 1001, 413),
        (hooks(&in_body), None, 101, 413),
        (hooks(&in_body), None, 100, 401),
        // Only the head is looked at.
        (hooks(&in_head), Some(&keys.text), 1000, 200),
        (hooks(&in_head), Some(&keys.text), 1001, 413),
        (hooks(&in_head), None, 1001, 401),
        // The lower limit holds.
        (hooks(&in_body).with_pre_auth_max_bytes(5000), Some(&keys.text), 1001, 413),
        (hooks(&in_body).with_max_body_bytes(50), Some(&keys.text), 51, 413),
    ];
    for (index, (hooks, key, len, expected)) in cases.into_iter().enumerate() {
        let mut request = post_to("/", body(len));
        if let Some(key) = key {
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
        }
        let response = call(&hooks, request).await;
        assert_eq!(response.status(), expected, "{index}");
        assert_eq!(counter.take(), usize::from(expected == 200), "{index}");
    }
}

#[tokio::test]
async fn a_coded_body_is_refused_for_a_known_caller() {
    let keys = Keys::new().await;
    let counter = Counter::default();
    let hooks = Hooks::new(auth(&keys), counter.executor());
    for (codings, expected) in [
        (&["identity"][..], 200),
        (&["Identity"], 200),
        (&["identity, identity"], 200),
        (&["gzip"], 415),
        (&["identity", "br"], 415),
        (&["identity, gzip"], 415),
        (&[""], 415),
    ] {
        for (key, expected) in [(keys.text.as_str(), expected), ("junk", 401)] {
            let mut request = post_to("/token", "{}");
            request.headers_mut().insert("x-api-key", key.parse().unwrap());
            for coding in codings {
                request.headers_mut().append("content-encoding", coding.parse().unwrap());
            }
            let response = call(&hooks, request).await;
            assert_eq!(response.status(), expected, "{codings:?}");
            assert_eq!(counter.take(), usize::from(expected == 200));
            let offered = response.headers().get("accept-encoding");
            assert_eq!(offered.is_some_and(|coding| coding == "identity"), expected == 415);
        }
    }
}

#[tokio::test]
async fn a_body_of_a_refused_caller_is_not_polled() {
    let keys = Keys::new().await;
    let hooks = Hooks::new(auth(&keys), Counter::default().executor());
    let polled = Arc::new(AtomicUsize::new(0));
    for (key, expected) in [("junk", 401), (keys.text.as_str(), 200)] {
        let polled = Arc::clone(&polled);
        let counted = Arc::clone(&polled);
        let body = http_body_util::StreamBody::new(futures_util::stream::poll_fn(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::task::Poll::Ready(None::<Result<http_body::Frame<Bytes>, BoxError>>)
        }));
        let request = Request::post("/token").header("x-api-key", key).body(body).unwrap();
        let response = hooks.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(polled.load(Ordering::SeqCst), usize::from(expected == 200));
    }
}

#[tokio::test]
async fn an_executor_may_be_shared_boxed_or_a_service() {
    let counter = Counter::default();
    let shared: Arc<dyn Executor> = Arc::new(counter.executor());
    let run = counter.executor();
    let service = ServiceBuilder::new().concurrency_limit(1).service(service_fn(
        move |invocation: Invocation| {
            let run = run.clone();
            async move {
                run.execute(invocation).await.map_err(|_| BoxError::from("the executor failed"))
            }
        },
    ));
    for hooks in [
        Hooks::new(AuthLayer::public(), Arc::clone(&shared)),
        Hooks::new(AuthLayer::public(), ServiceExecutor::new(service)),
    ] {
        for _ in 0..3 {
            let response = call(&hooks, post_to("/", "[1.0]")).await;
            assert!(response.body().contains(r#""JSON":[1.0]"#), "{}", response.body());
            assert_eq!(counter.take(), 1);
        }
    }
}
