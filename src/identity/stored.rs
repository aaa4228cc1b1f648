//! The caller of a request that a queue has kept.

use serde::Deserialize;

use super::{Identity, Proof};
use crate::credential::PlacementKind;
use crate::key::{KeyId, Owner, Scopes};

/// What [`Identity`] is serialized as.
#[derive(Deserialize)]
pub(crate) struct StoredIdentity {
    owner: Owner,
    key_id: Option<KeyId>,
    scopes: Scopes,
    placement: Option<String>,
    also_proven: Option<Box<Self>>,
}

impl Identity {
    /// `None`: there is no placement with that name.
    pub(crate) fn restored(stored: StoredIdentity) -> Option<Self> {
        let StoredIdentity { owner, key_id, scopes, placement, also_proven } = stored;
        let placement = match placement {
            Some(name) => Some(PlacementKind::ALL.into_iter().find(|kind| kind.as_str() == name)?),
            None => None,
        };
        let identity = Self {
            owner,
            scopes,
            key_id,
            placement,
            proof: Proof::Stored,
            also_proven: None,
            rate_limit: None,
            counted_by: None,
            #[cfg(feature = "management")]
            challenges: None,
        };
        match also_proven {
            Some(other) => Some(identity.with_also_proven(Some(Self::restored(*other)?))),
            None => Some(identity),
        }
    }
}
