//! Refusals of gRPC and gRPC-web calls.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::rejection::{Rejection, RejectionKind};

use crate::support::wire::{connect_http2, exchange, serve, soon};
use crate::support::{Keys, Mode, Recorder, owner, scope};

type Body = Full<Bytes>;

fn placements() -> [Placement; 2] {
    [Placement::header("x-api-key").unwrap(), Placement::bearer()]
}

/// A policy by path.
fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    Some(match head.uri().path() {
        "/echo.Echo/Unary" => Policy::token(),
        "/echo.Echo/Admin" => Policy::token().with_scope(scope("admin")),
        "/echo.Echo/Bob" => Policy::token().with_owner(owner("bob")),
        "/echo.Echo/Get" => Policy::token().with_methods([Method::GET]),
        "/echo.Echo/User" => Policy::user(),
        _ => return None,
    })
}

fn layer(keys: &Keys) -> AuthLayer {
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, placements())
        .unwrap()
        .with_decision_deadline(Duration::from_millis(50))
        .with_grpc_rejections()
}

fn call(method: &str, media_type: &str, key: &str, body: &'static str) -> Request<Body> {
    let request = Request::post(format!("/echo.Echo/{method}"))
        .header("content-type", media_type)
        .header("te", "trailers");
    let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
    request.body(body.into()).unwrap()
}

/// The code and the text, if the response is trailers-only.
async fn refusal<B>(response: Response<B>, media_type: &str) -> (String, String)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["content-type"], media_type);
    assert_eq!(parts.headers["cache-control"], "no-store");
    assert!(!parts.headers.contains_key("www-authenticate"));
    let exposed = parts.headers.get("access-control-expose-headers");
    let is_web = media_type.starts_with("application/grpc-web");
    assert_eq!(exposed.is_some(), is_web, "{media_type}");
    assert!(exposed.is_none_or(|exposed| exposed == "grpc-status,grpc-message"));
    let body = body.collect().await.unwrap();
    assert!(body.trailers().is_none() && body.to_bytes().is_empty());
    let text = |name| parts.headers[name].to_str().unwrap().to_owned();
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn each_reason_has_its_code_in_every_form_of_the_layer() {
    let keys = Keys::new().await;
    let junk = "junk".to_owned();
    let both = call("Unary", "application/grpc", &keys.text, "");
    let (mut parts, body) = both.into_parts();
    parts.headers.insert("authorization", format!("Bearer {}", keys.text).parse().unwrap());
    let both = || Request::from_parts(parts.clone(), body.clone());
    let cases = [
        (Mode::Ready, call("Unary", "application/grpc", "", ""), "16"),
        (Mode::Ready, call("Unary", "application/grpc", &junk, ""), "16"),
        (Mode::Ready, call("Bob", "application/grpc", &keys.text, ""), "16"),
        (Mode::Later, call("Bob", "application/grpc", &keys.text, ""), "16"),
        (Mode::Ready, call("Admin", "application/grpc", &keys.text, ""), "7"),
        (Mode::Later, call("Admin", "application/grpc", &keys.text, ""), "7"),
        (Mode::Ready, both(), "3"),
        (Mode::Ready, call("None", "application/grpc", &keys.text, ""), "12"),
        (Mode::Ready, call("Get", "application/grpc", &keys.text, ""), "12"),
        (Mode::Error, call("Unary", "application/grpc", &keys.text, ""), "14"),
        (Mode::Panic, call("Unary", "application/grpc", &keys.text, ""), "14"),
        (Mode::Ready, call("User", "application/grpc", &keys.text, ""), "13"),
    ];
    let layer = layer(&keys);
    for (mode, request, expected) in cases {
        keys.store.set_mode(mode);
        let inner = Recorder::default();
        let hooks = Hooks::new(layer.clone(), |_: Invocation| async { Ok(Outcome::empty()) });
        let answers = [
            layer.layer(inner.clone()).oneshot(request.clone()).await.unwrap(),
            layer
                .clone()
                .with_buffer(BodyBufferLayer::new())
                .layer(inner.clone())
                .oneshot(request.clone())
                .await
                .unwrap(),
            hooks.oneshot(request.clone()).await.unwrap(),
        ];
        for response in answers {
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_ne!(rejection.status(), StatusCode::OK);
            let (code, message) = refusal(response, "application/grpc").await;
            assert_eq!(code, expected, "{mode:?} {}", request.uri());
            assert!(!message.is_empty() && !message.contains("junk"));
        }
        assert!(inner.take().is_empty());
    }
}

#[tokio::test]
async fn a_body_that_is_refused_has_a_code() {
    let keys = Keys::new().await;
    let (media_type, body) = ("application/grpc-web+proto", "0123456789");
    let buffer = BodyBufferLayer::new().with_max_bytes(4);
    let request = || call("Unary", media_type, &keys.text, body);

    let service = layer(&keys).with_buffer(buffer.clone()).layer(Recorder::default());
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(refusal(response, media_type).await.0, "8");

    let service = buffer.clone().with_grpc_rejections().layer(Recorder::default());
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(refusal(response, media_type).await.0, "8");

    let hooks = Hooks::new(layer(&keys), |_: Invocation| async { Ok(Outcome::empty()) });
    let response = hooks.with_max_body_bytes(4).oneshot(request()).await.unwrap();
    assert_eq!(refusal(response, media_type).await.0, "8");

    // Without the setting it is a 413.
    let response = buffer.layer(Recorder::default()).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn without_the_setting_and_for_others_nothing_changes() {
    let keys = Keys::new().await;
    let off = AuthLayer::token(&keys.manager, placements()).unwrap();
    let on = off.clone().with_grpc_rejections();
    let get = Request::get("/").header("content-type", "application/grpc");
    for (layer, request) in [
        (&off, call("Unary", "application/grpc", "junk", "")),
        (&on, call("Unary", "application/json", "junk", "")),
        (&on, call("Unary", "application/grpc-status", "junk", "")),
        (&on, get.body(Body::default()).unwrap()),
    ] {
        let response = layer.layer(Recorder::default()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().contains_key("www-authenticate"));
        assert!(!response.headers().contains_key("grpc-status"));
    }
    // An accepted call is the business of the inner service.
    let request = call("Unary", "application/grpc", &keys.text, "");
    let response = on.layer(Recorder::default()).oneshot(request).await.unwrap();
    assert!(!response.headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn concealed_hooks_and_closures_have_the_form_of_grpc() {
    let keys = Keys::new().await;
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let layer = layer(&keys).with_uniform_unauthorized().with_rejection_response(move |_, _| {
        *count.lock().unwrap() += 1;
        Response::default()
    });
    for (method, key) in [("None", ""), ("Admin", &*keys.text), ("Unary", "junk")] {
        let request = call(method, "application/grpc-web-text", key, "");
        let response = layer.layer(Recorder::default()).oneshot(request).await.unwrap();
        let expected = ("16".to_owned(), "Missing or invalid credential".to_owned());
        assert_eq!(refusal(response, "application/grpc-web-text").await, expected);
    }
    assert_eq!(*asked.lock().unwrap(), 0);
    let request = call("None", "application/json", "", "");
    layer.layer(Recorder::default()).oneshot(request).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_unavailable() {
    let keys = Keys::new().await;
    let layer = layer(&keys).with_readiness_deadline(Duration::from_millis(5));
    let busy =
        ServiceBuilder::new().concurrency_limit(1).service(service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::default()))
        }));
    let mut permit = busy.clone();
    permit.ready().await.unwrap();

    let mut service = layer.layer(busy);
    let response =
        service.call(call("Unary", "application/grpc+json", &keys.text, "")).await.unwrap();
    let pushback: u64 =
        response.headers()["grpc-retry-pushback-ms"].to_str().unwrap().parse().unwrap();
    assert!((1000..=5000).contains(&pushback));
    let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::AtCapacity));
    assert_eq!(refusal(response, "application/grpc+json").await.0, "14");
    drop(permit);
}

#[tokio::test]
async fn a_failed_execution_has_its_text_in_the_message() {
    let auth = AuthLayer::public().with_grpc_rejections();
    let fail = |_: Invocation| async { Err(ExecutorError::public("50 % of ü")) };
    let hooks = Hooks::new(auth, fail).with_response_format(ResponseFormat::http());
    // Nothing to read in it.
    let response = hooks.oneshot(call("Unary", "application/grpc", "", "")).await.unwrap();

    let (code, message) = refusal(response, "application/grpc").await;
    assert_eq!((code.as_str(), message.as_str()), ("2", "50 %25 of %C3%BC"));
}

#[tokio::test]
async fn over_sockets_the_end_is_in_the_header_section() {
    let keys = Keys::new().await;
    let address = serve(layer(&keys).layer(Recorder::default())).await;

    let mut client = connect_http2(address).await;
    let (mut parts, body) = call("Unary", "application/grpc", "junk", "message").into_parts();
    parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap();
    parts.version = Version::HTTP_2;
    let response = soon(client.send_request(Request::from_parts(parts, body))).await.unwrap();
    assert!(http_body::Body::is_end_stream(response.body()));
    assert_eq!(refusal(response, "application/grpc").await.0, "16");

    let answer = exchange(
        address,
        "POST /echo.Echo/Admin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         content-type: application/grpc-web+proto; charset=x\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: application/grpc-web+proto\r\n"), "{answer}");
    assert!(answer.contains("\r\ngrpc-status: 16\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}
