//! Who makes a change, by the time at which it is made.

use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::key::{Owner, Scope, Scopes};
use crate::rejection::{Rejection, RejectionKind};

/// The proven caller of a request, with the scopes that count now.
#[derive(Debug)]
pub(super) struct Caller(Identity);

impl Caller {
    /// The caller as the layer has let them in, for calls that change nothing.
    pub(super) const fn admitted(identity: Identity) -> Self {
        Self(identity)
    }

    /// The caller as of now. The layer has decided before the body came, which can be long ago.
    ///
    /// # Errors
    ///
    /// Refuses a key that is no longer good (401), one that has lost a scope since the layer looked at it
    /// (403), and a store that cannot answer (503). A user is not authenticated again: only the layer knows how.
    pub(super) async fn now(identity: Identity) -> Result<Self, Rejection> {
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let fresh =
            identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer))?;
        if fresh.owner() != identity.owner() {
            let rejection = Rejection::new(RejectionKind::WrongOwner).by_bearer(by_bearer);
            return Err(rejection.with_key_id(identity.key_id().cloned()));
        }
        // What is missing may be what the layer has asked for.
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

    pub(super) fn has_scope(&self, scope: &Scope) -> bool {
        self.0.has_scope(scope)
    }
}
