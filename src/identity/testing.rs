//! Identities that are made up, for tests of handlers (feature `testing`).

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{Identity, Proof};
use crate::credential::PlacementKind;
use crate::key::{KeyId, Owner, Scopes};
use crate::util::UniqueId;

impl Identity {
    /// A made-up user, for tests of handlers. In the extensions of a request, it is no proof for a layer: the request
    /// still needs a credential. [`TestIdentityLayer`] lets it in. [`reverify`](Self::reverify) returns a clone.
    ///
    /// # Security
    ///
    /// It is compiled with feature `testing` and debug assertions, so that a release build which uses it fails. Tests
    /// in a release profile set `RUSTFLAGS="--cfg tower_webhook_testing"`. The feature belongs into `dev-dependencies`.
    ///
    /// # Examples
    ///
    /// A handler is a function, and a route takes the identity from the extensions:
    ///
    /// ```
    /// use axum::{Extension, Router, body::Body, routing::post};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_webhook::key::{Scope, Scopes};
    /// use tower_webhook::{Identity, Owner};
    ///
    /// async fn deploy(Extension(identity): Extension<Identity>) -> Result<String, StatusCode> {
    ///     match Scope::new("deploy") {
    ///         Ok(deploy) if identity.has_scope(&deploy) => Ok(format!("for {}", identity.owner())),
    ///         _ => Err(StatusCode::FORBIDDEN),
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ann = Identity::for_test(Owner::new("ann")?, Scopes::parse(["deploy"])?);
    /// assert_eq!(deploy(Extension(ann.clone())).await, Ok("for ann".to_owned()));
    ///
    /// let app = Router::new().route("/deploy", post(deploy)).layer(Extension(ann));
    /// let response = app.oneshot(Request::post("/deploy").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn for_test(owner: Owner, scopes: Scopes) -> Self {
        // An authenticator that no layer has.
        Self::of_user(UniqueId::new(), owner, scopes, None)
    }

    /// A made-up caller with a key, which seems to have been in a header. For the rest see
    /// [`for_test`](Self::for_test).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyId, Scopes};
    /// use tower_webhook::{Identity, Owner};
    ///
    /// let key = Identity::for_test_key(Owner::new("ann")?, Scopes::ALL, KeyId::new("k1")?);
    /// assert_eq!(key.key_id().map(KeyId::as_str), Some("k1"));
    /// # Ok::<(), tower_webhook::key::InvalidId>(())
    /// ```
    #[must_use]
    pub fn for_test_key(owner: Owner, scopes: Scopes, key_id: KeyId) -> Self {
        let placement = Some(PlacementKind::Header);
        Self { key_id: Some(key_id), placement, ..Self::for_test(owner, scopes) }
    }
}

/// Lets a made-up caller in, for tests of an app with its layers: outside of them, it takes the place of a credential.
///
/// 1. The layers inside decide what the caller may do, as for any other: methods, owner, scopes, the one key of a
///    policy. Only who is calling is not checked: neither the store nor the authenticator is asked.
/// 2. [`Identity::for_test_key`] is a caller with a key, of every verifier. [`Identity::for_test`] is a user, of every
///    authenticator. The other kind is refused with 401, as it is with a real credential.
/// 3. A request that has a credential for a layer inside is decided about by that credential.
///
/// # Security
///
/// It is compiled with feature `testing` and debug assertions only, as [`Identity::for_test`] is.
///
/// # Examples
///
/// The router of an app, as it is, and one line:
///
/// ```
/// use axum::body::Body;
/// use axum::{Extension, Router, routing::get};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_webhook::identity::TestIdentityLayer;
/// use tower_webhook::key::{KeyId, Scope, Scopes};
/// use tower_webhook::{AuthLayer, Identity, KeyManager, MemoryKeyStore, Owner};
///
/// fn app(keys: &KeyManager) -> Result<Router, Box<dyn std::error::Error>> {
///     let auth = AuthLayer::bearer(keys)?.with_scope(Scope::new("read")?)?;
///     let greet = async |Extension(identity): Extension<Identity>| identity.owner().to_string();
///     Ok(Router::new().route("/jobs", get(greet)).route_layer(auth))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = app(&KeyManager::new(MemoryKeyStore::new()))?;
/// for (scope, expected) in [("read", StatusCode::OK), ("write", StatusCode::FORBIDDEN)] {
///     let ann = Identity::for_test_key(Owner::new("ann")?, Scopes::parse([scope])?, KeyId::new("k1")?);
///     let app = app.clone().layer(TestIdentityLayer::new(ann));
///     let response = app.oneshot(Request::get("/jobs").body(Body::empty())?).await?;
///     assert_eq!(response.status(), expected);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TestIdentityLayer(Identity);

impl TestIdentityLayer {
    /// Lets this caller in with every request.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self(made_up(identity))
    }

    /// Adds the caller's key to a user, for [`Policy::all_of`](crate::auth::Policy::all_of).
    #[must_use]
    pub fn with_key(self, key: Identity) -> Self {
        Self(self.0.with_also_proven(Some(made_up(key))))
    }
}

fn made_up(identity: Identity) -> Identity {
    Identity { proof: Proof::MadeUp, ..identity }
}

impl<S> Layer<S> for TestIdentityLayer {
    type Service = TestIdentity<S>;

    fn layer(&self, inner: S) -> TestIdentity<S> {
        TestIdentity { inner, identity: self.0.clone() }
    }
}

/// The service of a [`TestIdentityLayer`].
#[derive(Clone, Debug)]
pub struct TestIdentity<S> {
    inner: S,
    identity: Identity,
}

impl<S, B> Service<Request<B>> for TestIdentity<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        super::insert(request.extensions_mut(), Some(self.identity.clone()));
        self.inner.call(request)
    }
}
