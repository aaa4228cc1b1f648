//! Who makes a change, by the time at which it is made.

use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::key::{self, KeyManager, KeyState, ManageErrorKind, Owner, Scope, Scopes};
use crate::rejection::{Rejection, RejectionKind};

/// The proven caller of a request, with the scopes that count now.
#[derive(Debug)]
pub(super) struct Caller {
    identity: Identity,
    scopes: Scopes,
}

impl Caller {
    /// The caller as the layer has let them in, for calls that change nothing.
    pub(super) fn admitted(identity: Identity) -> Self {
        let scopes = identity.scopes().clone();
        Self { identity, scopes }
    }

    /// The caller as of now. The layer has decided before the body came, which can be long ago.
    ///
    /// A user is not asked for again: only the layer knows how.
    ///
    /// # Errors
    ///
    /// Refuses a key that does not open any more (401), one that has lost a scope since the layer looked at
    /// it (403), and a store that cannot answer (503).
    pub(super) async fn now(identity: Identity, keys: &KeyManager) -> Result<Self, Rejection> {
        let Some(id) = identity.key_id() else { return Ok(Self::admitted(identity)) };
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let refusal = |kind| {
            Rejection::new(kind)
                .with_key_id(Some(id.clone()))
                .with_owner(identity.owner().clone())
                .by_bearer(by_bearer)
        };
        let record = match keys.get(identity.owner(), id).await {
            Ok(record) => record,
            // It is deleted, or belongs to another owner.
            Err(error) if error.kind() == ManageErrorKind::NotFound => {
                return Err(refusal(RejectionKind::Unknown));
            }
            Err(error) => return Err(error.into()),
        };
        match key::state(&record, keys.clock().now()) {
            KeyState::Active => {}
            KeyState::NotYetValid => return Err(refusal(RejectionKind::NotYetValid)),
            KeyState::Expired => return Err(refusal(RejectionKind::Expired)),
            KeyState::Disabled => return Err(refusal(RejectionKind::Disabled)),
            KeyState::Revoked => return Err(refusal(RejectionKind::Revoked)),
        }
        // What is missing may be what the layer has asked for.
        if !record.scopes().covers(identity.scopes()) {
            return Err(refusal(RejectionKind::Forbidden));
        }
        let scopes = record.scopes().clone();
        Ok(Self { identity, scopes })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn owner(&self) -> &Owner {
        self.identity.owner()
    }

    pub(super) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(super) fn has_scope(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }
}
