//! Policies that take keys and users: which of them a request has, and whose verdict counts.

use super::{Proven, Verdict};
use crate::auth::config::{AppCode, AuthConfig, Users};
use crate::auth::policy::{Access, Policy};
use crate::credential::{Credentials, PresentedCredential};
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;

/// Which lists of placements find a credential in a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    Nothing,
    Key,
    User,
    /// One credential, in a place that both lists have.
    OnePlace,
    Two,
}

impl AuthConfig {
    /// Proves the caller under a policy that takes keys and users.
    pub(super) async fn prove_several(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
    ) -> Result<Proven, Rejection> {
        if policy.access() == Access::AllOf {
            self.held(policy, head)?.check_apart()?;
            let key = self.ask_store(policy, head).await?;
            let user = self.ask_authenticator(policy, head).await?;
            return Ok(Proven::both(key, user));
        }
        let held = self.held_by_either(policy, head).await?;
        let key = match held {
            Held::User | Held::Two => Err(Rejection::new(RejectionKind::Missing)),
            Held::Nothing | Held::Key | Held::OnePlace => self.ask_store(policy, head).await,
        };
        match held.is_for_user(&key)? {
            true => self.ask_authenticator(policy, head).await.map(Proven::user),
            false => key.map(Proven::key),
        }
    }

    /// As [`held`](Self::held), with what an authenticator without placements finds beside a key.
    pub(super) async fn held_by_either(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
    ) -> Result<Held, Rejection> {
        let held = self.held(policy, head)?;
        match &self.users {
            Some(Users { authenticator, credentials: None, .. }) if matches!(held, Held::Key) => {
                let head = head.for_hook(policy.hook());
                let ask = || authenticator.is_presented(head);
                let is_presented = self.ask_app(AppCode::Authenticator, ask).await?;
                Ok(if is_presented { Held::Two } else { held })
            }
            _ => Ok(held),
        }
    }

    /// Looks in the head first. A body is searched where the head has no credential, or where another one is wanted.
    ///
    /// # Errors
    ///
    /// Returns an error if one list finds more than one credential.
    pub(super) fn held(&self, policy: &Policy, head: RequestHead<'_>) -> Result<Held, Rejection> {
        let (keys, users) = (self.key_credentials(), self.user_credentials());
        let anywhere = |list: Option<&Credentials>, other| match list {
            Some(list) => {
                let found = self.find(policy, list, other, head)?;
                Ok::<_, Rejection>(found.as_ref().map(PresentedCredential::position))
            }
            None => Ok(None),
        };
        let mut found = self.places_in_head(head)?;
        if found == (None, None) || policy.access() == Access::AllOf {
            found = (anywhere(keys, users)?, anywhere(users, keys)?);
        }
        Ok(match (found, keys.zip(users)) {
            ((None, None), _) => Held::Nothing,
            ((Some(_), None), _) => Held::Key,
            ((None, Some(_)), _) => Held::User,
            ((Some(key), Some(user)), Some((keys, users)))
                if keys.shares_place(key, users, user) =>
            {
                Held::OnePlace
            }
            ((Some(_), Some(_)), _) => Held::Two,
        })
    }
}

impl Held {
    /// Whether the one credential of a request is the authenticator's to decide about, given the verdict about it as a
    /// key: the format of the keys parses first what may be either.
    ///
    /// # Errors
    ///
    /// Returns an error if there are two.
    pub(super) fn is_for_user(self, key: &Verdict) -> Result<bool, Rejection> {
        let is_refused_as = |kind| key.as_ref().is_err_and(|refused| refused.kind() == kind);
        match self {
            Self::Two => Err(Rejection::new(RejectionKind::Ambiguous)),
            Self::Key => Ok(false),
            Self::User => Ok(true),
            Self::OnePlace => Ok(is_refused_as(RejectionKind::Malformed)),
            Self::Nothing => Ok(is_refused_as(RejectionKind::Missing)),
        }
    }

    /// Refuses one credential in the place of two.
    pub(super) fn check_apart(self) -> Result<(), Rejection> {
        match self {
            Self::OnePlace => Err(Rejection::new(RejectionKind::Missing)),
            _ => Ok(()),
        }
    }
}
