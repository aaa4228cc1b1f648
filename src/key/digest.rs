use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::iter;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use subtle::{Choice, ConstantTimeEq};

use super::format::{Layout, ParsedKey};
use super::pepper::{Pepper, PepperReference, is_reference};
use crate::ConfigError;

/// The algorithm of a [`KeyDigest`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// HMAC-SHA-256 (RFC 2104) under a [`Pepper`].
    HmacSha256,
}

impl DigestAlgorithm {
    /// The name that records carry: `sha256` or `hmac-sha256`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }
}

/// The stored form of a key: 32 bytes, the algorithm and which pepper was used.
///
/// Only a [`KeyHasher`] compares digests, in constant time.
///
/// # Security
///
/// There is no comparison, no ordering, no hash, no `Display` and no serialization, and `Debug`
/// hides the bytes. Only the first of these compiles:
///
/// ```
/// fn debuggable<T: std::fmt::Debug>() {}
/// debuggable::<tower_webhook::key::KeyDigest>();
/// ```
///
/// ```compile_fail
/// fn comparable<T: PartialEq>() {}
/// comparable::<tower_webhook::key::KeyDigest>();
/// ```
///
/// ```compile_fail
/// fn hashable<T: std::hash::Hash>() {}
/// hashable::<tower_webhook::key::KeyDigest>();
/// ```
///
/// ```compile_fail
/// fn printable<T: std::fmt::Display>() {}
/// printable::<tower_webhook::key::KeyDigest>();
/// ```
///
/// ```compile_fail
/// fn serializable<T: serde::Serialize>() {}
/// serializable::<tower_webhook::key::KeyDigest>();
/// ```
///
/// ```compile_fail
/// fn readable<T: AsRef<[u8]>>() {}
/// readable::<tower_webhook::key::KeyDigest>();
/// ```
#[derive(Clone)]
pub struct KeyDigest {
    bytes: [u8; 32],
    pepper: Option<PepperReference>,
}

impl KeyDigest {
    /// A digest from the columns of a store.
    ///
    /// # Errors
    ///
    /// Refuses an unknown algorithm, a length other than 32 bytes, and a missing or unexpected pepper.
    pub fn from_parts(
        algorithm: &str,
        pepper: Option<&str>,
        bytes: &[u8],
    ) -> Result<Self, InvalidDigest> {
        let pepper = match (algorithm, pepper) {
            ("sha256", None) => None,
            ("hmac-sha256", Some(text)) if is_reference(text) => Some(SmolStr::new(text).into()),
            _ => return Err(InvalidDigest(())),
        };
        let bytes = bytes.try_into().map_err(|_| InvalidDigest(()))?;
        Ok(Self { bytes, pepper })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.pepper {
            None => DigestAlgorithm::Sha256,
            Some(_) => DigestAlgorithm::HmacSha256,
        }
    }

    /// Which pepper was used, if one was: its name, a dot and its [fingerprint](Pepper::fingerprint). A record from
    /// elsewhere can have the name alone.
    #[must_use]
    pub fn pepper(&self) -> Option<&str> {
        self.pepper.as_ref().map(|name| name.as_str())
    }

    /// The bytes, for the columns of a store only.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Whether this is the same digest, compared in constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.pepper == other.pepper && bool::from(same(&self.bytes, &other.bytes))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyDigest")
            .field("algorithm", &self.algorithm())
            .field("pepper", &self.pepper())
            .finish_non_exhaustive()
    }
}

/// Parts that make no [`KeyDigest`].
#[derive(Clone, Debug)]
pub struct InvalidDigest(());

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parts make no digest: unknown algorithm, wrong length or wrong pepper")
    }
}

impl Error for InvalidDigest {}

/// Makes the digests of keys and compares them.
///
/// The hashed message includes the id, so that a digest copied to another record matches no key:
///
/// 1. Keys of [`PrefixedFormat`](super::PrefixedFormat): the byte 1, the id (16 bytes), the secret
///    (38 bytes). These 55 bytes fill one block of SHA-256.
/// 2. Keys of [`Sha256Format`](super::Sha256Format): the text alone, without the id, which is derived from it. With a
///    pepper: the byte 4 and the SHA-256 of the text, so that a digest of another system gets a pepper without the text.
/// 3. Keys of every other format: the byte 2, the length of the id (one byte), the id, the secret.
///
/// The encoding is injective: the first byte names the layout, and within a layout the lengths are fixed or
/// encoded. No text of `Sha256Format` begins with such a byte.
///
/// # Security
///
/// A fast hash is right for secrets of 128 random bits and more, and wrong for passwords and other texts
/// that people choose.
#[derive(Clone)]
pub struct KeyHasher {
    current: Option<Pepper>,
    /// Also accepted: these peppers, and `None` for digests without one.
    others: Vec<Option<Pepper>>,
}

impl KeyHasher {
    /// SHA-256 without a pepper: the default.
    #[must_use]
    pub fn sha256() -> Self {
        Self { current: None, others: Vec::new() }
    }

    /// HMAC-SHA-256 under `pepper`. Digests without a pepper are refused.
    ///
    /// A digest names its pepper and has a fingerprint of it. One that was made under other bytes of the same name is
    /// a fault of the configuration, and not a wrong key: see
    /// [`KeyManager::check`](super::KeyManager::check).
    #[must_use]
    pub fn peppered(pepper: Pepper) -> Self {
        Self { current: Some(pepper), others: Vec::new() }
    }

    /// Also accepts digests under `pepper`. New digests are made under the current one.
    ///
    /// # Errors
    ///
    /// Refuses a duplicate name.
    pub fn with_previous_pepper(mut self, pepper: Pepper) -> Result<Self, ConfigError> {
        if self.peppers().any(|known| known.name() == pepper.name()) {
            return Err(ConfigError::new("two peppers have the same name"));
        }
        self.others.push(Some(pepper));
        Ok(self)
    }

    /// Also accepts digests without a pepper, for a migration to peppers.
    ///
    /// # Security
    ///
    /// With this setting, write access to the store is enough to create a working key.
    #[must_use]
    pub fn with_insecure_unpeppered_keys(mut self) -> Self {
        if self.ways().all(Option::is_some) {
            self.others.push(None);
        }
        self
    }

    /// The digest of a key, under the current pepper if there is one.
    #[must_use]
    pub fn digest(&self, key: &ParsedKey<'_>) -> KeyDigest {
        let pepper = self.current.as_ref().map(Pepper::reference);
        KeyDigest { bytes: hash(self.current.as_ref(), key), pepper }
    }

    /// The digest of the key of [`Sha256Format`](super::Sha256Format) whose text has this SHA-256.
    pub(super) fn digest_of_sha256(&self, text: &[u8; 32]) -> KeyDigest {
        let pepper = self.current.as_ref();
        KeyDigest { bytes: hash_sha256(pepper, text), pepper: pepper.map(Pepper::reference) }
    }

    /// Whether `digest` is the digest of `key`, compared in constant time.
    ///
    /// # Errors
    ///
    /// The digest cannot be checked: its pepper is unknown or has other bytes, or it has none and
    /// [`with_insecure_unpeppered_keys`](Self::with_insecure_unpeppered_keys) is off. That is a fault of the
    /// configuration, not of the key.
    pub fn matches(&self, digest: &KeyDigest, key: &ParsedKey<'_>) -> Result<bool, UnknownPepper> {
        self.compare(digest, &self.digests(key)).map(bool::from)
    }

    /// The digests of a presented key, in every way that a record can need.
    pub(super) fn digests(&self, key: &ParsedKey<'_>) -> PresentedDigests {
        PresentedDigests {
            current: hash(self.current.as_ref(), key),
            others: self.others.iter().map(|pepper| hash(pepper.as_ref(), key)).collect(),
        }
    }

    /// Compares a record's digest with those of a presented key, in constant time.
    pub(super) fn compare(
        &self,
        digest: &KeyDigest,
        presented: &PresentedDigests,
    ) -> Result<Choice, UnknownPepper> {
        let asked = |way: &Option<Pepper>| match (way, digest.pepper()) {
            (None, None) => true,
            (Some(pepper), Some(reference)) => pepper.is_named_by(reference),
            _ => false,
        };
        if asked(&self.current) {
            return Ok(same(&digest.bytes, &presented.current));
        }
        let mut others = self.others.iter().zip(&presented.others);
        match others.find(|(way, _)| asked(way)) {
            Some((_, bytes)) => Ok(same(&digest.bytes, bytes)),
            None => Err(UnknownPepper { namesake: self.namesake(digest) }),
        }
    }

    /// Whether the pepper of a digest is configured.
    pub(super) fn knows_pepper(&self, digest: &KeyDigest) -> Result<(), UnknownPepper> {
        match digest.pepper() {
            Some(reference) if self.peppers().any(|pepper| pepper.is_named_by(reference)) => Ok(()),
            _ => Err(UnknownPepper { namesake: self.namesake(digest) }),
        }
    }

    /// The name of a configured pepper that has other bytes than the pepper of this digest.
    fn namesake(&self, digest: &KeyDigest) -> Option<SmolStr> {
        let (name, _) = digest.pepper()?.split_once('.')?;
        self.peppers().any(|pepper| pepper.name() == name).then(|| name.into())
    }

    /// The work of [`compare`](Self::compare) for a key without a record. The result is false.
    pub(super) fn compare_decoy(&self, presented: &PresentedDigests) -> Choice {
        static DECOY: LazyLock<[u8; 32]> = LazyLock::new(|| {
            let mut decoy = [0; 32];
            // The result does not depend on these bytes, so a failure of the generator is harmless.
            let _ = getrandom::fill(&mut decoy);
            decoy
        });
        black_box(same(&DECOY, &presented.current)) & Choice::from(0)
    }

    /// The pepper of new digests.
    pub(super) fn current_pepper(&self) -> Option<&Pepper> {
        self.current.as_ref()
    }

    /// All peppers, the current one first.
    pub(super) fn peppers(&self) -> impl Iterator<Item = &Pepper> {
        self.ways().flatten()
    }

    /// All accepted ways to make a digest, the current one first.
    fn ways(&self) -> impl Iterator<Item = &Option<Pepper>> {
        iter::once(&self.current).chain(&self.others)
    }
}

/// The digests of a presented key. They replace the secret while the verifier waits for the store.
pub(super) struct PresentedDigests {
    /// Under the current pepper, or without one if there is none.
    current: [u8; 32],
    /// Under the other accepted peppers. Usually empty.
    others: Vec<[u8; 32]>,
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::sha256()
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.peppers().map(Pepper::name).collect();
        f.debug_struct("KeyHasher").field("peppers", &names).finish_non_exhaustive()
    }
}

/// A digest whose pepper is not configured, or is configured with other bytes.
///
/// `Display` says which of both, and in the second case the name of the pepper.
#[derive(Clone, Debug)]
pub struct UnknownPepper {
    /// The name under which other bytes are configured.
    namesake: Option<SmolStr>,
}

impl fmt::Display for UnknownPepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namesake {
            Some(name) => write!(f, "the digest was made with other bytes of the pepper `{name}`"),
            None => f.write_str(
                "the digest was made with a pepper that is not configured, or without one",
            ),
        }
    }
}

impl Error for UnknownPepper {}

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn hash(pepper: Option<&Pepper>, key: &ParsedKey<'_>) -> [u8; 32] {
    let (id, secret) = (key.id().as_str().as_bytes(), key.secret().as_bytes());
    let layout = key.layout();
    // An id has at most 64 bytes.
    let head = [layout as u8, id.len() as u8];
    let head = match layout {
        Layout::Fixed => head.get(..1).unwrap_or_default(),
        Layout::Delimited => &head,
        Layout::Sha256 => return hash_sha256(pepper, &sha256(&[secret])),
    };
    let in_parts = [head, id, secret];
    // One update is faster than three.
    match (pepper, one_block(&in_parts)) {
        (None, Some(message)) => Sha256::digest(message).into(),
        (None, None) => sha256(&in_parts),
        (Some(pepper), _) => pepper.hmac(&in_parts),
    }
}

/// Layered hashes: the pepper is applied to the digest, which is all that another system may have kept.
fn hash_sha256(pepper: Option<&Pepper>, text: &[u8; 32]) -> [u8; 32] {
    pepper.map_or(*text, |pepper| pepper.hmac(&[&[Layout::Sha256 as u8], text]))
}

/// The message of a key in the default format, which fits into one block of SHA-256.
fn one_block(parts: &[&[u8]; 3]) -> Option<[u8; 55]> {
    let [head, id, secret] = parts;
    let mut message = [0; 55];
    let (head_place, rest) = message.split_first_chunk_mut::<1>()?;
    let (id_place, secret_place) = rest.split_first_chunk_mut::<16>()?;
    let secret_place = secret_place.first_chunk_mut::<38>()?;
    *head_place = (*head).try_into().ok()?;
    *id_place = (*id).try_into().ok()?;
    *secret_place = (*secret).try_into().ok()?;
    Some(message)
}

fn same(left: &[u8; 32], right: &[u8; 32]) -> Choice {
    // Constant-time comparison by words of 8 bytes: `subtle` makes a volatile read of each element.
    let words = left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0);
    words.fold(Choice::from(1), |same, (left, right)| {
        same & u64::from_ne_bytes(*left).ct_eq(&u64::from_ne_bytes(*right))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::id;

    fn pepper(name: &str, first: u8) -> Pepper {
        let mut bytes = [7; 32];
        bytes[0] = first;
        Pepper::new(name, bytes).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4, example "abc".
        assert_eq!(
            hex(&sha256(&[b"a", b"bc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_message_is_the_documented_one() {
        let secret = "0123456789abcdefghijklmnopqrstuvwxyzAB";
        let usual = ParsedKey::fixed(id("0123456789abcdef"), secret);
        let fixed = ParsedKey::fixed(id("0123456789abcdef"), "s");
        let other = ParsedKey::new(id("ab"), "cd");
        let whole = ParsedKey::sha256(id("ab"), "cd");

        assert_eq!(hash(None, &usual), sha256(&[b"\x01", b"0123456789abcdef", secret.as_bytes()]));
        assert_eq!(hash(None, &fixed), sha256(&[b"\x01", b"0123456789abcdef", b"s"]));
        assert_eq!(hash(None, &other), sha256(&[b"\x02\x02abcd"]));
        assert_eq!(hash(None, &whole), sha256(&[b"cd"]));
        let pepper = pepper("a", 1);
        let layered = pepper.hmac(&[b"\x04", &sha256(&[b"cd"])]);
        assert_eq!(hash(Some(&pepper), &whole), layered);
    }

    #[test]
    fn the_border_between_id_and_secret_counts() {
        let hasher = KeyHasher::sha256();
        let digest = hasher.digest(&ParsedKey::new(id("ab"), "cd"));

        assert!(hasher.matches(&digest, &ParsedKey::new(id("ab"), "cd")).unwrap());
        assert!(!hasher.matches(&digest, &ParsedKey::new(id("a"), "bcd")).unwrap());
        assert!(!hasher.matches(&digest, &ParsedKey::fixed(id("ab"), "cd")).unwrap());
    }

    #[test]
    fn every_bit_of_a_digest_counts() {
        let hasher = KeyHasher::sha256();
        let key = ParsedKey::new(id("a"), "secret");
        let digest = hasher.digest(&key);

        for bit in 0..256 {
            let mut changed = digest.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!hasher.matches(&changed, &key).unwrap(), "{bit}");
        }
        assert!(hasher.matches(&digest, &key).unwrap());
    }

    #[test]
    fn a_decoy_never_matches() {
        let key = ParsedKey::new(id("a"), "secret");

        for hasher in [KeyHasher::sha256(), KeyHasher::peppered(pepper("a", 1))] {
            assert!(!bool::from(hasher.compare_decoy(&hasher.digests(&key))));
        }
    }

    #[test]
    fn peppers_are_rotated_by_name() {
        let key = ParsedKey::new(id("a"), "secret");
        let old = KeyHasher::peppered(pepper("2025", 1));
        let new = KeyHasher::peppered(pepper("2026", 2));
        let both = new.clone().with_previous_pepper(pepper("2025", 1)).unwrap();
        let digest = old.digest(&key);

        assert!(both.matches(&digest, &key).unwrap());
        assert!(new.matches(&digest, &key).is_err());
        assert!(both.digest(&key).pepper().unwrap().starts_with("2026."));
        assert!(both.with_previous_pepper(pepper("2026", 3)).is_err());
    }

    #[test]
    fn other_bytes_of_a_pepper_are_no_wrong_key() {
        let key = ParsedKey::new(id("a"), "secret");
        let digest = KeyHasher::peppered(pepper("2025", 1)).digest(&key);
        let current = KeyHasher::peppered(pepper("2025", 8));
        let previous = KeyHasher::peppered(pepper("2026", 1));
        let previous = previous.with_previous_pepper(pepper("2025", 8)).unwrap();
        for hasher in [current, previous] {
            let error = hasher.matches(&digest, &key).unwrap_err().to_string();
            assert!(error.ends_with("other bytes of the pepper `2025`"), "{error}");
        }
        let error = KeyHasher::peppered(pepper("2026", 1)).matches(&digest, &key).unwrap_err();
        assert!(error.to_string().contains("not configured"), "{error}");

        // Without a fingerprint it is not known.
        let bytes = digest.expose_bytes();
        let named = KeyDigest::from_parts("hmac-sha256", Some("2025"), bytes).unwrap();
        assert!(KeyHasher::peppered(pepper("2025", 1)).matches(&named, &key).unwrap());
        assert!(!KeyHasher::peppered(pepper("2025", 8)).matches(&named, &key).unwrap());
    }

    #[test]
    fn a_digest_without_pepper_is_refused_unless_allowed() {
        let key = ParsedKey::new(id("a"), "secret");
        let plain = KeyHasher::sha256();
        let digest = plain.digest(&key);
        let peppered = KeyHasher::peppered(pepper("p", 1));

        assert!(peppered.matches(&digest, &key).is_err());
        assert!(peppered.clone().with_insecure_unpeppered_keys().matches(&digest, &key).unwrap());
        assert!(plain.matches(&peppered.digest(&key), &key).is_err());
    }

    #[test]
    fn parts_that_do_not_fit_make_no_digest() {
        let cases: &[(&str, Option<&str>, usize, bool)] = &[
            ("sha256", None, 32, true),
            ("hmac-sha256", Some("p"), 32, true),
            ("hmac-sha256", Some("p.0123abcd"), 32, true),
            ("hmac-sha256", Some("p.0123abc"), 32, false),
            ("hmac-sha256", Some("p.0123ABCD"), 32, false),
            ("hmac-sha256", Some(".0123abcd"), 32, false),
            ("hmac-sha256", Some("p."), 32, false),
            ("hmac-sha256", Some("p.0123abcd."), 32, false),
            ("sha256", None, 31, false),
            ("sha256", None, 33, false),
            ("sha256", None, 0, false),
            ("sha256", Some("p"), 32, false),
            ("hmac-sha256", None, 32, false),
            ("hmac-sha256", Some(""), 32, false),
            ("SHA256", None, 32, false),
            ("", None, 32, false),
            ("argon2id", None, 32, false),
        ];
        for (algorithm, pepper, len, expected) in cases {
            let made = KeyDigest::from_parts(algorithm, *pepper, &vec![1; *len]);
            assert_eq!(made.is_ok(), *expected, "{algorithm} {pepper:?} {len}");
            if let Ok(digest) = made {
                assert_eq!(digest.algorithm().as_str(), *algorithm);
                assert_eq!(digest.pepper(), *pepper);
            }
        }
    }

    #[test]
    fn debug_hides_the_bytes() {
        let digest = KeyDigest::from_parts("sha256", None, &[0xab; 32]).unwrap();

        assert_eq!(format!("{digest:?}"), "KeyDigest { algorithm: Sha256, pepper: None, .. }");
    }
}
