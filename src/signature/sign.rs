use std::fmt;

use bytes::Bytes;
use http::{Request, Uri};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::scheme::SignatureField;
use super::secret::Key;
use super::signed::{self, SignedBytes};
use super::{Field, Message, Part, Scheme, SigningSecret};
use crate::ConfigError;
use crate::util::hex;

/// Signs requests as a provider does: for senders, and for tests of receivers.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use time::OffsetDateTime;
/// use tower_webhook::signature::{Message, Signer, SigningSecret, presets};
///
/// let secret = SigningSecret::raw("It's a Secret to Everybody")?;
/// let mut request = Request::post("https://example.com/hook").body(Bytes::from("{}"))?;
/// let now = OffsetDateTime::now_utc();
/// Signer::new(presets::github(), &secret)?.sign(&mut request, "72d3162e", now)?;
///
/// let message = Message::new(request.headers(), request.body());
/// assert!(presets::github().verify(&message, &[secret], now).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Signer {
    scheme: Scheme,
    key: SigningKey,
}

#[derive(Clone)]
enum SigningKey {
    Shared(Zeroizing<Box<[u8]>>),
    #[cfg(feature = "ed25519")]
    Ed25519(Box<ed25519_dalek::SigningKey>),
    #[cfg(feature = "ecdsa")]
    EcdsaP256(Box<p256::ecdsa::SigningKey>),
}

impl Signer {
    /// Signs with a shared secret.
    ///
    /// # Errors
    ///
    /// Refuses a public key, with which nothing can be signed, and a scheme that is not
    /// [complete](Scheme::check).
    pub fn new(scheme: Scheme, secret: &SigningSecret) -> Result<Self, ConfigError> {
        match &secret.key {
            Key::Shared(bytes) => Self::with(scheme, SigningKey::Shared(bytes.clone())),
            #[cfg(any(feature = "ed25519", feature = "ecdsa"))]
            _ => Err(ConfigError::new("a public key signs nothing")),
        }
    }

    /// Signs with the private seed of an Ed25519 key: 32 bytes.
    ///
    /// # Errors
    ///
    /// Refuses a scheme that is not [complete](Scheme::check).
    #[cfg(feature = "ed25519")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ed25519")))]
    pub fn ed25519(scheme: Scheme, seed: &[u8; 32]) -> Result<Self, ConfigError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Self::with(scheme, SigningKey::Ed25519(Box::new(key)))
    }

    /// Signs with the private scalar of a P-256 key: 32 bytes.
    ///
    /// # Errors
    ///
    /// Refuses bytes that are no such key, and a scheme that is not [complete](Scheme::check).
    #[cfg(feature = "ecdsa")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ecdsa")))]
    pub fn ecdsa_p256(scheme: Scheme, secret: &[u8; 32]) -> Result<Self, ConfigError> {
        let key = p256::ecdsa::SigningKey::from_slice(secret);
        let key = key.map_err(|_| ConfigError::new("a private key is no scalar of P-256"))?;
        Self::with(scheme, SigningKey::EcdsaP256(Box::new(key)))
    }

    fn with(scheme: Scheme, key: SigningKey) -> Result<Self, ConfigError> {
        scheme.check()?;
        if scheme.signatures.iter().any(|place| key.fits(place)) {
            Ok(Self { scheme, key })
        } else {
            Err(ConfigError::new("the key does not fit the algorithm of the scheme"))
        }
    }

    /// What a receiver verifies these signatures with: the shared secret, or the public key.
    #[must_use]
    pub fn to_secret(&self) -> SigningSecret {
        SigningSecret::of(match &self.key {
            SigningKey::Shared(bytes) => Key::Shared(bytes.clone()),
            #[cfg(feature = "ed25519")]
            SigningKey::Ed25519(key) => Key::Ed25519(Box::new(key.verifying_key())),
            #[cfg(feature = "ecdsa")]
            SigningKey::EcdsaP256(key) => Key::EcdsaP256(Box::new(*key.verifying_key())),
        })
    }

    /// Adds id, time and signature to a request. Its address has to be the public one, with scheme and host, where the
    /// scheme signs it.
    ///
    /// A time that the scheme has in the body, and Mailgun's token and signature, are written into it, which has to be a
    /// JSON object then. Any other id in the body is that of the body. Twilio's digest of the body is added to the query.
    ///
    /// # Errors
    ///
    /// Refuses a body into which nothing can be written.
    pub fn sign(
        &self,
        request: &mut Request<Bytes>,
        id: &str,
        now: OffsetDateTime,
    ) -> Result<(), ConfigError> {
        if let Some(field) = &self.scheme.id
            && (!field.is_in_body() || self.scheme.signed.contains(&Part::Id))
        {
            write(field, id, request)?;
        }
        let mut timestamp = String::new();
        if let Some((field, format)) = &self.scheme.timestamp {
            timestamp = format.write(now);
            write(field, &timestamp, request)?;
        }
        let has_digest = self.add_digest(request)?;
        let signature = {
            let url = request.uri().to_string();
            let message = Message::new(request.headers(), request.body())
                .with_method(request.method())
                .with_url(&url);
            let signed = SignedBytes {
                parts: &self.scheme.signed,
                message: &message,
                url: &url,
                timestamp: &timestamp,
                id,
                has_parameters: !has_digest,
            };
            self.signature(&signed)?
        };
        let place = self.place()?;
        write(&place.field, &place.encoding.encode(&signature), request)
    }

    fn place(&self) -> Result<&SignatureField, ConfigError> {
        let mut fitting = self.scheme.signatures.iter().filter(|place| self.key.fits(place));
        fitting.next().ok_or(ConfigError::new("the key does not fit the algorithm of the scheme"))
    }

    fn signature(&self, signed: &SignedBytes<'_>) -> Result<Vec<u8>, ConfigError> {
        let error = ConfigError::new("the parameters of the form cannot be signed");
        match &self.key {
            SigningKey::Shared(secret) => {
                let mac = self.place()?.algorithm.mac(secret, signed);
                mac.ok().flatten().ok_or(error)
            }
            #[cfg(feature = "ed25519")]
            SigningKey::Ed25519(key) => {
                use ed25519_dalek::Signer as _;

                let bytes = signed.to_vec().map_err(|_| error)?;
                Ok(key.sign(&bytes).to_bytes().to_vec())
            }
            #[cfg(feature = "ecdsa")]
            SigningKey::EcdsaP256(key) => {
                use p256::ecdsa::Signature;
                use p256::ecdsa::signature::hazmat::PrehashSigner as _;

                let mut hash = Sha256::new();
                signed.feed(&mut |bytes| hash.update(bytes)).map_err(|_| error)?;
                let signature: Result<Signature, _> = key.sign_prehash(&hash.finalize());
                let error = ConfigError::new("the message cannot be signed");
                Ok(signature.map_err(|_| error)?.to_der().as_bytes().to_vec())
            }
        }
    }

    /// Adds the digest of a body that is no form to the query, where the scheme has one.
    fn add_digest(&self, request: &mut Request<Bytes>) -> Result<bool, ConfigError> {
        let Some(name) = &self.scheme.digest_parameter else { return Ok(false) };
        let message = Message::new(request.headers(), request.body());
        if message.is_form() || request.body().is_empty() {
            return Ok(false);
        }
        let url = request.uri().to_string();
        if let Ok(None) = signed::query_parameter(&url, name) {
            let separator = if request.uri().query().is_some() { '&' } else { '?' };
            let digest = hex::encode(&Sha256::digest(request.body()));
            let uri = Uri::try_from(format!("{url}{separator}{name}={digest}"));
            *request.uri_mut() = uri.map_err(|_| ConfigError::new("the address is too long"))?;
        }
        Ok(true)
    }
}

impl SigningKey {
    fn fits(&self, place: &SignatureField) -> bool {
        use super::Algorithm::{HmacSha1, HmacSha256, HmacSha512, Token};
        match self {
            Self::Shared(_) => {
                matches!(place.algorithm, HmacSha1 | HmacSha256 | HmacSha512 | Token)
            }
            #[cfg(feature = "ed25519")]
            Self::Ed25519(_) => place.algorithm == super::Algorithm::Ed25519,
            #[cfg(feature = "ecdsa")]
            Self::EcdsaP256(_) => place.algorithm == super::Algorithm::EcdsaP256,
        }
    }
}

/// Writes a value to its place, in a header field or in a JSON body, where a number stays a number.
fn write(field: &Field, value: &str, request: &mut Request<Bytes>) -> Result<(), ConfigError> {
    let Some(pointer) = field.pointer() else {
        return field.write(value, request.headers_mut());
    };
    let error = || ConfigError::new("the scheme writes into the body, which is no JSON object");
    let mut body: Value = serde_json::from_slice(request.body()).map_err(|_| error())?;
    let mut place = &mut body;
    for step in pointer.split('/').skip(1) {
        let Value::Object(members) = place else { return Err(error()) };
        place = members.entry(step).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    *place = match value.parse::<i64>() {
        Ok(number) if place.is_number() => number.into(),
        _ => value.into(),
    };
    *request.body_mut() = Bytes::from(body.to_string());
    Ok(())
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("scheme", &self.scheme.name).finish_non_exhaustive()
    }
}
