use std::error::Error;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::SealedSecret;
use crate::key::GenerateError;
use crate::key::digest::sha256;
use crate::key::format::system_random;
use crate::key::secret::Secret;

const NONCE_LEN: usize = 24;

/// The keys under which secrets are sealed, so that they can be shown again.
///
/// 1. A secret is sealed by XChaCha20-Poly1305 ([draft-irtf-cfrg-xchacha]) under the newest key, with a
///    random nonce of 192 bits.
/// 2. It is bound to a context, such as the id of its record, and opens in no other one: write access to the
///    store is not enough to read the secret of another owner.
/// 3. What was sealed under a [previous](Self::with_previous) key opens too.
///
/// Clones share the keys, which are wiped from memory with the last of them.
///
/// # Security
///
/// **A sealing key and a copy of the store give every secret in clear.** A digest has no such key; seal
/// secrets only where their owner must see them again. A sealing key has 256 bits from a
/// cryptographic source, is kept apart from the store and its backups, and only the process can read it.
/// If it is lost, verification still works, and the secrets cannot be recovered.
///
/// Sealing does not hide the length of a secret.
///
/// # Examples
///
/// ```
/// use tower_webhook::credential::Secret;
/// use tower_webhook::key::SealingKeys;
///
/// let old = SealingKeys::new([1; 32]);
/// let sealed = old.seal(&Secret::new("opensesame"), "hook 7")?;
///
/// let keys = SealingKeys::new([2; 32]).with_previous([1; 32]);
/// assert_eq!(keys.open(&sealed, "hook 7")?.expose_secret(), "opensesame");
/// assert!(keys.open(&sealed, "hook 8").is_err());
///
/// // When every secret was sealed anew, the old key can go.
/// assert!(!keys.is_current(&sealed));
/// let sealed = keys.seal(&keys.open(&sealed, "hook 7")?, "hook 7")?;
/// assert!(keys.is_current(&sealed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [draft-irtf-cfrg-xchacha]: https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03
#[derive(Clone)]
pub struct SealingKeys {
    current: Arc<SealingKey>,
    previous: Vec<Arc<SealingKey>>,
}

struct SealingKey {
    name: String,
    bytes: Zeroizing<[u8; 32]>,
}

impl SealingKeys {
    /// Seals and opens under this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { current: Arc::new(SealingKey::new(key)), previous: Vec::new() }
    }

    /// Opens what was sealed under an earlier key, too.
    #[must_use]
    pub fn with_previous(mut self, key: [u8; 32]) -> Self {
        self.previous.push(Arc::new(SealingKey::new(key)));
        self
    }

    /// Seals a secret for a context.
    ///
    /// # Errors
    ///
    /// Returns an error if the random source fails, or the secret has more than about 3,000 bytes.
    pub fn seal(&self, secret: &Secret, context: &str) -> Result<SealedSecret, GenerateError> {
        let mut sealed = vec![0; NONCE_LEN];
        system_random(&mut sealed)?;
        let ciphertext = self.current.encrypt(&sealed, secret, context)?;
        sealed.extend(ciphertext);
        let sealed = SealedSecret::from_parts(&self.current.name, &URL_SAFE_NO_PAD.encode(sealed));
        SealedSecret::parse(sealed.as_str())
            .map_err(|_| GenerateError::new("the secret is too long to be sealed"))
    }

    /// Opens what was sealed for this context.
    ///
    /// # Errors
    ///
    /// Returns an error if none of the keys sealed it, it was sealed for another context, or it was changed
    /// since.
    pub fn open(&self, sealed: &SealedSecret, context: &str) -> Result<Secret, OpenError> {
        let (name, payload) = sealed.parts().ok_or(OpenError(OpenErrorKind::Damaged))?;
        let payload = URL_SAFE_NO_PAD.decode(payload);
        let payload = payload.map_err(|_| OpenError(OpenErrorKind::Damaged))?;
        let mut error = OpenErrorKind::UnknownSealingKey;
        // A name is short, and two keys may have the same one.
        for key in self.all().filter(|key| key.name == name) {
            match key.decrypt(&payload, context) {
                Some(secret) => return Ok(secret),
                None => error = OpenErrorKind::Damaged,
            }
        }
        Err(OpenError(error))
    }

    /// Whether the secret was sealed under the newest key.
    #[must_use]
    pub fn is_current(&self, sealed: &SealedSecret) -> bool {
        sealed.sealing_key() == self.current.name
    }

    fn all(&self) -> impl Iterator<Item = &SealingKey> {
        [&self.current].into_iter().chain(&self.previous).map(|key| &**key)
    }
}

impl SealingKey {
    fn new(key: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(key);
        let digest = sha256(&[b"tower-webhook: name of a sealing key", bytes.as_slice()]);
        let name = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self { name, bytes }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }

    fn encrypt(
        &self,
        nonce: &[u8],
        secret: &Secret,
        context: &str,
    ) -> Result<Vec<u8>, GenerateError> {
        let fail = || GenerateError::new("the secret cannot be sealed");
        let nonce = XNonce::try_from(nonce).map_err(|_| fail())?;
        let msg = secret.expose_secret().as_bytes();
        let payload = Payload { msg, aad: context.as_bytes() };
        self.cipher().encrypt(&nonce, payload).map_err(|_| fail())
    }

    fn decrypt(&self, sealed: &[u8], context: &str) -> Option<Secret> {
        let (nonce, msg) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let payload = Payload { msg, aad: context.as_bytes() };
        let clear = Zeroizing::new(self.cipher().decrypt(&nonce, payload).ok()?);
        std::str::from_utf8(&clear).ok().map(Secret::new)
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous: Vec<_> = self.previous.iter().map(|key| &key.name).collect();
        f.debug_struct("SealingKeys")
            .field("current", &self.current.name)
            .field("previous", &previous)
            .finish()
    }
}

/// A secret that could not be opened.
#[derive(Clone, Debug)]
pub struct OpenError(OpenErrorKind);

/// Why a secret could not be opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// It was sealed under a key that is not among those given.
    UnknownSealingKey,
    /// It was changed since it was sealed, or was sealed for another context.
    Damaged,
}

impl OpenError {
    /// The reason.
    #[must_use]
    pub const fn kind(&self) -> OpenErrorKind {
        self.0
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            OpenErrorKind::UnknownSealingKey => "the secret was sealed under an unknown key",
            OpenErrorKind::Damaged => "the sealed secret was changed or belongs elsewhere",
        })
    }
}

impl Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "key k1 of ann";

    fn keys(byte: u8) -> SealingKeys {
        SealingKeys::new([byte; 32])
    }

    fn open(
        keys: &SealingKeys,
        sealed: &SealedSecret,
        context: &str,
    ) -> Result<String, OpenErrorKind> {
        let opened = keys.open(sealed, context);
        opened.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.kind())
    }

    #[test]
    fn a_secret_opens_under_its_key_and_in_its_context_only() {
        let sealed = keys(1).seal(&Secret::new("opensesame"), CONTEXT).unwrap();

        assert_eq!(open(&keys(1), &sealed, CONTEXT).as_deref(), Ok("opensesame"));
        assert_eq!(open(&keys(1), &sealed, "key k2 of ann"), Err(OpenErrorKind::Damaged));
        assert_eq!(open(&keys(2), &sealed, CONTEXT), Err(OpenErrorKind::UnknownSealingKey));
    }

    #[test]
    fn a_secret_of_any_length_opens() {
        for length in [0, 1, 43, 255, 3000] {
            let text = "é".repeat(length / 2);
            let sealed = keys(1).seal(&Secret::new(text.as_str()), CONTEXT).unwrap();
            assert_eq!(open(&keys(1), &sealed, CONTEXT).as_deref(), Ok(text.as_str()));
        }
        assert!(keys(1).seal(&Secret::new("a".repeat(4000)), CONTEXT).is_err());
    }

    #[test]
    fn a_previous_key_opens_and_does_not_seal() {
        let sealed = keys(1).seal(&Secret::new("opensesame"), CONTEXT).unwrap();
        let rotated = keys(2).with_previous([1; 32]);

        assert_eq!(open(&rotated, &sealed, CONTEXT).as_deref(), Ok("opensesame"));
        assert!(!rotated.is_current(&sealed));
        let again = rotated.seal(&Secret::new("opensesame"), CONTEXT).unwrap();
        assert!(rotated.is_current(&again));
        assert_eq!(open(&keys(2), &again, CONTEXT).as_deref(), Ok("opensesame"));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let sealed = keys(1).seal(&Secret::new("opensesame"), CONTEXT).unwrap();
        let text = sealed.as_str();
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let Ok(changed) = SealedSecret::parse(&changed) else { continue };
            assert!(keys(1).open(&changed, CONTEXT).is_err(), "{at}");
        }
        for cut in 13..text.len() {
            assert!(keys(1).open(&SealedSecret::parse(&text[..cut]).unwrap(), CONTEXT).is_err());
        }
    }

    #[test]
    fn equal_secrets_are_sealed_differently() {
        let seal = || keys(1).seal(&Secret::new("opensesame"), CONTEXT).unwrap();
        assert!(seal() != seal());
    }

    /// A store that was written by an earlier version of this crate stays readable.
    #[test]
    fn a_text_of_version_1_stays_readable() {
        let sealed = SealedSecret::parse(VERSION_1).unwrap();
        assert_eq!(open(&keys(7), &sealed, CONTEXT).as_deref(), Ok("opensesame"));
    }

    /// Sealed under 32 bytes of 7, for the context above. libsodium opens it as well.
    const VERSION_1: &str =
        "v1.d4000e85.aMoRrNNcKAohZzpszgj1P-7lom_PlBtMtqk2DevCLc-1Oh5-VKOWyH225jpIi_CS5qA";

    #[test]
    fn nothing_shows_a_key_or_a_secret() {
        let keys = SealingKeys::new([0xaa; 32]).with_previous([0xbb; 32]);
        let sealed = keys.seal(&Secret::new("opensesame"), CONTEXT).unwrap();
        let shown = format!("{keys:?} {sealed:?} {:?}", keys.open(&sealed, "other"));
        for hidden in ["opensesame", "170", "187", "aaaa", "bbbb", &sealed.as_str()[12..]] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}
