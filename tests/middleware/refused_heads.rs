//! What a closure that replaces the body of refusals is shown of the request.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, PolicyResolver};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::credential::{Placement, PresentedCredential, Secret};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::rejection::Rejection;
use tower_webhook::{BoxError, RequestHead};

use crate::support::{Keys, Mode, Recorder, scope};

type Body = Full<Bytes>;

/// What the closure was shown last, as text with everything in it.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Option<String>>>);

impl Seen {
    fn closure(
        &self,
    ) -> impl Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static {
        let seen = self.clone();
        move |_, head| {
            assert!(head.extensions().get::<BufferedBody>().is_none());
            let headers: Vec<_> = head.headers().iter().collect();
            let id = head.extensions().get::<u8>();
            let text = format!("{} {} {headers:?} {id:?}", head.method(), head.uri());
            assert!(seen.0.lock().unwrap().replace(text).is_none(), "shown twice");
            Response::default()
        }
    }

    fn take(&self) -> String {
        self.0.lock().unwrap().take().expect("the closure was not called")
    }
}

fn placements() -> Vec<Placement> {
    let custom = Placement::custom(|head| {
        let value = head.headers().get("x-custom");
        value.and_then(|value| value.to_str().ok()).map(Secret::new).into_iter().collect()
    })
    .with_scrub(|request| drop(request.headers_mut().remove("x-custom")));
    vec![
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::cookie("key").unwrap(),
        Placement::query("key").unwrap(),
        Placement::path("/hook/{name}/{key}").unwrap(),
        Placement::body("key").unwrap(),
        custom,
    ]
}

/// A request with a secret in the place.
fn request(place: &str, secret: &str) -> Request<Body> {
    let target = match place {
        "query" => format!("/hook/a?key={secret}&b=1"),
        "path" => format!("/hook/a/{secret}?b=1"),
        // Nothing is configured to read it.
        "other query" => format!("/hook/a?api-key={secret}&b=1"),
        _ => "/hook/a?b=1".to_owned(),
    };
    let request = Request::post(target).header("x-id", "7").extension(7_u8);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = match place {
        "header" => request.header("x-api-key", secret),
        "bearer" => request.header("authorization", format!("Bearer {secret}")),
        "cookie" => request.header("cookie", format!("a=1; key={secret}")),
        "custom" => request.header("x-custom", secret),
        "sensitive" => {
            let mut value = HeaderValue::from_str(secret).unwrap();
            value.set_sensitive(true);
            request.header("x-other", value)
        }
        "basic" => request.header("authorization", format!("Basic {secret}")),
        "proxy" => request.header("proxy-authorization", format!("Bearer {secret}")),
        "other cookie" => request.header("cookie", format!("session={secret}")),
        "other header" => request.header("x-other", format!("key is {secret}")),
        _ => request,
    };
    let body = if place == "body" { format!("key={secret}&b=1") } else { "b=1".to_owned() };
    request.body(body.into()).unwrap()
}

const PLACES: [&str; 13] = [
    "header",
    "bearer",
    "cookie",
    "query",
    "path",
    "body",
    "custom",
    "sensitive",
    "basic",
    "proxy",
    "other cookie",
    "other header",
    "other query",
];

/// Waits once before it answers.
struct Waiting(Policy);

#[async_trait]
impl PolicyResolver for Waiting {
    async fn resolve(&self, _: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        tokio::task::yield_now().await;
        Ok(Some(self.0.clone()))
    }
}

struct Refuses;

#[async_trait]
impl Authenticator for Refuses {
    async fn authenticate(
        &self,
        _: RequestHead<'_>,
        _: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        Ok(Authentication::Refused)
    }
}

#[tokio::test]
async fn no_stage_shows_a_credential() {
    let keys = Keys::new().await;
    let denied = || Policy::token().with_scope(scope("admin"));
    let users = || Waiting(Policy::user());
    let layers = [
        AuthLayer::new(denied()).unwrap(),
        AuthLayer::new(denied()).unwrap().with_uniform_unauthorized(),
        AuthLayer::per_request(Waiting(denied())),
        AuthLayer::per_request(|_: RequestHead<'_>| None),
        AuthLayer::new(denied().with_methods([Method::GET])).unwrap(),
        AuthLayer::per_request(users()).with_authenticator(Refuses, []).unwrap(),
    ];
    for layer in layers {
        let layer = layer.with_keys(&keys.manager, placements()).unwrap();
        for mode in [Mode::Ready, Mode::Later, Mode::Error] {
            keys.store.set_mode(mode);
            for place in PLACES {
                let seen = Seen::default();
                let layer = layer.clone().with_rejection_response(seen.closure());
                let run = |_: Invocation| async { Ok(Outcome::empty()) };
                let buffer = BodyBufferLayer::new().with_rejection_response(seen.closure());
                let buffer = layer.clone().with_buffer(buffer).layer(Recorder::default());
                let buffer_outside = BodyBufferLayer::new().layer(layer.layer(Recorder::default()));
                let request = || request(place, &keys.text);
                let answers = [
                    (buffer.oneshot(request()).await.unwrap().status(), seen.take()),
                    (buffer_outside.oneshot(request()).await.unwrap().status(), seen.take()),
                    (
                        Hooks::new(layer, run).oneshot(request()).await.unwrap().status(),
                        seen.take(),
                    ),
                ];
                for (status, seen) in answers {
                    let context = format!("{place} {mode:?} {status} {seen}");
                    assert!(!status.is_success(), "{context}");
                    assert!(!seen.contains(&keys.text), "{context}");
                    // What is no credential is there.
                    assert!(seen.starts_with("POST /hook/a"), "{context}");
                    assert!(seen.contains("b=1") && seen.contains("\"x-id\", \"7\""), "{context}");
                    assert!(seen.ends_with("Some(7)"), "{context}");
                }
            }
        }
    }
}

/// The head of a request of which the body is refused.
#[tokio::test]
async fn a_refused_body_shows_no_credential() {
    let keys = Keys::new().await;
    for place in ["header", "bearer", "cookie", "query", "path", "custom", "other query"] {
        let seen = Seen::default();
        let layer = AuthLayer::token(&keys.manager, placements()).unwrap();
        let buffer =
            BodyBufferLayer::new().with_max_bytes(2).with_rejection_response(seen.closure());
        let service = layer.with_buffer(buffer.clone()).layer(Recorder::default());
        let response = service.oneshot(request(place, &keys.text)).await.unwrap();
        assert_eq!(response.status(), 413, "{place}");
        let shown = seen.take();
        assert!(!shown.contains(&keys.text) && shown.contains("b=1"), "{place}: {shown}");

        // This layer alone knows no placements.
        let response =
            buffer.layer(Recorder::default()).oneshot(request(place, "opensesame")).await;
        assert_eq!(response.unwrap().status(), 413);
        let shown = seen.take();
        let is_known = !["header", "custom", "path"].contains(&place);
        assert!(!is_known || !shown.contains("opensesame"), "{place}: {shown}");
        assert!(shown.starts_with("POST /hook/a") && !shown.contains("b=1"), "{place}: {shown}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_shows_no_credential() {
    let keys = Keys::new().await;
    let seen = Seen::default();
    let layer = AuthLayer::token(&keys.manager, placements().into_iter().take(5))
        .unwrap()
        .with_readiness_deadline(Duration::from_millis(2))
        .with_rejection_response(seen.closure());
    let respond = async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default()));
    let busy = ServiceBuilder::new().concurrency_limit(1).service(service_fn(respond));
    let mut permit = busy.clone();
    permit.ready().await.unwrap();
    for place in ["header", "bearer", "cookie", "query", "path"] {
        let response = layer.layer(busy.clone()).call(request(place, &keys.text)).await.unwrap();
        assert_eq!(response.status(), 503);
        let shown = seen.take();
        assert!(!shown.contains(&keys.text) && shown.contains("b=1"), "{place}: {shown}");
    }
}

#[tokio::test]
async fn a_failed_execution_shows_the_head_to_the_closure() {
    let keys = Keys::new().await;
    let seen = Seen::default();
    let layer = AuthLayer::token(&keys.manager, placements())
        .unwrap()
        .with_rejection_response(seen.closure());
    let fail = |_: Invocation| async { Err(ExecutorError::from("down")) };
    let hooks = Hooks::new(layer, fail).with_response_format(ResponseFormat::http());
    for place in ["header", "bearer", "cookie", "query", "path", "body", "custom"] {
        let response = hooks.clone().oneshot(request(place, &keys.text)).await.unwrap();
        assert_eq!(response.status(), 502, "{place}");
        let shown = seen.take();
        assert!(!shown.contains(&keys.text) && shown.contains("b=1"), "{place}: {shown}");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_cleaned_is_not_shown() {
    let keys = Keys::new().await;
    let seen = Seen::default();
    let scrub = |_: &mut Request<()>| panic!("a fault of the app");
    let broken = Placement::custom(|_| Vec::new()).with_scrub(scrub);
    let layer = AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap(), broken])
        .unwrap()
        .with_rejection_response(seen.closure());

    let response = layer.layer(Recorder::default()).oneshot(request("header", "opensesame")).await;

    assert_eq!(response.unwrap().status(), 401);
    assert_eq!(seen.take(), "POST / [] None");
}

/// A closure can answer in the form that the caller asks for.
#[tokio::test]
async fn a_closure_answers_as_the_caller_accepts() {
    let layer = AuthLayer::per_request(|_: RequestHead<'_>| None).with_rejection_response(
        |rejection, head| {
            let accepts_text =
                head.headers().get("accept").is_some_and(|text| text == "text/plain");
            let id = head.headers().get("x-request-id").cloned();
            let mut response = Response::new(match accepts_text {
                true => rejection.code().into(),
                false => "{}".into(),
            });
            response.headers_mut().insert("x-request-id", id.unwrap());
            response
        },
    );
    let (mut parts, _): (Parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    for (accept, expected) in [("text/plain", "not_found"), ("application/json", "{}")] {
        parts.headers.insert("accept", accept.parse().unwrap());
        parts.headers.insert("x-request-id", "42".parse().unwrap());
        let request = Request::from_parts(parts.clone(), Body::default());
        let response = layer.layer(Recorder::default()).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-request-id"], "42");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}
