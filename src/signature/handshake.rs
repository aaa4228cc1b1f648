use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Encoding, Field, Message, SigningSecret, Verified};

/// How a provider makes sure of the address of a receiver, as data: by which request, and what it wants as the answer.
///
/// The [ready ones](super::handshakes) are such values. A request that is a handshake is answered and goes no further: it
/// runs nothing.
///
/// # Security
///
/// 1. Where the provider signs the request, it is answered only if the signature is good.
/// 2. What is echoed or signed has at most 128 characters of `A-Z`, `a-z`, `0-9`, `-`, `_` and `.`, unless the
///    handshake [says otherwise](Self::with_alphabet). A provider that signs events and answers with one secret (Zoom, X)
///    would otherwise be given the signature of an event of the attacker's choice.
/// 3. The answer is `text/plain` or JSON, and has `X-Content-Type-Options: nosniff`.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, Method};
/// use tower_webhook::signature::{Message, handshakes};
///
/// let (headers, method) = (HeaderMap::new(), Method::GET);
/// let message = Message::new(&headers, b"").with_method(&method).with_url("https://example.com/?challenge=abc");
/// let answer = handshakes::dropbox().answer(&message, None, &[]).expect("a handshake");
/// assert_eq!(answer.body(), "abc");
/// ```
#[derive(Clone)]
#[must_use]
pub struct Handshake {
    method: Method,
    conditions: Vec<(Field, Option<Cow<'static, str>>)>,
    absent: Vec<Field>,
    challenge: Option<Field>,
    proof: Proof,
    is_allowed: fn(char) -> bool,
    max_len: usize,
    answer: Answer,
}

/// Whose handshakes are answered.
#[derive(Clone)]
enum Proof {
    None,
    /// A good signature.
    Signature,
    /// A good signature, if one is there.
    SignatureIfPresent,
    /// A secret that the receiver has chosen.
    Token(Field, Zeroizing<Box<[u8]>>),
}

#[derive(Clone)]
enum Answer {
    Empty,
    Text,
    Json(Vec<(Cow<'static, str>, HandshakeValue)>),
    /// Header fields, and the methods that are allowed.
    Headers(Vec<(HeaderName, HandshakeValue)>),
}

/// A value in the answer to a [`Handshake`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandshakeValue {
    /// The challenge.
    Echo,
    /// HMAC-SHA256 of the challenge, with the first shared secret, behind a prefix.
    Mac(&'static str, Encoding),
    /// A number.
    Number(i64),
    /// A text.
    Text(Cow<'static, str>),
}

const fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.')
}

impl Handshake {
    /// A handshake by requests of this method. It is answered with nothing, until more is said.
    pub const fn new(method: Method) -> Self {
        Self {
            method,
            conditions: Vec::new(),
            absent: Vec::new(),
            challenge: None,
            proof: Proof::None,
            is_allowed: is_plain,
            max_len: 128,
            answer: Answer::Empty,
        }
    }

    /// A field that makes a request this handshake, with its value.
    pub fn when(mut self, field: Field, value: impl Into<Cow<'static, str>>) -> Self {
        self.conditions.push((field, Some(value.into())));
        self
    }

    /// A field that makes a request this handshake, with any value.
    pub fn when_present(mut self, field: Field) -> Self {
        self.conditions.push((field, None));
        self
    }

    /// A field with which a request is something else.
    pub fn unless_present(mut self, field: Field) -> Self {
        self.absent.push(field);
        self
    }

    /// Where the challenge is. A handshake without it, or with one that is not allowed, is a 400.
    pub fn with_challenge(self, field: Field) -> Self {
        Self { challenge: Some(field), ..self }
    }

    /// The characters that a challenge may have.
    pub fn with_alphabet(self, is_allowed: fn(char) -> bool) -> Self {
        Self { is_allowed, ..self }
    }

    /// How many bytes a challenge may have. The default is 128.
    pub const fn with_max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// Answers only messages with a good signature.
    pub fn signed(self) -> Self {
        Self { proof: Proof::Signature, ..self }
    }

    /// Answers messages without a signature, and those with a good one.
    pub fn signed_if_present(self) -> Self {
        Self { proof: Proof::SignatureIfPresent, ..self }
    }

    /// Answers only messages that have a token in a field, which the receiver has given to the provider. Others are a 403.
    pub fn with_token(self, field: Field, token: impl AsRef<[u8]>) -> Self {
        Self { proof: Proof::Token(field, Zeroizing::new(token.as_ref().into())), ..self }
    }

    /// Answers with the challenge as `text/plain`.
    pub fn answer_text(self) -> Self {
        Self { answer: Answer::Text, ..self }
    }

    /// Answers with a JSON object.
    pub fn answer_json(
        self,
        members: impl IntoIterator<Item = (&'static str, HandshakeValue)>,
    ) -> Self {
        let members = members.into_iter().map(|(name, value)| (name.into(), value));
        Self { answer: Answer::Json(members.collect()), ..self }
    }

    /// Answers with header fields, and with `Allow: POST`.
    pub fn answer_headers(
        self,
        fields: impl IntoIterator<Item = (HeaderName, HandshakeValue)>,
    ) -> Self {
        Self { answer: Answer::Headers(fields.into_iter().collect()), ..self }
    }

    /// The method of the request.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The answer to a message that is this handshake. `None`: it is something else, or its signature is not good.
    ///
    /// `verified` is what the scheme says about the signature of the message: `None` if it is missing or bad.
    #[must_use]
    pub fn answer(
        &self,
        message: &Message<'_>,
        verified: Option<&Verified>,
        secrets: &[SigningSecret],
    ) -> Option<Response<Bytes>> {
        self.answer_checked(message, verified.is_some(), verified.is_none(), secrets)
    }

    /// As [`answer`](Self::answer), where it is known whether a signature is there at all.
    pub(super) fn answer_checked(
        &self,
        message: &Message<'_>,
        is_verified: bool,
        is_unsigned: bool,
        secrets: &[SigningSecret],
    ) -> Option<Response<Bytes>> {
        let value = |field: &Field| field.value(message).ok().flatten();
        let is_this = *message.method == self.method
            && self.conditions.iter().all(|(field, wanted)| match (value(field), wanted) {
                (Some(value), Some(wanted)) => value == *wanted,
                (value, _) => value.is_some(),
            })
            && !self.absent.iter().any(|field| value(field).is_some());
        if !is_this {
            return None;
        }
        match &self.proof {
            Proof::None => {}
            Proof::Signature if is_verified => {}
            Proof::SignatureIfPresent if is_verified || is_unsigned => {}
            Proof::Signature | Proof::SignatureIfPresent => return None,
            Proof::Token(field, token) => {
                let sent = value(field).unwrap_or_default();
                // Digests have one length, so that the comparison does not tell that of the token.
                let [sent, token] = [sent.as_bytes(), token].map(Sha256::digest);
                if !bool::from(sent.as_slice().ct_eq(token.as_slice())) {
                    return Some(empty(StatusCode::FORBIDDEN));
                }
            }
        }
        let challenge = match &self.challenge {
            None => Cow::Borrowed(""),
            Some(field) => match value(field) {
                Some(challenge) if self.takes(&challenge) => challenge,
                _ => return Some(empty(StatusCode::BAD_REQUEST)),
            },
        };
        Some(self.answer.response(&challenge, secrets))
    }

    fn takes(&self, challenge: &str) -> bool {
        (1..=self.max_len).contains(&challenge.len()) && challenge.chars().all(self.is_allowed)
    }
}

impl Answer {
    fn response(&self, challenge: &str, secrets: &[SigningSecret]) -> Response<Bytes> {
        match self {
            Self::Empty => empty(StatusCode::NO_CONTENT),
            Self::Text => with_body("text/plain; charset=utf-8", challenge.to_owned()),
            Self::Json(members) => {
                let mut object = Map::new();
                for (name, value) in members {
                    let Some(value) = value.to_json(challenge, secrets) else {
                        return empty(StatusCode::SERVICE_UNAVAILABLE);
                    };
                    object.insert(name.clone().into_owned(), value);
                }
                with_body("application/json", Value::Object(object).to_string())
            }
            Self::Headers(fields) => {
                let mut response = empty(StatusCode::OK);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                for (name, value) in fields {
                    let value = value.to_json(challenge, secrets);
                    let value = value.as_ref().and_then(Value::as_str).map(HeaderValue::from_str);
                    let Some(Ok(value)) = value else {
                        return empty(StatusCode::SERVICE_UNAVAILABLE);
                    };
                    response.headers_mut().insert(name, value);
                }
                response
            }
        }
    }
}

impl HandshakeValue {
    /// `None`: there is no secret to sign with.
    fn to_json(&self, challenge: &str, secrets: &[SigningSecret]) -> Option<Value> {
        Some(match self {
            Self::Echo => challenge.into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
            Self::Mac(prefix, encoding) => {
                let secret = secrets.iter().find_map(|secret| secret.key.shared())?;
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
                mac.update(challenge.as_bytes());
                let bytes = mac.finalize().into_bytes();
                format!("{prefix}{}", encoding.encode(&bytes)).into()
            }
        })
    }
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_body(media_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = empty(StatusCode::OK).map(|_| Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("method", &self.method)
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}
