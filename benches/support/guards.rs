//! The ways to guard the inner service.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{Route, post};
use http::{Request, Response};
use sha2::{Digest, Sha256};
use tower::{Layer, Service};
use tower_webhook::auth::{Auth, AuthLayer};
use tower_webhook::credential::Placement;
use tower_webhook::key::KeyVerifier;

use crate::requests::Inner;

#[allow(dead_code, unreachable_pub)]
#[path = "from_fn.rs"]
mod from_fn;

/// Our layer with one placement.
pub fn layer(keys: impl Into<KeyVerifier>, placement: Placement) -> AuthLayer {
    AuthLayer::token(keys, [placement]).expect("a layer")
}

/// The inner service behind our layer.
pub fn ours(keys: impl Into<KeyVerifier>, placement: Placement) -> Auth<Inner> {
    layer(keys, placement).layer(Inner)
}

/// `X-Api-Key`.
#[must_use]
pub fn x_api_key() -> Placement {
    Placement::header("x-api-key").expect("a name")
}

/// Keys in the format of `from_fn.rs`.
#[must_use]
pub fn hand_keys(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("k{index}_{}", "s".repeat(40))).collect()
}

fn hand_state(keys: &[String]) -> Arc<from_fn::Keys> {
    let entry = |key: &String| {
        let id = key.split('_').next().unwrap_or_default().to_owned();
        (id, (Sha256::digest(key).into(), "owner-1".to_owned()))
    };
    Arc::new(from_fn::Keys(keys.iter().map(entry).collect::<HashMap<_, _>>()))
}

/// axum's `from_fn` with the same work: the function of `from_fn.rs`.
#[must_use]
pub fn by_hand(
    keys: &[String],
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    from_fn_with_state(hand_state(keys), from_fn::require_key).layer(Inner)
}

/// The same in front of a route.
pub fn by_hand_router(keys: &[String]) -> Router {
    router(from_fn_with_state(hand_state(keys), from_fn::require_key))
}

/// tower-http's static bearer token, which it has deprecated as too basic for real use.
#[must_use]
#[allow(deprecated)]
pub fn static_bearer(
    token: &str,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    tower_http::validate_request::ValidateRequestHeaderLayer::bearer(token).layer(Inner)
}

/// The same in front of a route.
#[allow(deprecated)]
pub fn static_bearer_router(token: &str) -> Router {
    router(tower_http::validate_request::ValidateRequestHeaderLayer::bearer(token))
}

/// A router with one route, whose handler answers at once, as it is served: with its state, so that layers are
/// put around the handler once and not for each request.
pub fn router<L>(layer: L) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<Request<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send + 'static,
{
    Router::new().route("/", post(async || {})).route_layer(layer).with_state(())
}

/// The same without a layer.
pub fn bare_router() -> Router {
    Router::new().route("/", post(async || {})).with_state(())
}
