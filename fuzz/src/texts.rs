//! The texts of keys, ids, owners, scopes, cursors and records.

use std::fmt::Debug;
use std::str;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_webhook::key::{
    Formats, KeyFormat, KeyId, KeyRecord, OpaqueFormat, Owner, PageCursor, PrefixedFormat, Scope,
    Scopes, SealedSecret, Sha256Format, TokenFormat,
};

/// Nothing panics, what is read is written as it was, and what was taken out of a text is not there any more.
pub fn check(data: &[u8]) {
    check_record(data);
    let Ok(text) = str::from_utf8(data) else { return };
    for format in formats() {
        check_format(&*format, text);
    }
    check_prefixed(text);
    check_checked_texts(text);
    check_scopes(text);
    if let Ok(cursor) = text.parse::<PageCursor>() {
        let again: PageCursor = cursor.to_string().parse().expect("a cursor is read back");
        assert_eq!(again, cursor);
        assert_eq!(again.to_string(), cursor.to_string());
    }
    if let Ok(sealed) = SealedSecret::parse(text) {
        assert_eq!(sealed.as_str(), text);
    }
}

fn formats() -> [Box<dyn KeyFormat>; 6] {
    let prefixed = PrefixedFormat::new("acme_live").expect("a prefix");
    let previous = Sha256Format::new().with_prefix("sk_live_").expect("a prefix");
    let several = Formats::new(PrefixedFormat::default()).with_previous(prefixed.clone());
    [
        Box::new(several.with_previous(previous)),
        Box::new(Sha256Format::new()),
        Box::new(PrefixedFormat::default()),
        Box::new(prefixed),
        Box::new(OpaqueFormat::new()),
        Box::new(TokenFormat),
    ]
}

fn check_format(format: &dyn KeyFormat, text: &str) {
    if let Some(key) = format.parse(text) {
        let again = format.parse_for(key.id(), text).expect("it is the key with its id");
        assert_eq!(again.id(), key.id());
        let other = KeyId::new("another").expect("an id");
        assert!(format.parse_for(&other, text).is_none(), "a key has two ids");
    }
    if let Some(redacted) = format.redact(text) {
        assert_ne!(redacted, text);
        let again = format.redact(&redacted).unwrap_or_else(|| redacted.clone());
        assert_eq!(again, redacted, "a key was left");
    }
}

fn check_prefixed(text: &str) {
    let format = PrefixedFormat::default();
    let Some(key) = format.parse(text) else { return };
    let rest = text.strip_prefix(format.prefix()).expect("the prefix is first");
    assert!(rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(key.id().as_str())));
    let redacted = format!("{}_[redacted]", format.prefix());
    assert_eq!(format.redact(text), Some(redacted.clone()));
    // Wherever it is.
    assert_eq!(format.redact(&format!("?k={text}&")), Some(format!("?k={redacted}&")));
}

fn check_checked_texts(text: &str) {
    if let Ok(id) = KeyId::new(text) {
        assert!(id.as_str() == text && (1..=64).contains(&text.len()));
        check_serde(&id);
    }
    if let Ok(owner) = Owner::new(text) {
        assert!(owner.as_str() == text && (1..=255).contains(&text.len()));
        assert!(!text.chars().any(char::is_control));
        check_serde(&owner);
    }
    if let Ok(scope) = Scope::new(text) {
        assert!(scope.as_str() == text && (1..=128).contains(&text.len()));
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
        check_serde(&scope);
    }
}

fn check_scopes(text: &str) {
    let Ok(scopes) = serde_json::from_str::<Scopes>(text) else { return };
    check_serde(&scopes);
    assert_eq!(scopes.is_all(), text.trim() == "\"all\"" || scopes == Scopes::ALL);
    assert!(Scopes::ALL.covers(&scopes) && scopes.covers(&scopes) && scopes.covers(&Scopes::NONE));
    assert!(scopes.iter().all(|scope| scopes.contains(scope)));
}

fn check_serde<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("a text is JSON");
    assert_eq!(serde_json::from_str::<T>(&text).expect("it is read back"), *value);
}

fn check_record(data: &[u8]) {
    let Ok(record) = KeyRecord::decode(data) else { return };
    let text = record.encode();
    let again = KeyRecord::decode(&text).expect("a record is read back");
    assert_eq!(again.encode(), text);
}
