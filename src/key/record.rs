use std::error::Error;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;
use time::OffsetDateTime;

use super::moment::Moment;
use super::{KeyDigest, KeyId, Owner, Scopes};

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
    owner: Owner,
    name: SmolStr,
    scopes: Scopes,
    digest: KeyDigest,
    version: u64,
    /// What most keys do not have.
    rare: Option<Box<Rare>>,
    created_at: Moment,
    expires_at: Option<Moment>,
    disabled: bool,
}

#[derive(Clone, Default)]
struct Rare {
    previous: Option<(KeyDigest, Moment)>,
    not_before: Option<Moment>,
    revoked_at: Option<Moment>,
    metadata: Option<Box<str>>,
}

impl KeyRecord {
    /// The most characters of a name.
    pub const MAX_NAME_LEN: usize = 128;
    /// The most bytes of metadata.
    pub const MAX_METADATA_LEN: usize = 64 * 1024;

    /// An enabled key of `owner` that grants nothing, never expires and has version 1.
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
            owner,
            name: checked_name(name.as_ref())?,
            scopes: Scopes::NONE,
            digest,
            version: 1,
            rare: None,
            created_at: Moment::new(created_at),
            expires_at: None,
            disabled: false,
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
        self.scopes = scopes;
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
        let previous = previous.map(|(digest, until)| (digest, Moment::new(until)));
        self.set_rare(|rare| rare.previous = previous);
        self
    }

    /// Sets the time from which on the key works. `None`: at once.
    #[must_use]
    pub fn with_not_before(mut self, not_before: Option<OffsetDateTime>) -> Self {
        self.set_rare(|rare| rare.not_before = not_before.map(Moment::new));
        self
    }

    /// Sets the time at which the key stops to work. `None`: never.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Option<OffsetDateTime>) -> Self {
        self.expires_at = expires_at.map(Moment::new);
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
        self.set_rare(|rare| rare.revoked_at = revoked_at.map(Moment::new));
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

    /// When the digest from before a rotation stops to count.
    #[must_use]
    pub fn previous_until(&self) -> Option<OffsetDateTime> {
        self.previous().map(|(_, until)| until.time())
    }

    /// When the key was made.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.created_at.time()
    }

    /// From when on the key works. `None`: at once.
    #[must_use]
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        self.rare.as_ref()?.not_before.map(Moment::time)
    }

    /// When the key stops to work. `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expires_at.map(Moment::time)
    }

    /// Whether the key is switched off.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disabled
    }

    /// When the key was revoked. `None`: it was not.
    #[must_use]
    pub fn revoked_at(&self) -> Option<OffsetDateTime> {
        self.rare.as_ref()?.revoked_at.map(Moment::time)
    }

    /// The version, for compare-and-set.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The application's own data, a JSON text.
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.rare.as_ref()?.metadata.as_deref()
    }

    /// The record as a JSON text, which later versions of this crate can read.
    ///
    /// # Security
    ///
    /// The text has the digest of the key in it. It belongs into the store and not into a log or a
    /// response.
    #[must_use]
    pub fn encode(&self) -> String {
        let previous = self.previous();
        let stored = Stored {
            schema: SCHEMA,
            id: self.id.clone(),
            owner: self.owner.clone(),
            name: self.name.to_string(),
            scopes: self.scopes.clone(),
            digest: StoredDigest::new(&self.digest),
            previous_digest: previous.map(|(digest, _)| StoredDigest::new(digest)),
            previous_until: previous.map(|(_, until)| until.encode()),
            created_at: self.created_at.encode(),
            not_before: self.start().map(Moment::encode),
            expires_at: self.expires_at.map(Moment::encode),
            disabled: self.disabled,
            revoked_at: self.revoked_at().map(|time| Moment::new(time).encode()),
            version: self.version,
            metadata: self.metadata().map(str::to_owned),
        };
        // Texts, numbers and lists of texts: there is nothing that JSON cannot hold.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads a text that [`encode`](Self::encode) made.
    ///
    /// # Errors
    ///
    /// Refuses a text that is not exactly such a record. A missing member is an error and not the
    /// same as `null`; so are an unknown member, an unknown algorithm, a digest of another length
    /// and the schema of a later version. A store passes the error on: it is a fault of the store
    /// and says nothing about the key.
    pub fn decode(text: impl AsRef<[u8]>) -> Result<Self, DecodeError> {
        let text = text.as_ref();
        let malformed = |_| DecodeError(DecodeErrorKind::Malformed);
        // On its own and first: a later schema may have members that this one does not know.
        let Probe { schema } = serde_json::from_slice(text).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(DecodeError(DecodeErrorKind::UnsupportedSchema));
        }
        let stored: Stored = serde_json::from_slice(text).map_err(malformed)?;
        stored.into_record()
    }

    pub(super) fn revoked(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.revoked_at.is_some())
    }

    /// The name, without a copy of a long one.
    pub(super) fn shared_name(&self) -> SmolStr {
        self.name.clone()
    }

    pub(super) fn creation(&self) -> Moment {
        self.created_at
    }

    pub(super) fn expiry(&self) -> Option<Moment> {
        self.expires_at
    }

    pub(super) fn start(&self) -> Option<Moment> {
        self.rare.as_ref()?.not_before
    }

    pub(super) fn previous(&self) -> Option<&(KeyDigest, Moment)> {
        self.rare.as_ref()?.previous.as_ref()
    }

    fn set_rare(&mut self, set: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().unwrap_or_default();
        set(&mut rare);
        let used = rare.previous.is_some()
            || rare.not_before.is_some()
            || rare.revoked_at.is_some()
            || rare.metadata.is_some();
        self.rare = used.then_some(rare);
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .field("digest", &self.digest)
            .field("previous_digest", &self.previous_digest())
            .field("previous_until", &self.previous_until())
            .field("created_at", &self.created_at())
            .field("not_before", &self.not_before())
            .field("expires_at", &self.expires_at())
            .field("disabled", &self.disabled)
            .field("revoked_at", &self.revoked_at())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A name or metadata outside the limits of a [`KeyRecord`]. The text says which.
#[derive(Clone, Debug)]
pub struct InvalidRecord(pub(super) &'static str);

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for InvalidRecord {}

/// A stored text that is no [`KeyRecord`].
#[derive(Clone, Debug)]
pub struct DecodeError(DecodeErrorKind);

/// Why a stored text is no [`KeyRecord`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// No JSON, a missing member, an unknown one or one of the wrong type.
    Malformed,
    /// Written by a later version of this crate.
    UnsupportedSchema,
    /// A digest of an unknown algorithm or of the wrong length.
    InvalidDigest,
    /// A member whose value is outside its limits.
    InvalidValue,
}

impl DecodeError {
    /// The fault.
    #[must_use]
    pub fn kind(&self) -> DecodeErrorKind {
        self.0
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DecodeErrorKind::Malformed => "the stored text is no key record",
            DecodeErrorKind::UnsupportedSchema => "the key record has an unsupported schema",
            DecodeErrorKind::InvalidDigest => "the key record has an unsupported digest",
            DecodeErrorKind::InvalidValue => "the key record has a value outside its limits",
        })
    }
}

impl Error for DecodeError {}

const SCHEMA: u64 = 1;

#[derive(Deserialize)]
struct Probe {
    schema: u64,
}

/// `deserialize_with` on the optional members: serde takes a missing `Option` for `None` otherwise.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u64,
    id: KeyId,
    owner: Owner,
    name: String,
    scopes: Scopes,
    digest: StoredDigest,
    #[serde(deserialize_with = "present")]
    previous_digest: Option<StoredDigest>,
    #[serde(deserialize_with = "present")]
    previous_until: Option<String>,
    created_at: String,
    #[serde(deserialize_with = "present")]
    not_before: Option<String>,
    #[serde(deserialize_with = "present")]
    expires_at: Option<String>,
    disabled: bool,
    #[serde(deserialize_with = "present")]
    revoked_at: Option<String>,
    version: u64,
    #[serde(deserialize_with = "present")]
    metadata: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredDigest {
    algorithm: String,
    #[serde(deserialize_with = "present")]
    pepper: Option<String>,
    hex: String,
}

fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer)
}

impl Stored {
    fn into_record(self) -> Result<KeyRecord, DecodeError> {
        let invalid = || DecodeError(DecodeErrorKind::InvalidValue);
        let moment = |text: String| Moment::decode(&text).ok_or_else(invalid);
        let previous = match (self.previous_digest, self.previous_until) {
            (None, None) => None,
            (Some(digest), Some(until)) => Some((digest.into_digest()?, moment(until)?)),
            _ => return Err(invalid()),
        };
        let metadata = self.metadata.map(String::into_boxed_str);
        if metadata.as_deref().is_some_and(|text| !is_metadata(text)) {
            return Err(invalid());
        }
        let mut record = KeyRecord {
            id: self.id,
            owner: self.owner,
            name: checked_name(&self.name).map_err(|_| invalid())?,
            scopes: self.scopes,
            digest: self.digest.into_digest()?,
            version: self.version,
            rare: None,
            created_at: moment(self.created_at)?,
            expires_at: self.expires_at.map(moment).transpose()?,
            disabled: self.disabled,
        };
        let not_before = self.not_before.map(moment).transpose()?;
        let revoked_at = self.revoked_at.map(moment).transpose()?;
        record.set_rare(|rare| *rare = Rare { previous, not_before, revoked_at, metadata });
        Ok(record)
    }
}

impl StoredDigest {
    fn new(digest: &KeyDigest) -> Self {
        Self {
            algorithm: digest.algorithm().as_str().to_owned(),
            pepper: digest.pepper().map(str::to_owned),
            hex: encode_hex(digest.expose_bytes()),
        }
    }

    fn into_digest(self) -> Result<KeyDigest, DecodeError> {
        let invalid = || DecodeError(DecodeErrorKind::InvalidDigest);
        let bytes = decode_hex(&self.hex).ok_or_else(invalid)?;
        KeyDigest::from_parts(&self.algorithm, self.pepper.as_deref(), &bytes)
            .map_err(|_| invalid())
    }
}

fn encode_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

pub(super) fn checked_name(name: &str) -> Result<SmolStr, InvalidRecord> {
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
    use proptest::prelude::*;
    use serde_json::{Value, json};
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

    fn json(record: &KeyRecord) -> Value {
        serde_json::from_str(&record.encode()).unwrap()
    }

    fn kind(value: &Value) -> DecodeErrorKind {
        KeyRecord::decode(value.to_string()).unwrap_err().kind()
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<KeyRecord>() <= 200, "{}", size_of::<KeyRecord>());
    }

    #[test]
    fn a_record_is_read_back_as_it_was() {
        for record in [plain(), full(), plain().with_scopes(Scopes::ALL)] {
            let read = KeyRecord::decode(record.encode()).unwrap();
            assert_eq!(json(&read), json(&record));
        }
        let read = KeyRecord::decode(full().encode()).unwrap();
        assert_eq!(read.expires_at(), full().expires_at());
        assert_eq!(read.previous_until(), Some(at(5)));
        assert_eq!(read.not_before(), Some(at(1)));
        assert_eq!(read.revoked_at(), Some(at(3)));
        assert_eq!(read.version(), 7);
        assert_eq!(read.metadata(), Some(r#"{"b": 1.0, "a": [] }"#));
        assert!(read.disabled());
    }

    #[test]
    fn the_text_of_version_1_stays_readable() {
        let hex = "ab".repeat(32);
        let text = format!(
            r#"{{"schema":1,"id":"k1","owner":"ann","name":"laptop","scopes":["deploy"],
            "digest":{{"algorithm":"sha256","pepper":null,"hex":"{hex}"}},
            "previous_digest":{{"algorithm":"hmac-sha256","pepper":"p1","hex":"{hex}"}},
            "previous_until":"2026-01-02T00:00:00Z","created_at":"2026-01-01T00:00:00.5Z",
            "not_before":null,"expires_at":null,"disabled":false,"revoked_at":null,"version":1,
            "metadata":null}}"#
        );

        let record = KeyRecord::decode(&text).unwrap();

        assert_eq!(record.previous_digest().unwrap().pepper(), Some("p1"));
        assert_eq!(record.expires_at(), None);
        assert_eq!(json(&record), serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn a_missing_member_is_not_null() {
        let whole = json(&full());
        for member in whole.as_object().unwrap().keys() {
            let mut value = whole.clone();
            value.as_object_mut().unwrap().remove(member);
            assert_eq!(kind(&value), DecodeErrorKind::Malformed, "{member}");
        }
        for member in ["algorithm", "pepper", "hex"] {
            let mut value = whole.clone();
            value["digest"].as_object_mut().unwrap().remove(member);
            assert_eq!(kind(&value), DecodeErrorKind::Malformed, "{member}");
        }
    }

    #[test]
    fn null_where_a_value_is_required_is_refused() {
        let nullable = [
            "previous_digest",
            "previous_until",
            "not_before",
            "expires_at",
            "revoked_at",
            "metadata",
        ];
        let whole = json(&plain());
        for member in whole.as_object().unwrap().keys() {
            let mut value = whole.clone();
            value[member] = Value::Null;
            let read = KeyRecord::decode(value.to_string());
            assert_eq!(read.is_ok(), nullable.contains(&member.as_str()), "{member}");
        }
    }

    #[test]
    fn faults_of_a_stored_text_are_told_apart() {
        use DecodeErrorKind::{InvalidDigest, InvalidValue, Malformed, UnsupportedSchema};

        let cases: &[(&str, Value, DecodeErrorKind)] = &[
            ("/schema", json!(2), UnsupportedSchema),
            ("/schema", json!(0), UnsupportedSchema),
            ("/schema", json!("1"), Malformed),
            ("/id", json!("a b"), Malformed),
            ("/owner", json!(""), Malformed),
            ("/name", json!(""), InvalidValue),
            ("/scopes", json!("ALL"), Malformed),
            ("/digest/algorithm", json!("sha512"), InvalidDigest),
            ("/digest/algorithm", json!("argon2id"), InvalidDigest),
            ("/digest/pepper", json!("p1"), InvalidDigest),
            ("/digest/hex", json!(""), InvalidDigest),
            ("/digest/hex", json!("ab".repeat(31)), InvalidDigest),
            ("/digest/hex", json!("ab".repeat(33)), InvalidDigest),
            ("/digest/hex", json!("+b".repeat(32)), InvalidDigest),
            ("/digest/hex", json!("zz".repeat(32)), InvalidDigest),
            ("/digest/hex", json!("a".repeat(63)), InvalidDigest),
            ("/previous_digest", Value::Null, InvalidValue),
            ("/previous_until", Value::Null, InvalidValue),
            ("/created_at", json!("yesterday"), InvalidValue),
            ("/created_at", json!(0), Malformed),
            ("/expires_at", json!(""), InvalidValue),
            ("/expires_at", json!("2026-01-01"), InvalidValue),
            ("/disabled", json!(0), Malformed),
            ("/version", json!(-1), Malformed),
            ("/version", json!(1.5), Malformed),
            ("/metadata", json!("{"), InvalidValue),
            ("/metadata", json!({}), Malformed),
        ];
        for (pointer, replacement, expected) in cases {
            let mut value = json(&full());
            *value.pointer_mut(pointer).unwrap() = replacement.clone();
            assert_eq!(kind(&value), *expected, "{pointer} {replacement}");
        }
    }

    #[test]
    fn an_unknown_or_repeated_member_is_refused() {
        let mut value = json(&full());
        value["note"] = json!("new");
        assert_eq!(kind(&value), DecodeErrorKind::Malformed);
        value["schema"] = json!(2);
        assert_eq!(kind(&value), DecodeErrorKind::UnsupportedSchema);

        let text = full().encode();
        for twice in [r#"{"disabled":false,"#, r#"{"schema":1,"#] {
            assert!(KeyRecord::decode(text.replacen('{', twice, 1)).is_err(), "{twice}");
        }
        for cut in 0..text.len() {
            assert!(KeyRecord::decode(&text[..cut]).is_err(), "{cut}");
        }
        assert!(KeyRecord::decode(format!("{text}{text}")).is_err());
        assert!(KeyRecord::decode([0xff]).is_err());
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

        assert!(!text.contains(&encode_hex(&full().digest().expose_bytes()[..4])));
        assert!(!text.contains("1.0"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(KeyRecord::decode(&bytes).is_err());
        }

        #[test]
        fn hexadecimal_digits_are_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode_hex(&encode_hex(&bytes)), Some(bytes));
        }
    }
}
