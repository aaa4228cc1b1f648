//! What the auth service lets through, what it refuses, and what the inner service gets to see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, PolicyResolver, User};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Credentials, Placement, PlacementKind, PresentedCredential};
use tower_webhook::identity::Identity;
use tower_webhook::rejection::RejectionKind;

use crate::support::{Keys, Mode, Recorder, owner, scope};

type Body = Full<Bytes>;

fn header() -> [Placement; 1] {
    [Placement::header("x-api-key").unwrap()]
}

fn request(key: &str) -> Request<Body> {
    Request::post("/").header("x-api-key", key).body(Body::default()).unwrap()
}

async fn call(layer: &AuthLayer, inner: &Recorder, request: Request<Body>) -> Response<Bytes> {
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn the_identity_goes_in_and_the_credential_does_not() {
    for mode in [Mode::Ready, Mode::Later] {
        let keys = Keys::new().await;
        keys.store.set_mode(mode);
        let layer = AuthLayer::token(&keys.manager, header()).unwrap();
        let inner = Recorder::default();

        let response = call(&layer, &inner, request(&keys.text)).await;

        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body(), "ok");
        let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
        let identity = Identity::of(request.extensions()).unwrap().unwrap();
        assert_eq!(identity.owner(), &owner("alice"));
        assert_eq!(identity.key_id(), Some(&keys.id));
        assert_eq!(identity.placement(), Some(PlacementKind::Header));
        assert!(identity.has_scope(&scope("deploy")));
        assert!(!format!("{request:?}").contains(&keys.text));
        assert_eq!(keys.store.take_finds(), 1);
    }
}

#[tokio::test]
async fn an_outage_is_503_and_never_401() {
    for mode in [Mode::Error, Mode::Panic, Mode::Hang] {
        let keys = Keys::new().await;
        keys.store.set_mode(mode);
        let verifier = keys.manager.verifier().with_store_deadline(Duration::from_millis(20));
        let layer = AuthLayer::token(verifier, header()).unwrap();
        let inner = Recorder::default();

        let response = call(&layer, &inner, request(&keys.text)).await;

        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{mode:?}");
        assert!(response.headers().contains_key("retry-after"));
        assert!(!response.headers().contains_key("www-authenticate"));
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        assert!(!text.contains("10.0.0.1"));
        assert!(inner.take().is_empty());

        // The fault is over, and so is the outage.
        keys.store.set_mode(Mode::Ready);
        let response = call(&layer, &inner, request(&keys.text)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_public_route_asks_no_store_and_still_strips() {
    let keys = Keys::new().await;
    let layer = AuthLayer::public().with_removed(header()).unwrap();
    let inner = Recorder::default();

    let response = call(&layer, &inner, request(&keys.text)).await;

    assert_eq!(response.status(), StatusCode::OK);
    let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
    assert!(Identity::of(request.extensions()).unwrap().is_none());
    assert!(!request.headers().contains_key("x-api-key"));
    assert_eq!(keys.store.take_finds(), 0);
}

#[tokio::test]
async fn scopes_and_owners_are_asked_for() {
    let keys = Keys::new().await;
    let token = || AuthLayer::token(&keys.manager, header()).unwrap();
    let cases = [
        (token().with_scope(scope("deploy")), StatusCode::OK),
        (token().with_scope(scope("deplo")), StatusCode::FORBIDDEN),
        (token().with_scope(scope("DEPLOY")), StatusCode::FORBIDDEN),
        (
            token().with_scope(scope("deploy")).unwrap().with_scope(scope("read")),
            StatusCode::FORBIDDEN,
        ),
        (token().with_owner(owner("alice")), StatusCode::OK),
        (token().with_owner(owner("bob")), StatusCode::UNAUTHORIZED),
    ];
    for (layer, expected) in cases {
        let layer = layer.unwrap();
        let inner = Recorder::default();
        let response = call(&layer, &inner, request(&keys.text)).await;
        assert_eq!(response.status(), expected, "{layer:?}");
        assert_eq!(inner.take().len(), usize::from(expected == StatusCode::OK));
    }
}

#[tokio::test]
async fn concealed_hooks_look_like_a_wrong_key() {
    let keys = Keys::new().await;
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
        "/known" => Some(Policy::token().with_scope(scope("read")).with_methods([Method::POST])),
        _ => None,
    })
    .with_keys(&keys.manager, [Placement::header("x-api-key").unwrap(), Placement::bearer()])
    .unwrap()
    .with_uniform_unauthorized();
    let inner = Recorder::default();

    let mut answers = Vec::new();
    for path in ["/known", "/unknown"] {
        for method in [Method::POST, Method::GET] {
            for credential in [&keys.text, "junk"] {
                let request = Request::builder()
                    .method(method.clone())
                    .uri(path)
                    .header("authorization", format!("Bearer {credential}"))
                    .body(Body::default())
                    .unwrap();
                let response = call(&layer, &inner, request).await;
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                answers.push((response.headers().clone(), response.into_body()));
            }
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn each_request_has_a_policy_of_its_own() {
    let keys = Keys::new().await;
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
        "/public" => Some(Policy::public()),
        "/token" => Some(Policy::token().with_methods([Method::POST, Method::PUT])),
        "/user" => Some(Policy::user()),
        _ => None,
    })
    .with_keys(&keys.manager, header())
    .unwrap();
    let inner = Recorder::default();
    let cases = [
        ("POST", "/public", "junk", 200),
        ("POST", "/token", keys.text.as_str(), 200),
        ("PUT", "/token", keys.text.as_str(), 200),
        ("POST", "/token", "junk", 401),
        ("GET", "/token", keys.text.as_str(), 405),
        ("HEAD", "/token", keys.text.as_str(), 405),
        ("OPTIONS", "/token", keys.text.as_str(), 405),
        ("post", "/token", keys.text.as_str(), 405),
        ("POST", "/other", keys.text.as_str(), 404),
        // There is no authenticator.
        ("POST", "/user", keys.text.as_str(), 500),
    ];
    for (method, path, key, expected) in cases {
        let mut request = request(key);
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let response = call(&layer, &inner, request).await;
        assert_eq!(response.status(), expected, "{method} {path}");
        let allow = response.headers().get("allow");
        assert_eq!(allow.is_some(), expected == 405);
        assert!(allow.is_none_or(|allow| allow == "POST, PUT"));
        assert_eq!(inner.take().len(), usize::from(expected == 200));
    }
}

/// Says who the user is after a wait, or fails.
struct Slow(Arc<AtomicBool>);

#[async_trait]
impl Authenticator for Slow {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        tokio::task::yield_now().await;
        if self.0.load(Ordering::SeqCst) {
            return Err("the directory is down".into());
        }
        let value = head.headers().get("authorization").unwrap();
        assert!(value.is_sensitive());
        let candidate = candidate.unwrap();
        match (candidate.username(), candidate.expose_text()) {
            (Some("alice"), Some("sesame")) => {
                Ok(Authentication::Accepted(User::new(owner("alice"))))
            }
            _ => Ok(Authentication::Refused),
        }
    }
}

#[async_trait]
impl PolicyResolver for Slow {
    async fn resolve(&self, _head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        tokio::task::yield_now().await;
        match self.0.load(Ordering::SeqCst) {
            true => Err("the registry is down".into()),
            false => Ok(Some(Policy::user().with_owner(owner("alice")))),
        }
    }
}

#[tokio::test]
async fn a_user_is_who_the_authenticator_says() {
    let down = Arc::new(AtomicBool::new(false));
    let basic = [Placement::basic()];
    let by_constructor = AuthLayer::user(Slow(Arc::clone(&down)), basic.clone()).unwrap();
    let by_resolver = AuthLayer::per_request(Slow(Arc::clone(&down)))
        .with_authenticator(Slow(Arc::clone(&down)), basic)
        .unwrap();

    for layer in [by_constructor.clone().with_owner(owner("alice")).unwrap(), by_resolver] {
        let inner = Recorder::default();
        let cases: [(&[&str], u16); 7] = [
            (&["Basic YWxpY2U6c2VzYW1l"], 200),
            (&["basic  YWxpY2U6c2VzYW1l"], 200),
            (&["Basic YWxpY2U6c2VzYW1m"], 401),
            (&["Basic %%%"], 401),
            (&[], 401),
            (&["Bearer YWxpY2U6c2VzYW1l"], 401),
            (&["Basic YWxpY2U6c2VzYW1l", "Bearer x"], 400),
        ];
        for (values, expected) in cases {
            let mut request = Request::post("/");
            for value in values {
                request = request.header("authorization", *value);
            }
            let response = call(&layer, &inner, request.body(Body::default()).unwrap()).await;
            assert_eq!(response.status(), expected, "{values:?}");
            if expected == 401 {
                let challenge = &response.headers()["www-authenticate"];
                assert_eq!(challenge, "Basic realm=\"webhook\", charset=\"UTF-8\"");
            }
            let passed = inner.take();
            assert_eq!(passed.len(), usize::from(expected == 200));
            assert!(passed.iter().all(|request| !request.headers().contains_key("authorization")));
        }
    }

    let request = |value: &str| {
        Request::post("/").header("authorization", value).body(Body::default()).unwrap()
    };
    let inner = Recorder::default();
    let bobs = by_constructor.with_owner(owner("bob")).unwrap();
    let response = call(&bobs, &inner, request("Basic YWxpY2U6c2VzYW1l")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);

    down.store(true, Ordering::SeqCst);
    let response = call(&bobs, &inner, request("Basic YWxpY2U6c2VzYW1l")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_403_names_the_scope_that_is_missing() {
    let keys = Keys::new().await;
    let layer = AuthLayer::header("x-api-key", &keys.manager).unwrap();
    let layer = layer.with_scope(scope("deploy")).unwrap().with_scope(scope("admin")).unwrap();
    for (key, expected) in [(&*keys.text, (403, json!("admin"))), ("junk", (401, json!(null)))] {
        let response = call(&layer, &Recorder::default(), request(key)).await;
        let document: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), document["required_scope"].clone()), expected);
    }
}

#[tokio::test]
async fn a_credential_in_the_target_is_taken_out_of_it() {
    let keys = Keys::new().await;
    let placements =
        [Placement::query("key").unwrap(), Placement::path("/hook/{id}/{key}").unwrap()];
    let layer = AuthLayer::token(&keys.manager, placements).unwrap();
    let inner = Recorder::default();
    let cases = [
        (format!("/hook/1?a=%31&key={}&b", keys.text), "/hook/1?a=%31&b"),
        (format!("/hook/1/{}?b=1", keys.text), "/hook/1/redacted?b=1"),
        (format!("/hook/1?%6bey={}", keys.text), "/hook/1"),
    ];
    for (target, expected) in cases {
        let request = Request::post(&target).body(Body::default()).unwrap();
        let response = call(&layer, &inner, request).await;

        assert_eq!(response.status(), StatusCode::OK, "{target}");
        assert_eq!(response.headers()["cache-control"], "private, no-store");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
        assert_eq!(request.uri(), expected);
    }
}

#[tokio::test]
async fn a_body_is_read_first_only_if_it_may_hold_a_credential() {
    let keys = Keys::new().await;
    let resolve = |head: RequestHead<'_>| match head.uri().path() {
        "/open" => Some(Policy::public().with_methods([Method::POST])),
        "/token" => Some(Policy::token().with_methods([Method::POST])),
        _ => None,
    };
    let layer = AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, [Placement::body("key").unwrap()])
        .unwrap()
        .with_buffer(BodyBufferLayer::new())
        .with_pre_auth_max_bytes(10);
    let inner = Recorder::default();
    let cases = [
        ("POST", "/open", StatusCode::OK),
        ("POST", "/token", StatusCode::PAYLOAD_TOO_LARGE),
        ("PUT", "/token", StatusCode::METHOD_NOT_ALLOWED),
        ("PUT", "/open", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/nowhere", StatusCode::NOT_FOUND),
    ];
    for (method, target, expected) in cases {
        let body = Body::from("more than ten bytes");
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(body).unwrap();
        let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected, "{method} {target}");
    }
    let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
    assert_eq!(request.body(), "more than ten bytes");
}

#[tokio::test]
async fn a_credential_in_the_body_is_taken_out_of_it() {
    let keys = Keys::new().await;
    let layer = AuthLayer::token(&keys.manager, [Placement::body("key").unwrap()])
        .unwrap()
        .with_buffer(BodyBufferLayer::new());
    let inner = Recorder::default();
    let cases = [
        (
            "application/json",
            format!(r#"{{"a":1.0,"key":"{}","b":[]}}"#, keys.text),
            r#"{"a":1.0,"b":[]}"#,
        ),
        ("application/x-www-form-urlencoded", format!("a=%31&key={}", keys.text), "a=%31"),
    ];
    for (media, body, expected) in cases {
        let request = Request::post("/")
            .header("content-type", media)
            .header("content-length", body.len())
            .header("content-digest", "sha-256=:AAAA:")
            .body(Body::from(body))
            .unwrap();
        let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
        assert_eq!(request.body(), expected);
        assert_eq!(request.headers()["content-length"], expected.len().to_string());
        assert!(!request.headers().contains_key("content-digest"));
    }

    // The body of an unknown caller is read under a limit of its own.
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.body(Body::from(vec![b' '; 16 * 1024 + 1])).unwrap();
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_placement_without_a_buffer_is_a_500() {
    let keys = Keys::new().await;
    let layer = AuthLayer::token(&keys.manager, [Placement::body("key").unwrap()]).unwrap();
    let inner = Recorder::default();

    let mut request = request(&keys.text);
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    let response = call(&layer, &inner, request).await;

    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(inner.take().is_empty());
}

#[tokio::test]
async fn the_body_is_not_polled_before_the_verdict() {
    let keys = Keys::new().await;
    let layer =
        AuthLayer::token(&keys.manager, header()).unwrap().with_buffer(BodyBufferLayer::new());
    let polled = Arc::new(AtomicBool::new(false));
    let body = {
        let polled = Arc::clone(&polled);
        http_body_util::StreamBody::new(futures_util::stream::poll_fn(move |_| {
            polled.store(true, Ordering::SeqCst);
            std::task::Poll::Ready(None::<Result<http_body::Frame<Bytes>, BoxError>>)
        }))
    };
    let request = Request::post("/").header("x-api-key", "junk").body(body).unwrap();

    let response = layer.layer(Recorder::default()).oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!polled.load(Ordering::SeqCst));
}

/// Logins are in the first and the third of four placements, keys in the others.
struct Kinds;

#[async_trait]
impl Authenticator for Kinds {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let position = candidate.unwrap().position();
        Ok(Authentication::Accepted(User::new(owner("alice")).with_extension(position)))
    }
}

#[tokio::test]
async fn an_authenticator_sees_the_placement_and_adds_extensions() {
    let credentials = Credentials::new([
        Placement::header("x-login").unwrap(),
        Placement::header("x-key").unwrap(),
        Placement::query("login").unwrap(),
        Placement::query("key").unwrap(),
    ])
    .unwrap()
    .with_insecure_first_credential_wins();
    let layer = AuthLayer::per_request(|_: RequestHead<'_>| Some(Policy::user()))
        .with_authenticator(Kinds, credentials)
        .unwrap();
    let cases: [(&[&str], &str, Option<usize>); 6] = [
        (&["x-login", "x-key"], "/?login=l&key=k", Some(0)),
        (&["x-key"], "/?login=l&key=k", Some(1)),
        (&[], "/?key=k&login=l", Some(2)),
        (&[], "/?key=k", Some(3)),
        (&["x-key", "x-key"], "/?login=l", None),
        (&[], "/?key=k&key=k", None),
    ];
    for (headers, target, expected) in cases {
        let inner = Recorder::default();
        let request = headers
            .iter()
            .fold(Request::post(target), |request, name| request.header(*name, "secret"));
        let response = call(&layer, &inner, request.body(Body::default()).unwrap()).await;
        assert_eq!(response.status(), if expected.is_some() { 200 } else { 400 });
        let passed = inner.take();
        let found = passed.first().and_then(|request| request.extensions().get::<usize>().copied());
        assert_eq!(found, expected, "{headers:?} {target}");
    }
}

#[tokio::test]
async fn the_first_placement_wins_only_where_it_is_asked_for() {
    let keys = Keys::new().await;
    let placements = || [Placement::header("x-api-key").unwrap(), Placement::query("key").unwrap()];
    let strict = AuthLayer::token(&keys.manager, placements()).unwrap();
    let credentials = Credentials::new(placements()).unwrap();
    let first = AuthLayer::new(Policy::token())
        .unwrap()
        .with_keys(&keys.manager, credentials.with_insecure_first_credential_wins())
        .unwrap();
    let with = |headers: &[&str], target: &str| {
        let mut request = Request::post(target);
        for value in headers {
            request = request.header("x-api-key", *value);
        }
        request.body(Body::default()).unwrap()
    };
    let good = keys.text.as_str();
    let query = format!("/?key={good}");
    let twice = format!("/?key={good}&key={good}");
    let cases: [(&[&str], &str, u16, u16); 7] = [
        (&[good], &query, 400, 200),
        (&["junk"], &query, 400, 401),
        (&[""], &query, 200, 200),
        (&[good], &twice, 400, 200),
        (&[], &twice, 400, 400),
        (&[good, good], "/", 400, 400),
        (&[good, ""], "/?key=", 200, 200),
    ];
    for (headers, target, strictly, first_wins) in cases {
        let inner = Recorder::default();
        for (layer, expected) in [(&strict, strictly), (&first, first_wins)] {
            let response = call(layer, &inner, with(headers, target)).await;
            assert_eq!(response.status(), expected, "{headers:?} {target} {layer:?}");
            if expected == 400 {
                assert_eq!(keys.store.take_finds(), 0);
                assert!(!response.headers().contains_key("www-authenticate"));
            }
            keys.store.take_finds();
        }
    }
}

#[tokio::test]
async fn a_closure_sees_the_reason_and_cannot_change_the_status() {
    let keys = Keys::new().await;
    let layer = AuthLayer::token(&keys.manager, header())
        .unwrap()
        .with_realm("a \"quoted\" realm")
        .unwrap()
        .with_rejection_response(|rejection, _head| {
            assert_eq!(rejection.kind(), RejectionKind::Malformed);
            Response::builder().status(200).body(Bytes::from("own")).unwrap()
        });

    let response = call(&layer, &Recorder::default(), request("junk")).await;

    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.body(), "own");
    let challenge = &response.headers()["www-authenticate"];
    let expected = r#"ApiKey realm="a \"quoted\" realm", in="header", name="x-api-key""#;
    assert_eq!(challenge, expected);
}

#[tokio::test]
async fn a_layer_inside_another_one_relies_on_its_verdict() {
    let keys = Keys::new().await;
    let outer = AuthLayer::token(&keys.manager, header()).unwrap();
    let cases = [
        (AuthLayer::token(&keys.manager, header()).unwrap(), 200),
        (outer.clone().with_scope(scope("deploy")).unwrap(), 200),
        (outer.clone().with_scope(scope("read")).unwrap(), 403),
        (outer.clone().with_owner(owner("bob")).unwrap(), 401),
        // Other keys: the proof is none for them, and the credential is gone.
        (AuthLayer::token(&Keys::new().await.manager, header()).unwrap(), 401),
    ];
    for (inner, expected) in cases {
        let service = outer.layer(inner.layer(Recorder::default()));
        let response = service.oneshot(request(&keys.text)).await.unwrap();
        assert_eq!(response.status(), expected, "{inner:?}");
        assert_eq!(keys.store.take_finds(), 1);
    }

    // A public layer around it proves nothing.
    let service = AuthLayer::public().layer(outer.layer(Recorder::default()));
    let bare = Request::post("/").body(Body::default()).unwrap();
    assert_eq!(service.oneshot(bare).await.unwrap().status(), 401);
}

#[tokio::test]
async fn two_layers_with_placements_of_their_own_both_ask() {
    let keys = Keys::new().await;
    let layer = AuthLayer::token(&keys.manager, header()).unwrap();
    let other = AuthLayer::token(&keys.manager, [Placement::bearer()]).unwrap();
    let both = Request::post("/")
        .header("x-api-key", &keys.text)
        .header("authorization", format!("Bearer {}", keys.text));

    let service = layer.layer(other.layer(Recorder::default()));
    let response = service.oneshot(both.body(Body::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(keys.store.take_finds(), 2);
}
