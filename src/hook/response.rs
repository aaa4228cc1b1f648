use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::rejection::ResponseBody;

/// The response of a service that answers by itself. The body may hold the text of a key, and `Debug` does not
/// show it.
pub(crate) type HookResponse = Response<ResponseBody<Full<Bytes>>>;

/// Response future of [`Hooks`](super::Hooks), which never fails.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = HookResponse> + Send>>);

impl ResponseFuture {
    pub(crate) fn new(response: impl Future<Output = HookResponse> + Send + 'static) -> Self {
        Self(Box::pin(response))
    }
}

impl Future for ResponseFuture {
    type Output = Result<HookResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
