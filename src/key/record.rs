use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::de::IgnoredAny;
use smol_str::SmolStr;
use time::OffsetDateTime;

use super::{KeyDigest, KeyId, Owner, Scopes, SealedSecret};
use crate::clock::{PackedTimestamp, Timestamp};

/// What a store keeps of one key. The key itself is not in it.
///
/// A store keeps the text of [`encode`](Self::encode), or columns of its own: every part has an
/// accessor and a `with_*` method.
///
/// A time is kept to the nanosecond. One outside the years 0 to 9999 counts as the nearest one
/// inside. Times are returned in UTC.
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
    /// Behind a pointer, so that the many keys of one owner can share it.
    owner: Arc<Owner>,
    name: SmolStr,
    digest: KeyDigest,
    more: Option<Box<More>>,
    version: u64,
    created_at: PackedTimestamp,
    expires_at: Option<PackedTimestamp>,
    disabled: bool,
    has_all_scopes: bool,
}

/// What many keys do not have.
#[derive(Clone, Default)]
struct More {
    /// The set, for a key that has one.
    scopes: Scopes,
    rare: Option<Box<Rare>>,
}

/// What most keys do not have.
#[derive(Clone, Default)]
struct Rare {
    previous: Option<(KeyDigest, Timestamp)>,
    not_before: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    metadata: Option<Box<str>>,
    sealed: Option<SealedSecret>,
}

impl KeyRecord {
    /// The most characters of a name.
    pub const MAX_NAME_LEN: usize = 128;
    /// The most bytes of metadata.
    pub const MAX_METADATA_LEN: usize = 64 * 1024;

    /// An enabled key of `owner` that grants nothing, never expires and has version 1.
    ///
    /// [`KeyManager`](super::KeyManager) gives each new record a random version. Code that makes records by
    /// itself, under ids that it uses again, does so too: see rule 19 of [`KeyStore`](super::KeyStore).
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to [`MAX_NAME_LEN`](Self::MAX_NAME_LEN) characters long, or has
    /// a control character, a line separator or a character that turns the direction of writing.
    pub fn new(
        id: KeyId,
        owner: Owner,
        name: impl AsRef<str>,
        digest: KeyDigest,
        created_at: OffsetDateTime,
    ) -> Result<Self, InvalidRecord> {
        Ok(Self {
            id,
            owner: Arc::new(owner),
            name: checked_name(name.as_ref())?,
            digest,
            more: None,
            version: 1,
            created_at: PackedTimestamp::new(Timestamp::new(created_at)),
            expires_at: None,
            disabled: false,
            has_all_scopes: false,
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

    /// Sets what the key may do.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.has_all_scopes = scopes.is_all();
        self.set_more(|more| more.scopes = if scopes.is_all() { Scopes::NONE } else { scopes });
        self
    }

    /// Sets the digest of the key.
    #[must_use]
    pub fn with_digest(mut self, digest: KeyDigest) -> Self {
        self.digest = digest;
        self
    }

    /// Sets the digest from before a rotation, and the time at which it stops to count.
    #[must_use]
    pub fn with_previous_digest(mut self, previous: Option<(KeyDigest, OffsetDateTime)>) -> Self {
        let previous = previous.map(|(digest, until)| (digest, Timestamp::new(until)));
        self.set_rare(|rare| rare.previous = previous);
        self
    }

    /// Sets the time from which on the key works. `None`: at once.
    #[must_use]
    pub fn with_not_before(mut self, not_before: Option<OffsetDateTime>) -> Self {
        self.set_rare(|rare| rare.not_before = not_before.map(Timestamp::new));
        self
    }

    /// Sets the time at which the key stops to work. `None`: never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Option<OffsetDateTime>) -> Self {
        self.expires_at = expires_at.map(|time| PackedTimestamp::new(Timestamp::new(time)));
        self
    }

    /// Switches the key off or on.
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Sets the time at which the key was revoked. A key with such a time is revoked, even if it is
    /// in the future.
    #[must_use]
    pub fn with_revoked_at(mut self, revoked_at: Option<OffsetDateTime>) -> Self {
        self.set_rare(|rare| rare.revoked_at = revoked_at.map(Timestamp::new));
        self
    }

    /// Sets the version, which every change raises by one.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Sets the application's own data: a JSON text, which is kept byte for byte.
    ///
    /// # Errors
    ///
    /// Refuses a text that is no JSON or has more than
    /// [`MAX_METADATA_LEN`](Self::MAX_METADATA_LEN) bytes.
    pub fn with_metadata(
        mut self,
        metadata: Option<impl Into<Box<str>>>,
    ) -> Result<Self, InvalidRecord> {
        let metadata = metadata.map(Into::into);
        if metadata.as_deref().is_some_and(|text| !is_metadata(text)) {
            return Err(InvalidRecord("metadata is a JSON text of at most 65536 bytes"));
        }
        self.set_rare(|rare| rare.metadata = metadata);
        Ok(self)
    }

    /// Sets the sealed text of the key. `None`: the text cannot be shown again.
    #[must_use]
    pub fn with_sealed(mut self, sealed: Option<SealedSecret>) -> Self {
        self.set_rare(|rare| rare.sealed = sealed);
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whom the key belongs to.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the owner calls the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key may do.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        static ALL: Scopes = Scopes::ALL;
        static NONE: Scopes = Scopes::NONE;
        match &self.more {
            _ if self.has_all_scopes => &ALL,
            Some(more) => &more.scopes,
            None => &NONE,
        }
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

    /// When the digest from before a rotation stops to count.
    #[must_use]
    pub fn previous_until(&self) -> Option<OffsetDateTime> {
        self.previous().map(|(_, until)| until.time())
    }

    /// When the key was made.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.creation().time()
    }

    /// From when on the key works. `None`: at once.
    #[must_use]
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        self.rare()?.not_before.map(Timestamp::time)
    }

    /// When the key stops to work. `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expiry().map(Timestamp::time)
    }

    /// Whether the key is switched off.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disabled
    }

    /// When the key was revoked. `None`: it was not.
    #[must_use]
    pub fn revoked_at(&self) -> Option<OffsetDateTime> {
        self.rare()?.revoked_at.map(Timestamp::time)
    }

    /// The version, for compare-and-set.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The application's own data, a JSON text.
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.rare()?.metadata.as_deref()
    }

    /// The sealed text of the key, if it can be shown again.
    #[must_use]
    pub fn sealed(&self) -> Option<&SealedSecret> {
        self.rare()?.sealed.as_ref()
    }

    pub(crate) fn revoked(&self) -> bool {
        self.rare().is_some_and(|rare| rare.revoked_at.is_some())
    }

    /// The name, without a copy of a long one.
    pub(crate) fn shared_name(&self) -> SmolStr {
        self.name.clone()
    }

    pub(crate) fn creation(&self) -> Timestamp {
        self.created_at.timestamp()
    }

    pub(crate) fn expiry(&self) -> Option<Timestamp> {
        self.expires_at.map(PackedTimestamp::timestamp)
    }

    pub(crate) fn start(&self) -> Option<Timestamp> {
        self.rare()?.not_before
    }

    pub(crate) fn previous(&self) -> Option<&(KeyDigest, Timestamp)> {
        self.rare()?.previous.as_ref()
    }

    fn rare(&self) -> Option<&Rare> {
        self.more.as_ref()?.rare.as_deref()
    }

    fn set_more(&mut self, set: impl FnOnce(&mut More)) {
        let mut more = self.more.take().unwrap_or_default();
        set(&mut more);
        let used = !more.scopes.is_none() || more.rare.is_some();
        self.more = used.then_some(more);
    }

    fn set_rare(&mut self, set: impl FnOnce(&mut Rare)) {
        self.set_more(|more| {
            let mut rare = more.rare.take().unwrap_or_default();
            set(&mut rare);
            let used = rare.previous.is_some()
                || rare.not_before.is_some()
                || rare.revoked_at.is_some()
                || rare.metadata.is_some()
                || rare.sealed.is_some();
            more.rare = used.then_some(rare);
        });
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
    // The bytes first: a text of megabytes is not counted.
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
    use time::Duration;

    use super::*;
    use crate::key::{KeyHasher, ParsedKey};

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
    }

    fn digest(secret: &str) -> KeyDigest {
        KeyHasher::sha256().digest(&ParsedKey::new(KeyId::new("k1").unwrap(), secret))
    }

    fn plain() -> KeyRecord {
        let owner = Owner::new("ann").unwrap();
        KeyRecord::new(KeyId::new("k1").unwrap(), owner, "laptop", digest("a"), at(0)).unwrap()
    }

    fn full() -> KeyRecord {
        plain()
            .with_scopes(Scopes::parse(["b", "a"]).unwrap())
            .with_previous_digest(Some((digest("b"), at(5))))
            .with_not_before(Some(at(1)))
            .with_expires_at(Some(at(9) + Duration::nanoseconds(123_456_789)))
            .with_disabled(true)
            .with_revoked_at(Some(at(3)))
            .with_version(7)
            .with_metadata(Some(r#"{"b": 1.0, "a": [] }"#))
            .unwrap()
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<KeyRecord>() <= 136, "{}", size_of::<KeyRecord>());
    }

    #[test]
    fn scopes_and_rare_parts_do_not_disturb_each_other() {
        let set = Scopes::parse(["a"]).unwrap();
        for scopes in [Scopes::NONE, Scopes::ALL, set.clone()] {
            for next in [Scopes::NONE, Scopes::ALL, set.clone()] {
                let record = plain().with_scopes(scopes.clone()).with_revoked_at(Some(at(3)));
                assert_eq!(record.scopes(), &scopes);
                let record = record.with_scopes(next.clone());
                assert_eq!((record.scopes(), record.revoked_at()), (&next, Some(at(3))));
                let record = record.with_revoked_at(None);
                assert_eq!((record.scopes(), record.revoked_at()), (&next, None));
                assert_eq!(record.more.is_some(), next == set);
            }
        }
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
