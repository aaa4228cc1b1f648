//! Defects of other middlewares of this kind, one test for each.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_webhook::BoxError;
use tower_webhook::auth::{AuthLayer, BufferedAuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, NewKey};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::{Clock, RequestHead};

use crate::support::wire::{read_response, serve, soon};
use crate::support::{Keys, Mode, NOW, Recorder, owner, scope};

fn by_header(keys: &KeyManager) -> AuthLayer {
    AuthLayer::token(keys, [Placement::header("x-api-key").unwrap()]).unwrap()
}

fn by_body(keys: &KeyManager) -> BufferedAuthLayer {
    let placements = [Placement::body("api_key").unwrap()];
    AuthLayer::token(keys, placements).unwrap().with_buffer(BodyBufferLayer::new())
}

fn with_key(key: &str) -> Request<Full<Bytes>> {
    Request::post("/").header("x-api-key", key).body(Full::default()).unwrap()
}

async fn status<S, B, ResBody>(service: S, request: Request<B>) -> StatusCode
where
    S: Service<Request<B>, Response = Response<ResBody>, Error = Infallible>,
{
    soon(service.oneshot(request)).await.unwrap().status()
}

async fn echo(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    Outcome::json_text(invocation.envelope().as_str())
}

/// A body that yields prepared frames, and counts its polls.
struct Scripted<F> {
    next: F,
    polls: Arc<AtomicUsize>,
}

impl<F> Body for Scripted<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        (self.next)(cx)
    }

    fn is_end_stream(&self) -> bool {
        // A hint, and a body that does not know its length may never give it.
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[tokio::test]
async fn a_chunked_body_does_not_spin() {
    let keys = Keys::new().await;
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let service = ServiceBuilder::new()
        .map_request(move |request: Request<hyper::body::Incoming>| {
            let polls = Arc::clone(&counted);
            request.map(|mut body| {
                let next = move |cx: &mut Context<'_>| {
                    Pin::new(&mut body).poll_frame(cx).map_err(BoxError::from)
                };
                Scripted { next, polls }
            })
        })
        .layer(by_body(&keys.manager))
        .service(Recorder::default());
    let address = serve(service).await;
    let body = format!(r#"{{"api_key":"{}"}}"#, keys.text);
    let (first, second) = body.split_at(10);

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
    stream.write_all(format!("{head}{}", chunk(first)).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let while_waiting = polls.load(Ordering::SeqCst);
    stream.write_all(format!("{}0\r\n\r\n", chunk(second)).as_bytes()).await.unwrap();

    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert!(while_waiting < 10, "polled {while_waiting} times");
}

#[tokio::test]
async fn a_body_that_fails_is_not_polled_again() {
    let keys = Keys::new().await;
    let polls = Arc::new(AtomicUsize::new(0));
    let next = |_: &mut Context<'_>| Poll::Ready(Some(Err("the connection is gone".into())));
    let body = Scripted { next, polls: Arc::clone(&polls) };
    let service = by_body(&keys.manager).layer(Recorder::default());

    let request = Request::post("/").header("content-type", "application/json");
    let answer = status(service, request.body(body).unwrap()).await;

    assert_eq!(answer, StatusCode::BAD_REQUEST);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_layer_calls_an_instance_that_was_not_ready() {
    // `ConcurrencyLimit` panics if it is called without having been ready.
    async fn check<L>(layer: L, request: impl Fn() -> Request<Full<Bytes>>)
    where
        L: Layer<tower::limit::ConcurrencyLimit<Recorder>>,
        L::Service: Service<Request<Full<Bytes>>, Error = Infallible> + Send + 'static,
        <L::Service as Service<Request<Full<Bytes>>>>::Future: Send,
    {
        let limited = tower::limit::ConcurrencyLimit::new(Recorder::default(), 1);
        let mut service = tower::buffer::Buffer::new(layer.layer(limited), 2);
        for _ in 0..3 {
            let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service);
            let called = ready.await.unwrap().call(request());
            assert!(soon(called).await.is_ok());
        }
    }

    for mode in [Mode::Ready, Mode::Later] {
        let keys = Keys::new().await;
        keys.store.set_mode(mode);
        let in_body = || {
            let body = format!(r#"{{"api_key":"{}"}}"#, keys.text);
            let request = Request::post("/").header("content-type", "application/json");
            request.body(Full::from(body)).unwrap()
        };
        check(by_header(&keys.manager), || with_key(&keys.text)).await;
        check(AuthLayer::public(), || with_key("")).await;
        check(by_body(&keys.manager), in_body).await;
        check(BodyBufferLayer::new(), in_body).await;
    }
}

#[tokio::test]
async fn every_layer_goes_onto_a_router_as_it_is() {
    async fn run(_: Invocation) -> Result<Outcome, ExecutorError> {
        Ok(Outcome::empty())
    }

    let keys = Keys::new().await;
    let app = || Router::new().route("/", post(|| async { "ok" }));
    let hooks = || Hooks::new(by_header(&keys.manager), run);
    let routers = [
        app().layer(by_header(&keys.manager)),
        app().route_layer(by_header(&keys.manager)),
        app().layer(by_header(&keys.manager).with_buffer(BodyBufferLayer::new())),
        app().layer(BodyBufferLayer::new()).layer(by_header(&keys.manager)),
        Router::new().route_service("/", hooks()),
        Router::new().fallback_service(hooks()),
    ];
    for router in routers {
        let request = with_key(&keys.text).map(AxumBody::new);
        assert_eq!(status(router.clone(), request).await, StatusCode::OK);
        let request = with_key("junk").map(AxumBody::new);
        assert_eq!(status(router, request).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn an_endless_body_is_never_read() {
    const FRAME: usize = 1024;
    let keys = Keys::new().await;
    let endless = |polls: &Arc<AtomicUsize>| {
        let next = |_: &mut Context<'_>| {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; FRAME])))))
        };
        Scripted { next, polls: Arc::clone(polls) }
    };

    // Who says who they are in the head is refused by the head.
    let polls = Arc::new(AtomicUsize::new(0));
    let service =
        by_header(&keys.manager).with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
    let answer = status(service, Request::post("/").body(endless(&polls)).unwrap()).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    assert_eq!(polls.load(Ordering::SeqCst), 0);

    // Who says so in the body has a small limit.
    let service = by_body(&keys.manager).layer(Recorder::default());
    let request = Request::post("/").header("content-type", "application/json");
    let answer = status(service, request.body(endless(&polls)).unwrap()).await;
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(polls.load(Ordering::SeqCst), 16 * 1024 / FRAME + 1);

    // Who is known has a limit too.
    let polls = Arc::new(AtomicUsize::new(0));
    let service =
        by_header(&keys.manager).with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
    let request = Request::post("/").header("x-api-key", &keys.text);
    let answer = status(service, request.body(endless(&polls)).unwrap()).await;
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(polls.load(Ordering::SeqCst), 1024 * 1024 / FRAME + 1);
}

#[tokio::test]
async fn a_large_body_is_a_413_and_not_a_panic() {
    const AXUMS_LIMIT: usize = 2 * 1024 * 1024;
    let keys = Keys::new().await;
    let app =
        || Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }));
    let large = BodyBufferLayer::new().with_max_bytes(AXUMS_LIMIT + 1);
    let guarded = |buffer: BodyBufferLayer| by_header(&keys.manager).with_buffer(buffer);
    let cases = [
        (app().layer(guarded(BodyBufferLayer::new())), StatusCode::PAYLOAD_TOO_LARGE),
        (
            app().layer(DefaultBodyLimit::disable()).layer(guarded(BodyBufferLayer::new())),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        // The limit of the framework holds for its extractors, also after a body was read.
        (app().layer(guarded(large.clone())), StatusCode::PAYLOAD_TOO_LARGE),
        (app().layer(DefaultBodyLimit::disable()).layer(guarded(large)), StatusCode::OK),
    ];
    for (app, expected) in cases {
        let request = with_key(&keys.text).map(|_| AxumBody::from(vec![0; AXUMS_LIMIT + 1]));
        assert_eq!(status(app, request).await, expected);
    }
}

#[tokio::test]
async fn a_body_need_not_be_text() {
    let keys = Keys::new().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let inner = Recorder::default();
    let service = by_header(&keys.manager).with_buffer(BodyBufferLayer::new()).layer(inner.clone());

    let request = with_key(&keys.text).map(|_| Full::new(Bytes::from(bytes.clone())));
    assert_eq!(status(service, request).await, StatusCode::OK);
    assert_eq!(inner.take()[0].body(), &bytes);

    // A hook is called for it, and its envelope is JSON.
    let envelope = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
    let hooks = Hooks::new(by_header(&keys.manager), echo).with_envelope(envelope).unwrap();
    let request = with_key(&keys.text).map(|_| Full::new(Bytes::from(bytes)));
    assert_eq!(status(hooks, request).await, StatusCode::OK);
}

#[tokio::test]
async fn a_scheme_has_any_case_and_a_refusal_has_a_challenge() {
    let keys = Keys::new().await;
    let service =
        AuthLayer::token(&keys.manager, [Placement::bearer()]).unwrap().layer(Recorder::default());

    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        for (key, expected) in [(keys.text.as_str(), 200), ("junk", 401)] {
            let request = Request::post("/").header("authorization", format!("{scheme} {key}"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), expected, "{scheme}");
            let challenges = response.headers().get_all("www-authenticate");
            assert_eq!(challenges.iter().count(), usize::from(expected == 401), "{scheme}");
        }
    }
}

#[tokio::test]
async fn nothing_runs_before_the_verdict_and_ended_keys_are_refused() {
    let keys = Keys::new().await;
    let alice = owner("alice");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = by_header(&keys.manager).layer(service_fn(move |_: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    }));

    keys.store.set_mode(Mode::Hang);
    let mut undecided = Box::pin(service.clone().oneshot(with_key(&keys.text)));
    assert!(futures_util::poll!(&mut undecided).is_pending());
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    drop(undecided);
    keys.store.set_mode(Mode::Ready);

    // No key is kept in clear text.
    let record = keys.manager.get(&alice, &keys.id).await.unwrap();
    let secret = keys.text.rsplit('_').next().unwrap();
    assert!(!record.encode().contains(&secret[16..]) && !format!("{record:?}").contains(secret));

    keys.manager.disable(&alice, &keys.id).await.unwrap();
    assert_eq!(status(service.clone(), with_key(&keys.text)).await, StatusCode::UNAUTHORIZED);
    keys.manager.enable(&alice, &keys.id).await.unwrap();
    assert_eq!(status(service.clone(), with_key(&keys.text)).await, StatusCode::OK);
    keys.manager.revoke(&alice, &keys.id).await.unwrap();
    assert_eq!(status(service.clone(), with_key(&keys.text)).await, StatusCode::UNAUTHORIZED);
    keys.manager.delete(&alice, std::slice::from_ref(&keys.id)).await.unwrap();
    assert_eq!(status(service, with_key(&keys.text)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_rotation_does_not_let_a_key_outlive_its_expiry() {
    let now = Arc::new(Mutex::new(NOW));
    let clock = Arc::clone(&now);
    let keys = KeyManager::new(MemoryKeyStore::new())
        .with_clock(Clock::from_fn(move || *clock.lock().unwrap()));
    let at = |time: OffsetDateTime| *now.lock().unwrap() = time;
    let draft = NewKey::new("test").with_expires_in(time::Duration::DAY);
    let old = keys.generate(&owner("alice"), draft).await.unwrap();
    let new = keys.rotate(&owner("alice"), old.record().id(), time::Duration::WEEK).await.unwrap();
    let service = by_header(&keys).layer(Recorder::default());

    let day = NOW + time::Duration::DAY;
    for (time, expected) in [
        (NOW, StatusCode::OK),
        (day - time::Duration::NANOSECOND, StatusCode::OK),
        (day, StatusCode::UNAUTHORIZED),
        (day + time::Duration::DAY, StatusCode::UNAUTHORIZED),
    ] {
        at(time);
        for issued in [&old, &new] {
            let request = with_key(issued.secret().expose_secret());
            assert_eq!(status(service.clone(), request).await, expected, "{time}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_a_401_and_scopes_are_asked_for() {
    let keys = Keys::new().await;
    let layer = by_header(&keys.manager);
    let cases = [
        (Mode::Ready, layer.clone().with_scope(scope("deploy")).unwrap(), StatusCode::OK),
        (Mode::Ready, layer.clone().with_scope(scope("admin")).unwrap(), StatusCode::FORBIDDEN),
        (Mode::Error, layer.clone(), StatusCode::SERVICE_UNAVAILABLE),
        (Mode::Panic, layer, StatusCode::SERVICE_UNAVAILABLE),
    ];
    for (mode, layer, expected) in cases {
        keys.store.set_mode(mode);
        let service = layer.layer(Recorder::default());
        assert_eq!(status(service, with_key(&keys.text)).await, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_each_others_look_up() {
    let keys = Keys::new().await;
    keys.store.set_mode(Mode::Later);
    let service = by_header(&keys.manager).layer(Recorder::default());

    let mut responses: Vec<_> =
        (0..100).map(|_| Box::pin(service.clone().oneshot(with_key(&keys.text)))).collect();
    for response in &mut responses {
        assert!(futures_util::poll!(response).is_pending());
    }
    // All of them have been asked for before one is answered.
    assert_eq!(keys.store.take_finds(), 100);
    for response in soon(futures_util::future::join_all(responses)).await {
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }

    // The text of the error of the store is not logged.
    keys.store.set_mode(Mode::Error);
    let response = service.oneshot(with_key(&keys.text)).await.unwrap();
    let response =
        format!("{:?} {:?}", response.headers().clone(), response.into_body().collect().await);
    assert!(!response.contains("10.0.0.1"), "{response}");
}

#[tokio::test]
async fn the_header_map_is_not_cloned() {
    let place = |headers: &HeaderMap| std::ptr::from_ref(&headers["x-first"]).addr();
    let inner_place = Arc::new(AtomicUsize::new(0));
    let inner = {
        let inner_place = Arc::clone(&inner_place);
        service_fn(move |request: Request<Full<Bytes>>| {
            inner_place.store(place(request.headers()), Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        })
    };

    for mode in [Mode::Ready, Mode::Later] {
        let keys = Keys::new().await;
        keys.store.set_mode(mode);
        let mut request = with_key(&keys.text);
        let mut headers = HeaderMap::new();
        headers.insert("x-first", "1".parse().unwrap());
        headers.extend(std::mem::take(request.headers_mut()));
        *request.headers_mut() = headers;
        let outer_place = place(request.headers());

        let service = by_header(&keys.manager).layer(inner.clone());
        assert_eq!(status(service, request).await, StatusCode::OK);
        assert_eq!(inner_place.load(Ordering::SeqCst), outer_place, "{mode:?}");
    }
}

#[tokio::test]
async fn every_character_of_a_key_counts_and_no_body_is_logged() {
    let keys = Keys::new().await;
    let service =
        by_header(&keys.manager).with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
    let requests = async |service: &_| {
        for place in 0..keys.text.len() {
            let mut key = keys.text.clone().into_bytes();
            key[place] = if key[place] == b'0' { b'1' } else { b'0' };
            let key = String::from_utf8(key).unwrap();
            let request = with_key(&key).map(|_| Full::from("opensesame"));
            assert_eq!(status(Clone::clone(service), request).await, 401, "{place}");
        }
        let request = with_key(&keys.text).map(|_| Full::from("opensesame"));
        assert_eq!(status(Clone::clone(service), request).await, 200);
    };

    let logs = crate::support::Logs::default();
    {
        let _guard = logs.capture();
        requests(&service).await;
    }
    let logs = logs.text();
    assert!(!logs.contains("opensesame"), "{logs}");
    assert_eq!(cfg!(feature = "tracing"), logs.contains("auth.reason"), "{logs}");
}

#[tokio::test]
async fn the_parameters_of_a_challenge_are_separated_by_commas() {
    let keys = Keys::new().await;
    let placements = [Placement::bearer(), Placement::basic()];
    let layer = AuthLayer::token(&keys.manager, placements).unwrap().with_realm("a, b=c").unwrap();
    let request = Request::post("/").header("authorization", "Bearer junk");

    let service = layer.layer(Recorder::default());
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();

    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(
        challenges,
        [
            r#"Bearer realm="a, b=c", error="invalid_token""#,
            r#"Basic realm="a, b=c", charset="UTF-8""#,
        ]
    );
}

#[tokio::test]
async fn a_known_caller_without_permission_gets_no_challenge() {
    let keys = Keys::new().await;
    let service =
        by_header(&keys.manager).with_scope(scope("admin")).unwrap().layer(Recorder::default());

    let response = service.oneshot(with_key(&keys.text)).await.unwrap();

    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn member_names_of_a_parser_do_not_reshape_a_body() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let key = &keys.text;
    let cases = [
        (format!(r#"{{"$serde_json::private::RawValue":"{{\"api_key\":\"{key}\"}}"}}"#), 401),
        (format!(r#"{{"api_key":{{"$serde_json::private::RawValue":"\"{key}\""}}}}"#), 401),
        (format!(r#"{{"api_key":{{"$serde_json::private::Number":"{key}"}}}}"#), 401),
        (format!(r#"{{"api_key":"{key}","$serde_json::private::RawValue":"1"}}"#), 200),
        (format!(r#"{{"api_key":"{key}","a":{{"$serde_json::private::Number":"1e999"}}}}"#), 200),
    ];
    for (body, expected) in cases {
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(Full::from(body.clone())).unwrap();
        let service = by_body(&keys.manager).layer(inner.clone());
        assert_eq!(status(service, request).await, expected, "{body}");
        // What is passed on is what was sent, without the key.
        for request in inner.take() {
            let rest = body.replace(&format!(r#""api_key":"{key}","#), "");
            assert_eq!(request.body(), rest.as_bytes());
        }
    }

    // An envelope has the text that was sent.
    let sent =
        r#"{"a":{"$serde_json::private::RawValue":"[1,{}"},"$serde_json::private::Number":"x"}"#;
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.header("x-api-key", key).body(Full::from(sent)).unwrap();
    let response = Hooks::new(by_header(&keys.manager), echo).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    assert!(body.contains(&format!(r#""JSON":{sent},"#)), "{body}");
}

#[tokio::test]
async fn only_a_route_that_says_so_is_public() {
    let keys = Keys::new().await;
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
        "/health" => Some(Policy::public()),
        _ => Some(Policy::token()),
    })
    .with_keys(&keys.manager, [Placement::header("x-api-key").unwrap()])
    .unwrap();
    let by_resolver = Router::new()
        .route("/health", post(|| async { "ok" }))
        .fallback(|| async { "inside" })
        .layer(layer);
    let by_route = Router::new()
        .fallback(|| async { "inside" })
        .layer(by_header(&keys.manager))
        .route("/health", post(|| async { "ok" }));

    for app in [by_resolver, by_route] {
        for path in ["/healthz-internal", "/health/", "/health/x", "//health", "/Health", "/x"] {
            let request = Request::post(path).body(AxumBody::empty()).unwrap();
            assert_eq!(status(app.clone(), request).await, StatusCode::UNAUTHORIZED, "{path}");
        }
        let request = Request::post("/health?x").body(AxumBody::empty()).unwrap();
        assert_eq!(status(app, request).await, StatusCode::OK);
    }

    // A missing layer is an error and no anonymous caller.
    let bare = Request::post("/").body(()).unwrap();
    assert!(Identity::of(bare.extensions()).is_err());
}
