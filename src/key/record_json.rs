use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{KeyDigest, KeyId, KeyRecord, Owner, Scopes, SealedSecret};
use crate::clock::Timestamp;
use crate::rate_limit::Quota;
use crate::util::hex;

impl KeyRecord {
    /// The record as a JSON text, which later versions of this crate can read.
    ///
    /// # Security
    ///
    /// The text contains the digest of the key. Keep it in the store, and out of logs and responses.
    #[must_use]
    pub fn encode(&self) -> String {
        let previous = self.previous();
        let stored = StoredRecord {
            schema: SCHEMA,
            id: self.id().clone(),
            owner: self.owner().clone(),
            name: self.name().into(),
            scopes: self.scopes().clone(),
            digest: StoredDigest::new(self.digest()),
            previous_digest: previous.map(|(digest, _)| StoredDigest::new(digest)),
            previous_until: previous.map(|(_, until)| until.encode().into()),
            created_at: self.creation().encode().into(),
            not_before: self.start().map(|time| time.encode().into()),
            expires_at: self.expiry().map(|time| time.encode().into()),
            disabled: self.disabled(),
            revoked_at: self.revoked_at().map(|time| Timestamp::new(time).encode().into()),
            version: self.version(),
            metadata: self.metadata().map(CowStr::from),
            sealed: self.sealed().map(|sealed| sealed.as_str().into()),
            rate_limit: self.rate_limit().map(StoredQuota::new),
        };
        // Cannot fail: the fields are texts, numbers and lists of texts.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Decodes a text of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// Refuses any other text: one with a missing member (which is not the same as `null`), an unknown
    /// member, an unknown algorithm, a digest of another length or the schema of a later version. A store
    /// passes the error on: it is a fault of the store, not of the key.
    pub fn decode(text: impl AsRef<[u8]>) -> Result<Self, DecodeError> {
        // One UTF-8 check for the whole text.
        let text = std::str::from_utf8(text.as_ref());
        let text = text.map_err(|_| DecodeError(DecodeErrorKind::Malformed))?;
        if let Ok(stored) = serde_json::from_str::<StoredRecord<'_>>(text) {
            return stored.into_record();
        }
        // A later schema may have other members.
        Err(DecodeError(match serde_json::from_str(text) {
            Ok(SchemaVersion { schema }) if schema != SCHEMA => DecodeErrorKind::UnsupportedSchema,
            _ => DecodeErrorKind::Malformed,
        }))
    }
}

/// A stored text that is not a [`KeyRecord`].
#[derive(Clone, Debug)]
pub struct DecodeError(DecodeErrorKind);

/// The reasons of a [`DecodeError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// Not JSON, or a member is missing, unknown or of the wrong type.
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
            DecodeErrorKind::Malformed => "the stored text is not a key record",
            DecodeErrorKind::UnsupportedSchema => "the key record has an unsupported schema",
            DecodeErrorKind::InvalidDigest => "the key record has an unsupported digest",
            DecodeErrorKind::InvalidValue => "the key record has a value outside its limits",
        })
    }
}

impl Error for DecodeError {}

const SCHEMA: u64 = 1;

#[derive(Deserialize)]
struct SchemaVersion {
    schema: u64,
}

/// A text that is borrowed from the record, or from the JSON if nothing in it is escaped.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct CowStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// A record in JSON whose values are not checked yet.
///
/// `required_nullable` on the optional members: serde reads a missing `Option` as `None` otherwise.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredRecord<'a> {
    schema: u64,
    id: KeyId,
    owner: Owner,
    #[serde(borrow)]
    name: CowStr<'a>,
    scopes: Scopes,
    #[serde(borrow)]
    digest: StoredDigest<'a>,
    #[serde(borrow, deserialize_with = "required_nullable")]
    previous_digest: Option<StoredDigest<'a>>,
    #[serde(borrow, deserialize_with = "required_nullable")]
    previous_until: Option<CowStr<'a>>,
    #[serde(borrow)]
    created_at: CowStr<'a>,
    #[serde(borrow, deserialize_with = "required_nullable")]
    not_before: Option<CowStr<'a>>,
    #[serde(borrow, deserialize_with = "required_nullable")]
    expires_at: Option<CowStr<'a>>,
    disabled: bool,
    #[serde(borrow, deserialize_with = "required_nullable")]
    revoked_at: Option<CowStr<'a>>,
    version: u64,
    #[serde(borrow, deserialize_with = "required_nullable")]
    metadata: Option<CowStr<'a>>,
    /// Most records have none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sealed: Option<CowStr<'a>>,
    /// Most records have none, and earlier versions of this crate wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<StoredQuota>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredQuota {
    burst: u32,
    period_micros: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredDigest<'a> {
    #[serde(borrow)]
    algorithm: CowStr<'a>,
    #[serde(borrow, deserialize_with = "required_nullable")]
    pepper: Option<CowStr<'a>>,
    #[serde(borrow)]
    hex: CowStr<'a>,
}

fn required_nullable<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer)
}

impl StoredRecord<'_> {
    pub(crate) fn into_record(self) -> Result<KeyRecord, DecodeError> {
        if self.schema != SCHEMA {
            return Err(DecodeError(DecodeErrorKind::UnsupportedSchema));
        }
        let invalid = || DecodeError(DecodeErrorKind::InvalidValue);
        let time =
            |text: CowStr<'_>| Timestamp::decode(&text).map(Timestamp::time).ok_or_else(invalid);
        let previous = match (self.previous_digest, self.previous_until) {
            (None, None) => None,
            (Some(digest), Some(until)) => Some((digest.into_digest()?, time(until)?)),
            _ => return Err(invalid()),
        };
        let sealed = self.sealed.map(|sealed| SealedSecret::parse(&sealed)).transpose();
        let sealed = sealed.map_err(|_| invalid())?;
        let quota = self.rate_limit.map(StoredQuota::into_quota).transpose()?;
        let digest = self.digest.into_digest()?;
        let created_at = time(self.created_at)?;
        let record = KeyRecord::new(self.id, self.owner, &*self.name, digest, created_at)
            .map_err(|_| invalid())?
            .with_scopes(self.scopes)
            .with_previous_digest(previous)
            .with_not_before(self.not_before.map(time).transpose()?)
            .with_expires_at(self.expires_at.map(time).transpose()?)
            .with_disabled(self.disabled)
            .with_revoked_at(self.revoked_at.map(time).transpose()?)
            .with_version(self.version)
            .with_sealed(sealed)
            .with_rate_limit(quota)
            .with_metadata(self.metadata.as_deref());
        record.map_err(|_| invalid())
    }
}

impl StoredQuota {
    fn new(quota: Quota) -> Self {
        Self { burst: quota.burst(), period_micros: quota.period_micros() }
    }

    fn into_quota(self) -> Result<Quota, DecodeError> {
        Quota::new(self.burst, Duration::from_micros(self.period_micros))
            .map_err(|_| DecodeError(DecodeErrorKind::InvalidValue))
    }
}

impl<'a> StoredDigest<'a> {
    fn new(digest: &'a KeyDigest) -> Self {
        Self {
            algorithm: digest.algorithm().as_str().into(),
            pepper: digest.pepper().map(CowStr::from),
            hex: hex::encode(digest.expose_bytes()).into(),
        }
    }

    fn into_digest(self) -> Result<KeyDigest, DecodeError> {
        let invalid = || DecodeError(DecodeErrorKind::InvalidDigest);
        let bytes = hex::decode(&self.hex).ok_or_else(invalid)?;
        KeyDigest::from_parts(&self.algorithm, self.pepper.as_deref(), &bytes)
            .map_err(|_| invalid())
    }
}

impl Deref for CowStr<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for CowStr<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for CowStr<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::key::fixtures::{at, full, plain};

    fn json(record: &KeyRecord) -> Value {
        serde_json::from_str(&record.encode()).unwrap()
    }

    fn kind(value: &Value) -> DecodeErrorKind {
        KeyRecord::decode(value.to_string()).unwrap_err().kind()
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
    fn a_sealed_text_is_read_back_by_every_build() {
        let sealed = SealedSecret::parse("v1.0123abcd.AAAA").unwrap();
        let record = full().with_sealed(Some(sealed.clone()));
        let text = record.encode();
        assert_eq!(KeyRecord::decode(&text).unwrap().sealed(), Some(&sealed));
        let damaged = text.replace("v1.0123abcd", "v2.0123abcd");
        let error = KeyRecord::decode(damaged).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidValue);
        assert!(!full().encode().contains("sealed"));
    }

    #[test]
    fn a_rate_limit_is_read_back_and_may_be_missing() {
        let quota = Quota::per_minute(7).unwrap();
        let text = full().with_rate_limit(Some(quota)).encode();
        assert_eq!(KeyRecord::decode(&text).unwrap().rate_limit(), Some(quota));
        assert!(text.contains(r#""rate_limit":{"burst":7,"period_micros":8571429}"#), "{text}");
        assert!(!full().encode().contains("rate_limit"));
        for (damaged, expected) in [
            (text.replace(r#""burst":7"#, r#""burst":0"#), DecodeErrorKind::InvalidValue),
            (text.replace("8571429", "0"), DecodeErrorKind::InvalidValue),
            (text.replace("8571429", "18446744073709551615"), DecodeErrorKind::InvalidValue),
            (text.replace("period_micros", "period"), DecodeErrorKind::Malformed),
        ] {
            assert_ne!(damaged, text);
            assert_eq!(KeyRecord::decode(&damaged).unwrap_err().kind(), expected, "{damaged}");
        }
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

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(KeyRecord::decode(&bytes).is_err());
        }
    }
}
