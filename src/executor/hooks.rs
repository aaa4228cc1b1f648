use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::contain::Contain;
use super::outcome::Outcome;
use super::shape::{Failure, FailureKind};
use super::slots::Slots;
use super::{Executor, Invocation, ResponseShape};
use crate::auth::{Admission, AuthLayer, BoxError, Gate, protect_target};
use crate::body::{self, BodyLimits, BufferedBody, ReadBody};
use crate::config::ConfigError;
use crate::credential::redact_target;
use crate::envelope::{Envelope, EnvelopeBuilder, EnvelopeInput};
use crate::identity::Identity;
use crate::leaf::{ResponseBody, ResponseFuture};
use crate::rejection::{Rejection, RejectionKind, without_content};
use crate::timer::{SystemTimer, Timer, within};
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
    gate: Arc<Gate>,
    executor: Arc<dyn Executor>,
    envelope: EnvelopeBuilder,
    /// Headers in which credentials travel. No executor sees them.
    left_out: Box<[HeaderName]>,
    identity_member: Option<Box<str>>,
    coverage_member: Option<Box<str>>,
    shape: ResponseShape,
    body: BodyLimits,
    pre_auth_max_bytes: usize,
    max_response_bytes: usize,
    deadline: Duration,
    slots: Slots,
    timer: Arc<dyn Timer>,
    takes_coded: bool,
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
        let mut gate = auth.into_gate();
        // A policy that names no method serves what a webhook is called by.
        Arc::make_mut(&mut gate).set_default_methods(&[Method::POST]);
        let left_out = gate.all_credentials().flat_map(|list| list.header_names().cloned());
        Self {
            shared: Arc::new(Shared {
                left_out: left_out.collect(),
                identity_member: None,
                coverage_member: None,
                gate,
                executor: Arc::new(executor),
                envelope: EnvelopeBuilder::new(),
                shape: ResponseShape::default(),
                body: BodyLimits::default(),
                pre_auth_max_bytes: 16 * 1024,
                max_response_bytes: 1024 * 1024,
                deadline: Duration::from_secs(15),
                slots: Slots::new(64),
                timer: Arc::new(SystemTimer::new()),
                takes_coded: false,
            }),
        }
    }

    /// How a request becomes an envelope.
    #[must_use]
    pub fn with_envelope(self, envelope: EnvelopeBuilder) -> Self {
        self.with(|shared| shared.envelope = envelope)
    }

    /// Adds the caller to the envelope, under this name: `{"owner":..,"key_id":..,"scopes":..,
    /// "placement":..}`, or `null` on a public hook. The name must not be one of the other members.
    #[must_use]
    pub fn with_identity_member(self, name: impl Into<Box<str>>) -> Self {
        self.with(|shared| shared.identity_member = Some(name.into()))
    }

    /// Adds a list to the envelope, under this name, of the members whose content the caller's proof
    /// covers. A key and a login prove who sends a request and nothing about what is in it, so the list is
    /// empty for them. The name must not be one of the other members.
    #[must_use]
    pub fn with_coverage_member(self, name: impl Into<Box<str>>) -> Self {
        self.with(|shared| shared.coverage_member = Some(name.into()))
    }

    /// How the end of an execution becomes a response. The default is
    /// [`ResponseShape::status_member`].
    #[must_use]
    pub fn with_response_shape(self, shape: ResponseShape) -> Self {
        self.with(|shared| shared.shape = shape)
    }

    /// The largest body of a request, in bytes. The default is 256 KiB.
    #[must_use]
    pub fn with_max_body_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.body.max_bytes = max_bytes)
    }

    /// Takes a body with a `Content-Encoding` as it was sent, instead of refusing it with 415. Nothing is
    /// decoded: coded JSON is malformed.
    #[must_use]
    pub fn with_coded_bodies(self) -> Self {
        self.with(|shared| shared.takes_coded = true)
    }

    /// The time in which a body has to arrive. The default is 10 seconds.
    #[must_use]
    pub fn with_body_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.body.deadline = deadline)
    }

    /// The largest body that is read before the caller is known, in bytes, where a placement is in the
    /// body. The default is 16 KiB. The limit of [`with_max_body_bytes`](Self::with_max_body_bytes)
    /// holds as well.
    ///
    /// # Security
    ///
    /// Anybody can make the server hold this much for each connection.
    #[must_use]
    pub fn with_pre_auth_max_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.pre_auth_max_bytes = max_bytes)
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
        Ok(self.with(|shared| shared.slots = Slots::new(limit)))
    }

    /// What measures the deadlines.
    #[must_use]
    pub fn with_timer(self, timer: impl Timer) -> Self {
        self.with(|shared| shared.timer = Arc::new(timer))
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
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    /// Always ready: what limits executions is counted for each hook, when it is known.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let shared = Arc::clone(&self.shared);
        ResponseFuture::new(async move {
            let is_head = request.method() == Method::HEAD;
            let response = match shared.serve(request).await {
                Ok(response) => response,
                Err(rejection) => shared.gate.respond().response(&rejection),
            };
            if is_head { without_content(response) } else { response }
        })
    }
}

impl Shared {
    async fn serve<B>(&self, request: Request<B>) -> Result<Response<Bytes>, Rejection>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        self.gate.mark_sensitive(&mut parts.headers);
        let policy = self.gate.resolve((&parts).into()).await?;
        self.gate.check_method_first(&policy, (&parts).into())?;

        let mut unread = Some(body);
        let reads_first =
            self.gate.needs_body(&policy) && !matches!(parts.method, Method::GET | Method::HEAD);
        if reads_first && let Some(body) = unread.take() {
            self.check_coding(&parts)?;
            let max_bytes = self.body.max_bytes.min(self.pre_auth_max_bytes);
            let limits = BodyLimits { max_bytes, ..self.body };
            let collected = self.read(&parts, body, limits).await?;
            parts.extensions.insert(BufferedBody::new(collected));
        }

        let mut admission = Admission::default();
        self.gate.admit(&policy, (&parts).into(), &mut admission).await?;
        let by_target = admission.by_target();
        let identity = admission.identity().cloned();

        self.check_coding(&parts)?;
        if let Some(body) = unread {
            let collected = self.read(&parts, body, self.body).await?;
            parts.extensions.insert(BufferedBody::new(collected));
        }
        // Not before the body is there: what stands in a place of the body is removed too, whoever may call.
        self.gate.enter(&mut parts, admission);
        if let Some(keys) = self.gate.keys() {
            redact_target(&mut parts, &|text| keys.redact(text));
        }
        let bytes = parts.extensions.get().map(BufferedBody::bytes).unwrap_or_default();
        let envelope = self.build(&parts, &bytes, identity.as_ref())?;

        let hook = policy.hook_name();
        let slot = self.slots.take(hook.clone().unwrap_or_default());
        let Some(_slot) = slot else { return Err(Rejection::new(RejectionKind::AtCapacity)) };
        let Parts { method, uri, extensions, .. } = parts;
        let invocation = Invocation { envelope, identity, hook, method, uri, extensions };
        let mut response = self.execute(invocation).await?;
        if by_target {
            protect_target(response.headers_mut());
        }
        Ok(response)
    }

    /// No coding is undone here: an executor would be given bytes that it cannot read.
    fn check_coding(&self, parts: &Parts) -> Result<(), Rejection> {
        if self.takes_coded || body::is_identity_coded(&parts.headers) {
            Ok(())
        } else {
            Err(Rejection::new(RejectionKind::UnsupportedContentCoding))
        }
    }

    async fn read<B>(
        &self,
        parts: &Parts,
        body: B,
        limits: BodyLimits,
    ) -> Result<body::Collected, Rejection>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let read = ReadBody::new(body, &parts.headers, limits, Arc::clone(&self.timer));
        read.await.map_err(|error| error.into_rejection(parts.version))
    }

    fn build(
        &self,
        parts: &Parts,
        bytes: &Bytes,
        identity: Option<&Identity>,
    ) -> Result<Envelope, Rejection> {
        let redact = |text: &str| self.gate.keys()?.redact(text);
        let mut input = EnvelopeInput::new(parts, bytes)
            .with_left_out_headers(&self.left_out)
            .with_redaction(&redact);
        let caller;
        if let Some(name) = &self.identity_member {
            caller = serde_json::to_string(&identity)
                .map_err(|error| Rejection::new(RejectionKind::Internal).with_source(error))?;
            input = input.with_member(name, &caller);
        }
        if let Some(name) = &self.coverage_member {
            input = input.with_member(name, "[]");
        }
        Ok(self.envelope.build(&input)?)
    }

    async fn execute(&self, invocation: Invocation) -> Result<Response<Bytes>, Rejection> {
        let hook = invocation.hook.clone();
        let executor = Arc::clone(&self.executor);
        let end = match Contain::new(|| async move { executor.execute(invocation).await }) {
            Err(panicked) => Some(Err(panicked)),
            Ok(execution) => within(&*self.timer, self.deadline, execution).await,
        };
        let end: Result<Outcome, Failure> = match end {
            None => Err(Failure::new(FailureKind::Timeout)),
            Some(Err(_panicked)) => Err(Failure::new(FailureKind::Panicked)),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Ok(Ok(outcome))) if outcome.len() > self.max_response_bytes => {
                Err(Failure::new(FailureKind::TooLarge))
            }
            Some(Ok(Ok(outcome))) => Ok(outcome),
        };
        if let Err(failure) = &end {
            trace::failed(hook.as_deref(), failure);
        }
        self.shape.response(end.as_ref())
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("gate", &self.shared.gate)
            .field("shape", &self.shared.shape)
            .finish_non_exhaustive()
    }
}
