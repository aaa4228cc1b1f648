use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smol_str::SmolStr;
use time::{Duration, OffsetDateTime};

use super::secret::LENIENT;
use super::{Message, Scheme, SignatureErrorKind, SigningSecret, TimestampFormat, presets};

use crate::util::hex;

/// A likely reason why a signature is not good, for the log of the receiver.
///
/// Made by [`Scheme::diagnose`]. It shows nothing of the message, of a secret or of a digest.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignatureHint {
    /// The headers are those of another provider, by its name.
    OtherScheme(SmolStr),
    /// The signature fits, and the clocks differ by this much. Positive: the message is from the past.
    Skew(Duration),
    /// The timestamp is in milliseconds, and the scheme has seconds.
    Milliseconds,
    /// The signature fits a secret outside of its time, by its name.
    OutOfTime(SmolStr),
    /// The signature fits if the secret is taken literally.
    SecretIsLiteral,
    /// The signature fits if the secret is decoded as base64, behind `whsec_` if that is there.
    SecretIsBase64,
    /// The signature fits if the secret is decoded as hex.
    SecretIsHex,
    /// The signature fits if the secret has a line end, which the sender has included.
    SecretHasLineEnd,
    /// The signature fits if the body has a line end less.
    BodyGainedLineEnd,
    /// The signature fits if the body has a line end more.
    BodyLostLineEnd,
    /// The signature fits `http` in place of `https`, or the other way around.
    OtherUrlScheme,
    /// The signature fits the address with a `/` more or less at the end of its path.
    OtherSlash,
}

impl fmt::Display for SignatureHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::OtherScheme(name) => return write!(f, "the headers are those of {name}"),
            Self::Skew(skew) => {
                let (hours, seconds) = (skew.whole_hours(), skew.whole_seconds());
                let direction = if skew.is_negative() { "ahead" } else { "behind" };
                return match hours.abs() {
                    0 => write!(f, "it fits, and its time is {} s {direction}", seconds.abs()),
                    hours => write!(f, "it fits, and its time is {hours} h {direction}"),
                };
            }
            Self::OutOfTime(name) => {
                return write!(f, "it fits the secret \"{name}\", which is not good now");
            }
            Self::Milliseconds => "the timestamp is in milliseconds",
            Self::SecretIsLiteral => "it fits if the secret is taken literally",
            Self::SecretIsBase64 => "it fits if the secret is decoded as base64",
            Self::SecretIsHex => "it fits if the secret is decoded as hex",
            Self::SecretHasLineEnd => "it fits if the secret has a line end",
            Self::BodyGainedLineEnd => "it fits the body without its line end",
            Self::BodyLostLineEnd => "it fits the body with a line end",
            Self::OtherUrlScheme => "it fits the address with the other one of http and https",
            Self::OtherSlash => "it fits the address with a slash more or less",
        };
        f.write_str(text)
    }
}

impl Scheme {
    /// Tries out why a signature is not good: the mistakes that users of webhooks report.
    ///
    /// # Security
    ///
    /// For the log of the receiver only: the sender of a bad signature must not be given it. Each call costs about a dozen
    /// checks, so limit how often an unknown sender can cause one.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Request;
    /// use time::OffsetDateTime;
    /// use tower_webhook::signature::{Message, SignatureHint, Signer, SigningSecret, presets};
    ///
    /// let now = OffsetDateTime::now_utc();
    /// let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    /// let mut request = Request::post("/").body(Bytes::from("{}"))?;
    /// Signer::new(presets::svix(), &SigningSecret::standard(text)?)?.sign(&mut request, "1", now)?;
    ///
    /// let message = Message::new(request.headers(), request.body());
    /// let hints = presets::svix().diagnose(&message, &[SigningSecret::raw(text)?], now);
    /// assert_eq!(hints, [SignatureHint::SecretIsBase64]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diagnose(
        &self,
        message: &Message<'_>,
        secrets: &[SigningSecret],
        now: OffsetDateTime,
    ) -> Vec<SignatureHint> {
        let mut hints = Vec::new();
        let at_any_time = Self { tolerance: None, ..self.clone() };
        let verified = at_any_time.verify(message, secrets, now);
        let is_absent =
            verified.as_ref().is_err_and(|error| error.kind() == SignatureErrorKind::Missing);
        if is_absent {
            let other = presets::distinct().into_iter().filter(|other| other.is_in(message));
            hints.extend(other.map(|other| SignatureHint::OtherScheme(other.name().into())));
            return hints;
        }
        if self.is_in_milliseconds(message) {
            hints.push(SignatureHint::Milliseconds);
        }
        if let Ok(verified) = verified {
            let skew = verified.signed_at().map(|signed_at| now - signed_at);
            let skew = skew.filter(|skew| Some(skew.unsigned_abs()) > self.tolerance);
            hints.extend(skew.map(SignatureHint::Skew));
            return hints;
        }
        let fits = |message: &Message<'_>, secrets: &[SigningSecret]| {
            at_any_time.verify(message, secrets, now).is_ok()
        };
        for secret in secrets {
            let fits_bytes = |bytes: &[u8]| fits(message, &[secret.with_bytes(bytes)]);
            let Some(bytes) = secret.key.shared() else { continue };
            if !secret.is_valid_at(now) && fits_bytes(bytes) {
                hints.push(SignatureHint::OutOfTime(secret.name().into()));
                continue;
            }
            hints.extend(of_secret(bytes, &fits_bytes));
        }
        hints.extend(of_body(message.body, &|body| fits(&Message { body, ..*message }, secrets)));
        if let Some(url) = message.url.filter(|_| self.signs_url()) {
            hints.extend(of_url(url, &|url| fits(&message.with_url(url), secrets)));
        }
        hints
    }

    fn is_in(&self, message: &Message<'_>) -> bool {
        let has_values = |values: Result<Vec<_>, _>| values.is_ok_and(|values| !values.is_empty());
        self.signatures.iter().any(|place| has_values(place.field.values(message)))
    }

    fn is_in_milliseconds(&self, message: &Message<'_>) -> bool {
        let Some((field, TimestampFormat::Seconds)) = &self.timestamp else { return false };
        // 13 digits are milliseconds from 2001 to 2286. As seconds they would be after the year 30000.
        field
            .value(message)
            .ok()
            .flatten()
            .is_some_and(|text| text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// What the text of a secret may have meant.
fn of_secret(bytes: &[u8], fits: &dyn Fn(&[u8]) -> bool) -> Option<SignatureHint> {
    let encoded = STANDARD.encode(bytes);
    let literal = [format!("whsec_{encoded}"), encoded];
    if literal.iter().any(|text| fits(text.as_bytes())) {
        return Some(SignatureHint::SecretIsLiteral);
    }
    let text = str::from_utf8(bytes).unwrap_or_default();
    let decoded = LENIENT.decode(text.strip_prefix("whsec_").unwrap_or(text));
    if decoded.is_ok_and(|bytes| fits(&bytes)) {
        return Some(SignatureHint::SecretIsBase64);
    }
    if hex::decode(text).is_some_and(|bytes| fits(&bytes)) {
        return Some(SignatureHint::SecretIsHex);
    }
    let ends = [&b"\n"[..], b"\r\n"];
    let has_end = ends.iter().any(|end| fits(&[bytes, end].concat()));
    (has_end || fits(bytes.trim_ascii_end())).then_some(SignatureHint::SecretHasLineEnd)
}

fn of_body(body: &[u8], fits: &dyn Fn(&[u8]) -> bool) -> Option<SignatureHint> {
    let ends = [&b"\r\n"[..], b"\n"];
    if ends.iter().filter_map(|end| body.strip_suffix(*end)).any(fits) {
        return Some(SignatureHint::BodyGainedLineEnd);
    }
    let lost = ends.iter().any(|end| fits(&[body, end].concat()));
    lost.then_some(SignatureHint::BodyLostLineEnd)
}

fn of_url(url: &str, fits: &dyn Fn(&str) -> bool) -> Option<SignatureHint> {
    let (scheme, rest) = url.split_once("://")?;
    let other = if scheme == "https" { "http" } else { "https" };
    if fits(&format!("{other}://{rest}")) {
        return Some(SignatureHint::OtherUrlScheme);
    }
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let other = match path.strip_suffix('/') {
        Some(path) => format!("{path}{query}"),
        None => format!("{path}/{query}"),
    };
    fits(&other).then_some(SignatureHint::OtherSlash)
}
