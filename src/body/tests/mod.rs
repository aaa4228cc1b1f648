use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use tokio::task::yield_now;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_test::mock;

use super::headers::rewrite;
use super::scripted::{Scripted, Seen, Step, trailers};
use super::*;

mod axum;
mod hyper;

type Inner = Request<ReplayBody>;
type Mock = mock::Mock<Inner, Response<Full<Bytes>>>;
type Handle = mock::Handle<Inner, Response<Full<Bytes>>>;

const SECOND: Duration = Duration::from_secs(1);

fn layer() -> BodyBufferLayer {
    BodyBufferLayer::new().with_max_bytes(10)
}

fn mock(layer: &BodyBufferLayer) -> (BodyBuffer<Mock>, Handle) {
    let (inner, handle) = mock::pair();
    (layer.layer(inner), handle)
}

/// The bytes of the body, after the check that the extension holds the same.
async fn echo(request: Inner) -> Result<Response<Full<Bytes>>, Infallible> {
    let buffered = request.extensions().get::<BufferedBody>().unwrap().clone();
    let collected = request.into_body().collect().await?;
    assert_eq!(collected.trailers(), buffered.trailers().as_ref());
    let bytes = collected.to_bytes();
    assert_eq!(bytes, buffered.bytes());
    Ok(Response::new(Full::new(bytes)))
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes>,
{
    let bytes = response.into_body().collect().await.ok().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn request(steps: impl IntoIterator<Item = Step>) -> (Request<Scripted>, Arc<Seen>) {
    let body = Scripted::new(steps);
    let seen = body.seen();
    (Request::new(body), seen)
}

fn too_large() -> Request<Scripted> {
    request([Step::data(b"0123456789!")]).0
}

#[tokio::test]
async fn the_service_inside_gets_the_bytes_the_trailers_and_the_head() {
    let (mut service, mut handle) = mock(&layer());
    let steps = [Step::data(b"01"), Step::Yield, Step::data(b"23"), Step::Trailers(trailers())];
    let (mut sent, seen) = request(steps);
    *sent.method_mut() = http::Method::PUT;
    *sent.uri_mut() = "/hook?a=1".parse().unwrap();
    sent.headers_mut().insert("x-own", "1".parse().unwrap());
    sent.extensions_mut().insert(7_u8);

    let response = tokio::spawn(service.call(sent));
    let (received, respond) = handle.next_request().await.unwrap();
    assert_eq!(received.method(), http::Method::PUT);
    assert_eq!(received.uri(), "/hook?a=1");
    assert_eq!(received.headers()["x-own"], "1");
    assert_eq!(received.extensions().get(), Some(&7_u8));
    respond.send_response(echo(received).await.unwrap());

    assert_eq!(text(response.await.unwrap().unwrap()).await, "0123");
    assert!(!seen.polled_after_end());
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_body_is_a_response_without_a_call() {
    let layer = layer();
    for (steps, status, code) in [
        (&[Step::data(b"0123456789"), Step::data(b"!")][..], 413, "content_too_large"),
        (&[Step::data(b"01"), Step::Stall], 408, "request_timeout"),
        (&[Step::data(b"01"), Step::Fail], 400, "malformed_body"),
        (&[Step::data(b"01"), Step::Panic], 500, "internal"),
    ] {
        for (version, closes) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
            let (mut service, mut handle) = mock(&layer);
            let (mut sent, seen) = request(steps.iter().cloned());
            *sent.version_mut() = version;

            let response = service.call(sent).await.unwrap();

            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(CONNECTION), closes);
            assert!(text(response).await.contains(&format!(r#""code":"{code}""#)));
            drop(service);
            assert!(handle.next_request().await.is_none());
            assert!(!seen.polled_after_end());
        }
    }
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_a_poll() {
    let (mut service, _handle) = mock(&layer());
    let (mut sent, seen) = request([Step::data(b"0123456789!")]);
    sent.headers_mut().insert(CONTENT_LENGTH, 11.into());

    assert_eq!(service.call(sent).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(seen.polls(), 0);
}

#[tokio::test]
async fn a_coding_is_passed_through_unless_only_identity_is_read() {
    for (coding, only_identity, status) in [
        ("gzip", false, StatusCode::OK),
        ("gzip", true, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("gzip, gzip", true, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity", true, StatusCode::OK),
    ] {
        let layer = if only_identity { layer().with_identity_coding_only() } else { layer() };
        let service = layer.layer(tower::service_fn(echo));
        let (mut sent, seen) = request([Step::data(b"\x1f\x8b")]);
        sent.headers_mut().insert(CONTENT_ENCODING, coding.parse().unwrap());

        let response = service.oneshot(sent).await.unwrap();

        assert_eq!(response.status(), status, "{coding}");
        if status != StatusCode::OK {
            assert_eq!(response.headers()[ACCEPT_ENCODING], "identity");
            assert_eq!(response.headers()[CONNECTION], "close");
            assert_eq!(seen.polls(), 0);
        }
    }
}

#[tokio::test]
async fn a_refused_coding_without_a_body_keeps_the_connection() {
    let layer = layer().with_identity_coding_only();
    let service = layer.layer(tower::service_fn(echo));
    let sent = Request::builder().header(CONTENT_ENCODING, "br").body(Full::default()).unwrap();

    let response = service.oneshot(sent).await.unwrap();

    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(!response.headers().contains_key(CONNECTION));
}

#[tokio::test]
async fn a_closure_replaces_the_body_of_refusals_alone() {
    let layer = layer().with_rejection_response(|rejection, _head| {
        let error = rejection.source().and_then(|source| source.downcast_ref::<ReadError>());
        assert_eq!(error.map(ReadError::kind), Some(ReadErrorKind::Broken));
        Response::new(Bytes::from_static(b"own"))
    });
    let (mut service, _handle) = mock(&layer);

    let response = service.call(request([Step::Fail]).0).await.unwrap();

    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(text(response).await, "own");
}

#[tokio::test]
async fn readiness_is_asked_once_the_body_is_there() {
    let (mut service, mut handle) = mock(&layer());
    handle.allow(0);
    let (sent, seen) = request([Step::data(b"01")]);
    ServiceExt::<Request<Scripted>>::ready(&mut service).await.unwrap();
    let response = tokio::spawn(service.call(sent));
    yield_now().await;
    assert!(seen.is_dropped());
    assert!(!response.is_finished());

    handle.allow(1);
    let (received, respond) = handle.next_request().await.unwrap();
    respond.send_response(echo(received).await.unwrap());

    assert_eq!(text(response.await.unwrap().unwrap()).await, "01");
}

#[tokio::test]
async fn an_error_of_the_service_inside_is_passed_on() {
    let (mut service, mut handle) = mock(&layer());
    handle.send_error("not ready");
    let error = service.call(request([]).0).await.unwrap_err();
    assert_eq!(error.to_string(), "not ready");

    let response = tokio::spawn(service.call(request([]).0));
    handle.next_request().await.unwrap().1.send_error("no answer");
    assert_eq!(response.await.unwrap().unwrap_err().to_string(), "no answer");
}

#[tokio::test]
async fn a_future_that_is_polled_again_refuses() {
    let (mut service, _handle) = mock(&layer());
    let mut future = std::pin::pin!(service.call(too_large()));

    assert_eq!(future.as_mut().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!future.as_mut().await.unwrap().status().is_success());
}

#[tokio::test]
async fn refused_and_slow_uploads_take_no_capacity() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = ServiceBuilder::new()
        .layer(layer())
        .layer(ConcurrencyLimitLayer::new(1))
        .service_fn(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            echo(request)
        });
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut handle = service.clone();
        let response = handle.call(too_large()).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        ServiceExt::<Request<Scripted>>::ready(&mut handle).await.unwrap();
        kept.push(handle);
    }
    let slow = tokio::spawn(service.clone().oneshot(request([Step::Stall]).0));
    yield_now().await;

    let good = tokio::time::timeout(SECOND, service.oneshot(request([Step::data(b"ok")]).0));
    let response = good.await.expect("served at once").unwrap();

    assert_eq!(text(response).await, "ok");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    slow.abort();
}

#[tokio::test]
async fn a_request_dropped_midway_never_reaches_the_service() {
    let (mut service, mut handle) = mock(&layer());
    drop(service.call(request([Step::data(b"01")]).0));
    let (sent, seen) = request([Step::data(b"01"), Step::Stall]);
    let response = tokio::spawn(service.call(sent));
    yield_now().await;
    assert_eq!(seen.bytes(), 2);

    response.abort();

    assert!(response.await.unwrap_err().is_cancelled());
    assert!(seen.is_dropped());
    drop(service);
    assert!(handle.next_request().await.is_none());
}

#[tokio::test]
async fn two_layers_read_the_wire_once_and_copy_nothing() {
    let bytes = Bytes::from(vec![7; 5]);
    let pointer = bytes.as_ptr();
    let service = ServiceBuilder::new().layer(layer()).layer(layer()).service_fn(
        move |request: Inner| async move {
            let buffered = request.extensions().get::<BufferedBody>().unwrap().bytes();
            let collected = request.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers()));
            assert_eq!(buffered.as_ptr(), pointer);
            assert_eq!(collected.to_bytes().as_ptr(), pointer);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        },
    );
    let (sent, seen) = request([Step::Data(bytes), Step::Trailers(trailers())]);

    assert_eq!(service.oneshot(sent).await.unwrap().status(), StatusCode::OK);
    assert_eq!(seen.polls(), 3);
}

#[tokio::test]
async fn a_second_layer_believes_the_body_and_not_the_extension() {
    let service = ServiceBuilder::new()
        .layer(layer())
        .map_request(|request: Inner| request.map(|_| Full::from("other")))
        .layer(layer())
        .service_fn(echo);

    let response = service.oneshot(request([Step::data(b"01")]).0).await.unwrap();

    assert_eq!(text(response).await, "other");
}

#[tokio::test]
async fn a_rewritten_body_is_what_every_later_stage_sees() {
    let service = ServiceBuilder::new()
        .layer(layer())
        .map_request(|mut request: Inner| {
            let buffered = request.extensions().get::<BufferedBody>().unwrap().clone();
            rewrite(request.headers_mut(), &buffered, Bytes::from_static(b"a=1"));
            request
        })
        .layer(layer())
        .service_fn(|request: Inner| {
            assert_eq!(request.headers()[CONTENT_LENGTH], "3");
            echo(request)
        });
    let (mut sent, _) = request([Step::data(b"k=2&a=1"), Step::Trailers(trailers())]);
    sent.headers_mut().insert(CONTENT_LENGTH, 7.into());

    assert_eq!(text(service.oneshot(sent).await.unwrap()).await, "a=1");
}

#[test]
fn the_types_cross_threads() {
    fn send<T: Send>() {}
    fn shared<T: Clone + Send + Sync + 'static>() {}

    shared::<BodyBufferLayer>();
    shared::<BodyBuffer<tower::util::BoxCloneSyncService<Inner, Response<()>, Infallible>>>();
    shared::<BufferedBody>();
    send::<ReplayBody>();
    send::<ResponseFuture<Mock, Scripted>>();
    send::<ReadError>();
    let _: Box<dyn Error + Send + Sync> = ReadError::from(ReadErrorKind::Timeout).into();
}

#[test]
fn debug_shows_settings() {
    let shown = format!("{:?}", layer().with_rejection_response(|_, _| Response::default()));

    assert!(shown.contains("max_bytes: 10") && shown.contains("<fn>"), "{shown}");
}
