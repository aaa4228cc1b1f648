//! Policies by path: below nested routers, and beside a credential in the path.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;

use crate::support::Keys;

fn header() -> [Placement; 1] {
    [Placement::header("x-api-key").unwrap()]
}

/// `/status` is public, and nothing else is.
fn by_path<'a>(path: impl Fn(RequestHead<'a>) -> &'a str, head: RequestHead<'a>) -> Option<Policy> {
    Some(if path(head) == "/status" { Policy::public() } else { Policy::token() })
}

async fn status<S, B>(service: S, target: &str, key: Option<&str>) -> u16
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut request = Request::get(target);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let request = request.body(Body::empty()).unwrap();
    service.oneshot(request).await.unwrap().status().as_u16()
}

fn routes() -> Router {
    Router::new().route("/status", get(async || "status")).route("/jobs", get(async || "jobs"))
}

/// The layer on the routes, on the router, and around it.
fn guarded(layer: &AuthLayer) -> [(&'static str, Router); 3] {
    [
        ("route_layer", routes().route_layer(layer.clone())),
        ("layer", routes().layer(layer.clone())),
        ("around", Router::new().fallback_service(layer.layer(routes()))),
    ]
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_nested_path_is_not_public_for_its_last_part() {
    let keys = Keys::new().await;
    let layer =
        AuthLayer::per_request(|head: RequestHead<'_>| by_path(|head| head.original_path(), head));
    let layer = layer.with_keys(&keys.manager, header()).unwrap();
    for (how, guarded) in guarded(&layer) {
        let app = Router::new()
            .nest("/admin", guarded.clone())
            .nest("/a", Router::new().nest_service("/b", guarded.clone()))
            .nest_service("/service", guarded.clone())
            .nest("/status", guarded.clone());
        // A fallback is not nested twice.
        let (app, twice) = match how {
            "around" => (app, None),
            _ => (app.nest("/c", Router::new().nest("/d", guarded.clone())), Some("/c/d/status")),
        };
        let paths = ["/admin/status", "/a/b/status", "/service/status", "/status/status"];
        for path in paths.into_iter().chain(twice) {
            assert_eq!(status(app.clone(), path, None).await, 401, "{how} {path}");
            assert_eq!(status(app.clone(), path, Some(&keys.text)).await, 200, "{how} {path}");
        }
        assert_eq!(status(guarded.clone(), "/status", None).await, 200, "{how}");
        assert_eq!(status(guarded, "/jobs", None).await, 401, "{how}");
    }
    // Around the outer router, there is no prefix yet that could be lost.
    let app = layer.layer(Router::new().nest("/admin", routes()).merge(routes()));
    for (path, expected) in [("/admin/status", 401), ("/status", 200), ("/jobs", 401)] {
        assert_eq!(status(app.clone(), path, None).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_matched_path_has_the_prefix_below_route_layer() {
    let keys = Keys::new().await;
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| {
        let matched = head.extensions().get::<axum::extract::MatchedPath>()?;
        Some(if matched.as_str() == "/status" { Policy::public() } else { Policy::token() })
    });
    let layer = layer.with_keys(&keys.manager, header()).unwrap();
    let guarded = routes().route_layer(layer);
    let app = Router::new()
        .nest("/admin", guarded.clone())
        .nest("/a", Router::new().nest("/b", guarded.clone()));
    for path in ["/admin/status", "/a/b/status"] {
        assert_eq!(status(app.clone(), path, None).await, 401, "{path}");
        assert_eq!(status(app.clone(), path, Some(&keys.text)).await, 200, "{path}");
    }
    assert_eq!(status(guarded, "/status", None).await, 200);
}

#[tokio::test]
async fn the_target_alone_lacks_the_prefix() {
    let keys = Keys::new().await;
    let layer =
        AuthLayer::per_request(|head: RequestHead<'_>| by_path(|head| head.uri().path(), head));
    let layer = layer.with_keys(&keys.manager, header()).unwrap();
    for (how, guarded) in guarded(&layer) {
        let app = Router::new().nest("/admin", guarded);
        assert_eq!(status(app, "/admin/status", None).await, 200, "{how}");
    }
}

#[tokio::test]
async fn a_public_path_beside_a_path_placement_is_exact() {
    let keys = Keys::new().await;
    let app = Router::new()
        .route("/health", get(async || "up"))
        .route("/hook/{name}/{key}", get(async || "ran"))
        .fallback(async || "fallback");
    // Around the router, so that the router does not see the key.
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| {
        Some(match head.original_path() {
            "/health" => Policy::public(),
            _ => Policy::token(),
        })
    });
    let placements = [Placement::path("/hook/{name}/{key}").unwrap()];
    let app = layer.with_keys(&keys.manager, placements).unwrap().layer(app);
    assert_eq!(status(app.clone(), "/health", None).await, 200);
    assert_eq!(status(app.clone(), "/health?a=1", None).await, 200);
    assert_eq!(status(app.clone(), &format!("/hook/a/{}", keys.text), None).await, 200);
    for path in [
        "//health",
        "/health/",
        "/health%2F",
        "/%68ealth",
        "/HEALTH",
        "/health;a=1",
        "/./health",
        "/hook/../health",
        "/health//",
        "/hook/a/junk",
        "/hook/a/health",
        "/hook/health",
        "/none",
    ] {
        assert_eq!(status(app.clone(), path, None).await, 401, "{path}");
    }
}

#[test]
fn the_original_path_of_a_plain_request_is_its_path() {
    let request = Request::get("https://a.example/a%2Fb?c=1").body(()).unwrap();
    assert_eq!(RequestHead::from(&request).original_path(), "/a%2Fb");
}
