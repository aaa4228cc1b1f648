//! The verified caller of a request.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "queue")]
mod stored;
#[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
mod testing;

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use serde::ser::{Serialize, SerializeStruct, Serializer};

#[cfg(feature = "queue")]
pub(crate) use self::stored::StoredIdentity;
use crate::credential::PlacementKind;
use crate::key::{
    KeyDigest, KeyId, KeyProof, KeyRecord, KeyVerifier, Owner, Scope, Scopes, VerifyError,
};
use crate::rate_limit::Quota;
#[cfg(feature = "management")]
use crate::rejection::SharedChallenges;
use crate::util::UniqueId;

#[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub use self::testing::{TestIdentity, TestIdentityLayer};

/// The proven caller of a request.
///
/// Only a verification creates one, so a handler with an `Identity` needs no further check. It is in the request's
/// extensions; with feature `axum` it is an extractor as well. Tests make one up with feature `testing`:
/// `Identity::for_test` for a handler, and `TestIdentityLayer` for an app with its layers.
///
/// # Examples
///
/// ```
/// use tower_webhook::identity::{Identity, MissingAuthLayer};
///
/// fn greet<B>(request: &http::Request<B>) -> Result<String, MissingAuthLayer> {
///     Ok(match Identity::of(request.extensions())? {
///         Some(identity) => format!("hello {}", identity.owner()),
///         None => "hello stranger".to_owned(),
///     })
/// }
///
/// // No auth layer has seen this request: that is a fault of the app, not an anonymous caller.
/// assert!(greet(&http::Request::new(())).is_err());
/// ```
#[derive(Clone)]
pub struct Identity {
    owner: Owner,
    scopes: Scopes,
    key_id: Option<KeyId>,
    placement: Option<PlacementKind>,
    proof: Proof,
    also_proven: Option<Arc<Self>>,
    /// That of the record.
    rate_limit: Option<Quota>,
    /// The limits in which a layer has counted this call.
    counted_by: Option<UniqueId>,
    /// Those of the layer that let the request in.
    #[cfg(feature = "management")]
    challenges: Option<SharedChallenges>,
}

#[derive(Clone)]
enum Proof {
    Key(KeyProof),
    /// The authenticator that proved the user.
    User(UniqueId),
    /// A request that was stored with its caller.
    #[cfg(feature = "queue")]
    Stored,
    /// A test.
    #[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
    MadeUp,
}

/// Marks a request on a public route, in contrast to one that no auth layer has seen.
#[derive(Clone, Copy, Debug)]
struct Public;

/// No auth layer has seen the request.
///
/// It means that a layer is missing, or that it is inside the code that asks. An extractor answers it
/// with a 500 and a line in the log, never by treating the caller as anonymous.
#[derive(Clone, Copy, Debug)]
pub struct MissingAuthLayer;

impl Identity {
    /// The identity of a key whose digest, one of those of its record, matched.
    pub(crate) fn of_record(
        verifier: &KeyVerifier,
        record: &KeyRecord,
        digest: &KeyDigest,
        placement: PlacementKind,
    ) -> Self {
        Self {
            owner: record.owner().clone(),
            scopes: record.scopes().clone(),
            key_id: Some(record.id().clone()),
            placement: Some(placement),
            proof: Proof::Key(KeyProof::new(verifier, record, digest)),
            also_proven: None,
            rate_limit: record.rate_limit(),
            counted_by: None,
            #[cfg(feature = "management")]
            challenges: None,
        }
    }

    pub(crate) const fn of_user(
        users: UniqueId,
        owner: Owner,
        scopes: Scopes,
        placement: Option<PlacementKind>,
    ) -> Self {
        let proof = Proof::User(users);
        Self {
            owner,
            scopes,
            key_id: None,
            placement,
            proof,
            also_proven: None,
            rate_limit: None,
            counted_by: None,
            #[cfg(feature = "management")]
            challenges: None,
        }
    }

    /// The identity in a request's extensions: `None` on a public route.
    ///
    /// # Errors
    ///
    /// Returns an error if no auth layer has seen the request.
    pub fn of(extensions: &Extensions) -> Result<Option<&Self>, MissingAuthLayer> {
        match extensions.get::<Self>() {
            Some(identity) => Ok(Some(identity)),
            None if extensions.get::<Public>().is_some() => Ok(None),
            None => Err(MissingAuthLayer),
        }
    }

    #[cfg(feature = "management")]
    pub(crate) fn with_challenges(self, challenges: SharedChallenges) -> Self {
        Self { challenges: Some(challenges), ..self }
    }

    #[cfg(feature = "management")]
    pub(crate) fn challenges(&self) -> Option<&SharedChallenges> {
        self.challenges.as_ref()
    }

    /// The same identity, with another one that was proven in the same request.
    pub(crate) fn with_also_proven(self, other: Option<Self>) -> Self {
        Self { also_proven: other.map(Arc::new), ..self }
    }

    /// Says in which limits the call was counted.
    pub(crate) fn set_counted_by(&mut self, limits: UniqueId) {
        self.counted_by = Some(limits);
        if let Some(other) = &mut self.also_proven {
            Arc::make_mut(other).counted_by = Some(limits);
        }
    }

    pub(crate) const fn counted_by(&self) -> Option<UniqueId> {
        self.counted_by
    }

    /// How many calls the key allows, if its record says so.
    pub(crate) const fn rate_limit(&self) -> Option<Quota> {
        self.rate_limit
    }

    /// This identity, and the one that was proven beside it.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        [Some(self), self.also_proven()].into_iter().flatten()
    }

    /// Whether this verifier, or a clone of it, has proven the identity.
    pub(crate) fn is_proven_by(&self, verifier: &KeyVerifier) -> bool {
        match &self.proof {
            Proof::Key(proof) => proof.verifier_id() == verifier.verifier_id(),
            Proof::User(_) => false,
            #[cfg(feature = "queue")]
            Proof::Stored => false,
            #[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
            Proof::MadeUp => self.key_id.is_some(),
        }
    }

    /// Whether the authenticator of this layer, or of a clone of it, has proven the identity.
    pub(crate) fn is_user_of(&self, users: UniqueId) -> bool {
        match &self.proof {
            Proof::User(id) => *id == users,
            Proof::Key(_) => false,
            #[cfg(feature = "queue")]
            Proof::Stored => false,
            #[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
            Proof::MadeUp => self.key_id.is_none(),
        }
    }

    /// Whether a test has let this caller in.
    pub(crate) const fn is_made_up(&self) -> bool {
        #[cfg(all(feature = "testing", any(debug_assertions, tower_webhook_testing)))]
        return matches!(self.proof, Proof::MadeUp);
        #[cfg(not(all(feature = "testing", any(debug_assertions, tower_webhook_testing))))]
        false
    }

    /// Verifies the identity again, for long work such as a slow upload or a WebSocket.
    ///
    /// The record of the key is looked up. It must be the same key, not a later one with its id, and the
    /// presented secret must still be valid. Owner and scopes are those of the record now. The last use is not
    /// recorded again. A user is not authenticated again: this returns a clone. A key that was
    /// [proven beside a user](Self::also_proven) is looked up as well. The caller of a stored request has no store to
    /// look in, which is an error.
    ///
    /// # Errors
    ///
    /// The key is no longer good, or the store cannot answer: see
    /// [`VerifyErrorKind`](crate::key::VerifyErrorKind).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::identity::Identity;
    /// use tower_webhook::key::{VerifyError, VerifyErrorKind};
    ///
    /// /// Called before each message of a long connection.
    /// async fn may_go_on(identity: &Identity) -> Result<bool, VerifyError> {
    ///     match identity.reverify().await {
    ///         Ok(_) => Ok(true),
    ///         Err(error) if error.kind() == VerifyErrorKind::StoreUnavailable => Err(error),
    ///         Err(_) => Ok(false),
    ///     }
    /// }
    /// # let _ = may_go_on;
    /// ```
    pub async fn reverify(&self) -> Result<Self, VerifyError> {
        let other = match self.also_proven() {
            Some(other) => Some(other.reverify_alone().await?),
            None => None,
        };
        Ok(self.reverify_alone().await?.with_also_proven(other))
    }

    async fn reverify_alone(&self) -> Result<Self, VerifyError> {
        #[cfg(feature = "queue")]
        if let (Proof::Stored, Some(id)) = (&self.proof, &self.key_id) {
            return Err(VerifyError::without_store(id.clone()));
        }
        let (Proof::Key(proof), Some(id)) = (&self.proof, &self.key_id) else {
            return Ok(self.clone());
        };
        let fresh = |record: &KeyRecord| {
            (record.owner().clone(), record.scopes().clone(), record.rate_limit())
        };
        let (owner, scopes, rate_limit) = proof.renew(id, fresh).await?;
        Ok(Self { owner, scopes, rate_limit, ..self.clone() })
    }

    /// The owner of the key, or the user.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The id of the key, if a key was presented.
    #[must_use]
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// The key that was proven together with this user, under
    /// [`Policy::all_of`](crate::auth::Policy::all_of). Under every other policy there is none.
    #[must_use]
    pub fn also_proven(&self) -> Option<&Self> {
        self.also_proven.as_deref()
    }

    /// The granted scopes.
    #[must_use]
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether the caller has a scope.
    #[must_use]
    pub fn has_scope(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// The kind of the placement of the credential; `None` if an [`Authenticator`](crate::auth::Authenticator) found the
    /// user by other means.
    #[must_use]
    pub const fn placement(&self) -> Option<PlacementKind> {
        self.placement
    }
}

/// `{"owner":..,"key_id":..,"scopes":..,"placement":..}`, for executors outside the process. Where another credential
/// was [proven beside it](Identity::also_proven), `also_proven` has the same members.
impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let other = self.also_proven();
        let members = if other.is_some() { 5 } else { 4 };
        let mut object = serializer.serialize_struct("Identity", members)?;
        object.serialize_field("owner", &self.owner)?;
        object.serialize_field("key_id", &self.key_id)?;
        object.serialize_field("scopes", &self.scopes)?;
        object.serialize_field("placement", &self.placement.map(PlacementKind::as_str))?;
        if let Some(other) = other {
            object.serialize_field("also_proven", other)?;
        }
        object.end()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("owner", &self.owner)
            .field("key_id", &self.key_id)
            .field("scopes", &self.scopes)
            .field("placement", &self.placement)
            .field("also_proven", &self.also_proven)
            .finish()
    }
}

impl fmt::Display for MissingAuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no `AuthLayer` has seen this request: put one around the service that asks")
    }
}

impl std::error::Error for MissingAuthLayer {}

/// Records the outcome of the auth stage in the extensions.
pub(crate) fn insert(extensions: &mut Extensions, identity: Option<Identity>) {
    match identity {
        Some(identity) => {
            extensions.insert(identity);
        }
        // An identity that an outer layer has proven stays.
        None => {
            extensions.insert(Public);
        }
    }
}
