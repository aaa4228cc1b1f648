use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::collect::ReadBody;
use super::error::check_coding;
use super::layer::Shared;
use super::{ReplayBody, ResponseFuture};
use crate::rejection::ResponseBody;

/// Reads the body of each request under limits, and replays it to the inner service.
///
/// Made by [`BodyBufferLayer`](super::BodyBufferLayer). See the [module docs](super) for the rules and an example.
///
/// It is always ready: the inner service is asked once the body is there, so an upload that is slow
/// or refused takes none of its capacity.
#[derive(Clone, Debug)]
pub struct BodyBuffer<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> BodyBuffer<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    #[must_use]
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, ResBody> Service<Request<B>> for BodyBuffer<S>
where
    S: Service<Request<ReplayBody>, Response = Response<ResBody>> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<S, B> {
        let shared = Arc::clone(&self.shared);
        let (parts, body) = request.into_parts();
        if shared.identity_coding_only
            && let Err(rejection) = check_coding(&parts, &body)
        {
            return ResponseFuture::refuse(&rejection, (&parts).into(), shared);
        }
        let read = ReadBody::new(body, &parts.headers, shared.limits);
        // No instance was asked for its readiness yet. The future asks the one that it calls.
        ResponseFuture::read(read, parts, self.inner.clone(), shared)
    }
}
