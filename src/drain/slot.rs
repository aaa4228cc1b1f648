use std::future::{pending, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::layer::Limits;
use crate::util::timeout;

/// Rendezvous of a response and the rest of a body. Whichever comes second begins to drain.
pub(super) struct Slot<B> {
    limits: Limits,
    state: Mutex<State<B>>,
}

enum State<B> {
    /// The inner service has the body, and has not answered.
    Asked,
    /// It has dropped the body, and has not answered.
    Left(B),
    Answered,
}

impl<B> Slot<B> {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::new(State::Asked) }
    }

    /// No code that can panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body + Send + Unpin + 'static> Slot<B> {
    /// There is a response.
    pub(super) fn answered(&self) {
        let before = mem::replace(&mut *self.state(), State::Answered);
        if let State::Left(body) = before {
            self.drain(body);
        }
    }

    /// The inner service reads no more of this body.
    pub(super) fn left(&self, body: B) {
        let mut state = self.state();
        if matches!(*state, State::Answered) {
            drop(state);
            self.drain(body);
        } else {
            *state = State::Left(body);
        }
    }

    /// Without a runtime the body is dropped.
    fn drain(&self, body: B) {
        if let Ok(runtime) = Handle::try_current() {
            let limits = self.limits;
            runtime.spawn(async move {
                timeout(limits.deadline, &mut pin!(discard(body, limits.max_bytes))).await;
            });
        }
    }
}

/// Reads a body until it ends, fails, or is over the limit. Then nothing more is read and the body is kept until the
/// deadline: a client that looks for a response while it sends finds it before the connection is reset.
async fn discard<B: Body + Unpin>(mut body: B, max_bytes: usize) {
    let mut left = max_bytes;
    while let Some(len) = poll_fn(|cx| poll_len(&mut body, cx)).await {
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => pending().await,
        }
        // A body that always has a frame would let neither the deadline nor other tasks come.
        yield_now().await;
    }
}

/// The length of the next frame. What is in it does not outlive the poll, because it need not be `Send`.
fn poll_len<B: Body + Unpin>(body: &mut B, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    let frame = ready!(Pin::new(body).poll_frame(cx));
    let len = |frame: Frame<B::Data>| frame.data_ref().map_or(0, Buf::remaining);
    Poll::Ready(frame.and_then(Result::ok).map(len))
}
