//! What the authenticator of the app says about a request.

use http::Extensions;

use super::misconfigured;
use crate::auth::authenticator::{Authentication, User};
use crate::auth::config::{AppCode, AuthConfig};
use crate::auth::policy::Policy;
use crate::body::BufferedBody;
use crate::credential::{PlacementKind, PresentedCredential};
use crate::identity::Identity;
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;
use crate::util::UniqueId;

impl AuthConfig {
    /// What the authenticator says about a request.
    pub(super) async fn ask_authenticator(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
    ) -> Result<(Identity, Extensions), Rejection> {
        let Some(users) = &self.users else {
            return Err(Rejection::new(RejectionKind::Missing));
        };
        let candidate = match &users.credentials {
            None if is_made_up(head) => return proven_user_before(head, users.id),
            None => None,
            Some(credentials) => {
                let candidate = self.find(policy, credentials, self.key_credentials(), head)?;
                let Some(found) = &candidate else { return proven_user_before(head, users.id) };
                let accepted = Some((credentials, found.position()));
                self.check_mixed(policy, accepted, self.key_credentials(), head)?;
                candidate
            }
        };
        if users.authenticator.needs_body() && head.extensions().get::<BufferedBody>().is_none() {
            return Err(misconfigured("the authenticator needs the body, and it is not buffered"));
        }
        let head = head.for_hook(policy.hook());
        let placement = candidate.as_ref().map(PresentedCredential::placement);
        let by_bearer = placement == Some(PlacementKind::Bearer);
        let refused = || Rejection::new(RejectionKind::Unknown).by_bearer(by_bearer);
        let ask = || users.authenticator.authenticate(head, candidate.as_ref());
        match self.ask_app(AppCode::Authenticator, ask).await? {
            Authentication::Accepted(User { owner, scopes, extensions }) => {
                // Without placements, it is only known now that there is a credential of this kind.
                if candidate.is_none() {
                    self.check_mixed(policy, None, self.key_credentials(), head)?;
                }
                Ok((Identity::of_user(users.id, owner, scopes, placement), extensions))
            }
            Authentication::Refused => Err(refused()),
            Authentication::RefusedBecause(reason) => Err(refused().with_source(reason)),
            Authentication::Answered(response) => Err(Rejection::answered(response)),
            Authentication::Missing => Err(Rejection::new(RejectionKind::Missing)),
        }
    }
}

/// Whether a test has let the caller in. An authenticator without placements would be asked about every request.
fn is_made_up(head: RequestHead<'_>) -> bool {
    head.extensions().get::<Identity>().is_some_and(Identity::is_made_up)
}

/// The user that a layer around this one has proven: a clone of this one, with other scopes perhaps. What the
/// authenticator handed on is in the request already.
fn proven_user_before(
    head: RequestHead<'_>,
    users: UniqueId,
) -> Result<(Identity, Extensions), Rejection> {
    match head.extensions().get::<Identity>() {
        Some(identity) if identity.is_user_of(users) => {
            Ok((identity.clone().with_also_proven(None), Extensions::new()))
        }
        _ => Err(Rejection::new(RejectionKind::Missing)),
    }
}
