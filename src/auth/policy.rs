use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::error::ConfigError;
use crate::key::{KeyId, Owner, Scope, Scopes};
use crate::rate_limit::Quota;
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::{HeadMut, RequestHead};

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

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    access: Access,
    methods: Option<Box<[Method]>>,
    probes: Box<[Method]>,
    without_body: bool,
    pre_auth_max_bytes: Option<usize>,
    scopes: Box<[Scope]>,
    owner: Option<Owner>,
    key: Option<KeyId>,
    hook: Option<Arc<str>>,
    rate_limit: Option<Quota>,
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
    /// One credential: a key, or that of a user.
    AnyOf,
    /// A key and the credential of a user.
    AllOf,
}

impl Access {
    pub(super) const fn asks_for_key(self) -> bool {
        matches!(self, Self::Token | Self::AnyOf | Self::AllOf)
    }

    pub(super) const fn asks_for_user(self) -> bool {
        matches!(self, Self::User | Self::AnyOf | Self::AllOf)
    }
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

    /// A sender whose [signature](crate::signature) is good: the user of the request is the sender.
    #[cfg(feature = "signature")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
    #[must_use]
    pub fn signed() -> Self {
        Self::user()
    }

    /// A caller with one credential of any of these kinds: a key, or the credential of a user.
    ///
    /// | in the request | answer |
    /// |---|---|
    /// | one credential, and it is good | the caller's owner and scopes decide, as under a policy of that kind alone |
    /// | two, of one kind or of both, wherever they are | 400, also with [`with_insecure_mixed_credentials`](super::AuthLayer::with_insecure_mixed_credentials) |
    /// | none, or a bad one | 401 with the challenges of both kinds |
    ///
    /// The place tells the kind. Where keys and users share one, such as `Authorization: Bearer`, the text is taken for
    /// a key if the [format](crate::key::KeyFormat) of the keys parses it, and shown to the authenticator otherwise.
    /// An opaque format parses any text of its length: give such keys a place of their own. An authenticator without
    /// placements is asked where the request has no key. Beside a key it can say that there are two
    /// ([`is_presented`](super::Authenticator::is_presented)), as that of signatures does.
    ///
    /// A list has token and user policies, each once and without settings: methods, scopes, an owner and the name of
    /// the hook belong to the outer policy, and hold for the caller of either kind. Every other list, an empty one and
    /// one within another too, is a fault of the configuration: a [`ConfigError`] where a layer is given the policy, and
    /// a 500 where a resolver gives it. A list of one is the policy in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Method;
    /// use tower_webhook::auth::Policy;
    /// use tower_webhook::key::Scope;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let deploy = Policy::any_of([Policy::token(), Policy::user()])
    ///     .with_methods([Method::POST])
    ///     .with_scope(Scope::new("deploy")?);
    /// # let _ = deploy;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn any_of(policies: impl IntoIterator<Item = Self>) -> Self {
        Self::of_kinds(policies, Access::AnyOf)
    }

    /// A caller with one good credential of each of these kinds: a key, and the credential of a user.
    ///
    /// If one is missing or bad, the answer is 401 with the challenges of both kinds. Two of one kind are a 400. What is
    /// in a place that keys and users share counts for both of them, and so never for one of each: give the two kinds
    /// places of their own.
    ///
    /// The [`Identity`](crate::identity::Identity) is the user's, and
    /// [`also_proven`](crate::identity::Identity::also_proven) the key's. Scopes and owner of the policy hold for each of
    /// the two. Without [`with_owner`](Self::with_owner), the key may be someone else's than the user.
    ///
    /// If one of the two is in the body, the body is read before the verdict. A layer that
    /// [conceals](super::AuthLayer::with_uniform_unauthorized) its hooks does not do that beside a header field with the
    /// other: there, such a request is refused.
    ///
    /// The list is as that of [`any_of`](Self::any_of).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::Policy;
    ///
    /// let transfer = Policy::all_of([Policy::token(), Policy::user()]);
    /// # let _ = transfer;
    /// ```
    #[must_use]
    pub fn all_of(policies: impl IntoIterator<Item = Self>) -> Self {
        Self::of_kinds(policies, Access::AllOf)
    }

    fn of_kinds(policies: impl IntoIterator<Item = Self>, both: Access) -> Self {
        let policies: Vec<Self> = policies.into_iter().collect();
        let is_one_kind = |policy: &Self| matches!(policy.access(), Access::Token | Access::User);
        let is_bare = |policy: &Self| *policy.0 == Inner::new(policy.access());
        let fault = match &*policies {
            [] => "a list of policies is empty",
            list if !list.iter().all(is_one_kind) => {
                "a list of policies has another one than of a key or a user"
            }
            list if !list.iter().all(is_bare) => "a policy in a list has settings of its own",
            [policy] => return policy.clone(),
            [one, other] if one.access() != other.access() => return Self::new(both),
            _ => "a list of policies has two of one kind",
        };
        Self::new(both).with(|inner| inner.fault = Some(fault))
    }

    /// Refuses every caller, as a hook that does not exist.
    pub(crate) fn deny_all(self) -> Self {
        self.with(|inner| inner.denies_all = true)
    }

    /// The same policy, which cannot be used, for this reason.
    pub(super) fn with_fault(self, fault: &'static str) -> Self {
        self.with(|inner| inner.fault = Some(fault))
    }

    /// The same policy, which asks for these scopes and this owner as well.
    pub(super) fn restricted(self, scopes: &[Scope], owner: Option<&Owner>) -> Self {
        let policy = scopes.iter().cloned().fold(self, Self::with_scope);
        owner.cloned().into_iter().fold(policy, Self::with_owner)
    }

    /// Serves these methods only; all others are refused with 405 and `Allow`, before any credential is
    /// looked at. Without this call every method is served.
    ///
    /// `HEAD` is not implied by `GET` (see [`with_probe`](Self::with_probe)), and `OPTIONS` is a method like any other.
    /// `GET` serves extended `CONNECT` too, by which WebSockets are opened over HTTP/2 and HTTP/3 (RFC 8441, RFC 9220).
    #[must_use]
    pub fn with_methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.with(|inner| {
            if inner.methods.replace(methods.into_iter().collect()).is_some() {
                inner.fault = Some("a policy is given its methods twice");
            }
        })
    }

    /// Answers requests by these methods, `HEAD` or `GET`, without the inner service: 200 and no content if the caller
    /// may call. Some senders and load balancers ask in this way whether an endpoint is there and their key is good.
    ///
    /// A probe passes the whole decision: key, owner and scope. It is refused as any other request is. The body is not
    /// read, no executor is run, and the response has `Cache-Control: no-store`. `Allow` lists the methods of probes
    /// beside those that are served.
    ///
    /// Without this setting there are no probes. Any other method, no method, and one that
    /// [`with_methods`](Self::with_methods) serves as well are faults of the configuration: a
    /// [`ConfigError`] where a layer is given the policy, and a 500 where a resolver gives it. A policy that names no
    /// methods serves all others than those of its probes.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Method;
    /// use tower_webhook::auth::Policy;
    ///
    /// let hook = Policy::token().with_methods([Method::POST]).with_probe([Method::HEAD, Method::GET]);
    /// let health = Policy::public().with_methods([Method::GET]).with_probe([Method::HEAD]);
    /// # let _ = (hook, health);
    /// ```
    #[must_use]
    pub fn with_probe(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.with(|inner| {
            if !inner.probes.is_empty() {
                inner.fault = Some("a policy is given the methods of its probes twice");
            }
            inner.probes = methods.into_iter().collect();
            if inner.probes.is_empty() {
                inner.fault = Some("a policy has probes by no method");
            }
        })
    }

    /// Leaves the body of requests unread: the inner service gets an empty one, and an envelope shows none. A request
    /// that announces a body and sends nothing is answered at once.
    ///
    /// That is what [`with_buffer`](super::AuthLayer::with_buffer), [`Hooks`](crate::hook::Hooks) and a layer inside of
    /// a [`BodyBufferLayer`](crate::body::BodyBufferLayer) do; outside of them, a layer passes the body on untouched, as
    /// it always does. `Content-Type`, `Content-Length` and the other header fields about the body are removed
    /// with it. What was sent is not looked at: a credential in it counts for nothing, and is no second one. A server may
    /// close the connection of HTTP/1 after the response, because the rest of the body is still on it.
    ///
    /// Where a layer [conceals](super::AuthLayer::with_uniform_unauthorized) its hooks and a placement is in the body,
    /// that body is read before the verdict as for an unknown hook, and a credential in it counts. The inner service
    /// gets an empty one nevertheless.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Method;
    /// use tower_webhook::auth::Policy;
    ///
    /// let status = Policy::token().with_methods([Method::GET]).without_body();
    /// # let _ = status;
    /// ```
    #[must_use]
    pub fn without_body(self) -> Self {
        self.with(|inner| inner.without_body = true)
    }

    /// The largest body that is read for this hook before the caller is known, in bytes, in place of the limit of
    /// [`Hooks`](crate::hook::Hooks::with_pre_auth_max_bytes) or of the
    /// [buffer](super::BufferedAuthLayer::with_pre_auth_max_bytes). A hook whose sender signs the body needs all of it. The
    /// limit on the bodies of known callers holds as well.
    ///
    /// A layer that [conceals](super::AuthLayer::with_uniform_unauthorized) its hooks has one limit for all of them: there it
    /// is a fault of the configuration, and a 500.
    ///
    /// # Security
    ///
    /// Every client can make the server hold this much for each connection.
    #[must_use]
    pub fn with_pre_auth_max_bytes(self, max_bytes: usize) -> Self {
        self.with(|inner| inner.pre_auth_max_bytes = Some(max_bytes))
    }

    pub(super) fn pre_auth_max_bytes(&self) -> Option<usize> {
        self.0.pre_auth_max_bytes
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
            if inner.access.asks_for_user() {
                inner.fault = Some("a policy that asks for a user asks for one key");
            }
            if inner.key.as_ref().is_some_and(|other| *other != id) {
                inner.fault = Some("a policy asks for two keys");
            }
            inner.key = Some(id);
        })
    }

    /// Names the hook. [`Hooks`](crate::hook::Hooks) counts executions by this name, and the executor
    /// reads it ([`Invocation::hook`](crate::hook::Invocation::hook)).
    #[must_use]
    pub fn with_hook(self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.with(|inner| inner.hook = Some(name))
    }

    /// Limits the calls of each caller under this policy, in addition to the limit that the caller has anyway: both
    /// have to allow a call. The bucket is that of the caller and of the [name of the hook](Self::with_hook), so give
    /// two policies of one layer names of their own.
    ///
    /// The layer needs [limits](super::AuthLayer::with_rate_limits); without them, a request is a 500. On a public
    /// policy, which knows no caller, a limit is a fault of the configuration. A second call replaces the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_webhook::auth::Policy;
    /// use tower_webhook::rate_limit::Quota;
    ///
    /// let quota = Quota::new(5, Duration::from_secs(12))?;
    /// let deploy = Policy::token().with_hook("deploy").with_rate_limit(quota);
    /// # let _ = deploy;
    /// # Ok::<(), tower_webhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_rate_limit(self, quota: Quota) -> Self {
        self.with(|inner| {
            inner.asks_for_caller();
            inner.rate_limit = Some(quota);
        })
    }

    pub(super) fn rate_limit(&self) -> Option<Quota> {
        self.0.rate_limit
    }

    /// The name of the hook.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.0.hook.as_deref()
    }

    /// Puts the name of the hook into the extensions of the request.
    pub(super) fn name_hook(&self, head: &mut impl HeadMut) {
        if let Some(hook) = &self.0.hook {
            head.extensions_mut().insert(HookName(Arc::clone(hook)));
        }
    }

    pub(crate) fn key(&self) -> Option<&KeyId> {
        self.0.key.as_ref()
    }

    pub(super) fn scopes(&self) -> &[Scope] {
        &self.0.scopes
    }

    pub(super) fn denies_all(&self) -> bool {
        self.0.denies_all
    }

    pub(super) fn access(&self) -> Access {
        self.0.access
    }

    pub(super) fn is_without_body(&self) -> bool {
        self.0.without_body
    }

    /// Whether a request that may go in is answered by the layer.
    #[inline]
    pub(super) fn is_probe(&self, method: &Method) -> bool {
        !self.0.probes.is_empty() && self.0.probes.contains(method)
    }

    /// # Errors
    ///
    /// Returns an error if no method is served at all, or if settings contradict each other.
    pub(crate) fn check_config(&self) -> Result<(), ConfigError> {
        let Inner { fault, methods, probes, .. } = &*self.0;
        let methods = methods.as_deref();
        let is_served = |probe| methods.is_some_and(|methods| methods.contains(probe));
        match *fault {
            Some(fault) => Err(ConfigError::new(fault)),
            None if methods.is_some_and(<[Method]>::is_empty) => {
                Err(ConfigError::new("a policy serves no method"))
            }
            None if probes.iter().any(|method| ![Method::GET, Method::HEAD].contains(method)) => {
                Err(ConfigError::new("a probe is sent by HEAD or GET"))
            }
            None if probes.iter().any(is_served) => {
                Err(ConfigError::new("a policy serves a method of its probes"))
            }
            None => Ok(()),
        }
    }

    /// Checks the method against those of the policy, or against `default` if it names none.
    #[inline]
    pub(crate) fn check_method(
        &self,
        head: RequestHead<'_>,
        default: Option<&[Method]>,
    ) -> Result<(), Rejection> {
        match self.0.methods.as_deref().or(default) {
            Some(methods) => self.check_method_among(methods, head),
            None => Ok(()),
        }
    }

    fn check_method_among(
        &self,
        methods: &[Method],
        head: RequestHead<'_>,
    ) -> Result<(), Rejection> {
        if methods.contains(head.served_method()) || self.is_probe(head.method()) {
            return Ok(());
        }
        let allow = allow(methods.iter().chain(&self.0.probes));
        Err(Rejection::new(RejectionKind::MethodNotAllowed).with_allow(allow))
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
        if !fits && key_id.is_some() {
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
        Self(Arc::new(Inner::new(access)))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// The name of the hook that a request is for, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct HookName(pub(crate) Arc<str>);

impl Inner {
    fn new(access: Access) -> Self {
        Self {
            access,
            methods: None,
            probes: Box::default(),
            without_body: false,
            pre_auth_max_bytes: None,
            scopes: Box::default(),
            owner: None,
            key: None,
            hook: None,
            rate_limit: None,
            denies_all: false,
            fault: None,
        }
    }

    fn asks_for_caller(&mut self) {
        if self.access == Access::Public {
            self.fault =
                Some("a public policy asks for a scope, an owner or a key, or has a rate limit");
        }
    }
}

fn allow<'a>(methods: impl Iterator<Item = &'a Method>) -> HeaderValue {
    let names: Vec<&str> = methods.map(Method::as_str).collect();
    // A method is a token, so a list of them is a header value.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
