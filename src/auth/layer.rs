use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response};
use tower_layer::Layer;

use super::authenticator::Authenticator;
use super::config::{AuthConfig, PolicySource, Users};
use super::policy::Policy;
use super::resolver::PolicyResolver;
use super::{Auth, BufferedAuthLayer};
use crate::body::BodyBufferLayer;
use crate::clock::Clock;
use crate::credential::{Credentials, IntoCredentials, Placement};
use crate::error::ConfigError;
use crate::key::{KeyVerifier, Owner, Scope};
use crate::rate_limit::RateLimits;
use crate::rejection::Rejection;
use crate::request_head::RequestHead;
#[cfg(feature = "signature")]
use crate::signature::SignatureVerifier;

/// Layer that lets a request through only for a caller who may call.
///
/// See the [module docs](super) for an example.
#[derive(Clone)]
#[must_use]
pub struct AuthLayer {
    config: Arc<AuthConfig>,
}

impl AuthLayer {
    /// One policy for all requests, where the constructors below are not enough: methods, one key, the name of a
    /// hook. Give the layer keys for a token policy ([`with_keys`](Self::with_keys)), and an authenticator for a
    /// user policy ([`with_authenticator`](Self::with_authenticator)); without them, every request is a 500.
    ///
    /// # Errors
    ///
    /// Returns an error if the policy serves no method, or if its settings contradict each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Method;
    /// use tower_webhook::auth::{AuthLayer, Policy};
    /// use tower_webhook::credential::Placement;
    /// use tower_webhook::key::KeyManager;
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let keys = KeyManager::new(MemoryKeyStore::new());
    /// let layer = AuthLayer::new(Policy::token().with_methods([Method::POST]))?
    ///     .with_keys(&keys, [Placement::bearer()])?;
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(policy: Policy) -> Result<Self, ConfigError> {
        policy.check_config()?;
        Ok(Self::fixed(policy))
    }

    /// Every caller may call. Spelled out, because a service without a layer is not a public one: its extractors
    /// answer 500.
    pub fn public() -> Self {
        Self::fixed(Policy::public())
    }

    /// A caller needs a key, in one of the placements.
    ///
    /// # Errors
    ///
    /// Returns an error if the list is empty, or if two placements read the same place.
    pub fn token(
        keys: impl Into<KeyVerifier>,
        placements: impl IntoCredentials,
    ) -> Result<Self, ConfigError> {
        Self::fixed(Policy::token()).with_keys(keys, placements)
    }

    /// A caller needs a key in `Authorization: Bearer` (RFC 6750).
    ///
    /// # Errors
    ///
    /// Never at present. It is fallible like the other constructors.
    pub fn bearer(keys: impl Into<KeyVerifier>) -> Result<Self, ConfigError> {
        Self::token(keys, Placement::bearer())
    }

    /// A caller needs a key in a header of its own, such as `x-api-key`.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is no header name, or that of a header which serves the transport.
    pub fn header(
        name: impl TryInto<HeaderName>,
        keys: impl Into<KeyVerifier>,
    ) -> Result<Self, ConfigError> {
        Self::token(keys, Placement::header(name)?)
    }

    /// A caller needs to be a user, as the authenticator says. With an empty list of placements, the
    /// authenticator looks at the head of the request itself.
    ///
    /// # Errors
    ///
    /// Returns an error if two placements read the same place.
    pub fn user(
        authenticator: impl Authenticator,
        placements: impl IntoCredentials,
    ) -> Result<Self, ConfigError> {
        Self::fixed(Policy::user()).with_authenticator(authenticator, placements)
    }

    /// A request needs the [signature](crate::signature) of a sender. The sender is the user of the request, so that
    /// [`Policy::any_of`] takes a key or a signature. The layer needs a [buffer](Self::with_buffer), or is that of
    /// [`Hooks`](crate::hook::Hooks).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Owner;
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::hook::{Hooks, Invocation, Outcome};
    /// use tower_webhook::signature::{Sender, SignatureVerifier, SigningSecret, presets};
    ///
    /// let secret = SigningSecret::raw("It's a Secret to Everybody")?;
    /// let github = Sender::new(Owner::new("github")?, presets::github(), [secret])?;
    /// let hooks = Hooks::new(
    ///     AuthLayer::signed(SignatureVerifier::new(github)),
    ///     |_: Invocation| async { Ok(Outcome::empty()) },
    /// )
    /// // What GitHub sends at most. The default is 1 MiB.
    /// .with_max_body_bytes(25 * 1024 * 1024);
    /// # let _ = hooks;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "signature")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
    pub fn signed(verifier: SignatureVerifier) -> Self {
        let users = Users::new(verifier, None);
        Self::fixed(Policy::signed()).with(|config| config.users = Some(users))
    }

    /// Each request has a policy of its own. Give the layer keys for its token policies
    /// ([`with_keys`](Self::with_keys)), and an authenticator for its user policies
    /// ([`with_authenticator`](Self::with_authenticator)); without them, such a request is a 500.
    pub fn per_request(resolver: impl PolicyResolver) -> Self {
        Self::of(PolicySource::PerRequest(Arc::new(resolver)))
    }

    /// The keys that open token routes, and where a caller may put one: a list of placements, or [`Credentials`]
    /// with settings of their own.
    ///
    /// # Errors
    ///
    /// Returns an error if the list is empty, if two placements read the same place, or if the layer has keys
    /// already.
    pub fn with_keys(
        self,
        keys: impl Into<KeyVerifier>,
        placements: impl IntoCredentials,
    ) -> Result<Self, ConfigError> {
        let keys = keys.into();
        let credentials = placements.into_credentials()?;
        let credentials = credentials.ok_or(ConfigError::new("a list of placements is empty"))?;
        self.try_with(|config| {
            let keys = match &config.clock {
                Some(clock) => keys.with_clock(clock.clone()),
                None => keys,
            };
            match config.keys.replace((keys, credentials)) {
                Some(_) => Err(ConfigError::new("the layer is given keys twice")),
                None => Ok(()),
            }
        })
    }

    /// Who decides about user routes, and where a caller may put a credential for it: a list of placements, or
    /// [`Credentials`] with settings of their own. With an empty list, the authenticator looks at the head of the
    /// request itself.
    ///
    /// # Errors
    ///
    /// Returns an error if two placements read the same place, or if the layer has an authenticator already.
    pub fn with_authenticator(
        self,
        authenticator: impl Authenticator,
        placements: impl IntoCredentials,
    ) -> Result<Self, ConfigError> {
        let credentials = placements.into_credentials()?;
        let users = Users::new(authenticator, credentials);
        self.try_with(|config| match config.users.replace(users) {
            Some(_) => Err(ConfigError::new("the layer is given two authenticators")),
            None => Ok(()),
        })
    }

    /// The senders whose signatures open routes of [`Policy::signed`]. They take the place of an
    /// [authenticator](Self::with_authenticator).
    ///
    /// # Errors
    ///
    /// Returns an error if the layer has an authenticator already.
    #[cfg(feature = "signature")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
    pub fn with_signatures(self, verifier: SignatureVerifier) -> Result<Self, ConfigError> {
        self.try_with(|config| match config.users.replace(Users::new(verifier, None)) {
            Some(_) => Err(ConfigError::new("the layer is given an authenticator twice")),
            None => Ok(()),
        })
    }

    /// Places whose content is removed from requests although this layer reads no credential there: what
    /// callers of a public route send by habit, or what an inner service must not see. Several calls remove what
    /// all of them say. A place in the body needs [`with_buffer`](Self::with_buffer).
    ///
    /// # Errors
    ///
    /// Returns an error if the list is empty, or if two placements read the same place.
    pub fn with_removed(
        self,
        placements: impl IntoIterator<Item = Placement>,
    ) -> Result<Self, ConfigError> {
        let credentials = Credentials::new(placements)?;
        Ok(self.with(|config| config.stripped.push(credentials)))
    }

    /// Asks for a scope, in addition to what the policy of a request asks for. Several calls ask for all of
    /// them. A resolver that gives a public policy nevertheless is a fault of the configuration: the request is
    /// refused with 500.
    ///
    /// # Errors
    ///
    /// Returns an error on a public layer.
    pub fn with_scope(self, scope: Scope) -> Result<Self, ConfigError> {
        self.try_with(|config| {
            if let PolicySource::Fixed(policy) = &mut config.source {
                *policy = policy.clone().with_scope(scope.clone());
            }
            config.scopes.push(scope);
            Ok(())
        })
    }

    /// Asks for an owner, as [`with_scope`](Self::with_scope) asks for a scope.
    ///
    /// # Errors
    ///
    /// Returns an error on a public layer, or if the layer asks for another owner already.
    pub fn with_owner(self, owner: Owner) -> Result<Self, ConfigError> {
        self.try_with(|config| {
            if let PolicySource::Fixed(policy) = &mut config.source {
                *policy = policy.clone().with_owner(owner.clone());
            }
            if config.owner.as_ref().is_some_and(|other| *other != owner) {
                return Err(ConfigError::new("the layer asks for two owners"));
            }
            config.owner = Some(owner);
            Ok(())
        })
    }

    /// The realm in challenges (RFC 9110, section 11.5). The default is `webhook`.
    ///
    /// # Errors
    ///
    /// Returns an error if the text has characters other than printable ASCII.
    pub fn with_realm(self, realm: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let realm = realm.into();
        self.try_with(|config| {
            config.realm = realm;
            Ok(())
        })
    }

    /// The clock that deadlines of keys are compared with, in place of that of the keys.
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|config| {
            if let Some((verifier, _)) = &mut config.keys {
                *verifier = verifier.clone().with_clock(clock.clone());
            }
            config.clock = Some(clock);
        })
    }

    /// Limits the calls of each caller. A call beyond a limit is refused with 429.
    ///
    /// | bucket | quota |
    /// |---|---|
    /// | `key:{id}` of a caller with a key, under [`Policy::all_of`] too | of the record ([`NewKey::with_rate_limit`](crate::key::NewKey::with_rate_limit)), else the default of the limits |
    /// | `user:{owner}` of a user | the default of the limits |
    /// | the same, a line end, and the name of the hook | of the policy ([`Policy::with_rate_limit`]) |
    ///
    /// Where there are two, both have to allow the call. A key that is rotated under its id keeps its bucket.
    ///
    /// * Calls are counted once the caller is known and may call: a request that is refused with 401, 403 or 405
    ///   counts in no bucket. The body of a request that is refused with 429 is not read, but for one whose credential
    ///   is in it. A probe counts; public policies and preflight requests do not.
    /// * The names of buckets do not have the name of a layer. Layers that share a limiter share the bucket of a
    ///   caller, and that of a hook with the same name. Layers that are not to share have limiters of their own.
    /// * Inside a layer with a clone of the same [`RateLimits`], or one without any, a caller whom the outer layer has
    ///   counted is not counted again.
    /// * A layer without limits refuses a caller with 500 whose record or policy has one. The limiter has the time of
    ///   [`with_decision_deadline`](Self::with_decision_deadline) to answer. If it fails, the answer is 503.
    ///
    /// # Fields
    ///
    /// A 429 has `Retry-After`, `RateLimit-Policy` and `RateLimit`
    /// ([draft-ietf-httpapi-ratelimit-headers-11](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/)).
    /// The name of a limit is `key`, `user` or `hook`. `q` is its burst and `w` its window in seconds; `r` is how many
    /// calls remain, and `t` after how many seconds there is one, if none remains:
    ///
    /// ```text
    /// RateLimit-Policy: "key";q=60;w=60, "hook";q=5;w=60
    /// RateLimit: "key";r=42, "hook";r=0;t=12
    /// Retry-After: 12
    /// ```
    ///
    /// [`RateLimits::with_fields_on_every_response`] adds the first two to other responses. A page of another site
    /// sees the three of them if a CORS layer outside has them in its `Access-Control-Expose-Headers`.
    ///
    /// # Security
    ///
    /// A caller who may make keys has a bucket for each of them.
    ///
    /// # Errors
    ///
    /// Returns an error if the layer has limits already.
    pub fn with_rate_limits(self, limits: RateLimits) -> Result<Self, ConfigError> {
        self.try_with(|config| match config.rate_limits.replace(limits) {
            Some(_) => Err(ConfigError::new("the layer is given rate limits twice")),
            None => Ok(()),
        })
    }

    /// How long the [`PolicyResolver`], the [`Authenticator`] and a
    /// [`RateLimiter`](crate::rate_limit::RateLimiter) may each take, before the request is refused with
    /// 503. The default is 5 seconds.
    ///
    /// The deadline ends a future that waits. It cannot end code that blocks its thread.
    pub fn with_decision_deadline(self, deadline: Duration) -> Self {
        self.with(|config| config.decision_deadline = deadline)
    }

    /// Lets a key or a login come along, in a header field, with a credential of the kind that the policy asks
    /// for. It is removed and not examined. Without this setting, two kinds of credentials in one request are
    /// refused with 400. A cookie may come along in either case, because browsers send it by themselves. A policy that
    /// takes either kind ([`Policy::any_of`]) takes one credential with this setting too.
    ///
    /// # Security
    ///
    /// A proxy or a log that reads the other credential takes the request for that of another caller.
    pub fn with_insecure_mixed_credentials(self) -> Self {
        self.with(|config| config.allows_mixed = true)
    }

    /// How long an accepted request waits for the inner service to become ready, before it is refused with
    /// 503 and `Retry-After`. The default is 10 seconds.
    pub fn with_readiness_deadline(self, deadline: Duration) -> Self {
        self.with(|config| config.readiness_deadline = deadline)
    }

    /// Answers every request that has no good credential for its hook alike, with one 401 that has the
    /// challenges of keys and of users: one for an unknown hook, one by a method that is not served, one whose
    /// body cannot be read, one without the needed scope. The same work is done for all of them. Public hooks
    /// and faults of ours (5xx) stay visible. The method is checked after the credential.
    ///
    /// Without this, an unknown hook is 404, and a missing scope 403.
    pub fn with_uniform_unauthorized(self) -> Self {
        self.with(|config| config.conceal = true)
    }

    /// Passes CORS preflight requests on to the inner service, under every policy, as requests on a public
    /// route: without an identity and without a decision, with what the configured places hold removed, and without a
    /// body where bodies are buffered. A [`PolicyResolver`] is not asked about them.
    ///
    /// A preflight request is `OPTIONS` with `Origin` and `Access-Control-Request-Method`
    /// ([Fetch, section 3.3.2](https://fetch.spec.whatwg.org/#http-requests)), which browsers send without
    /// credentials. Every other `OPTIONS` is decided about as it is without this setting, which is off by default.
    ///
    /// It is for a CORS layer, or a service that answers preflights, inside of this layer. A CORS layer outside is the
    /// better order: it answers preflights before they get here, and puts its headers on refusals too. A refusal that
    /// did not pass a CORS layer has no CORS headers, so the page that sent the request sees a network error,
    /// and neither 401 nor its challenge.
    ///
    /// [`Hooks`](crate::hook::Hooks) has no inner service: with this setting, a preflight request to it is a 500.
    ///
    /// # Security
    ///
    /// Anyone can send such a request. The inner service must have no other answer to `OPTIONS` than one that every
    /// caller may see. With [`with_uniform_unauthorized`](Self::with_uniform_unauthorized), what the inner service says
    /// to preflights may show which hooks there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::key::KeyManager;
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let keys = KeyManager::new(MemoryKeyStore::new());
    /// let layer = AuthLayer::header("x-api-key", &keys)?.with_preflight_passed_on();
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_preflight_passed_on(self) -> Self {
        self.with(|config| config.preflight = Some(Policy::public().without_body()))
    }

    /// Counts and times what the layer decides, and with [`Hooks`](crate::hook::Hooks) the executions. The
    /// [page](crate::metrics) has the names. A second call replaces the first.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn with_metrics(self, metrics: crate::metrics::Metrics) -> Self {
        self.with(|config| config.metrics = Some(metrics))
    }

    /// Replaces the body of refusals. Status, `WWW-Authenticate`, `Allow`, `Retry-After` and
    /// `Cache-Control` are set after the closure has run.
    ///
    /// The closure is shown a copy of the request's head, which is made for refusals alone. It has no body, none of
    /// what the configured places hold, no `Authorization`, `Proxy-Authorization` and `Cookie`, no header value
    /// that is [marked as sensitive](http::HeaderValue::is_sensitive), and no key that the
    /// [format](crate::key::KeyFormat::redact) recognises. The head of a request that cannot be cleaned has method
    /// and version only.
    ///
    /// # Security
    ///
    /// What else the head has is the caller's to choose: escape what goes into the response.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderName, Response};
    /// use tower_webhook::auth::AuthLayer;
    ///
    /// let layer = AuthLayer::public().with_rejection_response(|rejection, head| {
    ///     let wants_text = head.headers().get("accept").is_some_and(|accept| accept == "text/plain");
    ///     let (media_type, text) = match wants_text {
    ///         true => ("text/plain", rejection.code().to_owned()),
    ///         false => ("application/json", format!("{{\"faultstring\": \"{}\"}}", rejection.code())),
    ///     };
    ///     Response::builder().header("content-type", media_type).body(text.into()).unwrap_or_default()
    /// });
    /// # let _ = layer;
    /// ```
    pub fn with_rejection_response(
        self,
        response: impl Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.respond.set_body(response))
    }

    /// Answers a refused gRPC or gRPC-web call as gRPC does: with the status 200, no content, and the reason in
    /// `grpc-status` and `grpc-message`. Without this setting the client of such a call sees a protocol error.
    ///
    /// A call is a `POST` whose `Content-Type` is `application/grpc`, `application/grpc-web` or
    /// `application/grpc-web-text`, with or without a format such as `+proto`. The [table](crate::rejection) has the
    /// codes. A closure that [replaces bodies](Self::with_rejection_response) is not asked about it.
    ///
    /// # Security
    ///
    /// A proxy that asks an endpoint whether a request may pass (`auth_request` of nginx, `ForwardAuth` of Traefik,
    /// `ext_authz` of Envoy over HTTP) takes every 2xx for a yes. Do not set this on such an endpoint. The same holds
    /// for metrics that look at the status alone: count refusals by the [`Rejection`] in the extensions of the
    /// response.
    pub fn with_grpc_rejections(self) -> Self {
        self.with(|config| config.respond.set_grpc())
    }

    /// Reads the body of a request under limits, and lets the inner service read it again: after the
    /// credential has been found good, or before it if a placement is in the body and the head has no credential.
    ///
    /// An [`Authenticator`] that checks a signature over the body asks for it by
    /// [`needs_body`](Authenticator::needs_body), and is shown it before it decides.
    pub fn with_buffer(self, buffer: BodyBufferLayer) -> BufferedAuthLayer {
        let buffer = match self.config.respond().refuses_in_grpc() {
            true => buffer.with_grpc_rejections(),
            false => buffer,
        };
        BufferedAuthLayer::new(self, buffer)
    }

    pub(super) fn config(&self) -> &AuthConfig {
        &self.config
    }

    pub(crate) fn into_config(self) -> Arc<AuthConfig> {
        self.config
    }

    fn fixed(policy: Policy) -> Self {
        Self::of(PolicySource::Fixed(policy))
    }

    fn of(source: PolicySource) -> Self {
        Self { config: Arc::new(AuthConfig::new(source)) }
    }

    fn with(mut self, change: impl FnOnce(&mut AuthConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// Changes the settings, and checks all of them.
    fn try_with(
        mut self,
        change: impl FnOnce(&mut AuthConfig) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        let config = Arc::make_mut(&mut self.config);
        change(config)?;
        if let PolicySource::Fixed(policy) = &config.source {
            policy.check_config()?;
        }
        config.update_challenges()?;
        Ok(self)
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").field("config", &self.config).finish()
    }
}
