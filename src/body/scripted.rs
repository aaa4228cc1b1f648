//! A body that does what a test says, and notes what was asked of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Fail,
    Panic,
    /// Not ready, and ready again at once.
    Yield,
    /// Never ready again.
    Stall,
    /// The same frame again and again.
    Forever(Bytes),
    /// As many frames of one byte.
    Crumbs(usize),
}

impl Step {
    pub(super) fn data(bytes: &'static [u8]) -> Self {
        Self::Data(Bytes::from_static(bytes))
    }
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    polls: AtomicUsize,
    bytes: AtomicUsize,
    is_dropped: AtomicBool,
    polled_after_end: AtomicBool,
}

impl Seen {
    pub(super) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::SeqCst)
    }

    pub(super) fn polled_after_end(&self) -> bool {
        self.polled_after_end.load(Ordering::SeqCst)
    }
}

/// `is_end_stream` stays false to the end, as with hyper and a chunked body.
#[derive(Debug)]
pub(super) struct Scripted {
    steps: VecDeque<Step>,
    at_least: u64,
    has_ended: bool,
    panics_on_drop: bool,
    seen: Arc<Seen>,
}

impl Scripted {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            at_least: 0,
            has_ended: false,
            panics_on_drop: false,
            seen: Arc::default(),
        }
    }

    pub(super) fn with_size_hint(mut self, at_least: u64) -> Self {
        self.at_least = at_least;
        self
    }

    pub(super) fn with_panic_on_drop(mut self) -> Self {
        self.panics_on_drop = true;
        self
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.seen.polls.fetch_add(1, Ordering::SeqCst);
        if self.has_ended {
            self.seen.polled_after_end.store(true, Ordering::SeqCst);
            panic!("polled after its end");
        }
        let frame = match self.steps.pop_front() {
            None => {
                self.has_ended = true;
                return Poll::Ready(None);
            }
            Some(Step::Data(bytes)) => Frame::data(bytes),
            Some(Step::Trailers(trailers)) => Frame::trailers(trailers),
            Some(Step::Fail) => {
                self.has_ended = true;
                return Poll::Ready(Some(Err("the peer is gone")));
            }
            Some(Step::Panic) => {
                self.has_ended = true;
                panic!("a body that panics");
            }
            Some(Step::Yield) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                return Poll::Pending;
            }
            Some(Step::Forever(bytes)) => {
                self.steps.push_front(Step::Forever(bytes.clone()));
                Frame::data(bytes)
            }
            Some(Step::Crumbs(count)) => {
                if count > 1 {
                    self.steps.push_front(Step::Crumbs(count - 1));
                }
                Frame::data(Bytes::from_static(b"x"))
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.seen.bytes.fetch_add(length, Ordering::SeqCst);
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.at_least);
        hint
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.seen.is_dropped.store(true, Ordering::SeqCst);
        if self.panics_on_drop {
            panic!("a body that panics when dropped");
        }
    }
}

pub(super) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])
}
