use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smol_str::SmolStr;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::ConfigError;
use crate::util::hex;

/// A secret that is shared with a sender, or the public key of one.
///
/// How a text becomes the bytes of a key depends on the provider, and the text alone does not say it: `whsec_` begins a
/// secret in base64 of Standard Webhooks, and belongs to the secret itself at Stripe. So there is no `From<&str>`.
///
/// | provider's text | constructor |
/// |---|---|
/// | taken literally: GitHub, Stripe, Slack, most others | [`raw`](Self::raw) |
/// | `whsec_..` of Standard Webhooks and Svix | [`standard`](Self::standard) |
/// | base64, hex | [`base64`](Self::base64), [`hex`](Self::hex) |
///
/// A scheme is checked with several of them, so that a secret can be replaced without an interruption: give each a
/// [name](Self::named) for the log, and the old one an [end](Self::valid_until).
///
/// `Debug` hides the bytes, and they are wiped from memory when the last copy is dropped.
///
/// # Examples
///
/// ```
/// use time::macros::datetime;
/// use tower_webhook::signature::SigningSecret;
///
/// let secrets = [
///     SigningSecret::raw("correct horse battery staple")?.named("2026-11")?,
///     SigningSecret::raw("It's a Secret to Everybody")?
///         .named("2025-11")?
///         .valid_until(datetime!(2026-12-01 0:00 UTC)),
/// ];
/// # let _ = secrets;
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SigningSecret {
    name: SmolStr,
    pub(super) key: Key,
    from: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

/// What a signature is checked with.
#[derive(Clone)]
pub(super) enum Key {
    Shared(Zeroizing<Box<[u8]>>),
    #[cfg(feature = "ed25519")]
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    #[cfg(feature = "ecdsa")]
    EcdsaP256(Box<p256::ecdsa::VerifyingKey>),
}

impl Key {
    /// The bytes of a shared secret.
    pub(super) fn shared(&self) -> Option<&[u8]> {
        match self {
            Self::Shared(bytes) => Some(bytes),
            #[cfg(any(feature = "ed25519", feature = "ecdsa"))]
            _ => None,
        }
    }
}

/// The fewest bytes of a shared secret: the 128 bits that an attacker cannot try out.
const MIN_BYTES: usize = 16;

/// Base64 of a secret: padding is often lost where it is copied.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl SigningSecret {
    /// A secret that is taken literally, byte for byte. `whsec_` in front of it belongs to it.
    ///
    /// # Errors
    ///
    /// Refuses fewer than 16 bytes, and white space at an end: the line end of a file is not a part of the secret.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bytes = bytes.as_ref();
        if bytes.trim_ascii().len() != bytes.len() {
            return Err(ConfigError::new("a signing secret has white space at an end"));
        }
        Self::shared(bytes.to_vec())
    }

    /// A secret in base64, with or without padding, of the standard alphabet.
    ///
    /// # Errors
    ///
    /// Refuses what is not base64, and fewer than 16 bytes.
    pub fn base64(text: &str) -> Result<Self, ConfigError> {
        Self::shared(decode_base64(text)?)
    }

    /// A secret in hex, of either case.
    ///
    /// # Errors
    ///
    /// Refuses what is not hex, and fewer than 16 bytes.
    pub fn hex(text: &str) -> Result<Self, ConfigError> {
        let bytes = hex::decode(text);
        Self::shared(bytes.ok_or(ConfigError::new("a signing secret is not hex"))?)
    }

    /// A secret in the form of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
    /// `whsec_` and base64, or base64 alone.
    ///
    /// # Errors
    ///
    /// Refuses other texts, and fewer than 16 or more than 64 bytes.
    pub fn standard(text: &str) -> Result<Self, ConfigError> {
        let bytes = decode_base64(text.strip_prefix("whsec_").unwrap_or(text))?;
        if bytes.len() > 64 {
            return Err(ConfigError::new("a secret of Standard Webhooks has at most 64 bytes"));
        }
        Self::shared(bytes)
    }

    /// As [`raw`](Self::raw), without a lower limit but that it is not empty.
    ///
    /// # Security
    ///
    /// An attacker who sees one signed message can try out short secrets.
    ///
    /// # Errors
    ///
    /// Refuses an empty secret.
    pub fn insecure_short(bytes: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(ConfigError::new("a signing secret is empty"));
        }
        Ok(Self::of(Key::Shared(Zeroizing::new(bytes.into()))))
    }

    /// The public key of an Ed25519 sender, 32 bytes in hex as Discord shows it, or `whpk_` and base64 as Standard
    /// Webhooks writes it.
    ///
    /// # Errors
    ///
    /// Refuses other texts, and keys that are no points of the curve or of small order.
    #[cfg(feature = "ed25519")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ed25519")))]
    pub fn ed25519_public(text: &str) -> Result<Self, ConfigError> {
        let error =
            ConfigError::new("an Ed25519 public key is 32 bytes in hex, or whpk_ and base64");
        let bytes = match text.strip_prefix("whpk_") {
            Some(text) => LENIENT.decode(text).ok(),
            None => hex::decode(text),
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(error)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes);
        let key = key.ok().filter(|key| !key.is_weak());
        let error = ConfigError::new("an Ed25519 public key is no usable point of the curve");
        Ok(Self::of(Key::Ed25519(Box::new(key.ok_or(error)?))))
    }

    /// The public key of a sender that signs with ECDSA on P-256: base64 of its SPKI in DER, as SendGrid shows it.
    ///
    /// # Errors
    ///
    /// Refuses other texts, and keys of other curves.
    #[cfg(feature = "ecdsa")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ecdsa")))]
    pub fn ecdsa_p256_public(text: &str) -> Result<Self, ConfigError> {
        use p256::pkcs8::DecodePublicKey as _;

        let error = ConfigError::new("an ECDSA public key is base64 of an SPKI in DER, on P-256");
        let bytes = LENIENT.decode(text).ok();
        let key = bytes.and_then(|der| p256::ecdsa::VerifyingKey::from_public_key_der(&der).ok());
        Ok(Self::of(Key::EcdsaP256(Box::new(key.ok_or(error)?))))
    }

    /// A name for the log and for [`Verified::secret`](super::Verified::secret). The default is empty.
    ///
    /// # Errors
    ///
    /// Refuses other names than 1 to 32 of `a-z`, `0-9`, `-` and `_`.
    pub fn named(mut self, name: &str) -> Result<Self, ConfigError> {
        let is_fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if name.is_empty() || name.len() > 32 || !name.bytes().all(is_fine) {
            return Err(ConfigError::new("the name of a secret is 1 to 32 of a-z, 0-9, - and _"));
        }
        self.name = name.into();
        Ok(self)
    }

    /// From when on the secret is good, that moment included.
    #[must_use]
    pub const fn valid_from(mut self, time: OffsetDateTime) -> Self {
        self.from = Some(time);
        self
    }

    /// Until when the secret is good, that moment excluded.
    #[must_use]
    pub const fn valid_until(mut self, time: OffsetDateTime) -> Self {
        self.until = Some(time);
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the secret is good at a time.
    #[must_use]
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// The same secret, of other bytes and good at any time.
    pub(super) fn with_bytes(&self, bytes: &[u8]) -> Self {
        let key = Key::Shared(Zeroizing::new(bytes.into()));
        Self { key, from: None, until: None, ..self.clone() }
    }

    fn shared(bytes: Vec<u8>) -> Result<Self, ConfigError> {
        let bytes = Zeroizing::new(bytes.into_boxed_slice());
        if bytes.len() < MIN_BYTES {
            return Err(ConfigError::new("a signing secret has fewer than 16 bytes"));
        }
        Ok(Self::of(Key::Shared(bytes)))
    }

    pub(super) const fn of(key: Key) -> Self {
        Self { name: SmolStr::new_static(""), key, from: None, until: None }
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, ConfigError> {
    LENIENT.decode(text).map_err(|_| ConfigError::new("a signing secret is not base64"))
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("name", &self.name).finish_non_exhaustive()
    }
}
