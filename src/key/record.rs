use std::error::Error;
use std::fmt;

use serde::de::IgnoredAny;
use smol_str::SmolStr;
use time::OffsetDateTime;

use super::{KeyDigest, KeyId, Owner, Scopes, SealedSecret};
use crate::clock::Timestamp;
use crate::rate_limit::Quota;

/// The stored record of one key. It has the digest of the key and not its text.
///
/// A store keeps the text of [`encode`](Self::encode), or columns of its own: every field has an accessor
/// and a `with_*` method.
///
/// Times have nanoseconds, are in UTC, and are clamped to the years 0 to 9999.
///
/// # Examples
///
/// ```
/// use time::OffsetDateTime;
/// use tower_webhook::key::{KeyHasher, KeyId, KeyRecord, Owner, ParsedKey, Scopes};
///
/// let id = KeyId::new("k1")?;
/// let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
/// let now = OffsetDateTime::UNIX_EPOCH;
/// let record = KeyRecord::new(id, Owner::new("ann")?, "laptop", digest, now)?
///     .with_scopes(Scopes::parse(["deploy"])?);
///
/// let read = KeyRecord::decode(record.encode())?;
/// assert_eq!(read.name(), "laptop");
/// assert_eq!(read.scopes(), record.scopes());
/// assert_eq!(read.expires_at(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyRecord {
    id: KeyId,
    owner: Owner,
    name: SmolStr,
    scopes: Scopes,
    digest: KeyDigest,
    version: u64,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    disabled: bool,
    uncommon: Option<Box<Uncommon>>,
}

/// The fields that few keys have. In one allocation, they do not count for the memory of the others.
#[derive(Clone, Default)]
struct Uncommon {
    previous: Option<(KeyDigest, Timestamp)>,
    not_before: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    metadata: Option<Box<str>>,
    sealed: Option<SealedSecret>,
    rate_limit: Option<Quota>,
}

impl KeyRecord {
    /// The maximum number of characters of a name.
    pub const MAX_NAME_LEN: usize = 128;
    /// The maximum number of bytes of metadata.
    pub const MAX_METADATA_LEN: usize = 64 * 1024;

    /// An enabled key of `owner` that grants nothing, never expires and has version 1.
    ///
    /// [`KeyManager`](super::KeyManager) gives each new record a random version. Other code that creates
    /// records with reused ids must do so too: see rule 19 of [`KeyStore`](super::KeyStore).
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to [`MAX_NAME_LEN`](Self::MAX_NAME_LEN) characters long, or has
    /// a control character, a line separator or a character that changes the direction of writing.
    pub fn new(
        id: KeyId,
        owner: Owner,
        name: impl AsRef<str>,
        digest: KeyDigest,
        created_at: OffsetDateTime,
    ) -> Result<Self, InvalidRecord> {
        Ok(Self {
            id,
            owner,
            name: checked_name(name.as_ref())?,
            scopes: Scopes::NONE,
            digest,
            version: 1,
            created_at: Timestamp::new(created_at),
            expires_at: None,
            disabled: false,
            uncommon: None,
        })
    }

    /// Sets the name.
    ///
    /// # Errors
    ///
    /// Refuses what [`new`](Self::new) refuses.
    pub fn with_name(mut self, name: impl AsRef<str>) -> Result<Self, InvalidRecord> {
        self.name = checked_name(name.as_ref())?;
        Ok(self)
    }

    /// Sets the granted scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Sets the digest of the key.
    #[must_use]
    pub fn with_digest(mut self, digest: KeyDigest) -> Self {
        self.digest = digest;
        self
    }

    /// Sets the digest from before a rotation, and its deadline.
    #[must_use]
    pub fn with_previous_digest(mut self, previous: Option<(KeyDigest, OffsetDateTime)>) -> Self {
        let previous = previous.map(|(digest, until)| (digest, Timestamp::new(until)));
        self.set_uncommon(|uncommon| uncommon.previous = previous);
        self
    }

    /// Sets the start of the key. `None`: valid immediately.
    #[must_use]
    pub fn with_not_before(mut self, not_before: Option<OffsetDateTime>) -> Self {
        self.set_uncommon(|uncommon| uncommon.not_before = not_before.map(Timestamp::new));
        self
    }

    /// Sets the expiry. `None`: never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Option<OffsetDateTime>) -> Self {
        self.expires_at = expires_at.map(Timestamp::new);
        self
    }

    /// Disables or enables the key.
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Sets the time of revocation. A key with one is revoked, even if the time is in the future.
    #[must_use]
    pub fn with_revoked_at(mut self, revoked_at: Option<OffsetDateTime>) -> Self {
        self.set_uncommon(|uncommon| uncommon.revoked_at = revoked_at.map(Timestamp::new));
        self
    }

    /// Sets the version, which every change increments.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Sets the data of the application: a JSON text, kept byte for byte.
    ///
    /// # Errors
    ///
    /// Refuses a text that is not JSON or has more than
    /// [`MAX_METADATA_LEN`](Self::MAX_METADATA_LEN) bytes.
    pub fn with_metadata(
        mut self,
        metadata: Option<impl Into<Box<str>>>,
    ) -> Result<Self, InvalidRecord> {
        let metadata = metadata.map(Into::into);
        if metadata.as_deref().is_some_and(|text| !is_metadata(text)) {
            return Err(InvalidRecord("metadata is a JSON text of at most 65536 bytes"));
        }
        self.set_uncommon(|uncommon| uncommon.metadata = metadata);
        Ok(self)
    }

    /// Sets the sealed text of the key. `None`: it cannot be recovered.
    #[must_use]
    pub fn with_sealed(mut self, sealed: Option<SealedSecret>) -> Self {
        self.set_uncommon(|uncommon| uncommon.sealed = sealed);
        self
    }

    /// Sets how many calls the key allows. `None`: as many as the layer says. See [`rate_limit`](crate::rate_limit).
    #[must_use]
    pub fn with_rate_limit(mut self, quota: Option<Quota>) -> Self {
        self.set_uncommon(|uncommon| uncommon.rate_limit = quota);
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The owner of the key.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The granted scopes.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The digest of the key.
    #[must_use]
    pub fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    /// The digest from before a rotation.
    #[must_use]
    pub fn previous_digest(&self) -> Option<&KeyDigest> {
        self.previous().map(|(digest, _)| digest)
    }

    /// The deadline of the digest from before a rotation.
    #[must_use]
    pub fn previous_until(&self) -> Option<OffsetDateTime> {
        self.previous().map(|(_, until)| until.time())
    }

    /// The time of creation.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.creation().time()
    }

    /// The start of the key. `None`: valid immediately.
    #[must_use]
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        self.uncommon.as_ref()?.not_before.map(Timestamp::time)
    }

    /// The expiry. `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiry().map(Timestamp::time)
    }

    /// Whether the key is disabled.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disabled
    }

    /// The time of revocation. `None`: not revoked.
    #[must_use]
    pub fn revoked_at(&self) -> Option<OffsetDateTime> {
        self.uncommon.as_ref()?.revoked_at.map(Timestamp::time)
    }

    /// The version, for compare-and-set.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The data of the application, a JSON text.
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.uncommon.as_ref()?.metadata.as_deref()
    }

    /// The sealed text of the key, if it can be recovered.
    #[must_use]
    pub fn sealed(&self) -> Option<&SealedSecret> {
        self.uncommon.as_ref()?.sealed.as_ref()
    }

    /// How many calls the key allows. `None`: as many as the layer says.
    #[must_use]
    pub fn rate_limit(&self) -> Option<Quota> {
        self.uncommon.as_ref()?.rate_limit
    }

    pub(crate) fn revoked(&self) -> bool {
        self.uncommon.as_ref().is_some_and(|uncommon| uncommon.revoked_at.is_some())
    }

    /// The name, without a copy of a long one.
    pub(crate) fn shared_name(&self) -> SmolStr {
        self.name.clone()
    }

    pub(crate) fn creation(&self) -> Timestamp {
        self.created_at
    }

    pub(crate) fn expiry(&self) -> Option<Timestamp> {
        self.expires_at
    }

    pub(crate) fn start(&self) -> Option<Timestamp> {
        self.uncommon.as_ref()?.not_before
    }

    pub(crate) fn previous(&self) -> Option<&(KeyDigest, Timestamp)> {
        self.uncommon.as_ref()?.previous.as_ref()
    }

    /// Allocates only if an uncommon field is there afterwards.
    fn set_uncommon(&mut self, set: impl FnOnce(&mut Uncommon)) {
        let mut uncommon = self.uncommon.take().map_or_else(Uncommon::default, |fields| *fields);
        set(&mut uncommon);
        if !uncommon.is_empty() {
            self.uncommon = Some(Box::new(uncommon));
        }
    }
}

impl Uncommon {
    fn is_empty(&self) -> bool {
        let Self { previous, not_before, revoked_at, metadata, sealed, rate_limit } = self;
        previous.is_none()
            && not_before.is_none()
            && revoked_at.is_none()
            && metadata.is_none()
            && sealed.is_none()
            && rate_limit.is_none()
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("name", &self.name)
            .field("scopes", self.scopes())
            .field("digest", &self.digest)
            .field("previous_digest", &self.previous_digest())
            .field("previous_until", &self.previous_until())
            .field("created_at", &self.created_at())
            .field("not_before", &self.not_before())
            .field("expires_at", &self.expires_at())
            .field("disabled", &self.disabled)
            .field("revoked_at", &self.revoked_at())
            .field("version", &self.version())
            .field("sealed", &self.sealed())
            .field("rate_limit", &self.rate_limit())
            .finish_non_exhaustive()
    }
}

/// A name or metadata outside the limits of a [`KeyRecord`]. The text says which.
#[derive(Clone, Debug)]
pub struct InvalidRecord(pub(crate) &'static str);

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for InvalidRecord {}

pub(crate) fn checked_name(name: &str) -> Result<SmolStr, InvalidRecord> {
    let turns_or_ends_a_line = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{61c}')
    };
    // The length in bytes first: the characters of a long text are not counted.
    let too_long =
        name.len() > 4 * KeyRecord::MAX_NAME_LEN || name.chars().count() > KeyRecord::MAX_NAME_LEN;
    if name.is_empty() || too_long || name.chars().any(turns_or_ends_a_line) {
        return Err(InvalidRecord("a name is 1 to 128 characters without control characters"));
    }
    Ok(SmolStr::new(name))
}

fn is_metadata(text: &str) -> bool {
    text.len() <= KeyRecord::MAX_METADATA_LEN && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::{at, full, plain};

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<KeyRecord>() <= 184, "{}", size_of::<KeyRecord>());
    }

    #[test]
    fn an_absent_uncommon_field_takes_no_memory() {
        let record = plain()
            .with_previous_digest(None)
            .with_not_before(None)
            .with_revoked_at(None)
            .with_sealed(None)
            .with_rate_limit(None)
            .with_metadata(None::<&str>)
            .unwrap();
        assert!(record.uncommon.is_none());
        assert!(record.clone().with_revoked_at(Some(at(3))).uncommon.is_some());
        assert!(record.with_revoked_at(Some(at(3))).with_revoked_at(None).uncommon.is_none());
    }

    #[test]
    fn uncommon_fields_are_independent() {
        let both = plain().with_revoked_at(Some(at(3))).with_not_before(Some(at(1)));
        assert_eq!((both.revoked_at(), both.not_before()), (Some(at(3)), Some(at(1))));
        let one = both.with_revoked_at(None);
        assert_eq!((one.revoked_at(), one.not_before()), (None, Some(at(1))));
    }

    #[test]
    fn a_name_is_1_to_128_characters_on_one_line() {
        for name in ["a", "Ann's laptop", "é", "日本", &"é".repeat(128)] {
            assert_eq!(plain().with_name(name).unwrap().name(), name);
        }
        for name in ["", "a\nb", "\u{1b}[0m", "a\u{202e}b", "\u{2028}", "\0", &"a".repeat(129)] {
            assert!(plain().with_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn metadata_is_a_json_text_of_limited_length() {
        for text in ["{}", "null", " [1] ", &format!("\"{}\"", "a".repeat(65_534))] {
            assert!(plain().with_metadata(Some(text)).is_ok());
        }
        for text in ["", "{", "{} {}", "a", &format!("\"{}\"", "a".repeat(65_535))] {
            assert!(plain().with_metadata(Some(text)).is_err());
        }
        assert_eq!(full().with_metadata(None::<&str>).unwrap().metadata(), None);
    }

    #[test]
    fn debug_shows_neither_digest_nor_metadata() {
        let text = format!("{:?}", full());

        let record = full();
        let [first, second, ..] = record.digest().expose_bytes();
        assert!(!text.contains(&format!("{first}, {second}")));
        assert!(!text.contains("[] }"), "{text}");
    }
}
