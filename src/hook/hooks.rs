use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::concurrency::{ConcurrencyLimits, Permit};
use super::outcome::Outcome;
use super::response_format::Failure;
use super::run::run;
#[cfg(feature = "signature")]
use super::signed::SignedHooks;
use super::{Executor, Invocation, ResponseFormat, ResponseFuture};
use crate::BoxError;
use crate::auth::{AuthConfig, AuthLayer, BufferedAuth, End, HookName, Stopwatch};
use crate::body::{BodyLimits, BodyRules, BufferedBody};
use crate::credential::redact_target;
use crate::drain::DrainLayer;
use crate::envelope::{Envelope, EnvelopeBuilder, EnvelopeInput};
use crate::error::ConfigError;
use crate::identity::Identity;
use crate::rejection::{Rejection, RejectionKind, ResponseBody, without_content};
#[cfg(feature = "signature")]
use crate::replay::ReplayGuard;
#[cfg(feature = "signature")]
use crate::signature::SignedDelivery;
use crate::trace;

/// Leaf service that runs hooks.
///
/// See the [module docs](super) for the order of its steps and an example. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    config: Arc<AuthConfig>,
    body: BodyRules,
    executor: Arc<dyn Executor>,
    /// Headers in which credentials travel. No executor sees them.
    left_out: Box<[HeaderName]>,
    identity_member: Option<Box<str>>,
    format: ResponseFormat,
    pre_auth_max_bytes: Option<usize>,
    max_response_bytes: usize,
    deadline: Duration,
    slots: ConcurrencyLimits,
    drain: DrainLayer,
    #[cfg(feature = "signature")]
    signed: SignedHooks,
}

impl Hooks {
    /// A service that lets callers through as the layer says, and runs the executor for them.
    ///
    /// Which hook a request is for, and who may call it, is the layer's to find out
    /// ([`AuthLayer::per_request`]); a layer with one policy makes a service with one hook. The layer's
    /// [`with_rejection_response`](AuthLayer::with_rejection_response) also makes the bodies of the other
    /// refusals of this service.
    #[must_use]
    pub fn new(auth: AuthLayer, executor: impl Executor) -> Self {
        let mut config = auth.into_config();
        Arc::make_mut(&mut config).set_hook_defaults();
        let limits = BodyLimits::default();
        let body = BodyRules { limits, respond: None, takes_coded: false };
        let left_out = config.all_credentials().flat_map(|list| list.header_names().cloned());
        Self {
            shared: Arc::new(Shared {
                left_out: left_out.collect(),
                identity_member: None,
                config,
                body,
                executor: Arc::new(executor),
                format: ResponseFormat::default(),
                pre_auth_max_bytes: None,
                max_response_bytes: 1024 * 1024,
                deadline: Duration::from_secs(15),
                slots: ConcurrencyLimits::new(64),
                drain: DrainLayer::new(),
                #[cfg(feature = "signature")]
                signed: SignedHooks::default(),
            }),
        }
    }

    /// How a request becomes an envelope, where its hook has no envelope of its own
    /// ([`with_envelope_for`](Self::with_envelope_for)).
    ///
    /// # Errors
    ///
    /// Returns an error if a part has the name of the [identity member](Self::with_identity_member).
    pub fn with_envelope(self, envelope: EnvelopeBuilder) -> Result<Self, ConfigError> {
        self.with(|shared| shared.config_mut().envelopes.set_default(envelope)).checked()
    }

    /// How a request for one hook becomes an envelope. The hook is the one that its policy names
    /// ([`Policy::with_hook`](crate::auth::Policy::with_hook)).
    ///
    /// # Errors
    ///
    /// Returns an error if the hook has an envelope of its own already, or if a part has the name of the
    /// [identity member](Self::with_identity_member).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::RequestHead;
    /// use tower_webhook::auth::{AuthLayer, Policy};
    /// use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
    /// use tower_webhook::hook::{Hooks, Invocation, Outcome};
    ///
    /// let resolve = |head: RequestHead<'_>| match head.original_path() {
    ///     "/logs" => Some(Policy::public().with_hook("logs")),
    ///     "/deploy" => Some(Policy::public().with_hook("deploy")),
    ///     _ => None,
    /// };
    /// let run = async |invocation: Invocation| Outcome::json_text(invocation.envelope().as_str());
    /// let opaque = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY")?;
    /// let hooks = Hooks::new(AuthLayer::per_request(resolve), run).with_envelope_for("logs", opaque)?;
    /// # let _ = hooks;
    /// # Ok::<(), tower_webhook::ConfigError>(())
    /// ```
    pub fn with_envelope_for(
        self,
        hook: impl Into<Box<str>>,
        envelope: EnvelopeBuilder,
    ) -> Result<Self, ConfigError> {
        let mut added = Ok(());
        let hooks =
            self.with(|shared| added = shared.config_mut().envelopes.add(hook.into(), envelope));
        added.and_then(|()| hooks.checked())
    }

    /// Adds the caller to the envelope, under this name: `{"owner":..,"key_id":..,"scopes":..,
    /// "placement":..}`, or `null` on a public hook.
    ///
    /// # Errors
    ///
    /// Returns an error if a part of the envelope has that name.
    pub fn with_identity_member(self, name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        self.with(|shared| shared.identity_member = Some(name.into())).checked()
    }

    /// How the end of an execution becomes a response. The default is
    /// [`ResponseFormat::http`].
    #[must_use]
    pub fn with_response_format(self, format: ResponseFormat) -> Self {
        self.with(|shared| shared.format = format)
    }

    /// The largest body of a request, in bytes. The default is 1 MiB. Some senders need more: see the
    /// [table](super#senders).
    #[must_use]
    pub fn with_max_body_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.body.limits.max_bytes = max_bytes)
    }

    /// Takes a body with a `Content-Encoding` as it was sent, instead of refusing it with 415. Nothing is
    /// decoded: JSON in a coding is malformed, and a label that is not true is ignored.
    #[must_use]
    pub fn with_encoded_bodies(self) -> Self {
        self.with(|shared| {
            shared.body.takes_coded = true;
            shared.config_mut().set_ignores_coding();
        })
    }

    /// The time in which a body has to arrive. The default is 10 seconds.
    #[must_use]
    pub fn with_body_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.body.limits.deadline = deadline)
    }

    /// The largest body that is read before the caller is known, in bytes: where a placement is in the
    /// body, the head has no credential, and the [envelope](Self::with_envelope) shows fields of bodies of that
    /// type, by its settings too; and for an authenticator that
    /// [needs the body](crate::auth::Authenticator::needs_body), as that of signatures does. The default is 16 KiB, or with
    /// such an authenticator the limit of [`with_max_body_bytes`](Self::with_max_body_bytes), which holds as well.
    ///
    /// # Security
    ///
    /// Every client can make the server hold this much for each connection.
    #[must_use]
    pub fn with_pre_auth_max_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.pre_auth_max_bytes = Some(max_bytes))
    }

    /// The largest result, in bytes of its JSON text or body. The default is 1 MiB.
    #[must_use]
    pub fn with_max_response_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.max_response_bytes = max_bytes)
    }

    /// The time in which an execution has to end. The default is 15 seconds, because senders of webhooks give
    /// up soon after.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.deadline = deadline)
    }

    /// How much of the body of a refused request is read and dropped after the response, and for how long, so that a
    /// client which is still sending sees the response: see [`drain`](crate::drain). The default is
    /// [`DrainLayer::new`], 1 MiB and 1 second. [`DrainLayer::with_max_bytes`] with 0 turns it off.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::drain::DrainLayer;
    /// use tower_webhook::hook::{Hooks, Invocation, Outcome};
    ///
    /// let drain = DrainLayer::new().with_max_bytes(32 * 1024 * 1024).with_deadline(Duration::from_secs(3));
    /// let hooks = Hooks::new(AuthLayer::public(), |_: Invocation| async { Ok(Outcome::empty()) })
    ///     .with_drain(drain);
    /// # let _ = hooks;
    /// ```
    #[must_use]
    pub fn with_drain(self, drain: DrainLayer) -> Self {
        self.with(|shared| shared.drain = drain)
    }

    /// How many executions of one hook may be under way at a time. The default is 64. A request beyond
    /// that is refused with 503 and `Retry-After`; there is no queue.
    ///
    /// # Errors
    ///
    /// Returns an error if the limit is 0.
    pub fn with_max_executions(self, limit: usize) -> Result<Self, ConfigError> {
        if limit == 0 {
            return Err(ConfigError::new("the limit on executions is 0"));
        }
        Ok(self.with(|shared| shared.slots = ConcurrencyLimits::new(limit)))
    }

    /// Runs each signed delivery once: see [`replay`](crate::replay). An answer is kept for this long, and at least for twice
    /// the tolerance of the scheme. A delivery without anything signed that identifies it is run each time.
    #[cfg(feature = "signature")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
    #[must_use]
    pub fn with_replay_guard(self, guard: impl ReplayGuard, time_to_live: Duration) -> Self {
        self.with(|shared| shared.signed.set_guard(guard, time_to_live))
    }

    /// Adds a member to envelopes that says what is signed: the [`SignedDelivery`](crate::signature::SignedDelivery), or
    /// `null`.
    ///
    /// # Errors
    ///
    /// Returns an error if another member of the envelope has that name.
    #[cfg(feature = "signature")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
    pub fn with_signature_member(self, name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        self.with(|shared| shared.signed.member = Some(name.into())).checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let Shared { config, identity_member, .. } = &*self.shared;
        let names = [
            identity_member.as_deref(),
            #[cfg(feature = "signature")]
            self.shared.signed.member.as_deref(),
        ];
        let mut names = names.into_iter().flatten().collect::<Vec<_>>();
        let is_taken = names.iter().any(|name| config.envelopes.have_member(name));
        let count = names.len();
        names.dedup();
        if is_taken || names.len() < count {
            return Err(ConfigError::new("two members of the envelope have the same name"));
        }
        Ok(self)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<B> Service<Request<B>> for Hooks
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<Full<Bytes>>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    /// Always ready: what limits executions is counted for each hook, when it is known.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let Shared { config, body, pre_auth_max_bytes, drain, .. } = &*self.shared;
        let run = Run { shared: Arc::clone(&self.shared), stopwatch: config.start_stopwatch() };
        let auth = BufferedAuth::new(run, Arc::clone(config), body.clone(), *pre_auth_max_bytes);
        let response = drain.layer(auth).call(request.map(Box::pin));
        ResponseFuture::new(async move {
            match response.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}

/// What is said of an execution, and whether it ended well.
pub(super) struct Answer {
    pub(super) response: Result<Response<Bytes>, Rejection>,
    #[cfg_attr(not(feature = "signature"), expect(dead_code, reason = "a replay guard asks"))]
    pub(super) is_success: bool,
}

/// What the layer lets in: the leaf inside it.
#[derive(Clone)]
struct Run {
    shared: Arc<Shared>,
    /// Measures the decision, which the auth layer leaves to this service: it can still refuse the request.
    stopwatch: Stopwatch,
}

impl<B: Send + 'static> Service<Request<B>> for Run {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { shared, mut stopwatch } = self.clone();
        let (parts, _body) = request.into_parts();
        Box::pin(async move {
            let is_head = parts.method == Method::HEAD;
            // The executor gets the parts.
            let asked = shared.config.asked((&parts).into());
            let prepared = shared.prepare(parts);
            shared.config.measure(&mut stopwatch, asked.hook(), || match &prepared {
                Ok((invocation, _)) => {
                    End::Accepted(invocation.identity().and_then(Identity::placement))
                }
                Err(rejection) => End::Refused(rejection.kind()),
            });
            let end = match prepared {
                Ok((invocation, _permit)) => shared.answer(invocation).await,
                Err(rejection) => Err(rejection),
            };
            let response = match end {
                Ok(response) if is_head && !response.body().is_empty() => without_content(response),
                Ok(response) => response,
                Err(rejection) => shared.config.respond().response(&rejection, &asked),
            };
            Ok(response.map(Full::new))
        })
    }
}

impl Shared {
    fn config_mut(&mut self) -> &mut AuthConfig {
        Arc::make_mut(&mut self.config)
    }

    /// What the executor gets, if a request can be made into it and a slot is free.
    fn prepare(&self, mut parts: Parts) -> Result<(Invocation, Permit), Rejection> {
        if let Some(keys) = self.config.keys() {
            redact_target(&mut parts, &|text| keys.redact(text))?;
        }
        #[cfg(feature = "signature")]
        if let Some(signed) = parts.extensions.get::<SignedDelivery>() {
            for name in signed.token_headers() {
                parts.headers.remove(name);
            }
        }
        let identity = Identity::of(&parts.extensions);
        let identity = identity
            .map_err(|error| Rejection::new(RejectionKind::Misconfigured).with_source(error))?;
        let identity = identity.cloned();
        let hook = parts.extensions.get().map(|HookName(name)| Arc::clone(name));
        let bytes = parts.extensions.get().map(BufferedBody::bytes).unwrap_or_default();
        let builder = self.config.envelopes.of(hook.as_deref());
        let envelope = self.build(builder, &parts, &bytes, identity.as_ref())?;

        let permit = self.slots.take(hook.clone().unwrap_or_default());
        let permit = permit.ok_or(Rejection::new(RejectionKind::AtCapacity))?;
        let Parts { method, uri, mut headers, extensions, .. } = parts;
        builder.remove_hidden_headers(&mut headers, &self.left_out);
        self.redact_values(&mut headers);
        let invocation =
            Invocation { envelope, identity, hook, method, uri, headers, body: bytes, extensions };
        Ok((invocation, permit))
    }

    /// Runs the executor, unless it is known what the answer to this delivery was.
    async fn answer(&self, invocation: Invocation) -> Result<Response<Bytes>, Rejection> {
        #[cfg(feature = "signature")]
        if let Some((guard, delivery)) = self.signed.guarded(&invocation, self.deadline) {
            return guard.run_once(delivery, self.run(invocation)).await;
        }
        self.run(invocation).await.response
    }

    async fn run(&self, invocation: Invocation) -> Answer {
        let end = self.execute(invocation).await;
        Answer { response: self.format.response(end.as_ref()), is_success: end.is_ok() }
    }

    /// Hides keys that are in a place which no placement reads.
    fn redact_values(&self, headers: &mut HeaderMap) {
        let Some(keys) = self.config.keys() else { return };
        for value in headers.values_mut() {
            let text = String::from_utf8_lossy(value.as_bytes());
            if let Some(redacted) = keys.redact(&text) {
                // A text without a line end is a value.
                *value = HeaderValue::try_from(redacted)
                    .unwrap_or(HeaderValue::from_static("[redacted]"));
            }
        }
    }

    fn build(
        &self,
        builder: &EnvelopeBuilder,
        parts: &Parts,
        bytes: &Bytes,
        identity: Option<&Identity>,
    ) -> Result<Envelope, Rejection> {
        let redact = |text: &str| self.config.keys()?.redact(text);
        let mut input = EnvelopeInput::new(parts, bytes)
            .with_excluded_headers(&self.left_out)
            .with_redaction(&redact);
        let caller;
        if let Some(name) = &self.identity_member {
            caller = serde_json::to_string(&identity)
                .map_err(|error| Rejection::new(RejectionKind::Internal).with_source(error))?;
            input = input.with_member(name, &caller);
        }
        #[cfg(feature = "signature")]
        let signed;
        #[cfg(feature = "signature")]
        if let Some(name) = &self.signed.member {
            signed = serde_json::to_string(&parts.extensions.get::<SignedDelivery>())
                .map_err(|error| Rejection::new(RejectionKind::Internal).with_source(error))?;
            input = input.with_member(name, &signed);
        }
        Ok(builder.build(&input)?)
    }

    async fn execute(&self, invocation: Invocation) -> Result<Outcome, Failure> {
        let hook = invocation.hook.clone();
        let mut stopwatch = self.config.start_stopwatch();
        let end = run(&*self.executor, invocation, self.deadline, self.max_response_bytes).await;
        let executed = || End::Executed(end.as_ref().map(drop).map_err(Failure::kind));
        self.config.measure(&mut stopwatch, hook.as_deref(), executed);
        if let Err(failure) = &end {
            trace::failed(hook.as_deref(), failure);
        }
        end
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("config", &self.shared.config)
            .field("format", &self.shared.format)
            .finish_non_exhaustive()
    }
}
