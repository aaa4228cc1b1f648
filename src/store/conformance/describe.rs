//! Records in words. Digests are compared and never shown.

use std::fmt::Debug;

use crate::key::{KeyDigest, KeyRecord, WriteOutcome};
use crate::util::conformance::excerpts;

/// The text in quotes, cut if it is long.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(most).collect();
    format!("{start:?}.. ({} bytes)", text.len())
}

pub(super) fn described(record: &KeyRecord) -> String {
    let (id, owner) = (cut(record.id().as_str(), 40), cut(record.owner().as_str(), 40));
    format!("{id} of {owner}, version {}", record.version())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a function of `&T` for any answer `T`")]
pub(super) fn written(write: &WriteOutcome) -> String {
    format!("{write:?}")
}

pub(super) fn listed(page: &[KeyRecord]) -> String {
    format!("{} records: {}", page.len(), ids(page))
}

pub(super) fn ids<'a>(records: impl IntoIterator<Item = &'a KeyRecord>) -> String {
    const SHOWN: usize = 12;
    let ids: Vec<_> = records.into_iter().map(|record| cut(record.id().as_str(), 40)).collect();
    let shown: Vec<_> = ids.iter().take(SHOWN).map(String::as_str).collect();
    let more = ids.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("[{}]{more}", shown.join(", "))
}

/// The first part in which two records differ, as the first and as the second has it.
pub(super) fn difference(one: &KeyRecord, other: &KeyRecord) -> Option<(String, String)> {
    let part = |name: &str, one: &dyn Debug, other: &dyn Debug| {
        let (one, other) = (format!("{one:?}"), format!("{other:?}"));
        (one != other).then(|| excerpts(name, &one, &other))
    };
    let digests = |name: &str, one: Option<&KeyDigest>, other: Option<&KeyDigest>| {
        let bytes = |digest: Option<&KeyDigest>| digest.map(|digest| *digest.expose_bytes());
        part(name, &one, &other).or_else(|| {
            let differs = bytes(one) != bytes(other);
            differs.then(|| (format!("the bytes of {name}"), format!("other bytes of {name}")))
        })
    };
    part("id", one.id(), other.id())
        .or_else(|| part("owner", one.owner(), other.owner()))
        .or_else(|| part("name", &one.name(), &other.name()))
        .or_else(|| part("scopes", one.scopes(), other.scopes()))
        .or_else(|| digests("digest", Some(one.digest()), Some(other.digest())))
        .or_else(|| digests("previous_digest", one.previous_digest(), other.previous_digest()))
        .or_else(|| part("previous_until", &one.previous_until(), &other.previous_until()))
        .or_else(|| part("created_at", &one.created_at(), &other.created_at()))
        .or_else(|| part("not_before", &one.not_before(), &other.not_before()))
        .or_else(|| part("expires_at", &one.expires_at(), &other.expires_at()))
        .or_else(|| part("disabled", &one.disabled(), &other.disabled()))
        .or_else(|| part("revoked_at", &one.revoked_at(), &other.revoked_at()))
        .or_else(|| part("version", &one.version(), &other.version()))
        .or_else(|| part("metadata", &one.metadata(), &other.metadata()))
        .or_else(|| {
            let sealed =
                |record: &KeyRecord| record.sealed().map(|sealed| sealed.as_str().to_owned());
            part("sealed", &sealed(one), &sealed(other))
        })
        .or_else(|| part("rate_limit", &one.rate_limit(), &other.rate_limit()))
        .or_else(|| {
            // A part that this list does not have.
            let same = one.encode() == other.encode();
            (!same).then(|| ("its encoded text".to_owned(), "another encoded text".to_owned()))
        })
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::key::Scopes;
    use crate::store::conformance::sample::{
        at, digest, peppered, quota, record, record_at, sealed,
    };

    #[test]
    fn a_change_of_any_part_is_a_difference() {
        let one = record("a", "ann");
        let digests = |byte, second| Some((digest(byte), at(second)));
        let others = [
            ("id", record("b", "ann").with_digest(one.digest().clone())),
            ("owner", record("a", "bob")),
            ("name", one.clone().with_name("other").unwrap()),
            ("scopes", one.clone().with_scopes(Scopes::ALL)),
            ("the bytes of digest", one.clone().with_digest(digest(1))),
            ("digest", one.clone().with_digest(peppered("a", 1))),
            ("previous_digest", one.clone().with_previous_digest(digests(1, 1))),
            ("created_at", record_at("a", "ann", at(1))),
            ("not_before", one.clone().with_not_before(Some(at(1)))),
            ("expires_at", one.clone().with_expires_at(Some(at(1)))),
            ("disabled", one.clone().with_disabled(true)),
            ("revoked_at", one.clone().with_revoked_at(Some(at(1)))),
            ("version", one.clone().with_version(2)),
            ("metadata", one.clone().with_metadata(Some("1")).unwrap()),
            ("sealed", one.clone().with_sealed(Some(sealed(1)))),
            ("rate_limit", one.clone().with_rate_limit(Some(quota(1)))),
        ];
        for (part, other) in others {
            let (wanted, _) = difference(&one, &other).unwrap();
            assert!(wanted.starts_with(part), "{part}: {wanted}");
        }
        let one = one.with_previous_digest(digests(1, 1));
        let two = one.clone().with_previous_digest(Some((digest(1), at(1) + Duration::NANOSECOND)));
        assert!(difference(&one, &two).unwrap().0.starts_with("previous_until"));
        assert!(difference(&one, &one.clone()).is_none());
    }

    #[test]
    fn a_long_value_is_shown_where_it_differs() {
        let (one, other) = excerpts("name", &"a".repeat(500), &format!("{}b", "a".repeat(499)));

        assert!(one.len() < 130 && other.ends_with("aaab"), "{one} {other}");
    }
}
