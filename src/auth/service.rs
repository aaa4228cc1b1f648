use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Method, Request, Response};
use tower_service::Service;

use super::ResponseFuture;
use super::future::Waiting;
use super::gate::{self, Admission, Gate, Progress};
use crate::head::RequestHead;
use crate::rejection::{Rejection, ResponseBody};

/// Middleware that lets a request through only for a caller who may call.
///
/// See the [module docs](super) for an example.
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Auth<S> {
    pub(super) const fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
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
        if self.gate.shows_head() {
            self.gate.mark_sensitive(request.headers_mut());
        }
        let head = RequestHead::from(&request);
        let gate = &self.gate;
        let (policy, progress) = match gate.resolve_ready(head) {
            Some(Err(rejection)) => return self.refuse(rejection, head.method()),
            Some(Ok(policy)) => {
                let progress = gate.admit_ready(&policy, head);
                if let Progress::Decided(decision) = progress {
                    return match decision {
                        Ok(admission) => self.enter(request, admission),
                        Err(rejection) => self.refuse(rejection, head.method()),
                    };
                }
                (Some(policy.into_owned()), Some(progress))
            }
            None => (None, None),
        };
        let (parts, body) = request.into_parts();
        let gate = Arc::clone(gate);
        let decision: super::future::Deciding = match (policy, progress) {
            (Some(policy), Some(Progress::Verifying(verifying))) => Box::pin(async move {
                let decision = gate.verified(&policy, (&parts).into(), verifying).await;
                (parts, decision)
            }),
            (Some(policy), _) => Box::pin(async move {
                let decision = gate.authenticate(&policy, (&parts).into()).await;
                (parts, decision)
            }),
            (None, _) => Box::pin(gate::decide(gate, parts)),
        };
        ResponseFuture::waiting(Waiting::new(
            Arc::clone(&self.gate),
            self.inner.clone(),
            decision,
            body,
        ))
    }
}

impl<S> Auth<S> {
    fn refuse<B, ResBody>(
        &self,
        rejection: Rejection,
        method: &Method,
    ) -> ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
    {
        ResponseFuture::response(self.gate.respond().refuse(&rejection.in_answer_to(method)))
    }

    /// Calls the inner service, now if it is ready.
    fn enter<B, ResBody>(
        &mut self,
        mut request: Request<B>,
        admission: Admission,
    ) -> ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    {
        let by_target = admission.by_target();
        self.gate.enter(&mut request, admission);
        // A service that is ready at once needs no waker. One that is not is polled again by the future,
        // which has a real one. The instance that was polled is the one that is called: see "Be careful
        // when cloning inner services" in the docs of `tower_service::Service`.
        match self.inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => ResponseFuture::inner(self.inner.call(request), by_target),
            Poll::Ready(Err(error)) => ResponseFuture::error(error),
            Poll::Pending => {
                let clone = self.inner.clone();
                let polled = mem::replace(&mut self.inner, clone);
                let gate = Arc::clone(&self.gate);
                ResponseFuture::waiting(Waiting::ready(gate, polled, request, by_target))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Auth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("inner", &self.inner).field("gate", &self.gate).finish()
    }
}
