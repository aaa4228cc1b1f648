//! D and L in axum's router: what it keeps of a target, and what a layer guards.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri, RawPathParams, Request};
use axum::routing::any;
use http::StatusCode;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;

use super::KNOWN_GAPS;
use super::fixture::Fixture;
use super::request::{Watch, key, post};
use super::row::header;
use crate::support::Recorder;

async fn status(app: &Router, request: super::request::Sent) -> StatusCode {
    app.clone().oneshot(request.build(&Watch::default())).await.unwrap().status()
}

async fn ok() -> &'static str {
    "ok"
}

fn layer(f: &Fixture) -> AuthLayer {
    AuthLayer::token(&f.manager, [header()]).unwrap()
}

/// What a handler can find out about the target of its request.
async fn target(
    matched: Option<MatchedPath>,
    OriginalUri(original): OriginalUri,
    params: RawPathParams,
    request: Request,
) -> String {
    let params: Vec<_> = params.iter().collect();
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let original = cfg!(feature = "axum").then_some(original);
    format!("{matched:?}\n{original:?}\n{}\n{params:?}", request.uri())
}

#[tokio::test]
async fn the_router_keeps_no_key_of_a_path() {
    let f = Fixture::new().await;
    let placement = || Placement::path("/hook/{key}").unwrap();
    let auth = AuthLayer::token(&f.manager, [placement()]).unwrap();
    let nested =
        AuthLayer::token(&f.manager, [Placement::path("/api/hook/{key}").unwrap()]).unwrap();
    let hook = || Router::new().route("/hook/{key}", any(target));
    for (id, app, path) in [
        ("D93.layer", hook().layer(auth.clone()), "/hook"),
        ("D93.route-layer", hook().route_layer(auth.clone()), "/hook"),
        ("D93.nested", Router::new().nest("/api", hook().layer(auth.clone())), "/api/hook"),
        ("D93.around-nest", Router::new().nest("/api", hook()).layer(nested), "/api/hook"),
        ("D93.nest-service", Router::new().nest_service("/api", auth.layer(hook())), "/api/hook"),
        ("D93.fallback", Router::new().fallback_service(auth.layer(hook())), "/hook"),
    ] {
        let request = post(format!("{path}/{}?a=%31", f.k)).build(&Watch::default());
        let response = app.oneshot(without_original(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{id}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let (rest, params) = body.rsplit_once('\n').unwrap();

        assert!(!rest.contains(f.secret()), "{id}: {rest}");
        assert!(rest.contains("a=%31"), "{id}: {rest}");
        let is_gap = KNOWN_GAPS.iter().any(|(gap, _)| *gap == format!("{id}.params"));
        assert_eq!(params.contains(f.secret()), is_gap, "{id}: {params}");
    }
}

/// The router itself keeps the original target.
fn without_original(mut request: Request) -> Request {
    request.extensions_mut().remove::<OriginalUri>();
    request
}

#[tokio::test]
async fn a_public_prefix_opens_nothing_else() {
    let f = Fixture::new().await;
    let entered = Arc::new(Mutex::new(0));
    let count = Arc::clone(&entered);
    let private = move || {
        *count.lock().unwrap() += 1;
        std::future::ready("private")
    };
    let app = Router::new()
        .route("/private", any(private))
        .route_layer(layer(&f))
        .merge(Router::new().route("/pub/{*rest}", any(ok)).layer(AuthLayer::public()));

    assert_eq!(status(&app, post("/pub/x")).await, 200);
    for target in [
        "/private",
        "/private?x=/pub/",
        "/private#/pub/",
        "/pub/../private",
        "/pub%2f..%2fprivate",
        "/pub/%2e%2e/private",
        "//private",
        "/private/",
        "/pub/..%2fprivate",
        "http://other.example/private",
    ] {
        status(&app, post(target)).await;
        assert_eq!(*entered.lock().unwrap(), 0, "L201, {target}");
    }
    assert_eq!(status(&app, key(&f.k)).await, 404);
    assert_eq!(status(&app, post("/private").header("x-api-key", &f.k)).await, 200);
}

#[tokio::test]
async fn what_a_layer_guards_depends_on_where_it_is_put() {
    let f = Fixture::new().await;
    let a = || Router::new().route("/a", any(ok));
    let recorder = || layer(&f).layer(Recorder::default());
    let cases = [
        ("route_layer, its routes", a().route_layer(layer(&f)), "/a", 401),
        ("route_layer, other paths", a().route_layer(layer(&f)), "/b", 404),
        ("route_layer, later routes", a().route_layer(layer(&f)).route("/b", any(ok)), "/b", 200),
        ("route_layer, fallback", a().fallback(ok).route_layer(layer(&f)), "/b", 200),
        ("layer, its routes", a().layer(layer(&f)), "/a", 401),
        ("layer, other paths", a().layer(layer(&f)), "/b", 401),
        ("layer, later routes", a().layer(layer(&f)).route("/b", any(ok)), "/b", 200),
        ("layer, fallback", a().fallback(ok).layer(layer(&f)), "/b", 401),
        ("layer, later fallback", a().layer(layer(&f)).fallback(ok), "/b", 200),
        (
            "layer around a nested router",
            Router::new().nest("/n", a()).layer(layer(&f)),
            "/n/a",
            401,
        ),
        ("layer in a nested router", Router::new().nest("/n", a().layer(layer(&f))), "/n/a", 401),
        ("layer in a nested router, outside", a().nest("/n", a().layer(layer(&f))), "/a", 200),
        (
            "layer in a merged router",
            a().merge(Router::new().route("/b", any(ok)).layer(layer(&f))),
            "/b",
            401,
        ),
        ("layer around a service", Router::new().route_service("/a", recorder()), "/a", 401),
        ("layer around a fallback", a().fallback_service(recorder()), "/b", 401),
        (
            "layer around everything",
            Router::new().fallback_service(layer(&f).layer(a())),
            "/b",
            401,
        ),
    ];
    for (name, app, path, expected) in cases {
        assert_eq!(status(&app, post(path)).await, expected, "L207, {name}");
        if expected == 401 {
            let status = status(&app, post(path).header("x-api-key", &f.k)).await;
            assert!(status == 200 || status == 404, "L207, {name}: {status}");
        }
    }
}
