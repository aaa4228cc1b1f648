use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use http::header::EXPECT;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::DrainBody;
use super::layer::Limits;
use super::slot::Slot;

/// Middleware that reads what the inner service has left of a body, after the response.
///
/// Made by [`DrainLayer`](super::DrainLayer). It is ready when the inner service is.
#[derive(Clone, Debug)]
pub struct Drain<S> {
    inner: S,
    limits: Limits,
}

impl<S> Drain<S> {
    pub(super) const fn new(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
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

impl<S, B> Service<Request<B>> for Drain<S>
where
    S: Service<Request<DrainBody<B>>>,
    B: Body + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let has_rest = !self.limits.are_zero() && !request.body().is_end_stream();
        let slot = has_rest.then(|| Arc::new(Slot::new(self.limits)));
        let awaits_continue = request.headers().contains_key(EXPECT);
        let request = request.map(|body| DrainBody::new(body, slot.clone(), awaits_continue));
        ResponseFuture { future: self.inner.call(request), slot }
    }
}

pin_project! {
    /// The future of [`Drain`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        #[pin]
        future: F,
        slot: Option<Arc<Slot<B>>>,
    }
}

impl<F, B, T, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<T, E>>,
    B: Body + Send + Unpin + 'static,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        if let (Ok(_), Some(slot)) = (&result, this.slot.take()) {
            slot.answered();
        }
        Poll::Ready(result)
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
