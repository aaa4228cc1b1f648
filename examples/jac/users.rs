//! Users, by the tokens of the configuration.

use std::collections::HashMap;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use servers::Error;
use tower_webhook::RequestHead;
use tower_webhook::auth::{Authentication, Authenticator, BoxError, User};
use tower_webhook::credential::{Candidate, Placement, Secret};
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

    /// Where a user's token sits. [`Placement::bearer`] does not see a header of another scheme, which here is
    /// a credential that is not good.
    pub(crate) fn placement() -> Placement {
        Placement::custom(|head| {
            let values = head.headers().get_all(AUTHORIZATION).iter();
            values
                .map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or("unreadable"))
                .filter(|value| !is_absent(value))
                .map(Secret::new)
                .collect()
        })
        .with_scrub(|request| {
            request.headers_mut().remove(AUTHORIZATION);
        })
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
        let token = candidate.expose_text().and_then(token);
        let owner = token.and_then(|token| self.by_token.get(&self.digest(token)));
        Ok(match owner {
            Some(owner) => Authentication::Accepted(User::new(owner.clone())),
            None => Authentication::Refused,
        })
    }
}

/// A header that is empty, and `Bearer` without a token, count as none.
fn is_absent(value: &str) -> bool {
    let value = value.trim_matches([' ', '\t']);
    value.is_empty() || value.eq_ignore_ascii_case("bearer")
}

/// The token behind `Bearer`, in any case.
fn token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}
