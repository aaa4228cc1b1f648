//! Idempotent creation: the id of a key is derived from the `Idempotency-Key`.

use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::key::{KeyId, Owner};
use crate::rejection::{Place, Violation};

pub(super) const HEADER: &str = "Idempotency-Key";
pub(super) const PLACE: Place = Place::Header(HEADER);

const MAX_LEN: usize = 255;
const ID_LEN: usize = 16;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The id derived from the owner and the header field. `None` without the field.
///
/// The store refuses a second record with the same id, so that no state is needed: it works across processes
/// and restarts.
///
/// # Errors
///
/// Refuses a field that is not 1 to 255 visible ASCII characters, and several fields.
pub(super) fn key_id(headers: &HeaderMap, owner: &Owner) -> Result<Option<KeyId>, Violation> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Violation::new(PLACE, "the header field is repeated"));
    }
    let value = value.as_bytes();
    if value.is_empty() || value.len() > MAX_LEN || !value.iter().all(u8::is_ascii_graphic) {
        return Err(Violation::new(PLACE, "1 to 255 visible ASCII characters"));
    }
    KeyId::new(derive(owner, value))
        .map(Some)
        .map_err(|_| Violation::new(PLACE, "1 to 255 visible ASCII characters"))
}

/// The header field in OpenAPI.
pub(super) fn parameter() -> Value {
    json!({
        "name": HEADER,
        "in": "header",
        "description": "Creates at most one key for this value, however often the call is sent.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LEN, "pattern": "^[!-~]+$"},
    })
}

/// 95 bits of a hash, in the characters of ids. The encoding is injective, since an owner has no line feed.
fn derive(owner: &Owner, value: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tower-webhook idempotency key 1\n");
    hash.update(owner.as_str());
    hash.update(b"\n");
    hash.update(value);
    let digest: [u8; 32] = hash.finalize().into();
    let mut number = digest
        .iter()
        .take(size_of::<u128>())
        .fold(0, |number, byte| number << 8 | u128::from(*byte));
    let mut next = || {
        let digit = usize::try_from(number % 62).ok()?;
        number /= 62;
        BASE62.get(digit).copied().map(char::from)
    };
    (0..ID_LEN).filter_map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::HeaderValue;

    use super::*;
    use crate::key::{KeyDraft, KeyFormat, PrefixedFormat};

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn id(owner: &str, value: &str) -> KeyId {
        key_id(&headers(&[value.as_bytes()]), &Owner::new(owner).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn an_id_follows_from_owner_and_field() {
        let ids = [id("ann", "1"), id("ann", "2"), id("bob", "1"), id("ann", "\"1\"")];
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(id("ann", "1"), id("ann", "1"));
        assert_eq!(key_id(&HeaderMap::new(), &Owner::new("ann").unwrap()), Ok(None));
    }

    /// A new version of this crate must not make a second key for a request that an old one answered.
    #[test]
    fn the_ids_of_version_1_stay() {
        assert_eq!(id("ann", "8e03978e-40d5-43dd-bc93-6894a57f9324").as_str(), "p67xFNX8hngWEXRN");
    }

    #[test]
    fn the_default_format_keeps_the_id() {
        let (format, ann) = (PrefixedFormat::default(), Owner::new("ann").unwrap());
        for value in 0..100 {
            let id = id("ann", &value.to_string());
            let draft = KeyDraft::new(&ann, time::OffsetDateTime::UNIX_EPOCH).with_id(&id);
            let text = format.generate(&draft).unwrap();
            assert_eq!(format.parse(text.expose_secret()).unwrap().id(), &id);
        }
    }

    #[test]
    fn a_field_that_is_no_token_or_repeated_is_refused() {
        let long = "a".repeat(256);
        for values in [&[&b""[..]][..], &[b"a b"], &[b"\xff"], &[b"a", b"a"], &[long.as_bytes()]] {
            assert!(key_id(&headers(values), &Owner::new("ann").unwrap()).is_err(), "{values:?}");
        }
    }
}
