use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use super::authorize::{self, Admission, Progress};
use super::config::AuthConfig;
use super::future::{Entered, Entering, Waiting};
use super::measure::{End, Stopwatch};
use super::{Policy, ResponseFuture};
use crate::body;
use crate::rejection::{Rejection, ResponseBody};
use crate::request_head::RequestHead;

/// Middleware that lets a request through only for a caller who may call.
///
/// See the [module docs](super) for an example.
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    config: Arc<AuthConfig>,
}

impl<S> Auth<S> {
    pub(super) const fn new(inner: S, config: Arc<AuthConfig>) -> Self {
        Self { inner, config }
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

impl<S, B, ResBody> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, ResBody>;

    /// Always ready: the readiness of the inner service is waited for once the caller is known. A request
    /// that is refused, or whose key is still being looked up, holds no permit of the inner service.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut stopwatch = self.config.start_stopwatch();
        if self.config.shows_head() {
            self.config.mark_sensitive(request.headers_mut());
        }
        let head = RequestHead::from(&request);
        let policy = match self.config.resolve_ready(head) {
            Some(Ok(policy)) => policy,
            Some(Err(rejection)) => return self.refuse(&rejection, head, stopwatch),
            None => return self.decide_later(None, request, stopwatch),
        };
        policy.name_hook(&mut request);
        if self.config.skips_body(&policy) {
            body::discard(&mut request);
        }
        let head = RequestHead::from(&request);
        let mut admission = Admission::default();
        match self.config.admit_ready(&policy, head, &mut admission) {
            Progress::Decided(Ok(())) => {
                match self.config.limit_ready(&policy, &mut admission) {
                    Some(Ok(())) => {}
                    Some(Err(rejection)) => return self.refuse(&rejection, head, stopwatch),
                    None => {
                        let (policy, since) = (policy.into_owned(), Instant::now());
                        return self.wait(request, stopwatch, |config, parts| {
                            Box::pin(config.enter_limited(policy, parts, admission, since))
                        });
                    }
                }
                let marks = admission.take_marks();
                if let Err(rejection) = self.config.enter(&policy, &mut request, admission) {
                    let rejection = marks.mark_refusal(rejection);
                    return self.refuse(&rejection, (&request).into(), stopwatch);
                }
                let accepted = || End::accepted(&policy, request.extensions());
                if policy.is_probe(request.method()) {
                    self.config.measure(&mut stopwatch, policy.hook(), accepted);
                    return ResponseFuture::response(authorize::probe_answer(&marks));
                }
                // A service that is ready at once needs no waker. One that is not is polled again by the
                // future, which has a real one. The instance that was polled is the one that is called: see
                // "Be careful when cloning inner services" in the docs of `tower_service::Service`.
                match self.inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(())) => {
                        self.config.measure(&mut stopwatch, policy.hook(), accepted);
                        ResponseFuture::inner(self.inner.call(request), marks)
                    }
                    Poll::Ready(Err(error)) => ResponseFuture::error(error),
                    Poll::Pending => {
                        let (policy, since) = (policy.into_owned(), Instant::now());
                        let entered = Entered { request, policy, marks, since };
                        let config = Arc::clone(&self.config);
                        let polled = self.take_inner();
                        let waiting = Waiting::for_service(config, polled, entered, stopwatch);
                        ResponseFuture::waiting(waiting)
                    }
                }
            }
            Progress::Decided(Err(rejection)) => self.refuse(&rejection, head, stopwatch),
            Progress::Verifying(verifying) => {
                let (policy, config) = (policy.into_owned(), Arc::clone(&self.config));
                let service = self.take_inner();
                let waiting =
                    Waiting::for_store(config, service, request, policy, verifying, stopwatch);
                ResponseFuture::waiting(waiting)
            }
            Progress::Later => {
                let policy = policy.into_owned();
                self.decide_later(Some(policy), request, stopwatch)
            }
        }
    }
}

impl<S> Auth<S> {
    fn refuse<B, ResBody>(
        &self,
        rejection: &Rejection,
        head: RequestHead<'_>,
        mut stopwatch: Stopwatch,
    ) -> ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
    {
        let asked = self.config.asked(head);
        self.config.measure(&mut stopwatch, asked.hook(), || End::Refused(rejection.kind()));
        ResponseFuture::response(self.config.respond().refuse(rejection, &asked))
    }

    /// Asks code of the app, which may take its time and is shown a head that outlives the wait.
    fn decide_later<B, ResBody>(
        &mut self,
        policy: Option<Policy>,
        request: Request<B>,
        stopwatch: Stopwatch,
    ) -> ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    {
        self.wait(request, stopwatch, |config, parts| Box::pin(config.enter_head(policy, parts)))
    }

    /// Waits for what decides about the head.
    fn wait<B, ResBody>(
        &mut self,
        request: Request<B>,
        stopwatch: Stopwatch,
        decide: impl FnOnce(Arc<AuthConfig>, Parts) -> Entering<()>,
    ) -> ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    {
        let (parts, body) = request.into_parts();
        let config = Arc::clone(&self.config);
        let deciding = decide(Arc::clone(&config), parts);
        let waiting = Waiting::for_app(config, self.take_inner(), deciding, body, stopwatch);
        ResponseFuture::waiting(waiting)
    }

    /// The inner service as it is now, with a clone left in its place.
    fn take_inner(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S: fmt::Debug> fmt::Debug for Auth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("inner", &self.inner).field("config", &self.config).finish()
    }
}
