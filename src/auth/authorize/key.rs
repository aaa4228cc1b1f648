//! What the store says about the key in a request.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::{Origin, Verdict, identify, malformed, proven_before, refused_key};
use crate::auth::config::AuthConfig;
use crate::auth::policy::Policy;
use crate::body::SlowBody;
use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::key::{KeyId, LookupTarget, Verification};
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;

impl AuthConfig {
    /// What the store says about the key in a request, under every policy.
    pub(super) async fn ask_store(&self, policy: &Policy, head: RequestHead<'_>) -> Verdict {
        let Some((verifier, credentials)) = &self.keys else {
            return Err(Rejection::new(RejectionKind::Missing));
        };
        let users = self.user_credentials();
        let Some(mut candidate) = self.find(policy, credentials, users, head)? else {
            let identity = proven_before(head, verifier)?;
            self.check_mixed(policy, None, self.user_credentials(), head)?;
            let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
            return match head.extensions().get::<SlowBody>() {
                None => Ok(identity),
                Some(SlowBody) => {
                    identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer))
                }
            };
        };
        let accepted = Some((credentials, candidate.position()));
        self.check_mixed(policy, accepted, self.user_credentials(), head)?;
        let placement = candidate.placement();
        // A decoy is looked up where the text of a key names none, so that an unknown hook takes as long.
        let decoy = self.conceal.then(|| decoy(head));
        let target = match (policy.key(), &decoy) {
            (Some(id), None) => LookupTarget::Only(id),
            (Some(id), Some(_)) | (None, Some(id)) => LookupTarget::Concealed(id),
            (None, None) => LookupTarget::Named,
        };
        candidate.check_list(|text| verifier.can_parse(text, target))?;
        let Some(presented) = candidate.expose_bytes() else { return Err(malformed(placement)) };
        let verification = verifier.begin_with(presented, target, |record, digest| {
            Identity::of_record(verifier, record, digest, placement)
        });
        let verdict = match verification {
            Verification::Ready(verdict) => verdict,
            Verification::Pending(lookup) => identify(verifier, lookup, placement).await,
        };
        match verdict {
            Ok(identity)
                if policy.key().is_none()
                    && decoy.is_some()
                    && identity.key_id() == decoy.as_ref() =>
            {
                Err(malformed(placement))
            }
            verdict => verdict.map_err(|error| refused_key(error, Origin::of(&candidate))),
        }
    }
}

/// A decoy: the id that replaces the key of a hook that has none. Each path has another one, so that a cache knows it
/// as little as a hook that is called for the first time.
fn decoy(head: RequestHead<'_>) -> KeyId {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KeyId::of_number(SEED.hash_one(head.uri().path()))
}
