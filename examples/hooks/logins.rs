//! Users log in with their name and a token made for that purpose, as many services have it. The tokens are keys of
//! another manager, so they open no token hook.

use async_trait::async_trait;
use tower_webhook::auth::{Authentication, Authenticator, User};
use tower_webhook::credential::PresentedCredential;
use tower_webhook::key::{KeyVerifier, VerifyErrorKind};
use tower_webhook::{BoxError, RequestHead};

pub(crate) struct Logins(pub(crate) KeyVerifier);

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let Some(candidate) = candidate else { return Ok(Authentication::Missing) };
        let token = candidate.expose_bytes().unwrap_or_default();
        match self.0.verify(token).await {
            Ok(key) if candidate.username() == Some(key.owner().as_str()) => {
                Ok(Authentication::Accepted(User::new(key.owner().clone())))
            }
            Err(error) if error.kind() == VerifyErrorKind::StoreUnavailable => Err(error.into()),
            Ok(_) => Ok(Authentication::refused("the login is another user's")),
            Err(error) => Ok(Authentication::refused(error.to_string())),
        }
    }
}
