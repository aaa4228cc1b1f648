use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::collect::{ReadBody, SlowBody};
use super::layer::Shared;
use super::{BufferedBody, ReplayBody};
use crate::rejection::{Asked, Rejection, RejectionKind, ResponseBody};
use crate::request_head::RequestHead;

pin_project! {
    /// The future of [`BodyBuffer`](super::BodyBuffer).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<ReplayBody>>,
    {
        #[pin]
        state: State<S, B>,
        shared: Arc<Shared>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<ReplayBody>>,
    {
        Read { #[pin] read: ReadBody<B>, head: Option<(Parts, S)> },
        Ready { request: Option<Request<ReplayBody>>, inner: S },
        Call { #[pin] future: S::Future },
        Refuse { response: Option<Response<Bytes>> },
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody>>,
{
    pub(super) const fn read(
        read: ReadBody<B>,
        parts: Parts,
        inner: S,
        shared: Arc<Shared>,
    ) -> Self {
        Self { state: State::Read { read, head: Some((parts, inner)) }, shared }
    }

    pub(super) fn refuse(
        rejection: &Rejection,
        head: RequestHead<'_>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { state: State::Refuse { response: Some(shared.refuse(rejection, head)) }, shared }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody>, Response = Response<ResBody>>,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Read { mut read, head } => {
                    let result = ready!(read.as_mut().poll(cx));
                    match (result, head.take()) {
                        (Ok(collected), Some((mut parts, inner))) => {
                            if read.was_slow() {
                                parts.extensions.insert(SlowBody);
                            }
                            let buffered = BufferedBody::new(collected);
                            parts.extensions.insert(buffered.clone());
                            let body = ReplayBody::new(buffered);
                            let request = Some(Request::from_parts(parts, body));
                            State::Ready { request, inner }
                        }
                        (Err(error), Some((parts, _))) => {
                            let rejection = error.into_rejection(parts.version);
                            let response = this.shared.refuse(&rejection, (&parts).into());
                            State::Refuse { response: Some(response) }
                        }
                        (_, None) => polled_again(),
                    }
                }
                StateProj::Ready { request, inner } => {
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        this.state.set(polled_again());
                        return Poll::Ready(Err(error));
                    }
                    match request.take() {
                        Some(request) => State::Call { future: inner.call(request) },
                        None => polled_again(),
                    }
                }
                StateProj::Call { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::service)));
                }
                StateProj::Refuse { response } => {
                    let response = response.take().unwrap_or_else(|| {
                        let rejection = Rejection::new(RejectionKind::Internal);
                        this.shared.respond.response(&rejection, &Asked::default())
                    });
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
            };
            this.state.set(next);
        }
    }
}

/// What a future is left as that must not be polled again.
const fn polled_again<S, B>() -> State<S, B>
where
    S: Service<Request<ReplayBody>>,
{
    State::Refuse { response: None }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
