use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::authorize::Admission;
use super::config::AuthConfig;
use super::future::{Entered, Refusal, Waiting};
use super::marks::Marks;
use super::{AuthLayer, Policy, ResponseFuture};
use crate::body::{
    self, BodyBufferLayer, BodyLimits, BodyRules, BufferedBody, ReadBody, ReplayBody, check_coding,
};
use crate::rejection::{Rejection, RejectionKind, ResponseBody};

/// How much of a body is read for a credential in it, unless a setting says otherwise.
const PRE_AUTH_MAX_BYTES: usize = 16 * 1024;

/// Layer that authenticates and buffers the body, in the right order.
///
/// 1. The head is looked at first. Where it has a credential, or more than one, the verdict comes before the body is
///    polled.
/// 2. The body of a caller who is known is read under the limits of the [`BodyBufferLayer`].
/// 3. The body of a request without a credential in its head is read before the verdict, where a placement is in the
///    body, under a limit of its own ([`with_pre_auth_max_bytes`](Self::with_pre_auth_max_bytes)), because its sender
///    is not known yet. That is only so where the policy asks for a credential and serves the method, and where the
///    body can hold a credential: one in a content coding, and one of a media type without named fields, cannot.
///    An authenticator that [needs the body](super::Authenticator::needs_body) is shown it, read under the same limit,
///    under every media type.
/// 4. A second credential, in the body, is refused: see [Credentials in the body](super#credentials-in-the-body).
///
/// What body placements hold is removed from the body that the inner service reads, on public routes too. A body that
/// has fields and cannot be cleaned is refused.
/// Where more than a second has passed since the verdict, because the body or the inner service was slow, the
/// record of the key is looked up again before the inner service is called.
///
/// The inner service is a service of `Request<ReplayBody>`.
///
/// Made by [`AuthLayer::with_buffer`].
///
/// # Examples
///
/// ```
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::body::BodyBufferLayer;
/// use tower_webhook::credential::Placement;
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::MemoryKeyStore;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let layer = AuthLayer::token(&keys, [Placement::body("api_key")?])?
///     .with_buffer(BodyBufferLayer::new().with_max_bytes(1024 * 1024))
///     .with_pre_auth_max_bytes(64 * 1024);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BufferedAuthLayer {
    auth: AuthLayer,
    buffer: BodyBufferLayer,
    pre_auth_max_bytes: Option<usize>,
}

impl BufferedAuthLayer {
    pub(super) const fn new(auth: AuthLayer, buffer: BodyBufferLayer) -> Self {
        Self { auth, buffer, pre_auth_max_bytes: None }
    }

    /// The limit on bodies that are read before the caller is known, in bytes: for requests without a credential in
    /// their head, where a placement is in the body, and for an authenticator that
    /// [needs the body](super::Authenticator::needs_body), as that of [signatures](AuthLayer::signed) does. The default is
    /// 16 KiB, or with such an authenticator the limit of the buffer, which holds as well.
    ///
    /// # Security
    ///
    /// Every client can make the server hold this much for each connection.
    pub const fn with_pre_auth_max_bytes(mut self, max_bytes: usize) -> Self {
        self.pre_auth_max_bytes = Some(max_bytes);
        self
    }
}

impl<S> Layer<S> for BufferedAuthLayer {
    type Service = BufferedAuth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let body = self.buffer.clone().into_rules();
        BufferedAuth::new(inner, self.auth.clone().into_config(), body, self.pre_auth_max_bytes)
    }
}

/// Middleware that authenticates and buffers the body.
///
/// Made by [`BufferedAuthLayer`].
#[derive(Clone)]
pub struct BufferedAuth<S> {
    inner: S,
    config: Arc<AuthConfig>,
    body: Arc<BodyRules>,
    pre_auth_max_bytes: Option<usize>,
}

impl<S> BufferedAuth<S> {
    pub(crate) fn new(
        inner: S,
        config: Arc<AuthConfig>,
        body: BodyRules,
        pre_auth_max_bytes: Option<usize>,
    ) -> Self {
        Self { inner, config, body: Arc::new(body), pre_auth_max_bytes }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, ResBody> Service<Request<B>> for BufferedAuth<S>
where
    S: Service<Request<ReplayBody>, Response = Response<ResBody>> + Clone,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReplayBody, ResBody>;

    /// Always ready, as [`Auth`](super::Auth) is.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let entry = Entry {
            config: Arc::clone(&self.config),
            body: Arc::clone(&self.body),
            pre_auth_max_bytes: self.pre_auth_max_bytes,
        };
        // No instance was asked for its readiness yet. The future asks the one that it calls.
        let inner = self.inner.clone();
        let config = Arc::clone(&self.config);
        let stopwatch = config.start_stopwatch();
        let entering = Box::pin(entry.enter(request));
        ResponseFuture::waiting(Waiting::for_entry(config, inner, entering, stopwatch))
    }
}

impl<S: fmt::Debug> fmt::Debug for BufferedAuth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedAuth")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .field("pre_auth_max_bytes", &self.pre_auth_max_bytes)
            .finish_non_exhaustive()
    }
}

/// Puts an empty body in the place of the one that was sent.
fn discard(parts: &mut Parts) {
    parts.extensions.get_or_insert_with(BufferedBody::default);
    body::discard(parts);
}

/// The way in for a request whose body is read: head, verdict, body, removal of credentials.
struct Entry {
    config: Arc<AuthConfig>,
    body: Arc<BodyRules>,
    pre_auth_max_bytes: Option<usize>,
}

impl Entry {
    async fn enter<B>(self, request: Request<B>) -> Result<Entered<ReplayBody>, Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        match self.enter_parts(&mut parts, body).await {
            Ok((policy, marks, since)) => {
                let body = parts.extensions.get::<BufferedBody>().cloned().unwrap_or_default();
                let request = Request::from_parts(parts, ReplayBody::new(body));
                Ok(Entered { request, policy, marks, since })
            }
            Err(refusal) => Err(refusal.in_answer_to(&self.config, (&parts).into())),
        }
    }

    async fn enter_parts<B>(
        &self,
        parts: &mut Parts,
        body: B,
    ) -> Result<(Policy, Marks, Instant), Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let config = &*self.config;
        config.mark_sensitive(&mut parts.headers);
        let policy = config.resolve((&*parts).into()).await?;
        policy.name_hook(parts);
        config.check_method_first(&policy, (&*parts).into())?;

        let mut unread = Some(body);
        if config.skips_body(&policy) {
            unread = None;
            discard(parts);
        }
        if config.reads_body_first(&policy, parts)
            && let Some(body) = unread.take()
        {
            let max_bytes = self.body.limits.max_bytes.min(self.pre_auth_max_bytes(&policy)?);
            let read = match self.check_coding(parts, &body) {
                Ok(()) => self.read(parts, body, max_bytes).await,
                Err(rejection) => Err(rejection),
            };
            read.map_err(|rejection| self.refuse(config.conceal(&policy, rejection)))?;
        }

        let mut admission = Admission::default();
        let since = Instant::now();
        config.admit(&policy, (&*parts).into(), &mut admission).await?;
        config.limit(&policy, &mut admission).await?;
        let marks = admission.take_marks();
        match self.enter_admitted(&policy, parts, unread, admission).await {
            Ok(()) => Ok((policy, marks, since)),
            Err(refusal) => {
                let rejection = marks.mark_refusal(refusal.rejection);
                Err(Refusal { rejection, ..refusal })
            }
        }
    }

    /// How much is read for a caller who is not known yet, under the limit on all bodies.
    fn pre_auth_max_bytes(&self, policy: &Policy) -> Result<usize, Rejection> {
        match policy.pre_auth_max_bytes() {
            Some(_) if self.config.conceal => Err(Rejection::new(RejectionKind::Misconfigured)
                .with_source(
                    "a policy has a limit of its own on bodies, and the layer conceals its hooks",
                )),
            Some(max_bytes) => Ok(max_bytes),
            None => Ok(self.pre_auth_max_bytes.unwrap_or_else(|| {
                if self.config.authenticator_needs_body() { usize::MAX } else { PRE_AUTH_MAX_BYTES }
            })),
        }
    }

    /// Reads the body of a caller who may call, unless it is there or not needed, and removes the credentials.
    async fn enter_admitted<B>(
        &self,
        policy: &Policy,
        parts: &mut Parts,
        unread: Option<B>,
        admission: Admission,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if policy.is_without_body() {
            discard(parts);
        } else if let Some(body) = unread
            && !policy.is_probe(&parts.method)
        {
            self.check_coding(parts, &body).map_err(|rejection| self.refuse(rejection))?;
            let read = self.read(parts, body, self.body.limits.max_bytes).await;
            read.map_err(|rejection| self.refuse(rejection))?;
        }
        Ok(self.config.enter(policy, parts, admission)?)
    }

    fn check_coding<B: Body>(&self, parts: &Parts, body: &B) -> Result<(), Rejection> {
        if self.body.takes_coded { Ok(()) } else { check_coding(parts, body) }
    }

    /// Reads a body, and puts it into the extensions.
    async fn read<B>(&self, parts: &mut Parts, body: B, max_bytes: usize) -> Result<(), Rejection>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limits = BodyLimits { max_bytes, ..self.body.limits };
        let read = ReadBody::new(body, &parts.headers, limits);
        let collected = read.await.map_err(|error| error.into_rejection(parts.version))?;
        parts.extensions.insert(BufferedBody::new(collected));
        Ok(())
    }

    /// A refusal of a body, which the settings of the buffer answer. One that conceals a hook is answered
    /// as those of the layer.
    fn refuse(&self, rejection: Rejection) -> Refusal {
        let respond = if rejection.is_concealed() { None } else { self.body.respond.clone() };
        Refusal { respond, ..rejection.into() }
    }
}
