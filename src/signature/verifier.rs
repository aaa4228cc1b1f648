use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, Response};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::{
    Delivery, Field, Message, Sender, SenderLookup, SenderSource, SignatureError,
    SignatureErrorKind, SigningSecret, Verified,
};
use crate::BoxError;
use crate::auth::{Authentication, Authenticator, User};
use crate::body::BufferedBody;
use crate::clock::Clock;
use crate::credential::PresentedCredential;
use crate::error::ConfigError;
use crate::replay::ReplayKey;
use crate::request_head::RequestHead;

/// An [`Authenticator`] that knows senders by the signatures of their requests.
///
/// The sender is the user of the request, and [`SignedDelivery`] is in its extensions.
/// [`AuthLayer::signed`](crate::auth::AuthLayer::signed) makes a layer of it.
///
/// The body is read before the verdict, so the order is: head, limit, body, verdict. The limit is that for callers who are
/// not known yet: [`Hooks::with_pre_auth_max_bytes`](crate::hook::Hooks::with_pre_auth_max_bytes) or
/// [`BufferedAuthLayer::with_pre_auth_max_bytes`](crate::auth::BufferedAuthLayer::with_pre_auth_max_bytes).
#[derive(Clone)]
#[must_use]
pub struct SignatureVerifier {
    senders: Arc<dyn SenderSource>,
    public_origin: Option<Box<str>>,
    clock: Clock,
    has_hints: bool,
}

impl SignatureVerifier {
    /// Verifies the requests of these senders.
    pub fn new(senders: impl SenderSource) -> Self {
        Self {
            senders: Arc::new(senders),
            public_origin: None,
            clock: Clock::system(),
            has_hints: false,
        }
    }

    /// The scheme and authority of the public address, such as `https://example.com`, in front of the path of requests.
    /// Schemes that sign the address need it; without it their requests are a 503.
    ///
    /// # Errors
    ///
    /// Refuses other texts than `http://` or `https://`, an authority, and perhaps a path of the proxy, without a `/` at
    /// the end.
    pub fn with_public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_fine = |rest: &str| {
            !rest.is_empty()
                && !rest.starts_with('/')
                && !rest.ends_with('/')
                && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
        };
        if !rest.is_some_and(is_fine) {
            return Err(ConfigError::new("a public origin is http(s):// and an authority"));
        }
        self.public_origin = Some(origin.into());
        Ok(self)
    }

    /// The clock that timestamps are compared with.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Logs why a signature is not good, where a [usual mistake](super::SignatureHint) explains it. Off by default: each
    /// refusal then costs about a dozen checks.
    pub const fn with_hints(mut self) -> Self {
        self.has_hints = true;
        self
    }

    fn answer(
        &self,
        sender: &Sender,
        head: RequestHead<'_>,
        body: &[u8],
    ) -> Result<Answer, SignatureError> {
        let now = self.clock.now();
        let url = self.public_origin.as_deref().map(|origin| {
            let (path, query) = (head.original_path(), head.uri().query());
            query.map_or(format!("{origin}{path}"), |query| format!("{origin}{path}?{query}"))
        });
        // A query can be read without knowing the origin.
        let relative = || head.uri().to_string();
        let shown = url.clone().unwrap_or_else(relative);
        let message = Message::new(head.headers(), body).with_method(head.method());
        let signed = url.as_deref().map_or(message, |url| message.with_url(url));
        let verified = sender.scheme.verify(&signed, &sender.secrets, now);

        let is_missing = |error: &SignatureError| error.kind() == SignatureErrorKind::Missing;
        let is_unsigned = verified.as_ref().err().is_some_and(is_missing);
        let valid = sender.secrets.iter().filter(|secret| secret.is_valid_at(now)).cloned();
        let valid = valid.collect::<Vec<SigningSecret>>();
        let message = message.with_url(&shown);
        let handshake = sender.handshakes.iter().find_map(|handshake| {
            handshake.answer_checked(&message, verified.is_ok(), is_unsigned, &valid)
        });
        if let Some(response) = handshake {
            return Ok(Answer::Handshake(response));
        }
        match verified {
            Ok(verified) => {
                let delivery = sender.scheme.delivery(&message, &verified);
                let scheme = sender.scheme.name().into();
                let tolerance = sender.scheme.tolerance();
                let is_batch = sender.scheme.id.as_ref().is_some_and(Field::is_in_list);
                let batch = is_batch.then(|| Sha256::digest(body).into());
                Ok(Answer::Signed(SignedDelivery {
                    scheme,
                    tolerance,
                    verified,
                    delivery,
                    batch,
                    token_headers: sender.scheme.token_headers().cloned().collect(),
                }))
            }
            Err(error) if error.kind().is_ours() => Err(error),
            Err(_) if is_unsigned => Ok(Answer::Unsigned),
            Err(error) => {
                let mut reason = error.to_string();
                if self.has_hints {
                    for hint in sender.scheme.diagnose(&signed, &sender.secrets, now) {
                        reason = format!("{reason}; {hint}");
                    }
                }
                Ok(Answer::Refused(reason))
            }
        }
    }
}

enum Answer {
    Signed(SignedDelivery),
    Handshake(Response<Bytes>),
    Unsigned,
    Refused(String),
}

#[async_trait]
impl Authenticator for SignatureVerifier {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        _candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let sender = match self.senders.sender(head).await? {
            SenderLookup::Found(sender) => sender,
            SenderLookup::Unknown => return Ok(Authentication::refused("no such sender")),
            SenderLookup::NoSecret => return Err("the sender has no signing secret".into()),
        };
        let body = head.extensions().get::<BufferedBody>().ok_or("the body is not buffered")?;
        Ok(match self.answer(&sender, head, &body.bytes())? {
            Answer::Signed(signed) => {
                let user = User::new(sender.owner.clone()).with_scopes(sender.scopes.clone());
                Authentication::Accepted(user.with_extension(signed))
            }
            Answer::Handshake(response) => Authentication::Answered(response),
            Answer::Unsigned => Authentication::Missing,
            Answer::Refused(reason) => Authentication::refused(reason),
        })
    }

    async fn is_presented(&self, head: RequestHead<'_>) -> Result<bool, BoxError> {
        Ok(match self.senders.sender(head).await? {
            SenderLookup::Found(sender) => {
                sender.scheme.is_attempted(&Message::new(head.headers(), b""))
            }
            SenderLookup::Unknown | SenderLookup::NoSecret => false,
        })
    }

    fn needs_body(&self) -> bool {
        true
    }
}

/// A delivery whose signature is good, in the extensions of the request.
///
/// As JSON: `{"scheme":..,"covers":[..],"secret":..,"id":..,"event":..,"signed":{"id":bool,"event":bool}}`.
#[derive(Clone, Debug)]
pub struct SignedDelivery {
    scheme: SmolStr,
    tolerance: Option<Duration>,
    verified: Verified,
    delivery: Delivery,
    /// The SHA-256 of the body, where the id is that of the first of several events.
    batch: Option<[u8; 32]>,
    token_headers: Box<[HeaderName]>,
}

impl SignedDelivery {
    /// The name of the scheme.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The tolerance of the scheme, within which a captured message can be sent again.
    pub(crate) const fn tolerance(&self) -> Option<Duration> {
        self.tolerance
    }

    /// The header fields in which the secret itself travels.
    pub(crate) fn token_headers(&self) -> &[HeaderName] {
        &self.token_headers
    }

    /// What the signature authenticates, and which secret made it.
    #[must_use]
    pub const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The id and the type of the event, as the sender says.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The id, if the signature authenticates it.
    #[must_use]
    pub fn signed_id(&self) -> Option<&str> {
        self.delivery.id.as_deref().filter(|_| self.delivery.is_id_signed)
    }

    /// The type of the event, if the signature authenticates it.
    #[must_use]
    pub fn signed_event(&self) -> Option<&str> {
        self.delivery.event.as_deref().filter(|_| self.delivery.is_event_signed)
    }

    /// What tells this delivery from others of a hook: the signed id, with the body where that is a list of events, or else
    /// the signature. `None`: the signature
    /// authenticates nothing by which one delivery differs from another, as that of a token.
    pub(crate) fn replay_key(&self, hook: &str, owner: &str) -> Option<ReplayKey> {
        let (kind, value) = match self.signed_id() {
            Some(id) => ("id", id.as_bytes()),
            None if self.verified.covers() == super::Coverage::NOTHING => return None,
            None => ("signature", &self.verified.fingerprint()[..]),
        };
        let batch = self.batch.as_ref().map_or(&[][..], |digest| digest);
        Some(ReplayKey::new(&[hook.as_bytes(), owner.as_bytes(), kind.as_bytes(), value, batch]))
    }
}

impl Serialize for SignedDelivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct IsSigned {
            id: bool,
            event: bool,
        }

        let delivery = &self.delivery;
        let signed = IsSigned { id: delivery.is_id_signed, event: delivery.is_event_signed };
        let mut object = serializer.serialize_struct("SignedDelivery", 6)?;
        object.serialize_field("scheme", &*self.scheme)?;
        object.serialize_field("covers", &self.verified.covers())?;
        object.serialize_field("secret", self.verified.secret())?;
        object.serialize_field("id", &delivery.id)?;
        object.serialize_field("event", &delivery.event)?;
        object.serialize_field("signed", &signed)?;
        object.end()
    }
}

impl fmt::Debug for SignatureVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureVerifier")
            .field("public_origin", &self.public_origin)
            .field("has_hints", &self.has_hints)
            .finish_non_exhaustive()
    }
}
