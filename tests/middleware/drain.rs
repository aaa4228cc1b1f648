//! What is left of a body is read after the response, within bounds.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_webhook::auth::AuthLayer;
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::drain::{DrainBody, DrainLayer};
use tower_webhook::hook::{Hooks, Invocation, Outcome};

use crate::support::wire::{connect_http2, frames, read_response, serve, soon};
use crate::support::{Keys, Recorder};

/// What became of a body.
#[derive(Clone, Default)]
struct Fate {
    polls: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

impl Fate {
    fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Gives the task its time.
    async fn settle() {
        for _ in 0..1000 {
            yield_now().await;
        }
    }
}

/// A body of equal frames, which says what happens to it.
struct Watched {
    fate: Fate,
    frame: Bytes,
    frames: usize,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Ends,
    Fails,
    /// Nothing more comes.
    Hangs,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.fate.polls.fetch_add(1, Ordering::SeqCst);
        if let Some(left) = self.frames.checked_sub(1) {
            self.frames = left;
            return Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))));
        }
        match self.end {
            End::Ends => Poll::Ready(None),
            End::Fails => Poll::Ready(Some(Err("broken".into()))),
            End::Hangs => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.frames * self.frame.len()) as u64)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.fate.dropped.store(true, Ordering::SeqCst);
    }
}

fn watched(frames: usize, end: End) -> (Fate, Request<Watched>) {
    let fate = Fate::default();
    (
        fate.clone(),
        Request::new(Watched { fate, frame: Bytes::from_static(b"0123456789"), frames, end }),
    )
}

type Answer = Result<Response<Full<Bytes>>, BoxError>;

/// Reads so many frames, and answers.
fn reads(
    frames: usize,
) -> impl Service<Request<DrainBody<Watched>>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone
{
    service_fn(move |request: Request<DrainBody<Watched>>| async move {
        let mut body = request.into_body();
        for _ in 0..frames {
            drop(body.frame().await);
        }
        Answer::Ok(Response::default())
    })
}

#[tokio::test]
async fn the_rest_is_read_after_the_response() {
    for (read, expected) in [(0, 11), (1, 11), (4, 11), (10, 11), (11, 11)] {
        let (fate, request) = watched(10, End::Ends);
        let response = DrainLayer::new().layer(reads(read)).oneshot(request).await;
        assert!(response.is_ok());
        assert_eq!(fate.polls(), read, "only what the service has read before");
        Fate::settle().await;
        assert_eq!(fate.polls(), expected);
        assert!(fate.is_dropped());
    }
}

#[tokio::test]
async fn a_body_is_not_read_before_a_slow_response() {
    let (fate, request) = watched(10, End::Ends);
    let inner = service_fn(async |request: Request<DrainBody<Watched>>| {
        drop(request);
        sleep(Duration::from_millis(20)).await;
        Answer::Ok(Response::default())
    });
    let mut response = Box::pin(DrainLayer::new().layer(inner).oneshot(request));
    assert!(futures_util::poll!(&mut response).is_pending());
    Fate::settle().await;
    assert_eq!(fate.polls(), 0);
    response.await.unwrap();
    Fate::settle().await;
    assert_eq!(fate.polls(), 11);
}

#[tokio::test]
async fn a_body_that_the_service_keeps_is_drained_when_dropped() {
    let (fate, request) = watched(10, End::Ends);
    let inner = service_fn(async |request: Request<DrainBody<Watched>>| {
        Ok::<_, BoxError>(Response::new(request.into_body()))
    });
    let mut response = DrainLayer::new().layer(inner).oneshot(request).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    Fate::settle().await;
    assert_eq!(fate.polls(), 1);
    drop(response);
    Fate::settle().await;
    assert_eq!(fate.polls(), 11);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_are_bounded() {
    for (max_bytes, polls) in [(0, 0), (1, 1), (10, 2), (95, 10), (100, 11)] {
        let (fate, request) = watched(1000, End::Ends);
        let layer = DrainLayer::new().with_max_bytes(max_bytes);
        layer.layer(reads(3)).oneshot(request).await.unwrap();
        Fate::settle().await;
        assert_eq!(fate.polls(), 3 + polls, "{max_bytes}");
        // The connection is not reset before the time is over, in which a client can find the response.
        assert_eq!(fate.is_dropped(), max_bytes == 0);
        sleep(Duration::from_millis(1100)).await;
        assert_eq!(fate.polls(), 3 + polls, "{max_bytes}");
        assert!(fate.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_is_bounded() {
    for seconds in [0, 1, 3] {
        let (fate, request) = watched(2, End::Hangs);
        let layer = DrainLayer::new().with_deadline(Duration::from_secs(seconds));
        layer.layer(reads(0)).oneshot(request).await.unwrap();
        sleep(Duration::from_millis(seconds * 1000 - seconds.min(1) * 10)).await;
        assert_eq!(fate.is_dropped(), seconds == 0);
        sleep(Duration::from_millis(20)).await;
        assert!(fate.is_dropped(), "{seconds}");
    }
}

#[tokio::test]
async fn a_body_that_never_waits_does_not_escape_the_deadline() {
    let (fate, request) = watched(usize::MAX / 10, End::Ends);
    let layer =
        DrainLayer::new().with_max_bytes(usize::MAX).with_deadline(Duration::from_millis(20));
    layer.layer(reads(0)).oneshot(request).await.unwrap();
    soon(async {
        while !fate.is_dropped() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_waits_for_continue_is_not_asked_to_send() {
    for (read, polls) in [(0, 0), (1, 11)] {
        let (fate, mut request) = watched(10, End::Ends);
        request.headers_mut().insert("expect", HeaderValue::from_static("100-Continue"));
        DrainLayer::new().layer(reads(read)).oneshot(request).await.unwrap();
        Fate::settle().await;
        assert_eq!(fate.polls(), polls);
        assert!(fate.is_dropped());
    }
}

#[tokio::test]
async fn nothing_is_read_after_an_end_or_an_error() {
    for end in [End::Ends, End::Fails] {
        let (fate, request) = watched(1, end);
        DrainLayer::new().layer(reads(2)).oneshot(request).await.unwrap();
        Fate::settle().await;
        assert_eq!(fate.polls(), 2);

        let (fate, request) = watched(1, end);
        DrainLayer::new().layer(reads(0)).oneshot(request).await.unwrap();
        Fate::settle().await;
        assert_eq!(fate.polls(), 2);
    }
}

#[tokio::test]
async fn nothing_is_read_without_a_response() {
    let (fate, request) = watched(1, End::Ends);
    let fails = service_fn(async |request: Request<DrainBody<Watched>>| {
        drop(request);
        Answer::Err("down".into())
    });
    assert!(DrainLayer::new().layer(fails).oneshot(request).await.is_err());
    Fate::settle().await;
    assert_eq!((fate.polls(), fate.is_dropped()), (0, true));

    let (fate, request) = watched(1, End::Ends);
    let hangs = service_fn(async |request: Request<DrainBody<Watched>>| {
        drop(request);
        std::future::pending::<Answer>().await
    });
    let mut response = Box::pin(DrainLayer::new().layer(hangs).oneshot(request));
    assert!(futures_util::poll!(&mut response).is_pending());
    drop(response);
    Fate::settle().await;
    assert_eq!((fate.polls(), fate.is_dropped()), (0, true));
}

#[test]
fn without_a_runtime_the_body_is_dropped() {
    let (fate, request) = watched(1, End::Ends);
    let response = std::pin::pin!(DrainLayer::new().layer(reads(0)).oneshot(request));
    assert!(response.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!((fate.polls(), fate.is_dropped()), (0, true));
}

#[tokio::test]
async fn the_service_sees_the_same_body() {
    let trailers =
        HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    let inner = service_fn(async |request: Request<DrainBody<_>>| {
        let body = request.into_body();
        let hint = body.size_hint();
        let (lower, is_end) = (hint.lower(), body.is_end_stream());
        let body = BodyExt::collect(body).await?;
        let trailers = body.trailers().cloned();
        Ok::<_, BoxError>(Response::new((lower, is_end, body.to_bytes(), trailers)))
    });
    let body = frames([
        Frame::data(Bytes::from_static(b"ab")),
        Frame::data(Bytes::from_static(b"c")),
        Frame::trailers(trailers.clone()),
    ]);
    let seen = DrainLayer::new().layer(inner).oneshot(Request::new(body)).await.unwrap();
    assert_eq!(seen.into_body(), (0, false, Bytes::from_static(b"abc"), Some(trailers)));

    let inner = service_fn(async |request: Request<DrainBody<Full<Bytes>>>| {
        let body = request.into_body();
        let seen = (body.size_hint().exact(), body.is_end_stream());
        Ok::<_, Infallible>(Response::new((seen, body.collect().await.unwrap().to_bytes())))
    });
    for (body, hint, is_end) in [("abc", 3, false), ("", 0, true)] {
        let request = Request::new(Full::from(body));
        let seen = DrainLayer::new().layer(inner).oneshot(request).await.unwrap();
        assert_eq!(seen.into_body(), ((Some(hint), is_end), Bytes::from(body)));
    }
}

const MIB: usize = 1024 * 1024;

/// Sends everything before it reads, as many clients do.
async fn upload(stream: &mut TcpStream, path: &str, length: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 64 * 1024];
    for start in (0..length).step_by(piece.len()) {
        let piece = &piece[..piece.len().min(length - start)];
        stream.write_all(piece).await.expect("the connection was reset");
    }
    read_response(stream).await
}

fn refusing(keys: &Keys) -> AuthLayer {
    AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap()
}

#[tokio::test]
async fn an_upload_gets_its_401_and_the_connection_goes_on() {
    let keys = Keys::new().await;
    let drain = DrainLayer::new().with_max_bytes(8 * MIB).with_deadline(Duration::from_secs(20));
    let address = serve(drain.layer(refusing(&keys).layer(Recorder::default()))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for length in [6 * MIB, 0, 1, MIB] {
        let response = soon(upload(&mut stream, "/", length)).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    }
}

#[tokio::test]
async fn an_upload_gets_its_413_before_the_connection_closes() {
    let drain = DrainLayer::new().with_max_bytes(8 * MIB).with_deadline(Duration::from_secs(20));
    let address = serve(drain.layer(BodyBufferLayer::new().layer(Recorder::default()))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let response = soon(upload(&mut stream, "/", 6 * MIB)).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
}

/// The default of `Hooks`, and its bounds.
#[tokio::test]
async fn hooks_drain_what_they_refuse() {
    let keys = Keys::new().await;
    let run = |_: Invocation| async { Ok(Outcome::empty()) };
    let hooks = Hooks::new(refusing(&keys), run);
    let large = DrainLayer::new().with_max_bytes(8 * MIB).with_deadline(Duration::from_secs(20));
    for (hooks, length) in [(hooks.clone(), MIB), (hooks.with_drain(large), 6 * MIB)] {
        let address = serve(hooks).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let response = soon(upload(&mut stream, "/", length)).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    }
}

#[tokio::test]
async fn over_a_socket_no_100_is_sent_for_a_refused_request() {
    let keys = Keys::new().await;
    let address = serve(DrainLayer::new().layer(refusing(&keys).layer(Recorder::default()))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut received = String::new();
    soon(stream.read_to_string(&mut received)).await.unwrap();
    assert!(received.starts_with("HTTP/1.1 401 "), "{received}");
}

#[tokio::test]
async fn a_stream_of_http_2_is_read_to_its_end() {
    let keys = Keys::new().await;
    let drain = DrainLayer::new().with_max_bytes(8 * MIB).with_deadline(Duration::from_secs(20));
    let address = serve(drain.layer(refusing(&keys).layer(Recorder::default()))).await;
    let mut client = connect_http2(address).await;
    let (fate, frames) = (Fate::default(), 6 * MIB / 4096);
    let frame = Bytes::from_static(&[0; 4096]);
    let body = Watched { fate: fate.clone(), frame, frames, end: End::Ends };
    let request = Request::post(format!("http://{address}/")).body(body).unwrap();
    let response = soon(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(soon(response.into_body().collect()).await.is_ok());
    soon(async {
        while !fate.is_dropped() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // All of it went out. A stream that is reset ends its body before.
    assert!(fate.polls() >= frames, "{}", fate.polls());
}
