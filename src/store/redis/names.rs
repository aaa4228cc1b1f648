//! Names of keys and channels, and members of indexes.

use std::sync::Arc;

use crate::ConfigError;
use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord, Owner, PageCursor};

/// The names of one namespace. All of them have the hash tag `{namespace}`, so that a cluster keeps
/// them in one slot. An id is no secret, and neither is an owner.
#[derive(Clone)]
pub(super) struct Names(Arc<str>);

/// What is in a sentinel: the version of the layout.
pub(super) const LAYOUT: &str = "tower-webhook keys 1";

const MAX_NAMESPACE_LEN: usize = 64;

impl Names {
    pub(super) fn new(namespace: &str) -> Result<Self, ConfigError> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let fits = (1..=MAX_NAMESPACE_LEN).contains(&namespace.len());
        if !fits || !namespace.as_bytes().iter().all(allowed) {
            return Err(ConfigError::new(
                "a namespace is 1 to 64 ASCII letters, digits, `-`, `_` and `.`",
            ));
        }
        Ok(Self(namespace.into()))
    }

    pub(super) fn namespace(&self) -> &str {
        &self.0
    }

    pub(super) fn sentinel(&self) -> String {
        self.named("sentinel", "")
    }

    pub(super) fn record(&self, id: &KeyId) -> String {
        self.named("record:", id.as_str())
    }

    #[cfg(feature = "signature")]
    pub(super) fn replay(&self, key: &crate::replay::ReplayKey) -> String {
        self.named("replay:", &key.to_string())
    }

    pub(super) fn bucket(&self, bucket: &str) -> String {
        self.named("rate:", bucket)
    }

    /// Pieces that are put together are cheaper than a format, and these are for every look-up.
    fn named(&self, kind: &str, name: &str) -> String {
        ["{", &self.0, "}:", kind, name].concat()
    }

    /// A glob pattern. No character of a namespace has a meaning in it.
    pub(super) fn all_records(&self) -> String {
        format!("{{{}}}:record:*", self.0)
    }

    /// The id in the name of a record.
    pub(super) fn record_id(&self, name: &[u8]) -> Option<KeyId> {
        let name = std::str::from_utf8(name).ok()?;
        KeyId::new(name.strip_prefix(self.named("record:", "").as_str())?).ok()
    }

    pub(super) fn index(&self, owner: &Owner) -> String {
        format!("{{{}}}:owner:{owner}", self.0)
    }

    pub(super) fn usage(&self) -> String {
        format!("{{{}}}:usage", self.0)
    }

    pub(super) fn changes(&self) -> String {
        format!("{{{}}}:changes", self.0)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self("tower-webhook".into())
    }
}

/// How many digits of an index member are the time.
const TIME_LEN: usize = 21;

/// The member of a record in its owner's index. Members are ordered byte by byte as their records are:
/// the time has a fixed width, and the id follows it.
pub(super) fn member(record: &KeyRecord) -> String {
    place(record.creation(), record.id())
}

/// The member at this place, whether or not there is a record.
pub(super) fn member_at(cursor: &PageCursor) -> String {
    place(Timestamp::new(cursor.created_at()), cursor.id())
}

fn place(created_at: Timestamp, id: &KeyId) -> String {
    format!("{:0TIME_LEN$}{id}", created_at.nanoseconds())
}

/// The id in a member.
pub(super) fn member_id(member: &[u8]) -> Option<KeyId> {
    let (time, id) = member.split_at_checked(TIME_LEN)?;
    let id = std::str::from_utf8(id).ok()?;
    time.iter().all(u8::is_ascii_digit).then(|| KeyId::new(id).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn a_namespace_is_a_short_text_without_braces() {
        for namespace in ["a", "tower-webhook", "A_z.0-9", &"a".repeat(64)] {
            assert_eq!(Names::new(namespace).unwrap().namespace(), namespace);
        }
        for namespace in ["", "{a}", "a}", "a:b", "a*", "a b", "é", "a\n", &"a".repeat(65)] {
            assert!(Names::new(namespace).is_err(), "{namespace}");
        }
    }

    #[test]
    fn every_name_has_the_hash_tag_of_the_namespace() {
        let names = Names::new("a.b").unwrap();
        let id = KeyId::new("k:1").unwrap();
        let owner = Owner::new("{x} y").unwrap();

        assert_eq!(names.record(&id), "{a.b}:record:k:1");
        assert_eq!(names.record_id(b"{a.b}:record:k:1"), Some(id));
        assert_eq!(names.index(&owner), "{a.b}:owner:{x} y");
        assert_eq!(names.sentinel(), "{a.b}:sentinel");
        assert_eq!(names.usage(), "{a.b}:usage");
        assert_eq!(names.changes(), "{a.b}:changes");
        assert_eq!(names.bucket("key:k{1}"), "{a.b}:rate:key:k{1}");
    }

    fn cursor(nanoseconds: i128, id: &str) -> PageCursor {
        format!("{nanoseconds}.{id}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn members_are_ordered_as_cursors(
            a in -(1_i128 << 60)..1 << 60, b in -2..2_i128,
            one in "[a-z.:_-]{1,4}", two in "[a-zA-Z0-9.:_-]{1,4}",
        ) {
            let (one, two) = (cursor(a, &one), cursor(a + b, &two));
            prop_assert_eq!(member_at(&one).cmp(&member_at(&two)), one.cmp(&two));
            let member = member_at(&one);
            prop_assert_eq!(member_id(member.as_bytes()), Some(one.id().clone()));
        }
    }

    #[test]
    fn the_first_and_the_last_moment_have_the_same_width() {
        let id = KeyId::new("a").unwrap();
        for second in [-62_167_219_200, 0, 253_402_300_799] {
            let time = OffsetDateTime::from_unix_timestamp(second).unwrap();
            assert_eq!(place(Timestamp::new(time), &id).len(), TIME_LEN + 1);
        }
        for member in ["", "1", "00000000000000000000a", "000000000000000000000", "x"] {
            assert_eq!(member_id(member.as_bytes()), None, "{member}");
        }
    }
}
