use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::error::ConfigError;
use crate::key::{KeyId, Owner, Scope, Scopes};
use crate::rejection::{Rejection, RejectionKind};

/// Who may call, and by which method.
///
/// Cheap to clone. A layer has one for all its requests, or a [`PolicyResolver`](super::PolicyResolver) gives one
/// for each.
///
/// # Examples
///
/// ```
/// use http::Method;
/// use tower_webhook::auth::Policy;
/// use tower_webhook::key::{Owner, Scope};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let deploy = Policy::token()
///     .with_methods([Method::POST])
///     .with_scope(Scope::new("deploy")?)
///     .with_owner(Owner::new("alice")?);
/// # let _ = deploy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Policy(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    access: Access,
    methods: Option<Box<[Method]>>,
    scopes: Box<[Scope]>,
    owner: Option<Owner>,
    key: Option<KeyId>,
    hook: Option<Arc<str>>,
    denies_all: bool,
    /// Settings that contradict each other. They are reported where the policy is used.
    fault: Option<&'static str>,
}

/// How a caller proves that it may call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    Public,
    Token,
    User,
}

impl Policy {
    /// Every caller may call. No credential is examined, and the configured places are emptied.
    #[must_use]
    pub fn public() -> Self {
        Self::new(Access::Public)
    }

    /// A caller with a key.
    #[must_use]
    pub fn token() -> Self {
        Self::new(Access::Token)
    }

    /// A caller who is logged in, by the layer's [`Authenticator`](super::Authenticator).
    #[must_use]
    pub fn user() -> Self {
        Self::new(Access::User)
    }

    /// Refuses every caller, as a hook that does not exist.
    pub(crate) fn deny_all(self) -> Self {
        self.with(|inner| inner.denies_all = true)
    }

    /// The same policy, which asks for these scopes and this owner as well.
    pub(super) fn restricted(self, scopes: &[Scope], owner: Option<&Owner>) -> Self {
        let policy = scopes.iter().cloned().fold(self, Self::with_scope);
        owner.cloned().into_iter().fold(policy, Self::with_owner)
    }

    /// Serves these methods only; all others are refused with 405 and `Allow`, before any credential is
    /// looked at. Without this call every method is served.
    ///
    /// `HEAD` is not implied by `GET`, and `OPTIONS` is a method like any other.
    #[must_use]
    pub fn with_methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.with(|inner| {
            if inner.methods.replace(methods.into_iter().collect()).is_some() {
                inner.fault = Some("a policy is given its methods twice");
            }
        })
    }

    /// Asks for a scope. Several calls ask for all of them. A caller without one is refused with 403.
    ///
    /// A public policy asks for nothing: with a scope, an owner or a key it is a fault of the configuration, a
    /// [`ConfigError`] where a layer is given the policy and a 500 where a resolver gives it.
    #[must_use]
    pub fn with_scope(self, scope: Scope) -> Self {
        self.with(|inner| {
            inner.asks_for_caller();
            inner.scopes = inner.scopes.iter().cloned().chain([scope]).collect();
        })
    }

    /// Asks for this owner: the key has to be one of theirs, or the user has to be them. A key of someone
    /// else is refused with 401 like an unknown one, another user with 403. Two different owners are a fault of
    /// the configuration.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        self.with(|inner| {
            inner.asks_for_caller();
            if inner.owner.as_ref().is_some_and(|other| *other != owner) {
                inner.fault = Some("a policy asks for two owners");
            }
            inner.owner = Some(owner);
        })
    }

    /// Asks for this one key, on token policies: any other is refused with 401 like an unknown one. Its
    /// record alone is looked up, so the text need not say which key it is: see
    /// [`TokenFormat`](crate::key::TokenFormat). On other policies, and with two different keys, it is a fault
    /// of the configuration.
    #[must_use]
    pub fn with_key(self, id: KeyId) -> Self {
        self.with(|inner| {
            inner.asks_for_caller();
            if inner.access == Access::User {
                inner.fault = Some("a user policy asks for a key");
            }
            if inner.key.as_ref().is_some_and(|other| *other != id) {
                inner.fault = Some("a policy asks for two keys");
            }
            inner.key = Some(id);
        })
    }

    /// Names the hook. [`Hooks`](crate::hook::Hooks) counts executions by this name and tells it to the
    /// executor.
    #[must_use]
    pub fn with_hook(self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.with(|inner| inner.hook = Some(name))
    }

    /// The name of the hook.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.0.hook.as_deref()
    }

    pub(crate) fn hook_name(&self) -> Option<Arc<str>> {
        self.0.hook.clone()
    }

    pub(crate) fn key(&self) -> Option<&KeyId> {
        self.0.key.as_ref()
    }

    pub(super) fn denies_all(&self) -> bool {
        self.0.denies_all
    }

    pub(super) fn access(&self) -> Access {
        self.0.access
    }

    /// # Errors
    ///
    /// Returns an error if no method is served at all, or if settings contradict each other.
    pub(crate) fn check_config(&self) -> Result<(), ConfigError> {
        match (self.0.fault, self.0.methods.as_deref()) {
            (Some(fault), _) => Err(ConfigError::new(fault)),
            (None, Some([])) => Err(ConfigError::new("a policy serves no method")),
            (None, _) => Ok(()),
        }
    }

    /// Checks the method against those of the policy, or against `default` if it names none.
    pub(crate) fn check_method(
        &self,
        method: &Method,
        default: Option<&[Method]>,
    ) -> Result<(), Rejection> {
        match self.0.methods.as_deref().or(default) {
            Some(methods) if !methods.contains(method) => {
                Err(Rejection::new(RejectionKind::MethodNotAllowed).with_allow(allow(methods)))
            }
            _ => Ok(()),
        }
    }

    /// What a proven caller may do, once the credential itself is good.
    pub(crate) fn authorize(
        &self,
        owner: &Owner,
        key_id: Option<&KeyId>,
        scopes: &Scopes,
    ) -> Result<(), Rejection> {
        let inner = &*self.0;
        let owner_fits = inner.owner.as_ref().is_none_or(|asked| asked == owner);
        let key_fits = inner.key.as_ref().is_none_or(|asked| Some(asked) == key_id);
        let fits = owner_fits && key_fits;
        if inner.denies_all {
            return Err(Rejection::new(RejectionKind::NotFound));
        }
        if !fits && inner.access == Access::Token {
            return Err(Rejection::new(RejectionKind::WrongOwner));
        }
        if !owner_fits {
            return Err(Rejection::new(RejectionKind::Forbidden).with_owner(owner.clone()));
        }
        match inner.scopes.iter().find(|scope| !scopes.contains(scope)) {
            Some(missing) => Err(Rejection::new(RejectionKind::Forbidden)
                .with_owner(owner.clone())
                .with_required_scope(missing.clone())),
            None => Ok(()),
        }
    }

    fn new(access: Access) -> Self {
        Self(Arc::new(Inner {
            access,
            methods: None,
            scopes: Box::default(),
            owner: None,
            key: None,
            hook: None,
            denies_all: false,
            fault: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Inner {
    fn asks_for_caller(&mut self) {
        if self.access == Access::Public {
            self.fault = Some("a public policy asks for a scope, an owner or a key");
        }
    }
}

fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    // A method is a token, so a list of them is a header value.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
