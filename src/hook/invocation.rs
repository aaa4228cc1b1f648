use std::sync::Arc;

use http::{Extensions, Method, Uri};

use crate::envelope::Envelope;
use crate::identity::Identity;

/// What an executor is given for one execution.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(super) envelope: Envelope,
    pub(super) identity: Option<Identity>,
    pub(super) hook: Option<Arc<str>>,
    pub(super) method: Method,
    pub(super) uri: Uri,
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

    /// What outer layers have attached to the request.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}
