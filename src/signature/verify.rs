use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use smol_str::SmolStr;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::error::SignatureErrorKind::{
    self, Malformed, Mismatch, Missing, NoSecret, NoUrl, Stale,
};
use super::scheme::SignatureField;
use super::secret::Key;
use super::signed::{self, SignedBytes};
use super::{
    Algorithm, Coverage, Covered, Field, Message, Part, Scheme, SignatureError, SigningSecret,
};

use crate::util::hex;

/// A message whose signature is good: what the signature authenticates, and which secret made it.
///
/// # Security
///
/// A good signature does not make the whole request trustworthy. What [`covers`](Self::covers) does not name, an
/// attacker can change in a captured message and send it again.
#[derive(Clone)]
pub struct Verified {
    covers: Coverage,
    secret: SmolStr,
    signed_id: Option<Box<str>>,
    signed_at: Option<OffsetDateTime>,
    fingerprint: [u8; 32],
}

impl Verified {
    /// What the signature authenticates.
    #[must_use]
    pub const fn covers(&self) -> Coverage {
        self.covers
    }

    /// The name of the secret that fits. Watch it to see when an old one is out of use.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The id of the delivery, where it is one of the [signed parts](Part::Id). An id in a signed body is in
    /// [`Delivery::id`].
    #[must_use]
    pub fn signed_id(&self) -> Option<&str> {
        self.signed_id.as_deref()
    }

    /// The time at which the sender signed, if the scheme has one.
    #[must_use]
    pub const fn signed_at(&self) -> Option<OffsetDateTime> {
        self.signed_at
    }

    /// A digest that is the same for the same signature, and for no other.
    pub(super) const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("covers", &self.covers)
            .field("secret", &self.secret)
            .field("signed_at", &self.signed_at)
            .finish_non_exhaustive()
    }
}

/// What a sender says about a message: its id and the type of its event, each with whether the signature authenticates
/// it. Made by [`Scheme::delivery`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The id.
    pub id: Option<String>,
    /// Whether the signature authenticates the id.
    pub is_id_signed: bool,
    /// The type of the event.
    pub event: Option<String>,
    /// Whether the signature authenticates the type of the event.
    pub is_event_signed: bool,
}

/// A place, and the signatures that are there, decoded.
type Presented<'s> = (&'s SignatureField, Vec<Vec<u8>>);

impl Scheme {
    /// Checks the signature of a message, at a point in time.
    ///
    /// The bytes are those that were sent, and the body need not be UTF-8. Comparisons take constant time. Each secret
    /// that is valid at that time costs one pass over the signed bytes, until one fits.
    ///
    /// # Errors
    ///
    /// [`SignatureErrorKind`] says why. Answer all of them alike, but for those that [are
    /// ours](SignatureErrorKind::is_ours).
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue};
    /// use time::OffsetDateTime;
    /// use tower_webhook::signature::{Covered, Message, SigningSecret, presets};
    ///
    /// let secrets = [SigningSecret::raw("It's a Secret to Everybody")?];
    /// let mut headers = HeaderMap::new();
    /// headers.insert(
    ///     "x-hub-signature-256",
    ///     HeaderValue::from_static("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    /// );
    /// let message = Message::new(&headers, b"Hello, World!");
    ///
    /// let verified = presets::github().verify(&message, &secrets, OffsetDateTime::now_utc())?;
    /// assert!(verified.covers().contains(Covered::Body));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(
        &self,
        message: &Message<'_>,
        secrets: &[SigningSecret],
        now: OffsetDateTime,
    ) -> Result<Verified, SignatureError> {
        Ok(self.verified(message, secrets, now)?)
    }

    fn verified(
        &self,
        message: &Message<'_>,
        secrets: &[SigningSecret],
        now: OffsetDateTime,
    ) -> Result<Verified, SignatureErrorKind> {
        let presented = self.presented(message)?;
        let (timestamp, signed_at) = self.fresh_timestamp(message, now)?.unzip();
        let id = self.required(&Part::Id, self.id.as_ref(), message)?;
        let digest = self.check_digest(message)?;
        if self.signs_url() && message.url.is_none() {
            return Err(NoUrl);
        }

        for url in self.addresses(message.url.unwrap_or_default()) {
            let signed = SignedBytes {
                parts: &self.signed,
                message,
                url: &url,
                timestamp: timestamp.as_deref().unwrap_or_default(),
                id: id.as_deref().unwrap_or_default(),
                has_parameters: !digest,
            };
            for secret in secrets.iter().filter(|secret| secret.is_valid_at(now)) {
                for (place, signatures) in &presented {
                    if place.algorithm.fits(&secret.key)
                        && let Some(fingerprint) =
                            place.algorithm.matching(&secret.key, &signed, signatures)?
                    {
                        return Ok(Verified {
                            covers: self.coverage(digest),
                            secret: secret.name().into(),
                            signed_id: id.as_deref().map(Into::into),
                            signed_at,
                            fingerprint,
                        });
                    }
                }
            }
        }
        // Not by what was sent: the sender could make a bad signature look like a fault of ours.
        let is_usable = |secret: &SigningSecret| secret.is_valid_at(now) && self.takes(secret);
        Err(if secrets.iter().any(is_usable) { Mismatch } else { NoSecret })
    }

    /// What the sender says about a message that [was verified](Self::verify). Reads the body if the id or the event is
    /// in it.
    pub fn delivery(&self, message: &Message<'_>, verified: &Verified) -> Delivery {
        let find = |field: &Option<Field>| {
            let value = field.as_ref().and_then(|field| field.value(message).ok().flatten());
            let is_signed = field.as_ref().is_some_and(|field| self.is_signed(field, verified));
            let is_signed = is_signed && value.is_some();
            (value.map(Cow::into_owned), is_signed)
        };
        let ((id, is_id_signed), (event, is_event_signed)) = (find(&self.id), find(&self.event));
        Delivery { id, is_id_signed, event, is_event_signed }
    }

    /// Whether the signature authenticates a field.
    fn is_signed(&self, field: &Field, verified: &Verified) -> bool {
        let is_signed_as =
            |part: Part, place: Option<&Field>| place == Some(field) && self.signed.contains(&part);
        is_signed_as(Part::Id, self.id.as_ref())
            || is_signed_as(Part::Timestamp, self.timestamp.as_ref().map(|(field, _)| field))
            || field.is_in_body() && verified.covers.contains(Covered::Body)
    }

    /// Whether something is in a place of signatures, well formed or not.
    pub(super) fn is_attempted(&self, message: &Message<'_>) -> bool {
        let has_some = |values: Result<Vec<_>, _>| values.map_or(true, |values| !values.is_empty());
        self.signatures.iter().any(|place| has_some(place.field.values(message)))
    }

    /// The signatures that are there, decoded, by their place. What cannot be decoded is of another version.
    fn presented(&self, message: &Message<'_>) -> Result<Vec<Presented<'_>>, SignatureErrorKind> {
        let mut presented = Vec::new();
        let mut error = Missing;
        for place in &self.signatures {
            match place.field.values(message) {
                Ok(texts) if texts.is_empty() => {}
                Ok(texts) => {
                    let decoded = texts.iter().filter_map(|text| place.encoding.decode(text));
                    presented.push((place, decoded.collect::<Vec<_>>()));
                }
                Err(kind) => error = kind,
            }
        }
        match presented.iter().all(|(_, signatures)| signatures.is_empty()) {
            true if presented.is_empty() => Err(error),
            true => Err(Malformed),
            false => Ok(presented),
        }
    }

    /// The time of the signature, if the scheme has one, within the tolerance.
    fn fresh_timestamp<'m>(
        &self,
        message: &Message<'m>,
        now: OffsetDateTime,
    ) -> Result<Option<(Cow<'m, str>, OffsetDateTime)>, SignatureErrorKind> {
        let Some((field, format)) = &self.timestamp else { return Ok(None) };
        let text = field.value(message)?.ok_or(Malformed)?;
        let time = format.parse(&text).ok_or(Malformed)?;
        match self.tolerance {
            Some(tolerance) if (now - time).unsigned_abs() > tolerance => Err(Stale),
            _ => Ok(Some((text, time))),
        }
    }

    /// The value of a field that is signed. A field that is not signed is not read.
    fn required<'m>(
        &self,
        part: &Part,
        field: Option<&Field>,
        message: &Message<'m>,
    ) -> Result<Option<Cow<'m, str>>, SignatureErrorKind> {
        if !self.signed.contains(part) {
            return Ok(None);
        }
        // An empty one would be shared by all deliveries without an id.
        let value = field.ok_or(Malformed)?.value(message)?.filter(|value| !value.is_empty());
        value.map(Some).ok_or(Malformed)
    }

    /// Whether the address has the digest of the body, which then has to be right. A body that neither the digest nor the
    /// parameters of a form cover is refused.
    fn check_digest(&self, message: &Message<'_>) -> Result<bool, SignatureErrorKind> {
        let Some(name) = &self.digest_parameter else { return Ok(false) };
        match signed::query_parameter(message.url.unwrap_or_default(), name)? {
            Some(digest) => {
                let actual = Sha256::digest(message.body);
                let sent = hex::decode(&digest).ok_or(Malformed)?;
                if bool::from(actual.as_slice().ct_eq(&sent)) { Ok(true) } else { Err(Mismatch) }
            }
            None if message.body.is_empty() || message.is_form() => Ok(false),
            None => Err(Malformed),
        }
    }

    fn coverage(&self, has_digest: bool) -> Coverage {
        if self.signatures.iter().all(|place| place.algorithm == Algorithm::Token) {
            return Coverage::NOTHING;
        }
        let parts = self.signed.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Body => Some(Covered::Body),
            Part::Timestamp => Some(Covered::Timestamp),
            Part::Id => Some(Covered::Id),
            Part::Url | Part::DecodedUrl => Some(Covered::Url),
            Part::Method => Some(Covered::Method),
            Part::Parameters => (!has_digest).then_some(Covered::Parameters),
        });
        parts.chain(has_digest.then_some(Covered::Body)).collect()
    }

    /// The forms of the address that the sender may have signed.
    fn addresses<'u>(&self, url: &'u str) -> Vec<Cow<'u, str>> {
        let other = self.takes_either_port.then(|| signed::with_other_port(url)).flatten();
        [Cow::Borrowed(url)].into_iter().chain(other.map(Cow::Owned)).collect()
    }
}

impl Algorithm {
    pub(super) const fn fits(self, key: &Key) -> bool {
        match key {
            Key::Shared(_) => {
                matches!(self, Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 | Self::Token)
            }
            #[cfg(feature = "ed25519")]
            Key::Ed25519(_) => matches!(self, Self::Ed25519),
            #[cfg(feature = "ecdsa")]
            Key::EcdsaP256(_) => matches!(self, Self::EcdsaP256),
        }
    }

    /// A digest of the signature that fits, if one does.
    fn matching(
        self,
        key: &Key,
        signed: &SignedBytes<'_>,
        signatures: &[Vec<u8>],
    ) -> Result<Option<[u8; 32]>, SignatureErrorKind> {
        Ok(match key {
            Key::Shared(secret) => {
                let Some(mac) = self.mac(secret, signed)? else { return Ok(None) };
                // Digests have one length, so that the comparison does not tell that of a token.
                let digest: [u8; 32] = Sha256::digest(&mac).into();
                let fits =
                    |sent: &Vec<u8>| bool::from(Sha256::digest(sent).as_slice().ct_eq(&digest));
                signatures.iter().any(fits).then_some(digest)
            }
            #[cfg(feature = "ed25519")]
            Key::Ed25519(key) => {
                let bytes = signed.to_vec()?;
                let fits = |sent: &&Vec<u8>| {
                    let signature = ed25519_dalek::Signature::from_slice(sent);
                    signature.is_ok_and(|signature| key.verify_strict(&bytes, &signature).is_ok())
                };
                signatures.iter().find(fits).map(|sent| Sha256::digest(sent).into())
            }
            #[cfg(feature = "ecdsa")]
            Key::EcdsaP256(key) => {
                use p256::ecdsa::Signature;
                use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

                let mut hash = Sha256::new();
                signed.feed(&mut |bytes| hash.update(bytes))?;
                let hash = hash.finalize();
                let fits = |sent: &Vec<u8>| {
                    let signature = Signature::from_der(sent).ok()?;
                    key.verify_prehash(&hash, &signature).ok()?;
                    // A signature has a twin with the other `s`, which an attacker can make.
                    Some(Sha256::digest(signature.normalize_s().to_bytes()).into())
                };
                signatures.iter().find_map(fits)
            }
        })
    }

    /// What the sender makes of a shared secret. `None`: the algorithm has none.
    pub(super) fn mac(
        self,
        secret: &[u8],
        signed: &SignedBytes<'_>,
    ) -> Result<Option<Vec<u8>>, SignatureErrorKind> {
        match self {
            Self::HmacSha1 => hmac::<Hmac<Sha1>>(secret, signed),
            Self::HmacSha256 => hmac::<Hmac<Sha256>>(secret, signed),
            Self::HmacSha512 => hmac::<Hmac<Sha512>>(secret, signed),
            Self::Token => Ok(Some(secret.to_vec())),
            #[cfg(any(feature = "ed25519", feature = "ecdsa"))]
            _ => Ok(None),
        }
    }
}

fn hmac<M: Mac + KeyInit>(
    secret: &[u8],
    signed: &SignedBytes<'_>,
) -> Result<Option<Vec<u8>>, SignatureErrorKind> {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else { return Ok(None) };
    signed.feed(&mut |bytes| mac.update(bytes))?;
    Ok(Some(mac.finalize().into_bytes().to_vec()))
}
