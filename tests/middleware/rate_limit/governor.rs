//! A limiter of another crate inside of the auth layer, with the caller as its key.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use tower::ServiceExt;
use tower_webhook::auth::AuthLayer;
use tower_webhook::identity::Identity;
use tower_webhook::key::KeyId;

use super::post as call;
use crate::support::{Keys, owner};

type Governor = DefaultKeyedRateLimiter<KeyId>;

async fn limit(
    State(limiter): State<Arc<Governor>>,
    Extension(identity): Extension<Identity>,
    request: Request,
    next: Next,
) -> Response {
    match identity.key_id().map(|id| limiter.check_key(id)) {
        Some(Ok(())) => next.run(request).await,
        Some(Err(_)) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

#[tokio::test]
async fn governor_limits_by_identity_inside_of_the_layer() {
    let keys = Keys::new().await;
    let quota = Quota::per_hour(NonZeroU32::new(5).unwrap());
    let limiter: Arc<Governor> = Arc::new(RateLimiter::keyed(quota));
    let auth = AuthLayer::header("x-api-key", &keys.manager).unwrap();
    // The last layer is the outermost one.
    let app: Router = Router::new()
        .route("/deploy", post(async || "done"))
        .route_layer(from_fn_with_state(Arc::clone(&limiter), limit))
        .route_layer(auth);
    let ask = async |key: &str| {
        let request = call("/deploy", key).map(axum::body::Body::new);
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    for _ in 0..10 {
        assert_eq!(ask("junk").await, 401);
    }
    assert!(limiter.is_empty());
    for expected in [200, 200, 200, 200, 200, 429] {
        assert_eq!(ask(&keys.text).await, expected);
    }
    let overlap = time::Duration::hours(1);
    let rotated = keys.manager.rotate(&owner("alice"), &keys.id, overlap).await.unwrap();
    assert_eq!(ask(rotated.secret().expose_secret()).await, 429);
    assert_eq!(ask("junk").await, 401);
}
