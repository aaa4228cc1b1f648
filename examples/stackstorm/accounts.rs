//! Who is calling: tokens of users, and API keys.
//!
//! Both are keys of the library, in a store each, so that one is unknown where the other is asked for. What is
//! stored are digests under a pepper, since the texts in a configuration may be easy to guess.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use servers::{DataFolder, Error};
use time::{OffsetDateTime, PrimitiveDateTime};
use tower_webhook::BoxError;
use tower_webhook::auth::{Authentication, Authenticator, User};
use tower_webhook::credential::{Credentials, Placement, PresentedCredential, Secret};
use tower_webhook::key::{
    KeyFormat as _, KeyHasher, KeyId, KeyManager, KeyRecord, KeyVerifier, ManageError,
    ManageErrorKind, NewKey, OpaqueFormat, Owner, Pepper, VerifyErrorKind,
};
use tower_webhook::store::SqliteKeyStore;
use tower_webhook::{ConfigError, RequestHead};

use crate::config::{Config, NewApiKey, NewToken};
use crate::json::Value;
use crate::scopes::Grants;
use crate::storage::{KeyDetails, Storage};

/// How long a look-up may wait while others write.
const PATIENCE: Duration = Duration::from_secs(5);

/// A proven caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: Owner,
    pub(crate) grants: Grants,
}

/// The tokens and the API keys.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    tokens: KeyVerifier,
    keys: KeyVerifier,
    api_keys: KeyManager,
    storage: Storage,
    /// A credential of any other user is never good.
    users: BTreeSet<String>,
}

/// What a carrier holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Token,
    ApiKey,
}

/// The values of the [`carriers`], in their order.
const KINDS: [Kind; 4] = [Kind::Token, Kind::ApiKey, Kind::Token, Kind::ApiKey];

/// Where callers put their credential. The first that is not empty decides.
pub(crate) fn carriers() -> Result<Credentials, ConfigError> {
    let credentials = Credentials::new([
        Placement::header("x-auth-token")?,
        Placement::header("st2-api-key")?,
        Placement::query("x-auth-token")?,
        Placement::query("st2-api-key")?,
    ])?;
    // The command line client sends its token and its key together. A value with commas is one value.
    Ok(credentials.with_insecure_first_credential_wins().with_insecure_unsplit_values())
}

impl Accounts {
    /// Opens the stores, and takes over the tokens and keys of the configuration if they are new.
    pub(crate) async fn open(
        folder: &DataFolder,
        storage: &Storage,
        config: &Config,
    ) -> Result<Self, Error> {
        let pepper = Pepper::new("data-folder", folder.key_material("pepper")?)?;
        let format = OpaqueFormat::new().with_pepper(pepper.clone()).with_max_len(256)?;
        let open = async |name: &str| {
            let store = SqliteKeyStore::open(folder.file(name)).await?;
            let keys = KeyManager::new(store).with_format(format.clone());
            Ok::<_, Error>(keys.with_hasher(KeyHasher::peppered(pepper.clone())))
        };
        let (tokens, api_keys) = (open("tokens.db").await?, open("keys.db").await?);
        if !storage.is_filled().await? {
            import_tokens(&tokens, &format, &config.tokens).await?;
            let details = import_keys(&api_keys, &format, &config.api_keys).await?;
            storage.fill(&config.rules, &details).await?;
        }
        Ok(Self {
            tokens: tokens.verifier().with_store_deadline(PATIENCE),
            keys: api_keys.verifier().with_store_deadline(PATIENCE),
            api_keys,
            storage: storage.clone(),
            users: config.users.clone(),
        })
    }

    /// The manager of the API keys.
    pub(crate) fn api_keys(&self) -> &KeyManager {
        &self.api_keys
    }

    /// All API keys of a user, oldest first.
    pub(crate) async fn api_keys_of(&self, user: &Owner) -> Result<Vec<KeyRecord>, ManageError> {
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self.api_keys.list(user, after, KeyManager::MAX_PAGE_LEN).await?;
            after = page.next().cloned();
            records.extend(page.into_keys());
            if after.is_none() {
                return Ok(records);
            }
        }
    }

    /// What a key may do. `None` if it was deleted at this moment.
    async fn grants(&self, kind: Kind, id: &str) -> Result<Option<Grants>, BoxError> {
        if kind == Kind::Token {
            return Ok(Some(Grants::All));
        }
        match self.storage.key_details(id).await? {
            None => Ok(None),
            Some(KeyDetails { scopes: None, .. }) => Ok(Some(Grants::All)),
            Some(KeyDetails { scopes: Some(scopes), .. }) => {
                Ok(Some(Grants::read(Value::read(scopes.as_bytes())?)?))
            }
        }
    }
}

#[async_trait]
impl Authenticator for Accounts {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let Some(candidate) = candidate else { return Ok(Authentication::Missing) };
        let kind = *KINDS.get(candidate.position()).ok_or("a carrier without a kind")?;
        let verifier = match kind {
            Kind::Token => &self.tokens,
            Kind::ApiKey => &self.keys,
        };
        let key = match verifier.verify(candidate.expose_bytes().unwrap_or_default()).await {
            Ok(key) => key,
            Err(error) if error.kind() == VerifyErrorKind::StoreUnavailable => {
                return Err(error.into());
            }
            Err(_) => return Ok(Authentication::Refused),
        };
        if !self.users.contains(key.owner().as_str()) {
            return Ok(Authentication::Refused);
        }
        match self.grants(kind, key.id().as_str()).await? {
            None => Ok(Authentication::Refused),
            Some(grants) => {
                let user = key.owner().clone();
                let caller = Caller { user: user.clone(), grants };
                Ok(Authentication::Accepted(User::new(user).with_extension(caller)))
            }
        }
    }
}

async fn import_tokens(
    keys: &KeyManager,
    format: &OpaqueFormat,
    tokens: &[NewToken],
) -> Result<(), Error> {
    let now = OffsetDateTime::now_utc();
    for NewToken { token, user, expires_in } in tokens {
        let new = NewKey::new("token").with_expires_at(later(now, *expires_in));
        import(keys, format, user, token, new).await?;
    }
    Ok(())
}

/// Imports API keys, and gives what is to be known about each beside its record.
async fn import_keys(
    keys: &KeyManager,
    format: &OpaqueFormat,
    api_keys: &[NewApiKey],
) -> Result<Vec<(String, KeyDetails)>, Error> {
    let mut details = Vec::new();
    for NewApiKey { key, user, enabled, metadata, scopes } in api_keys {
        let new = NewKey::new("api key").with_disabled(!enabled);
        let id = import(keys, format, user, key, new).await?;
        let (metadata, scopes) = (metadata.clone(), scopes.clone());
        details.push((id.to_string(), KeyDetails { metadata, scopes }));
    }
    Ok(details)
}

/// Takes a credential over, unless an earlier start has done so, and gives its id.
async fn import(
    keys: &KeyManager,
    format: &OpaqueFormat,
    user: &Owner,
    text: &Secret,
    new: NewKey,
) -> Result<KeyId, Error> {
    let parsed = format.parse(text.expose_secret());
    let parsed =
        parsed.ok_or("a token or key of the configuration is not 1 to 256 visible characters")?;
    match keys.import(user, text.clone(), new).await {
        Err(error) if error.kind() != ManageErrorKind::Conflict => Err(error.into()),
        _ => Ok(parsed.id().clone()),
    }
}

/// So many seconds later. What a record cannot hold was always, or is never, over.
fn later(now: OffsetDateTime, seconds: i64) -> OffsetDateTime {
    const NEVER: OffsetDateTime = PrimitiveDateTime::MAX.assume_utc();
    let time = now.checked_add(time::Duration::seconds(seconds));
    time.unwrap_or(if seconds < 0 { OffsetDateTime::UNIX_EPOCH } else { NEVER })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_of_any_size_is_kept() {
        let now = OffsetDateTime::now_utc();
        assert_eq!(later(now, 1), now + Duration::from_secs(1));
        assert!(later(now, i64::MAX) > now + Duration::from_secs(1_000_000_000));
        assert!(later(now, i64::MIN) < now && later(now, -60) < now);
    }
}
