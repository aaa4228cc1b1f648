use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Handshake, Scheme, SigningSecret};
use crate::BoxError;
use crate::error::ConfigError;
use crate::key::{Owner, Scopes};
use crate::request_head::RequestHead;

/// A sender of webhooks: who it is, how it signs, and with which secrets.
///
/// # Examples
///
/// ```
/// use tower_webhook::Owner;
/// use tower_webhook::signature::{Sender, SigningSecret, handshakes, presets};
///
/// let secrets = [SigningSecret::raw("8f742231b10e8888abcd99yyyzzz85a5")?];
/// let slack = Sender::new(Owner::new("slack")?, presets::slack(), secrets)?
///     .with_handshake(handshakes::slack());
/// # let _ = slack;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sender {
    pub(super) owner: Owner,
    pub(super) scopes: Scopes,
    pub(super) scheme: Scheme,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) handshakes: Vec<Handshake>,
}

impl Sender {
    /// A sender who may do everything that policies do not tie to another owner.
    ///
    /// # Errors
    ///
    /// Refuses a scheme that is not [complete](Scheme::check), no secret at all, and secrets that do not fit its
    /// algorithm.
    pub fn new(
        owner: Owner,
        scheme: Scheme,
        secrets: impl IntoIterator<Item = SigningSecret>,
    ) -> Result<Self, ConfigError> {
        scheme.check()?;
        let secrets = secrets.into_iter().collect::<Vec<_>>();
        if secrets.is_empty() {
            return Err(ConfigError::new("a sender has no signing secret"));
        }
        if !secrets.iter().all(|secret| scheme.takes(secret)) {
            return Err(ConfigError::new(
                "a signing secret does not fit the algorithm of its scheme",
            ));
        }
        Ok(Self { owner, scopes: Scopes::ALL, scheme, secrets, handshakes: Vec::new() })
    }

    /// What the sender may do. The default is everything.
    pub fn with_scopes(self, scopes: Scopes) -> Self {
        Self { scopes, ..self }
    }

    /// Answers a handshake of the sender, in front of everything that the layer guards.
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }

    /// How the sender signs.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

/// Finds the sender of a request, with its secrets: by the hook, by a tenant in the path.
///
/// A [`Sender`] is the source of itself, and [`Senders`] finds one by the name of the hook.
#[async_trait]
pub trait SenderSource: Send + Sync + 'static {
    /// Finds the sender.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be found out now. The request is a 503, never a 401.
    async fn sender(&self, head: RequestHead<'_>) -> Result<SenderLookup, BoxError>;
}

/// What a [`SenderSource`] knows of a sender.
#[derive(Clone, Debug)]
pub enum SenderLookup {
    /// The sender.
    Found(Arc<Sender>),
    /// There is no such sender: the request is refused as one with a bad signature.
    Unknown,
    /// The sender is known, and its secret is not: a fault of ours, and a 503.
    NoSecret,
}

#[async_trait]
impl SenderSource for Sender {
    async fn sender(&self, _head: RequestHead<'_>) -> Result<SenderLookup, BoxError> {
        Ok(SenderLookup::Found(Arc::new(self.clone())))
    }
}

/// The senders of hooks, by the name that the policy gives a hook ([`Policy::with_hook`](crate::auth::Policy::with_hook)).
#[derive(Clone, Debug, Default)]
pub struct Senders(HashMap<Box<str>, Arc<Sender>>);

impl Senders {
    /// No sender yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The sender of one hook.
    ///
    /// # Errors
    ///
    /// Refuses a second sender of the same hook.
    pub fn with(mut self, hook: &str, sender: Sender) -> Result<Self, ConfigError> {
        match self.0.insert(hook.into(), Arc::new(sender)) {
            None => Ok(self),
            Some(_) => Err(ConfigError::new("a hook has two senders")),
        }
    }
}

#[async_trait]
impl SenderSource for Senders {
    async fn sender(&self, head: RequestHead<'_>) -> Result<SenderLookup, BoxError> {
        let sender = head.hook().and_then(|hook| self.0.get(hook));
        Ok(sender.map_or(SenderLookup::Unknown, |sender| SenderLookup::Found(Arc::clone(sender))))
    }
}

#[async_trait]
impl<S: SenderSource + ?Sized> SenderSource for Arc<S> {
    async fn sender(&self, head: RequestHead<'_>) -> Result<SenderLookup, BoxError> {
        (**self).sender(head).await
    }
}
