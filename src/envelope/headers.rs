use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::input::Redact;
use super::text::{ObjectWriter, push_array, push_bytes};

/// Headers that hold credentials under every configuration.
pub(crate) const CREDENTIAL_HEADERS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Headers about one connection or about how the body travels on it (RFC 9110 sections 7.6.1, 8.6
/// and 10.1.1, RFC 9112 section 6).
const TRANSPORT: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Appends headers as an object, sorted by name, without those of credentials, of the transport and of the
/// lists.
pub(super) fn push_headers(
    out: &mut String,
    headers: &HeaderMap,
    left_out: [&[HeaderName]; 2],
    redact: Option<Redact<'_>>,
) {
    let mut shown: Vec<(&HeaderName, &HeaderValue)> = Vec::with_capacity(headers.len());
    shown.extend(
        headers
            .iter()
            .filter(|(name, _)| !is_hidden(name, left_out) && !contains(&TRANSPORT, name)),
    );
    // The sort is stable: values of one name stay in order.
    shown.sort_by_key(|(name, _)| name.as_str());

    let mut object = ObjectWriter::new(out);
    for group in shown.chunk_by(|(a, _), (b, _)| a == b) {
        match group {
            [] => {}
            [(name, value)] => {
                let value = redacted(value.as_bytes(), redact);
                object.member(name.as_str(), |out| push_bytes(out, &value));
            }
            [(name, _), ..] => {
                let values = group.iter().map(|(_, value)| redacted(value.as_bytes(), redact));
                object.member(name.as_str(), |out| {
                    push_array(out, values, |out, value| push_bytes(out, &value));
                });
            }
        }
    }
    object.finish();
}

/// Removes the headers that hold credentials.
pub(super) fn remove_hidden(headers: &mut HeaderMap, left_out: [&[HeaderName]; 2]) {
    let hidden = headers.keys().filter(|name| is_hidden(name, left_out));
    let hidden: Vec<HeaderName> = hidden.cloned().collect();
    for name in hidden {
        headers.remove(name);
    }
}

fn is_hidden(name: &HeaderName, [builders, inputs]: [&[HeaderName]; 2]) -> bool {
    [&CREDENTIAL_HEADERS, builders, inputs].into_iter().any(|names| contains(names, name))
}

/// The bytes to write for a value.
fn redacted<'a>(value: &'a [u8], redact: Option<Redact<'_>>) -> Cow<'a, [u8]> {
    let redacted = redact.and_then(|redact| redact(&String::from_utf8_lossy(value)));
    redacted.map_or(Cow::Borrowed(value), |text| Cow::Owned(text.into_bytes()))
}

fn contains(names: &[HeaderName], name: &HeaderName) -> bool {
    names.iter().any(|other| is_same(other.as_str(), name.as_str()))
}

/// Gateways that turn headers into variables of the environment take `_` and `-` for one character.
fn is_same(a: &str, b: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    a.len() == b.len() && a.bytes().map(dashed).eq(b.bytes().map(dashed))
}
