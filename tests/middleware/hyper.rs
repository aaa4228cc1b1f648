//! On plain hyper, over sockets: HTTP/1.1 and HTTP/2, streams, keep-alive, and clients that disconnect.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_webhook::BoxError;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;

use crate::support::wire::{connect_http2, exchange, frames, read_response, serve, soon, upload};
use crate::support::{Keys, Mode, Recorder};

fn by_header(keys: &Keys) -> AuthLayer {
    AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap()
}

async fn echo(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let method = invocation.method();
    let envelope = invocation.envelope().as_str();
    Outcome::json_text(format!(r#"["{method}","{}",{envelope}]"#, invocation.uri()))
}

fn by_target(keys: &Keys) -> Hooks {
    let placements =
        [Placement::query("token").unwrap(), Placement::path("/hook/{name}/{key}").unwrap()];
    Hooks::new(AuthLayer::token(&keys.manager, placements).unwrap(), echo)
}

#[tokio::test]
async fn both_protocols_are_served_alike() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let address = serve(by_header(&keys).layer(inner.clone())).await;
    let target = format!("http://{address}/a?b");
    let request = |version, key: &str| {
        let request = Request::post(&target).version(version).header("x-api-key", key);
        request.body(Full::<Bytes>::from("body")).unwrap()
    };

    let client =
        || hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    for (version, client) in [
        (Version::HTTP_11, client().build_http()),
        (Version::HTTP_2, client().http2_only(true).build_http()),
    ] {
        let response = soon(client.request(request(version, &keys.text))).await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
        let [seen] = <[_; 1]>::try_from(inner.take()).unwrap();
        assert_eq!(seen.version(), version);
        assert_eq!((seen.uri().path(), seen.uri().query()), ("/a", Some("b")));
        assert_eq!(seen.body(), "body");
        assert!(Identity::of(seen.extensions()).unwrap().is_some());
        assert!(!format!("{seen:?}").contains(&keys.text));

        let response = soon(client.request(request(version, "junk"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = r#"ApiKey realm="webhook", in="header", name="x-api-key""#;
        assert_eq!(response.headers()["www-authenticate"], challenge);
        assert!(!response.headers().contains_key("connection"));
        assert!(inner.take().is_empty());
    }
}

/// A method of a gRPC server, as far as its framing goes: it sends every message back at once, and ends with
/// trailers.
async fn grpc(
    request: Request<Counted>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    assert_eq!(request.headers()["te"], "trailers");
    assert!(Identity::of(request.extensions()).unwrap().is_some());
    let mut body = request.into_body();
    let mut trailers = Some(HeaderMap::new());
    let messages = futures_util::stream::poll_fn(move |cx| {
        let frame = std::task::ready!(Pin::new(&mut body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(frame) => Some(Ok(frame.unwrap())),
            None => trailers.take().map(|mut trailers| {
                trailers.insert("grpc-status", "0".parse().unwrap());
                Ok(Frame::trailers(trailers))
            }),
        })
    });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(StreamBody::new(messages)).unwrap())
}

/// A body that counts how often it is polled.
struct Counted(Incoming, Arc<AtomicUsize>);

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

async fn grpc_server(keys: &Keys) -> (SocketAddr, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let service = ServiceBuilder::new()
        .map_request(move |request: Request<Incoming>| {
            request.map(|body| Counted(body, Arc::clone(&counted)))
        })
        .layer(by_header(keys))
        .service(service_fn(grpc));
    (serve(service).await, polls)
}

fn grpc_call<B>(address: SocketAddr, key: &str, body: B) -> Request<B> {
    Request::post(format!("http://{address}/service.Name/Method"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", key)
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn a_grpc_stream_goes_through_as_it_comes_with_its_trailers() {
    let keys = Keys::new().await;
    let (address, _) = grpc_server(&keys).await;
    let mut client = connect_http2(address).await;
    let (sender, body) = upload();

    let response = soon(client.send_request(grpc_call(address, &keys.text, body))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut body = response.into_body();
    // Each message is answered before the next one is sent: nothing waits for the end of the stream.
    for message in ["first", "second", "third"] {
        sender.send(Frame::data(message.into())).unwrap();
        let frame = soon(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(sender);
    let frame = soon(body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
    assert!(soon(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_refused_stream_is_answered_without_being_read() {
    let keys = Keys::new().await;
    let (address, polls) = grpc_server(&keys).await;
    let mut client = connect_http2(address).await;

    let (sender, body) = upload();
    sender.send(Frame::data("first".into())).unwrap();
    let response = soon(client.send_request(grpc_call(address, "junk", body))).await.unwrap();

    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(polls.load(Ordering::SeqCst), 0);

    // The other streams of the connection go on.
    let (sender, body) = upload();
    drop(sender);
    let response = soon(client.send_request(grpc_call(address, &keys.text, body))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refused_upload_is_not_asked_for() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let address = serve(by_header(&keys).layer(inner.clone())).await;
    let head =
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1000000000\r\n";

    for credential in ["", "x-api-key: junk\r\n"] {
        let received = exchange(address, format!("{head}{credential}\r\n")).await;
        assert!(received.starts_with("HTTP/1.1 401"), "{received}");
        assert!(!received.contains("100 Continue"), "{received}");
    }
    assert!(inner.take().is_empty());

    // With the key, the reader asks for the body.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = head.replace("1000000000", "4");
    let sent = format!("{head}x-api-key: {}\r\n\r\n", keys.text);
    stream.write_all(sent.as_bytes()).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"body").await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(inner.take()[0].body(), "body");
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_never_the_next_request() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let address = serve(by_header(&keys).layer(inner.clone())).await;
    let key = &keys.text;
    let inside = format!(
        "POST /inside HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: 0\r\n\r\n"
    );
    let next =
        format!("POST /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n");
    let long = inside.repeat(20_000);
    let bodies = [
        (format!("content-length: {}", inside.len()), inside.clone()),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("{:x}\r\n{inside}\r\n0\r\n\r\n", inside.len()),
        ),
        (format!("content-length: {}", long.len()), long.clone()),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()),
        ),
        (format!("expect: 100-continue\r\ncontent-length: {}", inside.len()), inside),
    ];
    for (head, body) in bodies {
        let sent = format!("POST /first HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}{next}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let mut received = String::new();
        // The server may stop to read, and may reset the connection.
        let _ = soon(futures_util::future::join(
            writer.write_all(sent.as_bytes()),
            reader.read_to_string(&mut received),
        ))
        .await;

        let statuses = received.matches("HTTP/1.1 ").count();
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 401"), "{received}");
        let seen = inner.take();
        assert!(seen.iter().all(|request| request.uri() == "/next"), "{head}: {seen:?}");
        // Either the body was skipped and the next request is answered, or the connection has ended.
        assert!(statuses <= 2 && seen.len() == statuses.saturating_sub(1), "{head}: {received}");
    }
}

#[tokio::test]
async fn each_request_of_a_connection_needs_its_own_key() {
    let keys = Keys::new().await;
    let address = serve(by_header(&keys).layer(Recorder::default())).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = format!("x-api-key: {}\r\n", keys.text);

    for (credential, expected) in
        [(key.as_str(), 200), ("", 401), ("x-api-key: \r\n", 401), (&key, 200), ("", 401)]
    {
        let sent = format!("GET / HTTP/1.1\r\nhost: a\r\n{credential}\r\n");
        stream.write_all(sent.as_bytes()).await.unwrap();
        let received = read_response(&mut stream).await;
        assert!(received.starts_with(&format!("HTTP/1.1 {expected}")), "{received}");
    }
    assert_eq!(keys.store.take_finds(), 2);
}

#[tokio::test]
async fn chunked_and_counted_bodies_make_one_envelope() {
    let keys = Keys::new().await;
    let address = serve(by_target(&keys)).await;
    let head = format!(
        "POST /hook/deploy?token={} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n",
        keys.text
    );
    let answers = [
        exchange(address, format!("{head}content-length: 9\r\n\r\n{{\"a\":1.0}}")).await,
        exchange(
            address,
            format!(
                "{head}transfer-encoding: chunked\r\n\r\n4\r\n{{\"a\"\r\n5\r\n:1.0}}\r\n0\r\n\r\n"
            ),
        )
        .await,
    ];
    let bodies = answers.each_ref().map(|answer| answer.split_once("\r\n\r\n").unwrap().1);
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].contains(r#""JSON":{"a":1.0}"#), "{}", bodies[0]);
    assert!(!bodies[0].contains(&keys.text));
}

#[tokio::test]
async fn a_target_in_absolute_form_is_the_same_target() {
    let keys = Keys::new().await;
    let address = serve(by_target(&keys)).await;
    let key = &keys.text;
    let cases = [
        (format!("http://a/hook/deploy?token={key}&b=1"), "http://a/hook/deploy?b=1"),
        (format!("/hook/deploy?token={key}&b=1"), "/hook/deploy?b=1"),
        (format!("http://a/hook/deploy/{key}?b=1"), "http://a/hook/deploy/redacted?b=1"),
        (format!("/hook/deploy/{key}?b=1"), "/hook/deploy/redacted?b=1"),
    ];
    for (target, expected) in cases {
        let head = "host: a\r\nconnection: close\r\n\r\n";
        let received = exchange(address, format!("POST {target} HTTP/1.1\r\n{head}")).await;
        assert!(received.starts_with("HTTP/1.1 200"), "{received}");
        assert!(received.contains(&format!(r#"["POST","{expected}""#)), "{received}");
        assert!(received.contains(r#""GET":{"b":"1"}"#), "{received}");
        assert!(!received.contains(key.as_str()), "{received}");
        assert!(received.contains("cache-control: private, no-store\r\n"), "{received}");
    }
}

#[tokio::test]
async fn other_methods_never_run_a_hook() {
    let keys = Keys::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let run = move |_: Invocation| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, ExecutorError>(Outcome::empty()) }
    };
    let hooks = Hooks::new(by_header(&keys), run);
    let address = serve(hooks).await;
    let key = &keys.text;

    for line in ["HEAD /", "OPTIONS /", "OPTIONS *", "TRACE /", "GET /", "CONNECT a:1", "post /"] {
        let sent =
            format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n");
        let received = exchange(address, sent).await;
        assert!(received.starts_with("HTTP/1.1 405"), "{line}: {received}");
        assert!(received.contains("allow: POST\r\n"), "{line}: {received}");
        // `TRACE` does not echo the request.
        assert!(!received.contains(key.as_str()), "{line}: {received}");
        assert_eq!(received.ends_with("\r\n\r\n"), line == "HEAD /", "{line}: {received}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_hook_answers_head_and_options_where_its_policy_says_so() {
    let keys = Keys::new().await;
    let policy = Policy::token().with_methods([Method::HEAD, Method::OPTIONS]);
    let placements = [Placement::header("x-api-key").unwrap()];
    let auth = AuthLayer::new(policy).unwrap().with_keys(&keys.manager, placements).unwrap();
    let hooks = Hooks::new(auth, echo);
    let address = serve(hooks).await;

    for (method, expected) in [("HEAD", 200), ("OPTIONS", 200), ("POST", 405)] {
        let head = format!("host: a\r\nconnection: close\r\nx-api-key: {}\r\n\r\n", keys.text);
        let received = exchange(address, format!("{method} / HTTP/1.1\r\n{head}")).await;
        assert!(received.starts_with(&format!("HTTP/1.1 {expected}")), "{received}");
        assert_eq!(received.ends_with("\r\n\r\n"), method == "HEAD", "{received}");
    }
}

#[tokio::test]
async fn a_key_in_the_trailers_is_none_and_a_repeated_one_is_refused() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let address = serve(by_header(&keys).layer(inner.clone())).await;
    let mut client = connect_http2(address).await;
    let trailers: HeaderMap =
        [("x-api-key".parse().unwrap(), keys.text.parse().unwrap())].into_iter().collect();

    for (copies, expected) in [(0, 401), (1, 200), (2, 400)] {
        let mut request = Request::post(format!("http://{address}/"));
        for _ in 0..copies {
            request = request.header("x-api-key", &keys.text);
        }
        let body = frames([Frame::data("body".into()), Frame::trailers(trailers.clone())]);
        let response = soon(client.send_request(request.body(body).unwrap())).await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(inner.take().len(), usize::from(copies == 1));
    }

    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         trailer: x-api-key\r\n\r\n0\r\nx-api-key: {}\r\n\r\n",
        keys.text
    );
    assert!(exchange(address, chunked).await.starts_with("HTTP/1.1 401"));
    assert!(inner.take().is_empty());
}

/// Resets `count` streams of a connection once the server has asked the store, then checks that all is well.
async fn reset_streams<S, B>(keys: &Keys, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    const BATCHES: usize = 10;
    const STREAMS: usize = 20;

    let address = serve(service).await;
    let mut client = connect_http2(address).await;
    let request = || {
        let request = Request::post(format!("http://{address}/")).header("x-api-key", &keys.text);
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    keys.store.set_mode(Mode::Hang);
    for batch in 1..=BATCHES {
        let mut responses = Vec::new();
        for _ in 0..STREAMS {
            client.ready().await.unwrap();
            responses.push(Box::pin(client.send_request(request())));
        }
        soon(async {
            while keys.store.finds.load(Ordering::SeqCst) < batch * STREAMS {
                for response in &mut responses {
                    assert!(futures_util::poll!(response).is_pending());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        drop(responses);
    }
    keys.store.set_mode(Mode::Ready);

    for client in [&mut client, &mut connect_http2(address).await] {
        let response = soon(client.send_request(request())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn streams_that_are_reset_during_the_look_up_leak_nothing() {
    let keys = Keys::new().await;
    let verifier = keys.manager.verifier().with_store_deadline(crate::support::wire::LONG);
    let layer = AuthLayer::token(verifier, [Placement::header("x-api-key").unwrap()]).unwrap();
    let service = ServiceBuilder::new()
        .layer(layer.clone())
        .concurrency_limit(1)
        .service(Recorder::default());
    reset_streams(&keys, service).await;

    keys.store.take_finds();
    let run = |_: Invocation| async { Ok::<_, ExecutorError>(Outcome::empty()) };
    reset_streams(&keys, Hooks::new(layer, run).with_max_executions(1).unwrap()).await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_inner_service() {
    let keys = Keys::new().await;
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let inner = service_fn(move |request: Request<Incoming>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if request.uri().path() == "/hang" {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
        }
    });
    let service = ServiceBuilder::new().layer(by_header(&keys)).concurrency_limit(1).service(inner);
    let address = serve(service).await;
    let mut client = connect_http2(address).await;
    let request = |path: &str| {
        let request = Request::post(format!("http://{address}{path}"));
        request.header("x-api-key", &keys.text).body(Empty::<Bytes>::new()).unwrap()
    };

    let mut hanging = Box::pin(client.send_request(request("/hang")));
    soon(async {
        while started.load(Ordering::SeqCst) == 0 {
            assert!(futures_util::poll!(&mut hanging).is_pending());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    drop(hanging);
    drop(client);

    let mut client = connect_http2(address).await;
    let response = soon(client.send_request(request("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
