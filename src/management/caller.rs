//! The caller of a request, verified again before a change.

use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::key::{Owner, Scope, Scopes};
use crate::rate_limit::Quota;
use crate::rejection::{Rejection, RejectionKind};

/// The verified caller of a request, with the current scopes.
#[derive(Debug)]
pub(super) struct Caller(Identity);

impl Caller {
    /// The caller as the layer verified it, for calls that change nothing.
    pub(super) const fn admitted(identity: Identity) -> Self {
        Self(identity)
    }

    /// Verifies the caller again. The layer did so before the body was read, which can take long.
    ///
    /// # Errors
    ///
    /// Refuses a key that is no longer valid (401), one that has lost a scope since the layer verified it (403),
    /// and an unavailable store (503). A user is not authenticated again: only the layer can.
    pub(super) async fn now(identity: Identity) -> Result<Self, Rejection> {
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let fresh =
            identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer))?;
        if fresh.owner() != identity.owner() {
            let rejection = Rejection::new(RejectionKind::WrongOwner).by_bearer(by_bearer);
            return Err(rejection.with_key_id(identity.key_id().cloned()));
        }
        // The layer may have required the missing scope.
        if !fresh.scopes().covers(identity.scopes()) {
            return Err(Rejection::new(RejectionKind::Forbidden)
                .with_key_id(identity.key_id().cloned())
                .with_owner(identity.owner().clone()));
        }
        Ok(Self(fresh))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.0
    }

    pub(super) fn owner(&self) -> &Owner {
        self.0.owner()
    }

    pub(super) fn scopes(&self) -> &Scopes {
        self.0.scopes()
    }

    /// How many calls the caller's key allows. A key that the caller makes allows as many.
    pub(super) fn rate_limit(&self) -> Option<Quota> {
        self.0.rate_limit()
    }

    pub(super) fn has_scope(&self, scope: &Scope) -> bool {
        self.0.has_scope(scope)
    }
}
