//! A policy that needs no body leaves it unread.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use tokio::io::AsyncWriteExt;
use tower::{Layer, ServiceExt};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::credential::Placement;
use tower_webhook::hook::{Hooks, Invocation, Outcome};

use crate::support::watched::Watched;
use crate::support::wire::{read_response, serve};
use crate::support::{Keys, Recorder};

const ABOUT_BODIES: [&str; 5] =
    ["content-type", "content-length", "content-encoding", "trailer", "content-digest"];

fn placements() -> [Placement; 2] {
    [Placement::header("x-api-key").unwrap(), Placement::body("api_key").unwrap()]
}

fn layer(keys: &Keys, policy: Policy) -> AuthLayer {
    AuthLayer::new(policy).unwrap().with_keys(&keys.manager, placements()).unwrap()
}

fn request<B>(path: &str, key: &str, body: B) -> Request<B> {
    let mut request = Request::post(path)
        .header("content-type", "application/json")
        .header("content-length", "40")
        .header("content-encoding", "identity")
        .header("trailer", "x-sum")
        .header("content-digest", "sha-256=:AAAA:");
    if !key.is_empty() {
        request = request.header("x-api-key", key);
    }
    request.body(body).unwrap()
}

fn assert_no_body(headers: &HeaderMap, body: &Bytes) {
    assert!(body.is_empty());
    for name in ABOUT_BODIES {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_service_inside_gets_an_empty_body() {
    let keys = Keys::new().await;
    let key = keys.text.as_str();
    let in_body = format!(r#"{{"api_key":"{key}"}}"#);
    let (token, public) = (Policy::token().without_body(), Policy::public().without_body());
    for (policy, presented, expected) in [
        (&token, key, 200),
        (&token, "junk", 401),
        // A key in the body is none.
        (&token, "", 401),
        (&public, "", 200),
        (&public, "junk", 200),
    ] {
        let make: [fn(String) -> (Watched, _); 3] =
            [Watched::sized, Watched::chunked, |_| Watched::silent(40)];
        for make in make {
            let (body, polls) = make(in_body.clone());
            let inner = Recorder::default();
            let service = layer(&keys, policy.clone()).with_buffer(BodyBufferLayer::new());
            let service = service.layer(inner.clone());
            let response = service.oneshot(request("/", presented, body)).await.unwrap();
            assert_eq!((response.status().as_u16(), polls.count()), (expected, 0), "{presented}");
            for seen in inner.take() {
                assert_no_body(seen.headers(), seen.body());
                let buffered = seen.extensions().get::<BufferedBody>().unwrap();
                assert!(buffered.bytes().is_empty());
            }

            let (body, polls) = make(in_body.clone());
            let seen = Arc::new(Mutex::new(Vec::new()));
            let envelopes = Arc::clone(&seen);
            let hooks = Hooks::new(layer(&keys, policy.clone()), move |invocation: Invocation| {
                envelopes.lock().unwrap().push(invocation.envelope().as_str().to_owned());
                std::future::ready(Outcome::json("done"))
            });
            let response = hooks.oneshot(request("/", presented, body)).await.unwrap();
            assert_eq!((response.status().as_u16(), polls.count()), (expected, 0), "{presented}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), usize::from(expected == 200));
            for envelope in &*seen {
                let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap();
                assert_eq!(envelope["JSON"], serde_json::json!({}), "{envelope}");
                assert!(!envelope.to_string().contains("api_key"), "{envelope}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_buffered_outside_is_emptied() {
    let keys = Keys::new().await;
    for (key, body, expected) in [
        (keys.text.as_str(), r#"{"api_key":"second"}"#.to_owned(), 200),
        (&keys.text, r#"{"a":1,"a":2}"#.to_owned(), 200),
        ("", format!(r#"{{"api_key":"{}"}}"#, keys.text), 401),
    ] {
        let inner = Recorder::default();
        let auth = layer(&keys, Policy::token().without_body());
        let service = BodyBufferLayer::new().layer(auth.layer(inner.clone()));
        let length = body.len();
        let mut request = request("/", key, Full::<Bytes>::from(body));
        request.headers_mut().insert("content-length", length.into());
        assert_eq!(service.oneshot(request).await.unwrap().status(), expected);
        inner.take().iter().for_each(|seen| assert_no_body(seen.headers(), seen.body()));
    }
}

#[tokio::test]
async fn a_layer_that_reads_no_bodies_passes_them_on() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let auth = AuthLayer::new(Policy::token().without_body()).unwrap();
    let auth = auth.with_keys(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap();
    let request = request("/", &keys.text, Full::<Bytes>::from("as it was sent"));
    assert_eq!(auth.layer(inner.clone()).oneshot(request).await.unwrap().status(), 200);
    let [seen] = <[_; 1]>::try_from(inner.take()).unwrap();
    assert_eq!(seen.body(), "as it was sent");
    assert_eq!(seen.headers()["trailer"], "x-sum");
}

#[tokio::test]
async fn a_concealed_hook_without_body_looks_like_an_unknown_one() {
    let keys = Keys::new().await;
    let layer = || {
        AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
            "/bare" => Some(Policy::token().with_methods([Method::POST]).without_body()),
            "/hook" => Some(Policy::token().with_methods([Method::POST])),
            _ => None,
        })
        .with_keys(&keys.manager, placements())
        .unwrap()
        .with_uniform_unauthorized()
    };
    for (key, body) in [
        ("", "{}".to_owned()),
        ("", r#"{"api_key":"junk"}"#.to_owned()),
        ("", "{".to_owned()),
        ("junk", r#"{"api_key":"junk"}"#.to_owned()),
    ] {
        let mut outcomes = Vec::new();
        for path in ["/bare", "/hook", "/none"] {
            let (watched, polls) = Watched::chunked(body.clone());
            let mut request = request(path, key, watched);
            request.headers_mut().remove("content-length");
            let service = layer().with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
            let response = service.oneshot(request).await.unwrap();
            outcomes.push((response.status(), response.headers().clone(), polls.count()));
        }
        assert_eq!(outcomes[0].0, 401);
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{key} {body}: {outcomes:?}");
    }
    // The caller of the hook is let in, and the service gets no body.
    for (key, body) in [("", format!(r#"{{"api_key":"{}"}}"#, keys.text)), (&keys.text, "{".into())]
    {
        let inner = Recorder::default();
        let mut request = request("/bare", key, Full::<Bytes>::from(body));
        request.headers_mut().remove("content-length");
        let service = layer().with_buffer(BodyBufferLayer::new()).layer(inner.clone());
        assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
        let [seen] = <[_; 1]>::try_from(inner.take()).unwrap();
        assert_no_body(seen.headers(), seen.body());
    }
}

#[tokio::test]
async fn a_body_that_is_announced_and_not_sent_is_not_waited_for() {
    let keys = Keys::new().await;
    let auth = layer(&keys, Policy::token().with_methods([Method::POST]).without_body());
    let hooks = Hooks::new(auth.clone(), |_: Invocation| std::future::ready(Outcome::json("done")));
    let buffered = auth.with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
    for address in [serve(hooks).await, serve(buffered).await] {
        for (key, expected) in [(keys.text.as_str(), "200"), ("junk", "401"), ("", "401")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let head = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
                 content-length: 1000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let response = read_response(&mut stream).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {expected} ")), "{response}");
        }
    }
}
