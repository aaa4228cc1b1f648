//! Users: who they are, by the tokens of the configuration, and how they manage their keys, with one handler
//! for each address. The layers around a handler have found the user and read the body.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use servers::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower_webhook::BoxError;
use tower_webhook::ConfigError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{Authentication, Authenticator, User};
use tower_webhook::body::BufferedBody;
use tower_webhook::content::MediaType;
use tower_webhook::credential::{
    Credentials, Placement, PlacementKind, PresentedCredential, Secret,
};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyHasher, KeyId, Owner, ParsedKey};

use crate::answers::{Refusal, confidential, json};
use crate::config::Config;
use crate::json::quoted;
use crate::keys::{KeyError, Keys, ShownKey, written};
use crate::routes::Named;
use crate::validation::{self, EXPIRATION};

/// The users by the digests of their tokens: what is looked up is not compared byte for byte, so no time
/// shows how much of a guess is right.
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
    pub(crate) fn credentials() -> Result<Credentials, ConfigError> {
        let foreign = Placement::custom(|head| {
            let values = head.headers().get_all(AUTHORIZATION).iter();
            let foreign = values.filter(|value| !value.is_empty() && !is_bearer(value));
            foreign.map(|_| Secret::new("of another scheme")).collect()
        });
        // In this protocol, a value with commas is one value.
        Ok(Credentials::new([Placement::bearer(), foreign])?.with_insecure_unsplit_values())
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
        candidate: Option<&PresentedCredential<'_>>,
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

pub(crate) async fn generate(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let bytes = body.bytes();
    let request = validation::key_request(media.as_ref(), &bytes, keys.now(), keys.takes_quota)?;
    let made = keys.generate(user.owner(), request).await.map_err(|error| match error {
        KeyError::BeyondTime => Refusal::Invalid(vec![validation::beyond_time(EXPIRATION)]),
        error => error.into(),
    });
    let ShownKey { record, label, key } = made?;
    let answer = format!(
        r#"{{"id":"{}","name":{},"key":{}}}"#,
        record.id(),
        quoted(&label.name),
        quoted(key.expose_secret()),
    );
    Ok(confidential(StatusCode::CREATED, answer))
}

pub(crate) async fn list(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
) -> Result<Response, Refusal> {
    let keys = keys.list(user.owner()).await?;
    let keys: Vec<String> = keys.iter().map(shown).collect();
    Ok(confidential(StatusCode::OK, format!(r#"{{"keys":[{}]}}"#, keys.join(","))))
}

pub(crate) async fn extend(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(Named(id)): Extension<Named>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let interval = validation::extension(media.as_ref(), &body.bytes(), keys.now())?;
    keys.extend(user.owner(), &id.unwrap_or_default(), interval).await?;
    Ok(json(StatusCode::OK, r#"{"message":"Successfully Extended!"}"#))
}

pub(crate) async fn delete(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let ids = validation::ids(media.as_ref(), &body.bytes())?;
    keys.delete(user.owner(), &ids).await?;
    Ok(json(StatusCode::OK, r#"{"message":"Successfully Deleted!"}"#))
}

fn shown(ShownKey { record, label, key }: &ShownKey) -> String {
    // A key without a limit is shown as in version 0.2.0.
    let limit = record.rate_limit().map(|quota| quota.burst());
    let limit =
        limit.map_or_else(String::new, |calls| format!(r#","rate_limit_per_minute":{calls}"#));
    format!(
        r#"{{"id":"{}","name":{},"root_id":{},"walkers":{},"nodes":{},"expiration":{},"key":{}{limit}}}"#,
        record.id(),
        quoted(&label.name),
        quoted(record.owner().as_str()),
        written(&label.walkers),
        written(&label.nodes),
        record.expires_at().map_or("null".to_owned(), |time| quoted(&moment(time))),
        quoted(key.expose_secret()),
    )
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`
fn moment(time: OffsetDateTime) -> String {
    let milliseconds = u32::from(time.millisecond()) * 1_000_000;
    let time = time.replace_nanosecond(milliseconds).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_utc_and_has_at_most_milliseconds() {
        let time = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(moment(time), "2023-11-14T22:13:20Z");
        let time = time + time::Duration::nanoseconds(431_999_999);
        assert_eq!(moment(time), "2023-11-14T22:13:20.431Z");
    }
}
