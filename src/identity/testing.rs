//! Identities that are made up, for tests of handlers (feature `testing`).

use super::Identity;
use crate::credential::PlacementKind;
use crate::key::{KeyId, Owner, Scopes};
use crate::util::UniqueId;

impl Identity {
    /// A made-up user, for tests of handlers. No layer takes it for proof: with it in its extensions, a request still
    /// needs a credential. [`reverify`](Self::reverify) returns a clone.
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
