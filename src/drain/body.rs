use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

use super::slot::Slot;

/// The body of a request, whose rest is drained when it is dropped before its end.
///
/// It yields what the body inside yields.
pub struct DrainBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    /// `None` once it is dropped.
    inner: Option<B>,
    slot: Option<Arc<Slot<B>>>,
    /// The client waits for `100 Continue` before it sends. A server sends that when the body is first polled.
    awaits_continue: bool,
}

impl<B> DrainBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    pub(super) const fn new(inner: B, slot: Option<Arc<Slot<B>>>, awaits_continue: bool) -> Self {
        Self { inner: Some(inner), slot, awaits_continue }
    }
}

impl<B> Body for DrainBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.awaits_continue = false;
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.slot = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for DrainBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        if let (Some(inner), Some(slot)) = (self.inner.take(), self.slot.take())
            && !self.awaits_continue
            && !inner.is_end_stream()
        {
            slot.left(inner);
        }
    }
}

impl<B> fmt::Debug for DrainBody<B>
where
    B: Body + Send + Unpin + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainBody").finish_non_exhaustive()
    }
}
