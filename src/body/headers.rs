//! What the header fields of a request say about its body.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRAILER,
    TRANSFER_ENCODING,
};

use super::{BufferedBody, ReadErrorKind};
use crate::request_head::HeadMut;

/// The length that `Content-Length` announces (RFC 9110, section 8.6). Equal repeats count once.
///
/// # Errors
///
/// Returns [`ReadErrorKind::Broken`] if a value is not a row of digits or if two values differ. A number
/// that is too large for a `u64` is a very large length.
pub(super) fn announced_length(headers: &HeaderMap) -> Result<Option<u64>, ReadErrorKind> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let length = parse_length(value.as_bytes()).ok_or(ReadErrorKind::Broken)?;
        if announced.is_some_and(|announced| announced != length) {
            return Err(ReadErrorKind::Broken);
        }
        announced = Some(length);
    }
    Ok(announced)
}

fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte & 0x0f))?;
        Some(length.saturating_mul(10).saturating_add(digit))
    })
}

/// Whether the body is sent as it is (RFC 9110, section 8.4). An empty list element is not `identity`.
pub(crate) fn is_identity_coded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    })
}

/// Replaces the bytes of a buffered body, and makes the header fields true for the new ones.
///
/// `Content-Length` becomes the new length. What spoke about the old bytes is removed: their transfer
/// and content coding, their trailers and their digests.
pub(crate) fn rewrite(headers: &mut HeaderMap, body: &BufferedBody, bytes: Bytes) {
    for name in [TRANSFER_ENCODING, TRAILER, CONTENT_ENCODING].into_iter().chain(DIGESTS) {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    body.replace(bytes);
}

/// Empties a body that is buffered, and drops the header fields about it. One that is not buffered stays.
#[cold]
pub(crate) fn discard(head: &mut impl HeadMut) {
    let Some(body) = head.extensions_mut().get::<BufferedBody>().cloned() else { return };
    let headers = head.headers_mut();
    rewrite(headers, &body, Bytes::new());
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONTENT_TYPE);
}

/// RFC 9530, section 2 and 3, and what came before it: RFC 3230, section 4.3.2, and RFC 1864.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_length_is_a_row_of_digits() {
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["0"], Ok(Some(0))),
            (&["007"], Ok(Some(7))),
            (&["5", "5"], Ok(Some(5))),
            (&["9223372036854775808"], Ok(Some(1 << 63))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["18446744073709551616"], Ok(Some(u64::MAX))),
            (&["99999999999999999999999999999999"], Ok(Some(u64::MAX))),
            (&["5", "6"], Err(ReadErrorKind::Broken)),
            (&["5, 5"], Err(ReadErrorKind::Broken)),
            (&["-1"], Err(ReadErrorKind::Broken)),
            (&["+3"], Err(ReadErrorKind::Broken)),
            (&["0x3"], Err(ReadErrorKind::Broken)),
            (&["3 "], Err(ReadErrorKind::Broken)),
            (&[""], Err(ReadErrorKind::Broken)),
        ] {
            assert_eq!(announced_length(&headers(&CONTENT_LENGTH, values)), expected, "{values:?}");
        }
    }

    #[test]
    fn only_identity_is_identity() {
        for (values, expected) in [
            (&[][..], true),
            (&["identity"], true),
            (&["Identity"], true),
            (&["identity, identity"], true),
            (&["gzip"], false),
            (&["GZIP"], false),
            (&["identity", "br"], false),
            (&["gzip, identity"], false),
            (&["identity,"], false),
            (&[""], false),
            (&["identity2"], false),
        ] {
            assert_eq!(
                is_identity_coded(&headers(&CONTENT_ENCODING, values)),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_rewritten_body_has_the_header_fields_of_its_new_bytes() {
        for name in ["content-length", "transfer-encoding"] {
            let mut map = headers(&HeaderName::from_static(name), &["8"]);
            for name in [
                "content-encoding",
                "trailer",
                "digest",
                "content-digest",
                "repr-digest",
                "content-md5",
                "content-type",
            ] {
                map.append(name, HeaderValue::from_static("a"));
                map.append(name, HeaderValue::from_static("b"));
            }
            let body = BufferedBody::new(Collected {
                bytes: Bytes::from_static(b"key=1&a="),
                trailers: Some(HeaderMap::new()),
            });

            rewrite(&mut map, &body, Bytes::from_static(b"a="));

            assert_eq!(map[CONTENT_LENGTH], "2");
            assert_eq!(map.get_all("content-type").iter().count(), 2);
            assert_eq!(map.keys_len(), 2);
            assert_eq!(body.bytes(), "a=");
            assert_eq!(body.trailers(), None);
        }
    }
}
