//! The decision of a layer that conceals its hooks: the same work for all of them.

use super::{Decision, Proven};
use crate::auth::config::AuthConfig;
use crate::auth::policy::{Access, Policy};
use crate::credential::Credentials;
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;

impl AuthConfig {
    /// Proves the caller for a layer that conceals its hooks. The store and the authenticator are asked about what the
    /// request presents, under every policy, and a fault of theirs is the answer for every hook.
    pub(super) async fn prove_concealed(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        decide: impl FnOnce(Proven) -> Decision,
    ) -> Decision {
        let key = self.ask_store(policy, head).await;
        let user = self.ask_authenticator(policy, head).await;
        let is_fault = |rejection: &&Rejection| rejection.status().is_server_error();
        let faults = [key.as_ref().err(), user.as_ref().err()];
        let fault = faults.into_iter().flatten().find(is_fault).cloned();

        let (keys, users) = (self.key_credentials(), self.user_credentials());
        let proven = match policy.access() {
            Access::User => self.check_alone(users, keys, head).and(user).map(Proven::user),
            Access::Token | Access::Public => {
                self.check_alone(keys, users, head).and(key).map(Proven::key)
            }
            Access::AnyOf => self.held_by_either(policy, head).await.and_then(|held| {
                if held.is_for_user(&key)? { user.map(Proven::user) } else { key.map(Proven::key) }
            }),
            Access::AllOf => self.held(policy, head).and_then(|held| {
                held.check_apart()?;
                Ok(Proven::both(key?, user?))
            }),
        };
        proven.and_then(decide).map_err(|rejection| match rejection.kind() {
            RejectionKind::MethodNotAllowed => rejection,
            _ => fault.unwrap_or(rejection),
        })
    }

    /// Refuses a credential of the other kind in a header field.
    fn check_alone(
        &self,
        list: Option<&Credentials>,
        other: Option<&Credentials>,
        head: RequestHead<'_>,
    ) -> Decision {
        let place = |list: &Credentials| list.position_in_head(head).ok().flatten();
        let accepted = list.and_then(|list| Some((list, place(list)?)));
        self.check_beside(accepted, other, head)
    }
}
