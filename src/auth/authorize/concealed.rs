//! The decision of a layer that conceals its hooks: the same work for all of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::{
    Admission, Caller, Decision, Origin, Verdict, identify, malformed, no_keys, proven_before,
    refused_key,
};
use crate::auth::config::AuthConfig;
use crate::auth::policy::{Access, Policy};
use crate::body::SlowBody;
use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::key::{KeyId, LookupTarget, Verification};
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;

impl AuthConfig {
    /// Decides for a layer that conceals its hooks. The store and the authenticator are asked about what the
    /// request presents, under every policy, and a fault of theirs is the answer for every hook.
    pub(super) async fn admit_concealed(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        if policy.access() == Access::Token && self.keys.is_none() && !policy.denies_all() {
            return Err(no_keys());
        }
        let key = self.ask_store(policy, head).await;
        let user = self.ask_authenticator(policy, head).await;
        let is_fault = |rejection: &&Rejection| rejection.status().is_server_error();
        let faults = [key.as_ref().err(), user.as_ref().err()];
        let fault = faults.into_iter().flatten().find(is_fault).cloned();

        let proven = match policy.access() {
            Access::User => user.map(|(identity, extensions)| (identity, Some(extensions))),
            Access::Token | Access::Public => key.map(|identity| (identity, None)),
        };
        let decision = proven.and_then(|(identity, extensions)| {
            self.authorize(policy, head, &Caller::of(&identity))?;
            *admission = Admission { identity: Some(identity), extensions };
            Ok(())
        });
        decision.map_err(|rejection| match rejection.kind() {
            RejectionKind::MethodNotAllowed => rejection,
            _ => fault.unwrap_or(rejection),
        })
    }

    /// What the store says about the key in a request, under every policy.
    async fn ask_store(&self, policy: &Policy, head: RequestHead<'_>) -> Verdict {
        let Some((verifier, credentials)) = &self.keys else {
            return Err(Rejection::new(RejectionKind::Missing));
        };
        let users = self.user_credentials();
        let Some(mut candidate) = self.find(policy, credentials, users, head)? else {
            let identity = proven_before(head, verifier)?;
            self.check_mixed(None, self.user_credentials(), head)?;
            let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
            return match head.extensions().get::<SlowBody>() {
                None => Ok(identity),
                Some(SlowBody) => {
                    identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer))
                }
            };
        };
        let accepted = Some((credentials, candidate.position()));
        self.check_mixed(accepted, self.user_credentials(), head)?;
        let placement = candidate.placement();
        // A decoy is looked up where the text of a key names none, so that an unknown hook takes as long.
        let decoy = decoy(head);
        let target = LookupTarget::Concealed(policy.key().unwrap_or(&decoy));
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
            Ok(identity) if policy.key().is_none() && identity.key_id() == Some(&decoy) => {
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
