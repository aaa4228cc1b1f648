use super::{GenerateError, KeyDraft, KeyFormat, ParsedKey, id_of_hash, is_visible, random_base62};
use crate::ConfigError;
use crate::key::KeyId;
use crate::key::digest::sha256;
use crate::key::secret::Secret;

/// Keys of another system that has kept nothing but the unsalted SHA-256 of their texts.
///
/// [`KeyManager::import_digest`](crate::key::KeyManager::import_digest) takes such a digest over, and its key goes on
/// working. Where the texts are at hand, [`OpaqueFormat`](super::OpaqueFormat) is the better choice.
///
/// The id of a record is the first 12 bytes of the SHA-256 of the whole text, as 24 lower-case hexadecimal digits: in
/// SQL, `left(sha256_hex, 24)`. The digest is that SHA-256, or its HMAC-SHA-256 with a
/// [pepper](crate::key::KeyHasher).
///
/// A text is 1 to 256 visible ASCII characters, and is not trimmed or decoded. New ones have the
/// [prefix](Self::with_prefix) and 43 of `0-9A-Za-z`: 256 random bits. A rotation creates a second record, since the id
/// changes with the text.
///
/// # Security
///
/// An unsalted fast hash is right for random keys of 128 bits and more, and wrong for passwords and other texts that
/// people choose: an attacker who sees a digest, or an id, which is public and a part of the digest, can test guesses
/// offline.
/// A pepper protects the digests of the store, and not the ids.
///
/// With a [pepper](crate::key::KeyHasher::peppered), the imported digest is hashed once more under it, so that the
/// record has a pepper like every other. A record that an app writes without it, with the plain digest, is one without
/// a pepper: a peppered hasher refuses it unless
/// [`with_insecure_unpeppered_keys`](crate::key::KeyHasher::with_insecure_unpeppered_keys) is called.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyManager, NewKey, Owner, Sha256Format};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use sha2::{Digest, Sha256};
/// # let digest = Sha256::digest(b"sk_live_0123456789abcdef0123456789abcdef");
/// # let column: [u8; 32] = digest.into();
/// let format = Sha256Format::new().with_prefix("sk_live_")?;
/// let keys = KeyManager::new(MemoryKeyStore::new()).with_format(format);
///
/// // `column` is the SHA-256 of the text, from the table of the other system.
/// keys.import_digest(&Owner::new("ann")?, column, NewKey::new("laptop")).await?;
///
/// let verified = keys.verifier().verify(b"sk_live_0123456789abcdef0123456789abcdef").await?;
/// assert_eq!(verified.owner().as_str(), "ann");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sha256Format {
    prefix: Box<str>,
}

impl Sha256Format {
    /// Texts with any beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Texts that begin with `prefix`, such as `sk_live_`. Every other text is refused without a look-up.
    ///
    /// # Errors
    ///
    /// Refuses more than 64 characters, and others than visible ASCII.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        if prefix.len() > 64 || !is_visible(prefix) {
            return Err(ConfigError::new("the prefix of keys has at most 64 visible characters"));
        }
        self.prefix = prefix.into();
        Ok(self)
    }
}

impl KeyFormat for Sha256Format {
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
        let rest = text.strip_prefix(&*self.prefix)?;
        if rest.is_empty() || text.len() > crate::key::verifier::MAX_KEY_LEN || !is_visible(rest) {
            return None;
        }
        let id = self.id_of_sha256(&sha256(&[text.as_bytes()]))?;
        Some(ParsedKey::sha256(id, text))
    }

    fn generate(&self, _draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        let random = random_base62(43)?;
        // Reserved as a whole, so that growing leaves no copies behind.
        let mut text = String::with_capacity(self.prefix.len() + random.expose_secret().len());
        text.push_str(&self.prefix);
        text.push_str(random.expose_secret());
        Ok(Secret::new(text))
    }

    fn id_of_sha256(&self, sha256: &[u8; 32]) -> Option<KeyId> {
        id_of_hash(sha256)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{KeyHasher, Owner, Pepper};

    #[test]
    fn id_and_digest_are_those_of_fips_180_4() {
        let parsed = Sha256Format::new().parse("abc").unwrap();

        assert_eq!(parsed.id().as_str(), "ba7816bf8f01cfea414140de");
        let digest = KeyHasher::sha256().digest(&parsed);
        assert_eq!(digest.expose_bytes(), &sha256(&[b"abc"]));
        assert_eq!(digest.pepper(), None);
    }

    #[test]
    fn a_digest_gets_a_pepper_without_its_text() {
        let format = Sha256Format::new();
        let pepper = Pepper::new("a", b"0123456789abcdef0123456789abcdef").unwrap();
        let hasher = KeyHasher::peppered(pepper);
        let digest = hasher.digest_of_sha256(&sha256(&[b"abc"]));

        assert!(hasher.matches(&digest, &format.parse("abc").unwrap()).unwrap());
        assert!(!hasher.matches(&digest, &format.parse("abd").unwrap()).unwrap());
        // The digest of the other system is not the one in the store.
        assert_ne!(digest.expose_bytes(), &sha256(&[b"abc"]));
        let plain = KeyHasher::sha256().digest_of_sha256(&sha256(&[b"abc"]));
        assert!(hasher.matches(&plain, &format.parse("abc").unwrap()).is_err());
        let lenient = hasher.with_insecure_unpeppered_keys();
        assert!(lenient.matches(&plain, &format.parse("abc").unwrap()).unwrap());
        assert!(lenient.matches(&digest, &format.parse("abc").unwrap()).unwrap());
    }

    #[test]
    fn a_text_outside_the_limits_is_refused() {
        let any = Sha256Format::new();
        let live = any.clone().with_prefix("sk_live_").unwrap();

        for text in ["a", "a/b+c==", &"a".repeat(256)] {
            assert!(any.parse(text).is_some(), "{text:?}");
        }
        for text in ["", "a b", "a\n", "\u{7f}", "\u{1}", "é", &"a".repeat(257)] {
            assert!(any.parse(text).is_none(), "{text:?}");
        }
        assert!(live.parse("sk_live_a").is_some());
        for text in ["sk_live_", "sk_test_a", "SK_LIVE_a", "a", "sk_live_a b"] {
            assert!(live.parse(text).is_none(), "{text:?}");
        }
        for prefix in ["a b", "é", &"a".repeat(65)] {
            assert!(any.clone().with_prefix(prefix).is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn a_new_text_has_the_prefix() {
        let owner = Owner::new("ann").unwrap();
        let draft = KeyDraft::new(&owner, time::OffsetDateTime::UNIX_EPOCH);
        let format = Sha256Format::new().with_prefix("sk_live_").unwrap();

        let text = format.generate(&draft).unwrap();
        let random = text.expose_secret().strip_prefix("sk_live_").unwrap();

        assert_eq!(random.len(), 43);
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(format.parse(text.expose_secret()).is_some());
    }

    proptest! {
        #[test]
        fn only_the_very_text_opens_its_key(a in "[!-~]{1,60}", b in "[!-~]{1,60}") {
            let (format, hasher) = (Sha256Format::new(), KeyHasher::sha256());
            let (left, right) = (format.parse(&a).unwrap(), format.parse(&b).unwrap());
            let digest = hasher.digest(&left);
            prop_assert!(hasher.matches(&digest, &left).unwrap());
            prop_assert_eq!(left.id() == right.id(), a == b);
            prop_assert_eq!(hasher.matches(&digest, &right).unwrap(), a == b);
        }
    }
}
