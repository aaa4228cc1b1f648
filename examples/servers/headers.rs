use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName};

/// The values of a header as one text: joined with `, ` (RFC 9110, section 5.3). A value that is not UTF-8 is read
/// as Latin-1.
#[must_use]
pub fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    let text = |bytes: &'a [u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    };
    let mut values = headers.get_all(name).iter().map(|value| text(value.as_bytes()));
    let first = values.next().unwrap_or_default();
    values.fold(first, |joined, value| Cow::Owned(format!("{joined}, {value}")))
}

/// Headers as a JSON object with one text for each name, in the spelling of the protocol.
///
/// # Errors
///
/// Returns an error if the object cannot be written.
pub fn headers_json(
    headers: &HeaderMap,
    left_out: &[HeaderName],
    spell: impl Fn(&HeaderName) -> String,
) -> serde_json::Result<String> {
    let shown = headers.keys().filter(|name| !left_out.contains(name));
    let shown: BTreeMap<_, _> = shown.map(|name| (spell(name), joined(headers, name))).collect();
    serde_json::to_string(&shown)
}
