use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{GenerateError, KeyDraft, KeyFormat, ParsedKey, id_of_hash, is_visible, random_base62};
use crate::ConfigError;
use crate::key::Pepper;
use crate::key::digest::sha256;
use crate::key::secret::Secret;

/// Keys without an id of this crate, such as those that another system issued.
///
/// The id of a record is derived from the whole text: 24 lower-case hexadecimal digits, the first 12
/// bytes of the SHA-256 of the byte 3 and the text, or of the HMAC-SHA-256 with a [`Pepper`]. Records
/// are found by that id and never by the clear text, and a store needs no second index.
///
/// A text is 1 to 255 visible ASCII characters, and is not trimmed or decoded.
///
/// # Security
///
/// Ids are public and depend on the text. Where texts have fewer than 128 random bits, give a
/// [`Pepper`]: without it, an attacker who sees an id can test guesses offline.
///
/// A rotation creates a second record, since the id changes with the text.
///
/// # Examples
///
/// Keys of the form `owner:seconds:random`:
///
/// ```
/// use tower_webhook::credential::Secret;
/// use tower_webhook::key::{KeyDraft, KeyFormat, OpaqueFormat, Owner, random_base62};
///
/// let format = OpaqueFormat::new().with_generator(|draft: &KeyDraft<'_>| {
///     let random = random_base62(32)?;
///     let seconds = draft.now().unix_timestamp();
///     Ok(Secret::new(format!("{}:{seconds}:{}", draft.owner(), random.expose_secret())))
/// });
///
/// let owner = Owner::new("ann")?;
/// let key = format.generate(&KeyDraft::new(&owner, time::OffsetDateTime::UNIX_EPOCH))?;
/// assert!(key.expose_secret().starts_with("ann:0:"));
/// let parsed = format.parse(key.expose_secret()).ok_or("no key")?;
/// assert_eq!(parsed.id().as_str().len(), 24);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OpaqueFormat {
    pepper: Option<Pepper>,
    max_len: usize,
    generator: Option<Arc<Generator>>,
}

type Generator = dyn Fn(&KeyDraft<'_>) -> Result<Secret, GenerateError> + Send + Sync;

impl OpaqueFormat {
    /// Texts of 1 to 255 characters. New ones have 43 of `0-9A-Za-z`: 256 random bits.
    #[must_use]
    pub fn new() -> Self {
        Self { pepper: None, max_len: 255, generator: None }
    }

    /// Derives ids under a pepper.
    ///
    /// A different pepper gives different ids: existing keys are no longer found.
    #[must_use]
    pub fn with_pepper(mut self, pepper: Pepper) -> Self {
        self.pepper = Some(pepper);
        self
    }

    /// Sets the maximum length of a text. The default is 255 bytes.
    ///
    /// # Errors
    ///
    /// Refuses 0 and more than 256, which is the limit of every format.
    pub fn with_max_len(mut self, max_len: usize) -> Result<Self, ConfigError> {
        if !(1..=crate::key::verifier::MAX_KEY_LEN).contains(&max_len) {
            return Err(ConfigError::new("the longest key has 1 to 256 bytes"));
        }
        self.max_len = max_len;
        Ok(self)
    }

    /// Generates the texts of new keys with a closure.
    ///
    /// # Security
    ///
    /// The closure takes its randomness from [`random_base62`] or another cryptographic source, at
    /// least 128 bits of it.
    #[must_use]
    pub fn with_generator(
        mut self,
        generator: impl Fn(&KeyDraft<'_>) -> Result<Secret, GenerateError> + Send + Sync + 'static,
    ) -> Self {
        self.generator = Some(Arc::new(generator));
        self
    }
}

impl Default for OpaqueFormat {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyFormat for OpaqueFormat {
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
        if text.is_empty() || text.len() > self.max_len {
            return None;
        }
        if !is_visible(text) {
            return None;
        }
        // The byte 3: neither of the layouts that make the digest of the record.
        let parts = [&b"\x03"[..], text.as_bytes()];
        let hash = Zeroizing::new(match &self.pepper {
            None => sha256(&parts),
            Some(pepper) => pepper.hmac(&parts),
        });
        Some(ParsedKey::new(id_of_hash(&hash)?, text))
    }

    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        match &self.generator {
            Some(generator) => generator(draft),
            None => random_base62(43),
        }
    }
}

impl fmt::Debug for OpaqueFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueFormat")
            .field("pepper", &self.pepper)
            .field("max_len", &self.max_len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyHasher, Owner};

    #[test]
    fn the_id_is_the_documented_one() {
        let hash = sha256(&[b"\x03some-key"]);
        let expected: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();

        let parsed = OpaqueFormat::new().parse("some-key").unwrap();

        assert_eq!(parsed.id().as_str(), expected);
        let digest = KeyHasher::sha256().digest(&parsed);
        assert_ne!(digest.expose_bytes()[..12], hash[..12]);
    }

    #[test]
    fn a_pepper_changes_the_id() {
        let pepper = |name| Pepper::new(name, b"0123456789abcdef0123456789abcdef").unwrap();
        let id = |format: OpaqueFormat| format.parse("some-key").unwrap().into_id();

        let peppered = id(OpaqueFormat::new().with_pepper(pepper("a")));

        assert_ne!(peppered, id(OpaqueFormat::new()));
        assert_eq!(peppered, id(OpaqueFormat::new().with_pepper(pepper("b"))));
    }

    #[test]
    fn a_text_outside_the_limits_is_refused() {
        let format = OpaqueFormat::new();
        let short = format.clone().with_max_len(4).unwrap();

        assert!(format.parse(&"a".repeat(255)).is_some());
        for text in ["", "a b", "a\n", "\u{7f}", "é", &"a".repeat(256)] {
            assert!(format.parse(text).is_none(), "{text:?}");
        }
        assert!(short.parse("abcd").is_some() && short.parse("abcde").is_none());
        assert!(format.clone().with_max_len(0).is_err());
        assert!(format.clone().with_max_len(256).is_ok());
        assert!(format.with_max_len(257).is_err());
    }

    #[test]
    fn the_default_text_is_43_characters_of_base_62() {
        let owner = Owner::new("ann").unwrap();
        let draft = KeyDraft::new(&owner, time::OffsetDateTime::UNIX_EPOCH);

        let key = OpaqueFormat::new().generate(&draft).unwrap();

        assert_eq!(key.expose_secret().len(), 43);
        assert!(key.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    proptest! {
        #[test]
        fn different_texts_have_different_ids(a in "[!-~]{1,60}", b in "[!-~]{1,60}") {
            let format = OpaqueFormat::new();
            let (left, right) = (format.parse(&a).unwrap(), format.parse(&b).unwrap());
            prop_assert_eq!(left.id() == right.id(), a == b);
        }
    }
}
