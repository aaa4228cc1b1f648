//! Records at the limits of their types.

use std::fmt::Debug;
use std::time::Duration;

use time::OffsetDateTime;

use super::fail;
use crate::key::checked_name;
use crate::key::{KeyDigest, KeyId, KeyRecord, Owner, Scopes, SealedSecret};
use crate::rate_limit::Quota;

/// What the suite makes itself is within the limits of its type.
#[track_caller]
pub(super) fn valid<T, E: Debug>(made: Result<T, E>) -> T {
    match made {
        Ok(made) => made,
        Err(error) => fail(&format!("a fault of the suite, not of the store: {error:?}")),
    }
}

pub(super) fn id(text: &str) -> KeyId {
    valid(KeyId::new(text))
}

pub(super) fn owner(text: &str) -> Owner {
    valid(Owner::new(text))
}

/// So many seconds after the start of 2026.
pub(super) fn at(second: i64) -> OffsetDateTime {
    valid(OffsetDateTime::from_unix_timestamp(1_767_225_600 + second))
}

pub(super) fn digest(byte: u8) -> KeyDigest {
    valid(KeyDigest::from_parts("sha256", None, &[byte; 32]))
}

pub(super) fn peppered(name: &str, byte: u8) -> KeyDigest {
    valid(KeyDigest::from_parts("hmac-sha256", Some(name), &[byte; 32]))
}

/// A record without peculiarities.
pub(super) fn record(id_text: &str, owner_text: &str) -> KeyRecord {
    record_at(id_text, owner_text, at(0))
}

pub(super) fn record_at(id_text: &str, owner_text: &str, created_at: OffsetDateTime) -> KeyRecord {
    let byte = id_text.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let made = KeyRecord::new(id(id_text), owner(owner_text), "key", digest(byte), created_at);
    valid(made).with_scopes(valid(Scopes::parse(["deploy"])))
}

/// A sealed text.
pub(super) fn sealed(byte: u8) -> SealedSecret {
    valid(SealedSecret::parse(&format!("v1.{byte:08x}.AZaz09-_")))
}

/// A quota of at least one call, in a period that is no whole number of milliseconds.
pub(super) fn quota(number: u8) -> Quota {
    valid(Quota::new(1 + u32::from(number), Duration::from_micros(8_571_429)))
}

/// The record after a change: another name, another digest, and this version.
pub(super) fn changed(record: &KeyRecord, version: u64) -> KeyRecord {
    let name = format!("version {version}");
    let digest = digest(version.to_le_bytes().iter().fold(1, |sum, byte| sum ^ byte));
    valid(record.clone().with_name(name)).with_digest(digest).with_version(version)
}

/// A record whose every part says `number`, so that a mixture of two of them is seen.
pub(super) fn stamped(id_text: &str, owner_text: &str, number: u8) -> KeyRecord {
    let time = at(number.into());
    let record = record(id_text, owner_text)
        .with_scopes(valid(Scopes::parse([format!("scope-{number}")])))
        .with_digest(digest(number))
        .with_previous_digest(Some((peppered(&format!("p{number}"), number), time)))
        .with_not_before(Some(time))
        .with_expires_at(Some(time))
        .with_revoked_at(Some(time))
        .with_disabled(number % 2 == 1)
        .with_version(number.into())
        .with_sealed(Some(sealed(number)))
        .with_rate_limit(Some(quota(number)));
    valid(valid(record.with_name(format!("name {number}"))).with_metadata(Some(number.to_string())))
}

/// Every character of ids; the shortest and the longest; and those that a store may take for
/// something else.
pub(super) fn ids() -> Vec<String> {
    let characters = ('!'..='~').map(String::from).filter(|text| KeyId::new(text).is_ok());
    let odd = [
        "..",
        "--",
        "-1",
        "00",
        "1e3",
        "1000",
        "0x10",
        "::",
        "a:b",
        "a::b",
        "a.b",
        "a-b",
        "a_b",
        "aa",
        "aA",
        "Aa",
        "AA",
        "null",
        "NULL",
        "Null",
        "true",
        "nan",
        "id",
        "rowid",
        "__proto__",
    ];
    let longest = KeyId::MAX_LEN;
    let long = ["a", "A", ".", ":", "_"].map(|text| text.repeat(longest));
    let almost = ["b".repeat(longest - 1), format!("{}c", "b".repeat(longest - 1))];
    characters.chain(odd.map(str::to_owned)).chain(long).chain(almost).collect()
}

/// Owners that are easily taken for one another, for patterns or for parts of a statement; the
/// shortest and the longest; and many characters.
pub(super) fn owners() -> Vec<String> {
    let similar = [
        "ann",
        "Ann",
        "ANN",
        " ann",
        "ann ",
        "ann  ",
        "ann\u{a0}",
        "\u{feff}ann",
        "ann\u{200b}",
        "\u{202e}ann",
        "\u{2028}",
        "an",
        "a",
        "nn",
        "anna",
        "\u{e1}nn",
        "a\u{301}nn",
        "ss",
        "\u{df}",
        "\u{1e9e}",
        "SS",
        "fi",
        "\u{fb01}",
        "i",
        "I",
        "\u{130}",
        "\u{131}",
        "\u{e9}",
        "e\u{301}",
        "\u{3c3}",
        "\u{3c2}",
        "\u{3a3}",
        "K",
        "\u{212a}",
        "k",
    ];
    let special = [
        "%",
        "_",
        "a%",
        "a__",
        "___",
        "*",
        "?",
        "a??",
        "[a]nn",
        "{ann}",
        "ann}",
        "ann:",
        ":ann",
        "ann:a",
        "ann/",
        "../ann",
        "ann\\",
        "ann'",
        "ann''",
        "ann\"",
        "ann;",
        "ann--",
        "ann,bob",
        "'; drop table keys; --",
        "$1",
        ":1",
        "?1",
        "null",
        "NULL",
        "0",
        "00",
        "-0",
        "1e3",
        "1000",
        " ",
        "  ",
        "@",
        "ann@example.org",
        "\u{1f511}",
        "\u{fffd}",
        "\u{10ffff}",
    ];
    let longest = [
        "a".repeat(Owner::MAX_LEN),
        "a".repeat(Owner::MAX_LEN - 1),
        format!("{}b", "a".repeat(Owner::MAX_LEN - 1)),
        format!("{}a", "\u{e9}".repeat(127)),
        format!("{}abc", "\u{1f511}".repeat(63)),
    ];
    let texts = similar.into_iter().chain(special).map(str::to_owned);
    texts
        .chain(longest)
        .chain(alphabet(Owner::MAX_LEN / 4, |text| Owner::new(text).is_ok()))
        .collect()
}

/// Names with blanks that must stay, with characters that mean something elsewhere, the shortest and
/// the longest, and many characters.
pub(super) fn names() -> Vec<String> {
    let odd = [
        "a",
        " ",
        "  ",
        " before",
        "after ",
        "two  blanks",
        "\u{a0}",
        "\u{3000}wide\u{3000}",
        "MiXeD",
        "\u{e9}",
        "e\u{301}",
        "\u{fb01}",
        "\u{130}\u{131}",
        "\u{feff}mark",
        "zero\u{200b}width",
        "\u{65e5}\u{672c}\u{8a9e}",
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{fffd}",
        "\u{10ffff}",
        "null",
        "NULL",
        "\\N",
        "\\0",
        "\\u0000",
        "'",
        "''",
        "\"",
        "\\",
        "%s",
        "%00",
        "$1",
        "?1",
        "{}",
        "<b>",
        "&amp;",
        "a,b;c",
        "'; drop table keys; --",
    ];
    let longest =
        ["a", " ", "\u{e9}", "\u{10ffff}"].map(|text| text.repeat(KeyRecord::MAX_NAME_LEN));
    let many = alphabet(KeyRecord::MAX_NAME_LEN, |text| checked_name(text).is_ok());
    odd.map(str::to_owned).into_iter().chain(longest).chain(many).collect()
}

pub(super) fn scopes() -> Vec<Scopes> {
    let set = |texts: &[&str]| valid(Scopes::parse(texts));
    let characters: Vec<_> = (0x21..=0x7e_u8)
        .map(|byte| char::from(byte).to_string())
        .filter(|text| Scopes::parse([text]).is_ok())
        .collect();
    let longest = ["a".repeat(128), format!("{}b", "a".repeat(127))];
    let many = (0..500).map(|number| format!("scope-{number}"));
    vec![
        Scopes::NONE,
        Scopes::ALL,
        set(&["all"]),
        set(&["ALL", "all"]),
        set(&["*"]),
        set(&[","]),
        set(&["a,b", "a", "b"]),
        set(&["{}", "[]", "{a,b}", "null", "NULL", "none"]),
        set(&["a", "A", "a:b", "a/b", "'", "''", "$1", "%"]),
        valid(Scopes::parse([characters.concat()])),
        valid(Scopes::parse(characters)),
        valid(Scopes::parse(longest)),
        valid(Scopes::parse(many)),
    ]
}

/// JSON texts that a store which parses them would change.
pub(super) fn metadata() -> Vec<Option<String>> {
    let texts = [
        "null",
        "{}",
        "[]",
        "\"\"",
        " {} ",
        "\r\n\t[ 1 ]\n",
        r#"{"b":1,"a":2,"b":3}"#,
        "1.0",
        "1",
        "-0.0",
        "1E+2",
        "12345678901234567890123456789.10",
        "1e400",
        r#""\u0000""#,
        r#""\ud800""#,
        r#""\/ \u00e9 \n""#,
        "\"\u{e9} e\u{301} \u{1f511} \u{2028} \u{7f} \u{feff}\"",
        r#"{"'; drop table keys; --":"$1 ?1 %s \\N"}"#,
        "\"<b>&amp;\"",
        "true",
    ];
    let longest = KeyRecord::MAX_METADATA_LEN;
    let long = [
        format!("\"{}\"", "a".repeat(longest - 2)),
        format!("\"{}\"", "\u{1f511}".repeat((longest - 2) / 4)),
        format!("{}1", " ".repeat(longest - 1)),
        format!("[{}]", vec!["{ }"; 10_000].join(",")),
    ];
    let allowed = |text: &String| record("a", "a").with_metadata(Some(text.as_str())).is_ok();
    let texts = texts.map(str::to_owned).into_iter().chain(long).filter(allowed);
    std::iter::once(None).chain(texts.map(Some)).collect()
}

pub(super) fn digests() -> Vec<KeyDigest> {
    let ramp: Vec<u8> = (0..=255).collect();
    let (plain, peppered) = ("sha256", "hmac-sha256");
    let longest = "z".repeat(32);
    let made = ramp.chunks(32).map(|bytes| KeyDigest::from_parts(plain, None, bytes));
    let with_fingerprint = format!("{longest}.0123abcd");
    let names = ["a", "0", "-", "2026-01", "null", "2026-01.00ff00ff", &longest, &with_fingerprint];
    let named = names.iter().map(|name| KeyDigest::from_parts(peppered, Some(name), &[0xff; 32]));
    let odd = [[0; 32], [0xff; 32], *b"' or 1=1; -- \r\n\t\0\x1a\\\"%_$?{}[]:;,,"];
    let odd = odd.iter().map(|bytes| KeyDigest::from_parts(plain, None, bytes));
    made.chain(named).chain(odd).map(valid).collect()
}

/// The first and the last time, those around the limits of usual encodings, and fractions of a second
/// on both sides of 1970.
pub(super) fn times() -> Vec<OffsetDateTime> {
    const SECOND: i128 = 1_000_000_000;
    let seconds = [
        -62_167_219_200,
        -62_135_596_800,
        -2_208_988_800,
        -1,
        0,
        1,
        (1 << 31) - 1,
        1 << 31,
        1 << 32,
        253_402_300_799,
    ];
    let limit = i128::from(i64::MAX);
    let fractions = [0, 1, 999, 1_000, 1_001, 123_456_789, 500_000_000, 999_999_999];
    let nanoseconds =
        seconds.iter().flat_map(|second| fractions.map(|part| second * SECOND + part));
    let around = [-limit - 2, -limit - 1, limit, limit + 1];
    nanoseconds.chain(around).map(OffsetDateTime::from_unix_timestamp_nanos).map(valid).collect()
}

pub(super) fn versions() -> Vec<u64> {
    let last = i64::MAX.unsigned_abs();
    let limits = [7, 8, 15, 16, 31, 32, 53, 62].map(|bits| 1_u64 << bits);
    let around = limits.into_iter().flat_map(|limit| [limit - 1, limit, limit + 1]);
    [0, 1, 2].into_iter().chain(around).chain([last - 1, last]).collect()
}

/// Texts of `length` characters that have, together, every character up to U+0800 and a part of the
/// others, as far as `allowed` says.
fn alphabet(length: usize, allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let characters: Vec<char> = (0..0x800)
        .chain((0x800..0x11_0000).step_by(499))
        .filter_map(char::from_u32)
        .filter(|character| allowed(character.encode_utf8(&mut [0; 4])))
        .collect();
    characters.chunks(length).map(String::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn samples_reach_the_limits_and_do_not_repeat() {
        for (texts, longest) in [(ids(), 64), (owners(), 255), (names(), 512)] {
            assert_eq!(texts.iter().map(String::len).max(), Some(longest));
            assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len());
        }
        let longest = metadata().into_iter().flatten().map(|text| text.len()).max();
        assert_eq!(longest, Some(KeyRecord::MAX_METADATA_LEN));
        assert_eq!(versions().last(), Some(&i64::MAX.unsigned_abs()));
    }

    #[test]
    fn samples_are_taken_without_a_change() {
        for text in ids() {
            assert_eq!(id(&text).as_str(), text);
        }
        for text in owners() {
            assert_eq!(owner(&text).as_str(), text);
        }
        for text in names() {
            assert_eq!(record("a", "a").with_name(&text).unwrap().name(), text);
        }
        for time in times() {
            assert_eq!(record_at("a", "a", time).created_at(), time);
        }
        assert!(scopes().len() > 10 && digests().len() > 10 && metadata().len() > 20);
    }
}
