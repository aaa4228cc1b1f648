use std::borrow::Cow;
use std::time::Duration;

use http::HeaderName;

use super::{Encoding, Field, SigningSecret, TimestampFormat};
use crate::ConfigError;

/// How a provider signs, as data: where the signature, the time and the id stand, which bytes are signed, with which
/// algorithm, and how old a message may be.
///
/// The [presets](super::presets) are such values, and a scheme of your own is one more.
///
/// # Examples
///
/// `X-Acme-Signature: v1=<hex>` over `<time>.<body>`, with the time in `X-Acme-Time`:
///
/// ```
/// use std::time::Duration;
///
/// use http::HeaderName;
/// use tower_webhook::signature::{Algorithm, Encoding, Field, Part, Scheme, TimestampFormat};
///
/// let header = |name| Field::header(HeaderName::from_static(name));
/// let signature = header("x-acme-signature").with_prefix("v1=");
/// let scheme = Scheme::new("acme", signature, Algorithm::HmacSha256, Encoding::Hex)
///     .with_signed([Part::Timestamp, Part::text("."), Part::Body])
///     .with_timestamp(header("x-acme-time"), TimestampFormat::Seconds)
///     .with_tolerance(Duration::from_secs(300))
///     .with_id(Field::body("/event/id"))
///     .with_event(Field::body("/event/type"));
/// # let _ = scheme;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Scheme {
    pub(super) name: Cow<'static, str>,
    pub(super) signatures: Vec<SignatureField>,
    pub(super) signed: Cow<'static, [Part]>,
    pub(super) timestamp: Option<(Field, TimestampFormat)>,
    pub(super) tolerance: Option<Duration>,
    pub(super) id: Option<Field>,
    pub(super) event: Option<Field>,
    pub(super) digest_parameter: Option<Cow<'static, str>>,
    pub(super) takes_either_port: bool,
}

/// A place of signatures, and how those in it are made.
#[derive(Clone, Debug)]
pub(super) struct SignatureField {
    pub(super) field: Field,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
}

/// A piece of the bytes that are signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// A fixed text, such as a dot.
    Text(Cow<'static, str>),
    /// The body, byte for byte.
    Body,
    /// The time as it was sent.
    Timestamp,
    /// The id of the delivery as it was sent.
    Id,
    /// The public address with its query.
    Url,
    /// The public address, in which some characters are decoded, as HubSpot does: `:/?@!$'()*,;`.
    DecodedUrl,
    /// The method.
    Method,
    /// The parameters of a form, as Twilio signs them: sorted by name and value, without repeats, each name followed by
    /// its value. Nothing separates them.
    Parameters,
}

impl Part {
    /// A fixed text.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }
}

/// How a signature is made of a secret and the signed bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) with SHA-1. Sound for HMAC still, and what Twilio and
    /// Intercom send.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// No signature: the secret itself is sent, as GitLab does by default. It authenticates no part of the message.
    ///
    /// # Security
    ///
    /// [`Hooks`](crate::hook::Hooks) hides the header field from executors and envelopes, as it hides credentials. A token
    /// in the query or the body is not hidden.
    Token,
    /// Ed25519 ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)).
    #[cfg(feature = "ed25519")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ed25519")))]
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5), as ASN.1 in DER.
    #[cfg(feature = "ecdsa")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ecdsa")))]
    EcdsaP256,
}

impl Scheme {
    /// A scheme with the place of its signature. It signs the body, and neither a time nor an id, until more is said.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        signature: Field,
        algorithm: Algorithm,
        encoding: Encoding,
    ) -> Self {
        Self {
            name: name.into(),
            signatures: vec![SignatureField { field: signature, algorithm, encoding }],
            signed: Cow::Borrowed(&[Part::Body]),
            timestamp: None,
            tolerance: None,
            id: None,
            event: None,
            digest_parameter: None,
            takes_either_port: false,
        }
    }

    /// Another place where a signature may be, or another version of it in the same place. One good signature is enough,
    /// of all that are there.
    pub fn or_signature(mut self, field: Field, algorithm: Algorithm, encoding: Encoding) -> Self {
        self.signatures.push(SignatureField { field, algorithm, encoding });
        self
    }

    /// The bytes that are signed, in order. The default is the body alone.
    pub fn with_signed(mut self, parts: impl Into<Vec<Part>>) -> Self {
        self.signed = Cow::Owned(parts.into());
        self
    }

    /// Where the time of the signature is. A message without it is refused.
    pub fn with_timestamp(mut self, field: Field, format: TimestampFormat) -> Self {
        self.timestamp = Some((field, format));
        self
    }

    /// How far the [timestamp](Self::with_timestamp) may be from now, before or after. The default is any distance.
    pub const fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Where the id of the delivery is.
    pub fn with_id(mut self, field: Field) -> Self {
        self.id = Some(field);
        self
    }

    /// Where the type of the event is.
    pub fn with_event(mut self, field: Field) -> Self {
        self.event = Some(field);
        self
    }

    /// The name of a parameter of the query with the SHA-256 of the body in hex, as Twilio adds it for bodies that are no
    /// forms. Where it is there, the body has to fit it, and [`Part::Parameters`] is empty.
    pub fn with_body_digest_in_query(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.digest_parameter = Some(name.into());
        self
    }

    /// Takes a signature of the address with the default port (`:443`, `:80`) where it has none, and without its port where
    /// it has one, as Twilio's libraries do.
    pub const fn with_either_port(mut self) -> Self {
        self.takes_either_port = true;
        self
    }

    /// The name, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the public address has to be known.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        self.signed.iter().any(|part| matches!(part, Part::Url | Part::DecodedUrl))
    }

    /// The tolerance.
    #[must_use]
    pub const fn tolerance(&self) -> Option<Duration> {
        self.tolerance
    }

    /// The header fields in which the secret itself travels.
    pub(super) fn token_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let tokens = self.signatures.iter().filter(|place| place.algorithm == Algorithm::Token);
        tokens.filter_map(|place| place.field.header_name())
    }

    /// Whether a secret fits the algorithm.
    pub(super) fn takes(&self, secret: &SigningSecret) -> bool {
        self.signatures.iter().any(|place| place.algorithm.fits(&secret.key))
    }

    /// Refuses a scheme that could accept nothing.
    ///
    /// # Errors
    ///
    /// Refuses a signed time or id of which the place is not known, and a tolerance without a time.
    pub fn check(&self) -> Result<(), ConfigError> {
        let signs = |part| self.signed.contains(&part);
        if (signs(Part::Timestamp) || self.tolerance.is_some()) && self.timestamp.is_none() {
            return Err(ConfigError::new(
                "a scheme needs the place of the time: it is signed or compared",
            ));
        }
        if signs(Part::Id) && self.id.is_none() {
            return Err(ConfigError::new("a scheme needs the place of the id, which is signed"));
        }
        Ok(())
    }
}
