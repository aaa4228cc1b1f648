use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smol_str::{SmolStr, format_smolstr};

use crate::ConfigError;

/// A secret key of the application for all digests (HMAC).
///
/// It is kept outside the store. A copy of the store then cannot be matched against a list of keys, and
/// write access to the store is not enough to create a working key.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyHasher, Pepper};
///
/// # let secret_of_2026 = *b"0123456789abcdef0123456789abcdef";
/// # let secret_of_2025 = *b"fedcba9876543210fedcba9876543210";
/// let hasher = KeyHasher::peppered(Pepper::new("2026", secret_of_2026)?)
///     .with_previous_pepper(Pepper::new("2025", secret_of_2025)?)?;
/// assert_eq!(format!("{hasher:?}"), r#"KeyHasher { peppers: ["2026", "2025"], .. }"#);
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Pepper {
    name: SmolStr,
    reference: PepperReference,
    /// Keyed once, which saves two of the four blocks of a short message.
    prepared: Hmac<Sha256>,
}

/// What digests say about their pepper: its name, a dot and its fingerprint. Shared, since there are few peppers and
/// many digests.
pub(super) type PepperReference = Arc<SmolStr>;

/// The first byte is that of no message that a key makes.
const FINGERPRINT_OF: &[u8] = b"\0tower-webhook: fingerprint of a pepper";

impl Pepper {
    /// A pepper with a name that records refer to: 1 to 32 of `a-z`, `0-9` and `-`.
    ///
    /// Other bytes have another name: digests of the old ones are checked under
    /// [`KeyHasher::with_previous_pepper`](super::KeyHasher::with_previous_pepper).
    ///
    /// # Errors
    ///
    /// Refuses another name, fewer than 32 bytes, bytes that are all equal, and a text with white space at its ends,
    /// such as the line end of a file: another server would be given the pepper without it.
    ///
    /// # Security
    ///
    /// The bytes are random. A passphrase is not a pepper.
    pub fn new(name: &str, bytes: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bytes = bytes.as_ref();
        if !is_name(name) {
            return Err(ConfigError::new("the name of a pepper is 1 to 32 of a-z, 0-9 and -"));
        }
        if bytes.len() < 32 {
            return Err(ConfigError::new("a pepper has at least 32 bytes"));
        }
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(ConfigError::new("a pepper is random: its bytes are not all equal"));
        }
        // Of random bytes, one in twenty peppers begins or ends with such a byte. They are no UTF-8.
        let has_blanks = bytes.trim_ascii().len() != bytes.len();
        if has_blanks && std::str::from_utf8(bytes).is_ok() {
            return Err(ConfigError::new(
                "the text of a pepper has white space at its ends, such as the line end of a file",
            ));
        }
        let prepared = Hmac::new_from_slice(bytes)
            .map_err(|_| ConfigError::new("HMAC does not take a pepper of this length"))?;
        let reference = format_smolstr!("{name}.{}", fingerprint(&prepared)).into();
        Ok(Self { name: name.into(), reference, prepared })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fingerprint of the bytes, which digests have beside the name: the first 4 bytes of the HMAC of a fixed text,
    /// as 8 lower-case hexadecimal digits.
    ///
    /// # Security
    ///
    /// It is no secret: without the pepper it says nothing about keys. An attacker who has it can test a guess of the pepper,
    /// as with a digest of a key of their own. No guess hits 32 random bytes.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.reference.split_once('.').map_or("", |(_, fingerprint)| fingerprint)
    }

    pub(super) fn reference(&self) -> PepperReference {
        Arc::clone(&self.reference)
    }

    /// Whether a digest names this pepper: with its fingerprint, or without one.
    pub(super) fn is_named_by(&self, text: &str) -> bool {
        **self.reference == *text || self.name == text
    }

    pub(super) fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        hmac(&self.prepared, parts)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("name", &self.name).finish_non_exhaustive()
    }
}

fn hmac(prepared: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = prepared.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn fingerprint(prepared: &Hmac<Sha256>) -> String {
    let hash = hmac(prepared, &[FINGERPRINT_OF]);
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=32).contains(&name.len()) && name.as_bytes().iter().all(allowed)
}

/// Whether a digest can have this text: a name, or a name with a fingerprint.
pub(super) fn is_reference(text: &str) -> bool {
    let is_fingerprint = |text: &str| {
        text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match text.split_once('.') {
        None => is_name(text),
        Some((name, fingerprint)) => is_name(name) && is_fingerprint(fingerprint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

    #[test]
    fn the_keyed_hash_is_hmac_sha_256() {
        // RFC 4231, test case 6: a key longer than one block, and all of it equal.
        let prepared = Hmac::new_from_slice(&[0xaa; 131]).unwrap();
        let hash = hmac(&prepared, &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_weak_pepper_is_refused() {
        assert!(Pepper::new("p", [0; 32]).is_err());
        assert!(Pepper::new("p", [9; 64]).is_err());
        assert!(Pepper::new("p", &BYTES[1..]).is_err());
        assert!(Pepper::new("p", BYTES).is_ok());
        for name in ["", "P", "a b", "a_b", "a.b", &"a".repeat(33)] {
            assert!(Pepper::new(name, BYTES).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_text_with_a_line_end_is_refused() {
        let text = std::str::from_utf8(&BYTES).unwrap();
        for blank in ["\n", "\r\n", " ", "\t", "\r", "\u{c}"] {
            for text in [format!("{text}{blank}"), format!("{blank}{text}")] {
                let error = Pepper::new("p", text).unwrap_err();
                assert!(error.to_string().contains("white space"), "{blank:?}");
            }
        }
        assert!(Pepper::new("p", format!("{text} {text}")).is_ok());
        let random = [&[0xff][..], &BYTES, b"\n"].concat();
        assert!(Pepper::new("p", random).is_ok());
    }

    #[test]
    fn a_fingerprint_belongs_to_the_bytes() {
        let (one, same) = (Pepper::new("a", BYTES).unwrap(), Pepper::new("b", BYTES).unwrap());
        let mut bytes = BYTES;
        bytes[31] ^= 1;
        let other = Pepper::new("a", bytes).unwrap();

        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert!(is_reference(&one.reference()) && one.reference().starts_with("a."));
        assert!(one.is_named_by("a") && one.is_named_by(&one.reference()));
        assert!(!one.is_named_by(&other.reference()) && !one.is_named_by(&same.reference()));
    }

    #[test]
    fn debug_hides_the_bytes() {
        assert_eq!(format!("{:?}", Pepper::new("p", BYTES).unwrap()), "Pepper { name: \"p\", .. }");
    }
}
