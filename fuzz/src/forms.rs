//! Queries and urlencoded forms against `form_urlencoded` and `serde_urlencoded`.

use std::str;

use bytes::Bytes;
use tower_webhook::content::{
    ContentLimits, FieldValue, MediaType, find_field, form, remove_field,
};

/// Takes the place of bytes that are not UTF-8, in the reading of the other libraries.
const REPLACEMENT: char = '\u{fffd}';

/// All three see the same pairs, and removal takes out the pairs of one name and nothing else.
pub fn check(data: &[u8]) {
    let theirs = pairs(data);
    let ours: Vec<_> = form::pairs(data)
        .map(|pair| (pair.name_lossy().into_owned(), pair.value_lossy().into_owned()))
        .collect();
    assert_eq!(ours, theirs);
    let typed: Vec<(String, String)> =
        serde_urlencoded::from_bytes(data).expect("every text is a form");
    assert_eq!(ours, typed);

    // A field is looked for behind one byte order mark.
    let (mark, data) = super::split_mark(data);
    let theirs = pairs(data);
    for name in super::names_to_try(theirs.iter().map(|(name, _)| name.as_str())) {
        // Two names that are not UTF-8 can look alike to the other libraries.
        if !name.is_empty() && !name.contains(REPLACEMENT) {
            check_field(mark, data, &name, &theirs);
        }
    }
}

fn check_field(mark: &[u8], data: &[u8], name: &str, pairs_before: &[(String, String)]) {
    let marked = [mark, data].concat();
    let limits = ContentLimits::new().with_fields(usize::MAX);
    let expected = pairs_before.iter().filter(|(other, _)| other == name).map(|(_, value)| value);

    let found = find_field(&MediaType::Form, &marked, name, &limits).expect("no limit is reached");
    assert_eq!(found.len(), expected.clone().count());
    for (value, expected) in found.iter().zip(expected) {
        match value {
            FieldValue::Text(text) => assert_eq!(text, expected),
            _ => assert!(expected.contains(REPLACEMENT)),
        }
    }

    let kept = without(data, name);
    assert_eq!(form::remove_bytes(data, name), kept);
    let body = Bytes::from(marked);
    let rest = remove_field(&MediaType::Form, &body, name, &limits).expect("no limit is reached");
    let rest = rest.strip_prefix(mark).expect("the mark is kept");
    assert_eq!(rest, kept);
    if let Ok(text) = str::from_utf8(data) {
        assert_eq!(form::remove(text, name).as_bytes(), kept);
    }
    let pairs_after: Vec<_> =
        pairs_before.iter().filter(|(other, _)| other != name).cloned().collect();
    assert_eq!(pairs(rest), pairs_after);
}

/// The pieces that are no pair of that name, as they were sent.
pub(crate) fn without(data: &[u8], name: &str) -> Vec<u8> {
    let is_named =
        |piece: &[u8]| form_urlencoded::parse(piece).next().is_some_and(|pair| pair.0 == name);
    let kept: Vec<&[u8]> =
        data.split(|byte| *byte == b'&').filter(|piece| !is_named(piece)).collect();
    kept.join(&b'&')
}

fn pairs(data: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(data).into_owned().collect()
}
