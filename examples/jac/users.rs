//! Users, by the tokens of the configuration.

use std::collections::HashMap;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use servers::Error;
use tower_webhook::RequestHead;
use tower_webhook::auth::{Authentication, Authenticator, BoxError, User};
use tower_webhook::credential::{Candidate, Placement, PlacementKind, Secret};
use tower_webhook::key::{KeyHasher, KeyId, Owner, ParsedKey};

use crate::config::Config;

/// The users by the digests of their tokens: what is looked up is not compared byte for byte, so no time
/// tells how much of a guess is right.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    id: KeyId,
    by_token: HashMap<[u8; 32], Owner>,
}

impl Users {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let mut users = Self { id: KeyId::new("user")?, by_token: HashMap::new() };
        for user in &config.users {
            users.by_token.insert(users.digest(&user.token), Owner::new(&user.root_id)?);
        }
        Ok(users)
    }

    /// Where a user's token sits. A header of another scheme is a credential that is not good, whereas
    /// [`Placement::bearer`] alone does not count it as one.
    pub(crate) fn placements() -> [Placement; 2] {
        let foreign = Placement::custom(|head| {
            let values = head.headers().get_all(AUTHORIZATION).iter();
            let foreign = values.filter(|value| !value.is_empty() && !is_bearer(value));
            foreign.map(|_| Secret::new("of another scheme")).collect()
        });
        [Placement::bearer(), foreign]
    }

    fn digest(&self, token: &str) -> [u8; 32] {
        let token = ParsedKey::new(self.id.clone(), token);
        *KeyHasher::sha256().digest(&token).expose_bytes()
    }
}

#[async_trait]
impl Authenticator for Users {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&Candidate<'_>>,
    ) -> Result<Authentication, BoxError> {
        let Some(candidate) = candidate else { return Ok(Authentication::Missing) };
        let is_bearer = candidate.placement() == PlacementKind::Bearer;
        let token = candidate.expose_text().filter(|_| is_bearer);
        let owner = token.and_then(|token| self.by_token.get(&self.digest(token)));
        Ok(match owner {
            Some(owner) => Authentication::Accepted(User::new(owner.clone())),
            None => Authentication::Refused,
        })
    }
}

/// Whether the scheme is `Bearer`, in any case.
fn is_bearer(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}
