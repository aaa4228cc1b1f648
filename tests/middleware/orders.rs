//! The order of layers, as `tower_webhook::orders` has it: what each order does to preflights, refusals and
//! compressed uploads.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tower_webhook::auth::AuthLayer;
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{Hooks, Invocation, Outcome};

use crate::support::Keys;

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([WWW_AUTHENTICATE])
}

fn auth(keys: &Keys) -> AuthLayer {
    AuthLayer::header("x-api-key", &keys.manager).unwrap()
}

fn routes() -> Router {
    Router::new().route("/deploy", post(async |body: Bytes| body.len().to_string()))
}

fn preflight() -> Request<Body> {
    Request::options("/deploy")
        .header(ORIGIN, "https://a.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key,content-type")
        .body(Body::empty())
        .unwrap()
}

fn call(key: &str) -> http::request::Builder {
    Request::post("/deploy").header(ORIGIN, "https://a.example").header("x-api-key", key)
}

async fn answer(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, to_bytes(body, 1_000_000).await.unwrap())
}

async fn hook() -> Hooks {
    let keys = Keys::new().await;
    Hooks::new(auth(&keys), async |_: Invocation| Ok(Outcome::empty()))
}

#[tokio::test]
async fn cors_outside_answers_preflights_and_shows_refusals() {
    let keys = Keys::new().await;
    let apps = [
        ("route layer", routes().route_layer(auth(&keys)).layer(cors())),
        ("layer", routes().layer(auth(&keys)).layer(cors())),
        ("around the router", {
            let guarded = auth(&keys).layer(routes());
            Router::new().fallback_service(guarded).layer(cors())
        }),
        ("hooks", Router::new().route_service("/deploy", hook().await).layer(cors())),
    ];
    for (name, app) in apps {
        let (status, headers, _) = answer(&app, preflight()).await;
        assert!(status.is_success(), "{name}: {status}");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{name}");

        let (status, headers, _) = answer(&app, call("wrong").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{name}");
        assert_eq!(headers["access-control-expose-headers"], "www-authenticate", "{name}");
        assert!(headers.contains_key(WWW_AUTHENTICATE), "{name}");
    }
}

#[tokio::test]
async fn cors_inside_refuses_preflights_and_hides_refusals() {
    let keys = Keys::new().await;
    let apps = [
        ("layer", routes().layer(cors()).layer(auth(&keys))),
        ("around the router", {
            let guarded = auth(&keys).layer(routes().layer(cors()));
            Router::new().fallback_service(guarded)
        }),
    ];
    for (name, app) in apps {
        let (status, ..) = answer(&app, preflight()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");

        let (status, headers, _) = answer(&app, call("wrong").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{name}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A body that counts how often it is polled.
fn counted(bytes: Vec<u8>) -> (Body, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let mut bytes = Some(Bytes::from(bytes));
    let body = Body::from_stream(stream::poll_fn(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::task::Poll::Ready(bytes.take().map(Ok::<_, std::io::Error>))
    }));
    (body, polls)
}

#[tokio::test]
async fn decoding_outside_counts_decoded_bytes() {
    let keys = Keys::new().await;
    let buffer = BodyBufferLayer::new().with_max_bytes(1000);
    let app = routes()
        .route_layer(auth(&keys).with_buffer(buffer))
        .layer(RequestDecompressionLayer::new());
    let upload = |key: &str, body| call(key).header(CONTENT_ENCODING, "gzip").body(body).unwrap();

    let (status, _, body) = answer(&app, upload(&keys.text, gzip(&[b'a'; 1000]).into())).await;
    assert_eq!((status, &*body), (StatusCode::OK, &b"1000"[..]));
    let (status, ..) = answer(&app, upload(&keys.text, gzip(&[b'a'; 1001]).into())).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    let (body, polls) = counted(gzip(&[b'a'; 1000]));
    let (status, ..) = answer(&app, upload("wrong", body)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(polls.load(Ordering::Relaxed), 0, "nothing is decoded for a stranger");
}

#[tokio::test]
async fn decoding_outside_finds_a_key_in_a_coded_body() {
    let keys = Keys::new().await;
    let auth = AuthLayer::token(&keys.manager, [Placement::body("api_key").unwrap()]).unwrap();
    let app = routes()
        .route_layer(auth.with_buffer(BodyBufferLayer::new()))
        .layer(RequestDecompressionLayer::new());
    let text = format!(r#"{{"api_key":"{}","a":1}}"#, keys.text);
    let request = Request::post("/deploy")
        .header(CONTENT_ENCODING, "gzip")
        .header("content-type", "application/json")
        .body(gzip(text.as_bytes()).into())
        .unwrap();

    let (status, _, body) = answer(&app, request).await;

    assert_eq!((status, &*body), (StatusCode::OK, &br#"7"#[..]));
}

#[tokio::test]
async fn compression_outside_leaves_a_refusal_as_it_is() {
    let keys = Keys::new().await;
    let app = routes().route_layer(auth(&keys)).layer(CompressionLayer::new()).layer(cors());
    let request = call("wrong").header("accept-encoding", "gzip").body(Body::empty()).unwrap();

    let (status, headers, body) = answer(&app, request).await;

    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(headers["cache-control"], "no-store");
    assert!(headers.contains_key(WWW_AUTHENTICATE));
    let mut decoder = flate2::read::GzDecoder::new(&*body);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    assert!(text.contains(r#""status":401"#), "{text}");
}
