//! Users: Basic with a password, or the cookie of a login.

use async_trait::async_trait;
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{Authentication, Authenticator, User as LoggedIn};
use tower_webhook::credential::{PlacementKind, PresentedCredential, Secret};
use tower_webhook::key::{
    KeyDigest, KeyHasher, KeyId, KeyManager, KeyVerifier, ManageError, NewKey, Owner, ParsedKey,
    Pepper, PrefixedFormat, VerifyErrorKind, random_base62,
};
use tower_webhook::store::MemoryKeyStore;

use crate::config::User;
use crate::stacks::account;

/// The name of the cookie.
pub(crate) const COOKIE: &str = "auth_tkt";

/// How long a login is good.
pub(crate) const LOGIN_TIME: time::Duration = time::Duration::hours(12);

/// All users. Their passwords are kept as digests, in memory only.
pub(crate) struct Users {
    accounts: Vec<Account>,
    /// Compared with for an unknown user, so that the answer takes as long.
    decoy: KeyDigest,
    passwords: KeyHasher,
    password_id: KeyId,
    /// A login is a key that its user has as a cookie. Logins end with the process.
    logins: KeyManager,
    verifier: KeyVerifier,
}

struct Account {
    id: i64,
    owner: Owner,
    username: String,
    email: String,
    password: KeyDigest,
}

/// By what a user is looked up.
#[derive(Clone, Copy)]
pub(crate) enum Name<'a> {
    Username(&'a str),
    Email(&'a str),
    Either(&'a str),
}

impl Users {
    pub(crate) fn new(users: &[User]) -> Result<Self, BoxError> {
        let password_id = KeyId::new("password")?;
        let pepper = random_base62(43)?;
        let passwords =
            KeyHasher::peppered(Pepper::new("process", pepper.expose_secret().as_bytes())?);
        let digest =
            |password: &str| passwords.digest(&ParsedKey::new(password_id.clone(), password));
        let accounts = users.iter().map(|user| {
            Ok(Account {
                id: user.id,
                owner: account(user.id)?,
                username: user.username.clone(),
                email: user.email.clone(),
                password: digest(&user.password),
            })
        });
        let accounts = accounts.collect::<Result<_, BoxError>>()?;
        let decoy = digest(random_base62(43)?.expose_secret());
        let logins =
            KeyManager::new(MemoryKeyStore::new()).with_format(PrefixedFormat::new("login")?);
        let verifier = logins.verifier();
        Ok(Self { accounts, decoy, passwords, password_id, logins, verifier })
    }

    /// The id of the user, if the password is theirs.
    pub(crate) fn check(&self, name: Name<'_>, password: &str) -> Result<Option<i64>, BoxError> {
        Ok(self.account(name, password)?.map(|account| account.id))
    }

    /// A new login, for the cookie.
    pub(crate) async fn log_in(&self, user: i64) -> Result<Secret, BoxError> {
        let owner = account(user)?;
        self.forget_expired(&owner).await?;
        let login = NewKey::new("login").with_expires_in(LOGIN_TIME);
        Ok(self.logins.generate(&owner, login).await?.into_parts().1)
    }

    async fn forget_expired(&self, owner: &Owner) -> Result<(), ManageError> {
        let now = self.logins.clock().now();
        // The oldest come first, and expire first.
        let page = self.logins.list(owner, None, KeyManager::MAX_PAGE_LEN).await?;
        let expired =
            page.keys().iter().filter(|login| login.expires_at().is_some_and(|at| at <= now));
        let expired: Vec<KeyId> = expired.map(|login| login.id().clone()).collect();
        if expired.is_empty() { Ok(()) } else { self.logins.delete(owner, &expired).await }
    }

    fn account(&self, name: Name<'_>, password: &str) -> Result<Option<&Account>, BoxError> {
        let account = self.accounts.iter().find(|account| match name {
            Name::Username(name) => account.username == name,
            Name::Email(email) => account.email == email,
            Name::Either(name) => account.username == name || account.email == name,
        });
        let digest = account.map_or(&self.decoy, |account| &account.password);
        let presented = ParsedKey::new(self.password_id.clone(), password);
        let matches = self.passwords.matches(digest, &presented)?;
        Ok(account.filter(|_| matches))
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
        let owner = match (candidate.placement(), candidate.username(), candidate.expose_text()) {
            (PlacementKind::Cookie, _, Some(login)) => {
                match self.verifier.verify(login.as_bytes()).await {
                    Ok(login) => Some(login.owner().clone()),
                    Err(error) if error.kind() == VerifyErrorKind::StoreUnavailable => {
                        return Err(error.into());
                    }
                    Err(_) => None,
                }
            }
            (_, Some(name), Some(password)) => {
                self.account(Name::Either(name), password)?.map(|account| account.owner.clone())
            }
            _ => None,
        };
        Ok(owner.map_or(Authentication::Refused, |owner| {
            Authentication::Accepted(LoggedIn::new(owner))
        }))
    }
}
