use std::sync::Arc;

use async_trait::async_trait;

use super::Policy;
use crate::BoxError;
use crate::request_head::RequestHead;

/// Decides for each request which hook it is for, and who may call that hook.
///
/// A closure from a [`RequestHead`] to an `Option<Policy>` is a resolver. Implement the trait where the
/// answer has to be waited for.
///
/// Credentials are still in the head; header values in configured places are marked as sensitive.
///
/// # Security
///
/// Compare whole paths, and let what is unknown need a credential. axum's `nest` takes its prefix off
/// [`RequestHead::uri`], so that `/admin/status` looks like `/status` there:
/// [`RequestHead::original_path`] has the prefix.
///
/// # Examples
///
/// Public paths beside a credential in the path. `//health`, `/health/` and `/health%2F` are other paths, and not
/// public:
///
/// ```
/// use tower_webhook::RequestHead;
/// use tower_webhook::auth::{AuthLayer, Policy};
/// use tower_webhook::credential::Placement;
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::MemoryKeyStore;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.original_path() {
///     "/health" => Some(Policy::public()),
///     _ => Some(Policy::token()),
/// })
/// .with_keys(&keys, [Placement::path("/hook/{name}/{key}")?])?;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// Below axum's `route_layer`, by the route that was matched. It has the prefixes of all routers, and what no route
/// matches is not found:
///
/// ```
/// use axum::Router;
/// use axum::extract::MatchedPath;
/// use axum::routing::get;
/// use tower_webhook::RequestHead;
/// use tower_webhook::auth::{AuthLayer, Policy};
///
/// let layer = AuthLayer::per_request(|head: RequestHead<'_>| {
///     match head.extensions().get::<MatchedPath>()?.as_str() {
///         "/admin/status" => Some(Policy::public()),
///         _ => Some(Policy::token()),
///     }
/// });
/// let admin = Router::new().route("/status", get(async || "up")).route_layer(layer);
/// let app: Router = Router::new().nest("/admin", admin);
/// # let _ = app;
/// ```
///
/// Policies that are replaced while the server runs, in an `ArcSwap` of the crate `arc-swap`. All of them change at once.
/// A new set holds from the next request on; a request that has its policy keeps it:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use arc_swap::ArcSwap;
/// use axum::Router;
/// use axum::body::Body;
/// use axum::routing::get;
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_webhook::auth::{AuthLayer, Policy};
/// use tower_webhook::{KeyManager, MemoryKeyStore, Placement, RequestHead};
///
/// type Policies = HashMap<&'static str, Policy>;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policies = Arc::new(ArcSwap::from_pointee(Policies::from([("/jobs", Policy::token())])));
/// let current = Arc::clone(&policies);
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let auth = AuthLayer::per_request(move |head: RequestHead<'_>| {
///     current.load().get(head.original_path()).cloned()
/// })
/// .with_keys(&keys, Placement::bearer())?;
/// let app: Router = Router::new().route("/jobs", get(async || "jobs")).route_layer(auth);
/// let status = async || {
///     let request = Request::get("/jobs").body(Body::empty())?;
///     Ok::<_, Box<dyn std::error::Error>>(app.clone().oneshot(request).await?.status())
/// };
///
/// assert_eq!(status().await?, StatusCode::UNAUTHORIZED);
/// policies.store(Arc::new(Policies::from([("/jobs", Policy::public())])));
/// assert_eq!(status().await?, StatusCode::OK);
/// policies.store(Arc::default());
/// assert_eq!(status().await?, StatusCode::NOT_FOUND);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait PolicyResolver: Send + Sync + 'static {
    /// The policy for a request, or `None` if nothing is served there (404).
    ///
    /// # Errors
    ///
    /// Returns an error if the answer cannot be had now. The request is refused with 503.
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError>;

    /// The same without waiting, where that is possible. The default never is.
    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        let _ = head;
        None
    }
}

#[async_trait]
impl<F> PolicyResolver for F
where
    F: Fn(RequestHead<'_>) -> Option<Policy> + Send + Sync + 'static,
{
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        Ok(self(head))
    }

    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        Some(Ok(self(head)))
    }
}

#[async_trait]
impl<R: PolicyResolver + ?Sized> PolicyResolver for Arc<R> {
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        (**self).resolve(head).await
    }

    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        (**self).resolve_ready(head)
    }
}
