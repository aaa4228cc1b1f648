//! Records for tests.

use time::{Duration, OffsetDateTime};

use super::{KeyDigest, KeyHasher, KeyId, KeyRecord, Owner, ParsedKey, Scopes};

pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
}

pub(crate) fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

pub(crate) fn ann() -> Owner {
    Owner::new("ann").unwrap()
}

/// The digest of `k1` with this secret.
pub(crate) fn digest(secret: &str) -> KeyDigest {
    KeyHasher::sha256().digest(&ParsedKey::new(id("k1"), secret))
}

/// A record of ann without anything that is optional.
pub(crate) fn plain() -> KeyRecord {
    KeyRecord::new(id("k1"), ann(), "laptop", digest("a"), at(0)).unwrap()
}

/// A record with a value in every field but `sealed` and `rate_limit`, which most texts do not have.
pub(crate) fn full() -> KeyRecord {
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
