//! A body that counts how often it is polled.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// How often a [`Watched`] body was polled.
#[derive(Clone, Default)]
pub(crate) struct Polls(Arc<AtomicUsize>);

impl Polls {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Sends its bytes in two frames, if it has more than one byte.
pub(crate) struct Watched {
    frames: Vec<Bytes>,
    /// Announced, as with `Content-Length`.
    length: Option<u64>,
    is_silent: bool,
    polls: Polls,
}

impl Watched {
    /// A body whose length is announced.
    pub(crate) fn sized(bytes: impl Into<Bytes>) -> (Self, Polls) {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        Self::new(bytes, length, false)
    }

    /// A body whose length is not announced.
    pub(crate) fn chunked(bytes: impl Into<Bytes>) -> (Self, Polls) {
        Self::new(bytes.into(), None, false)
    }

    /// A body that is announced and never comes.
    pub(crate) fn silent(length: u64) -> (Self, Polls) {
        Self::new(Bytes::new(), Some(length), true)
    }

    fn new(mut bytes: Bytes, length: Option<u64>, is_silent: bool) -> (Self, Polls) {
        let rest = bytes.split_off(bytes.len() / 2);
        let frames = [rest, bytes].into_iter().filter(|frame| !frame.is_empty());
        let polls = Polls::default();
        (Self { frames: frames.collect(), length, is_silent, polls: polls.clone() }, polls)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.polls.0.fetch_add(1, Ordering::SeqCst);
        match self.frames.pop() {
            None if self.is_silent => Poll::Pending,
            frame => Poll::Ready(frame.map(|frame| Ok(Frame::data(frame)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::new(),
        }
    }
}
