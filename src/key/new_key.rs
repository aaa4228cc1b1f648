use std::fmt;

use time::{Duration, OffsetDateTime, UtcOffset};

use super::{KeyDigest, KeyId, KeyRecord, ManageError, Owner, Scopes};
use crate::key::secret::Secret;
use crate::rate_limit::Quota;

/// The settings of a new key, for [`KeyManager::generate`](super::KeyManager::generate) and
/// [`import`](super::KeyManager::import).
///
/// A key with a name only is enabled, valid immediately, never expires and **grants no scope**: it passes
/// layers that require none. Add scopes with [`with_scopes`](Self::with_scopes), or all of them with
/// [`with_all_scopes`](Self::with_all_scopes).
///
/// # Examples
///
/// ```
/// use time::Duration;
/// use tower_webhook::key::{NewKey, Scopes};
///
/// let new = NewKey::new("deploy bot")
///     .with_scopes(Scopes::parse(["deploy"])?)
///     .with_expires_in(Duration::days(60));
/// # Ok::<(), tower_webhook::key::InvalidScope>(())
/// ```
#[derive(Clone)]
pub struct NewKey {
    name: String,
    scopes: Scopes,
    pub(super) expires: Option<Expiry>,
    not_before: Option<OffsetDateTime>,
    metadata: Option<Box<str>>,
    disabled: bool,
    rate_limit: Option<Quota>,
    pub(super) id: Option<KeyId>,
}

impl NewKey {
    /// A key with a name: 1 to 128 characters on one line.
    ///
    /// All limits are checked when the key is generated, which then returns `Invalid`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: Scopes::NONE,
            expires: None,
            not_before: None,
            metadata: None,
            disabled: false,
            rate_limit: None,
            id: None,
        }
    }

    /// Sets the id. If it is taken, generating the key is a `Conflict`. Without this call the id is random.
    ///
    /// An id derived from the purpose of the key makes generation idempotent: a retry after a lost response
    /// creates no second key. The format must keep ids:
    /// [`PrefixedFormat`](super::PrefixedFormat) keeps those of 16 letters and digits,
    /// [`TokenFormat`](super::TokenFormat) keeps all.
    #[must_use]
    pub fn with_id(mut self, id: KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the granted scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Grants every scope: [`Scopes::ALL`].
    #[must_use]
    pub fn with_all_scopes(self) -> Self {
        self.with_scopes(Scopes::ALL)
    }

    /// Sets the lifetime, from the time of creation. It is positive. By default a key does not expire.
    #[must_use]
    pub fn with_expires_in(mut self, interval: Duration) -> Self {
        self.expires = Some(Expiry::In(interval));
        self
    }

    /// Sets the expiry, which is in the future for a generated key.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: OffsetDateTime) -> Self {
        self.expires = Some(Expiry::At(expires_at));
        self
    }

    /// Sets the start of the key, which is before its expiry.
    #[must_use]
    pub fn with_not_before(mut self, not_before: OffsetDateTime) -> Self {
        self.not_before = Some(not_before);
        self
    }

    /// Sets the data of the application: a JSON text of at most 64 KiB, kept byte for byte.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Box<str>>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    /// Creates the key disabled, until [`KeyManager::enable`](super::KeyManager::enable).
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Sets how many calls the key allows, in place of the
    /// [default of the layer](crate::rate_limit::RateLimits::with_default_quota). A layer without
    /// [limits](crate::auth::AuthLayer::with_rate_limits) refuses such a key with 500: a limit is never dropped.
    #[must_use]
    pub fn with_rate_limit(mut self, quota: Quota) -> Self {
        self.rate_limit = Some(quota);
        self
    }

    pub(super) fn record(
        &self,
        owner: &Owner,
        id: KeyId,
        digest: KeyDigest,
        now: OffsetDateTime,
    ) -> Result<KeyRecord, ManageError> {
        let expires_at = self.expires.map(|expiry| expiry.time(now)).transpose()?;
        if let (Some(not_before), Some(expires_at)) = (self.not_before, expires_at)
            && not_before >= expires_at
        {
            return Err(ManageError::invalid("the start of a key is before its expiry"));
        }
        let record = KeyRecord::new(id, owner.clone(), &self.name, digest, now)?
            .with_scopes(self.scopes.clone())
            .with_expires_at(expires_at)
            .with_not_before(self.not_before)
            .with_disabled(self.disabled)
            .with_rate_limit(self.rate_limit)
            .with_metadata(self.metadata.clone())?;
        Ok(record)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .field("expires", &self.expires)
            .field("not_before", &self.not_before)
            .field("disabled", &self.disabled)
            .field("rate_limit", &self.rate_limit)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A new or rotated key, with its text.
///
/// # Security
///
/// The text is kept nowhere else. Show it to the owner and drop it.
#[derive(Debug)]
pub struct IssuedKey {
    record: KeyRecord,
    secret: Secret,
}

impl IssuedKey {
    pub(super) fn new(record: KeyRecord, secret: Secret) -> Self {
        Self { record, secret }
    }

    /// The stored record.
    #[must_use]
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }

    /// The text of the key.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The record and the text, by value.
    #[must_use]
    pub fn into_parts(self) -> (KeyRecord, Secret) {
        (self.record, self.secret)
    }
}

/// A partial update of a key. What is not set stays.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyUpdate, Scopes};
///
/// let update = KeyUpdate::new().with_name("ci").with_scopes(Scopes::parse(["deploy"])?);
/// # Ok::<(), tower_webhook::key::InvalidScope>(())
/// ```
#[derive(Clone, Default)]
pub struct KeyUpdate {
    name: Option<String>,
    scopes: Option<Scopes>,
    metadata: Option<Option<Box<str>>>,
    disabled: Option<bool>,
    rate_limit: Option<Option<Quota>>,
}

impl KeyUpdate {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Changes the granted scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Replaces the data of the application. `None` removes it.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Option<impl Into<Box<str>>>) -> Self {
        self.metadata = Some(metadata.map(Into::into));
        self
    }

    /// Disables or enables the key.
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = Some(disabled);
        self
    }

    /// Changes how many calls the key allows. `None`: as many as the layer says.
    #[must_use]
    pub fn with_rate_limit(mut self, quota: Option<Quota>) -> Self {
        self.rate_limit = Some(quota);
        self
    }

    /// `None` if there is nothing to change.
    pub(super) fn apply(&self, record: &KeyRecord) -> Result<Option<KeyRecord>, ManageError> {
        let disabled = self.disabled.filter(|disabled| *disabled != record.disabled());
        if self.name.is_none()
            && self.scopes.is_none()
            && self.metadata.is_none()
            && disabled.is_none()
            && self.rate_limit.is_none()
        {
            return Ok(None);
        }
        let mut record = record.clone();
        if let Some(disabled) = disabled {
            record = record.with_disabled(disabled);
        }
        if let Some(quota) = self.rate_limit {
            record = record.with_rate_limit(quota);
        }
        if let Some(name) = &self.name {
            record = record.with_name(name)?;
        }
        if let Some(scopes) = &self.scopes {
            record = record.with_scopes(scopes.clone());
        }
        if let Some(metadata) = &self.metadata {
            record = record.with_metadata(metadata.clone())?;
        }
        Ok(Some(record))
    }
}

impl fmt::Debug for KeyUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyUpdate")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .field("disabled", &self.disabled)
            .field("rate_limit", &self.rate_limit)
            .finish_non_exhaustive()
    }
}

/// When a new key expires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    In(Duration),
    At(OffsetDateTime),
}

impl Expiry {
    pub(super) fn is_over(self, now: OffsetDateTime) -> bool {
        match self {
            Self::In(interval) => !interval.is_positive(),
            Self::At(expires_at) => expires_at <= now,
        }
    }

    fn time(self, now: OffsetDateTime) -> Result<OffsetDateTime, ManageError> {
        match self {
            Self::In(interval) if !interval.is_positive() => {
                Err(ManageError::invalid("the lifetime of a key is positive"))
            }
            Self::In(interval) => later(now, interval),
            Self::At(expires_at) => later(expires_at, Duration::ZERO),
        }
    }
}

/// `time + interval`, within the years 0 to 9999.
pub(crate) fn later(
    time: OffsetDateTime,
    interval: Duration,
) -> Result<OffsetDateTime, ManageError> {
    time.checked_add(interval)
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .filter(|time| (0..=9999).contains(&time.year()))
        .ok_or(ManageError::invalid("the time is beyond the year 9999"))
}
