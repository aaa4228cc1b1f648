use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Uri};

use crate::envelope::Envelope;
use crate::identity::Identity;

/// What an executor is given for one execution.
///
/// `Debug` shows the length of the body and no headers: a payload may hold a secret.
///
/// # Examples
///
/// ```
/// use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
///
/// async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
///     match invocation.headers().get("x-github-event").map(|event| event.as_bytes()) {
///         Some(b"ping") => Ok(Outcome::empty()),
///         Some(b"push") => Outcome::json(&invocation.body().len()),
///         _ => Err(ExecutorError::invalid("another event than those asked for")),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Invocation {
    pub(super) envelope: Envelope,
    pub(super) identity: Option<Identity>,
    pub(super) hook: Option<Arc<str>>,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) extensions: Extensions,
}

impl Invocation {
    /// The request as one JSON text, without credentials.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Takes the envelope out.
    #[must_use]
    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }

    /// Who is calling; `None` on a public hook.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The name of the hook, if its policy has one
    /// ([`Policy::with_hook`](crate::auth::Policy::with_hook)).
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.hook.as_deref()
    }

    /// The method of the request.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The target of the request, without credentials.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The headers of the request, as they were sent, without credentials: those that the envelope leaves out
    /// for that reason are not here either. A key in a header that no placement reads is redacted.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body of the request, byte by byte as it was sent, but for a credential that a placement has read in
    /// it. A byte order mark is still there.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    #[cfg(feature = "queue")]
    pub(crate) fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// What outer layers have attached to the request.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("hook", &self.hook)
            .field("method", &self.method)
            .field("identity", &self.identity)
            .field("envelope", &self.envelope)
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}
