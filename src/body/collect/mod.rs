use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::headers::announced_length;
use super::{ReadError, ReadErrorKind};
use crate::rejection::Respond;

/// How much of a body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Without trailers.
    pub(crate) max_bytes: usize,
    /// For the whole body, from the first time that it has to be waited for.
    pub(crate) deadline: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024, deadline: Duration::from_secs(10) }
    }
}

/// How bodies are read by a layer that does so itself.
#[derive(Clone)]
pub(crate) struct BodyRules {
    pub(crate) limits: BodyLimits,
    /// What makes the response of a body that is refused. `None`: what makes that of other refusals.
    pub(crate) respond: Option<Arc<Respond>>,
    /// Whether a body in a content coding is passed on as it was sent.
    pub(crate) takes_coded: bool,
}

/// In the extensions of a request whose body took long: a verdict from before it is not fresh any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlowBody;

/// How long a verdict about a caller counts. After that the record of the key is looked up again before
/// anything runs.
pub(crate) const VERDICT_LIFETIME: Duration = Duration::from_secs(1);

/// A body that was read to its end.
#[derive(Clone)]
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// After so many frames in a row the task is given back to the executor once.
const FRAMES_PER_POLL: usize = 128;

pin_project! {
    /// Reads a body to its end, unless it is larger, slower or otherwise different from what it may be.
    ///
    /// The body is dropped before the result is given, and is never polled after its end or an error.
    /// Memory: twice the limit and one frame.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct ReadBody<B> {
        #[pin]
        body: Option<B>,
        reading: Reading,
    }
}

impl<B> ReadBody<B> {
    /// `headers` are those of the request that has the body.
    pub(crate) fn new(body: B, headers: &HeaderMap, limits: BodyLimits) -> Self {
        let reading = Reading {
            announced: Some(announced_length(headers)),
            expected: None,
            data: Data::None,
            trailers: None,
            limits,
            sleep: None,
        };
        Self { body: Some(body), reading }
    }
}

impl<B> ReadBody<B> {
    /// Whether the body was waited for longer than a verdict counts.
    pub(super) fn was_slow(&self) -> bool {
        let deadline = self.reading.sleep.as_ref().map(|sleep| sleep.deadline());
        let began =
            deadline.and_then(|deadline| deadline.checked_sub(self.reading.limits.deadline));
        began.is_some_and(|began| began.elapsed() > VERDICT_LIFETIME)
    }
}

impl<B> Future for ReadBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Collected, ReadError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(ReadErrorKind::Broken.into()));
        };
        let result = ready!(this.reading.poll(body, cx));
        // A body that panicked once may do so again when it is dropped.
        contain(|| this.body.set(None))?;
        Poll::Ready(result)
    }
}

impl<B> fmt::Debug for ReadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadBody").field("limits", &self.reading.limits).finish_non_exhaustive()
    }
}

/// What is known of a body while it is read.
struct Reading {
    /// What the header fields announce, until it was held against the limit.
    announced: Option<Result<Option<u64>, ReadErrorKind>>,
    /// The length that the body must have.
    expected: Option<usize>,
    data: Data,
    trailers: Option<HeaderMap>,
    limits: BodyLimits,
    /// Made when the body has to be waited for: one that is there already needs no timer.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Reading {
    fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Collected, ReadError>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Some(announced) = self.announced.take() {
            self.expected = self.within_limit(announced?)?;
            self.within_limit(Some(contain(|| body.size_hint().lower())?))?;
        }
        for _ in 0..FRAMES_PER_POLL {
            let polled = contain(|| {
                let polled = body.as_mut().poll_frame(cx);
                polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            })?;
            match polled {
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(ReadError::broken(error))),
                Poll::Ready(None) => return Poll::Ready(self.finish().map_err(ReadError::new)),
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
        cx.waker().wake_by_ref();
        self.poll_deadline(cx)
    }

    /// Refuses what is too large by its own account, before any of it is read.
    fn within_limit(&self, length: Option<u64>) -> Result<Option<usize>, ReadErrorKind> {
        let Some(length) = length else {
            return Ok(None);
        };
        match usize::try_from(length) {
            Ok(length) if length <= self.limits.max_bytes => Ok(Some(length)),
            _ => Err(ReadErrorKind::TooLarge),
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), ReadErrorKind> {
        if self.trailers.is_some() {
            return Err(ReadErrorKind::Broken);
        }
        match frame.into_data() {
            Ok(data) => self.take_data(data)?,
            // A frame that is neither is of a kind that does not exist yet.
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
        Ok(())
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), ReadErrorKind> {
        let length = self.data.len().saturating_add(data.len());
        if length > self.limits.max_bytes {
            return Err(ReadErrorKind::TooLarge);
        }
        if self.expected.is_some_and(|expected| length > expected) {
            return Err(ReadErrorKind::Broken);
        }
        self.data.push(data, self.expected, self.limits.max_bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<Collected, ReadErrorKind> {
        if self.expected.is_some_and(|expected| self.data.len() != expected) {
            return Err(ReadErrorKind::Broken);
        }
        let bytes = mem::take(&mut self.data).into_bytes();
        Ok(Collected { bytes, trailers: self.trailers.take() })
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<Collected, ReadError>> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(self.limits.deadline)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(ReadErrorKind::Timeout.into()))
    }
}

/// The bytes so far. A single frame is kept as it is; from the second one on they are copied together,
/// so that many small frames cost no more than their bytes.
#[derive(Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(Vec<u8>),
}

/// The least that is allocated for a body in pieces, and for one whose length is known.
const LEAST_CAPACITY: usize = 1024;
const LEAST_CAPACITY_EXPECTED: usize = 64 * 1024;

impl Data {
    /// The caller has checked that the frame is within both lengths.
    fn push(&mut self, frame: Bytes, expected: Option<usize>, max_bytes: usize) {
        if frame.is_empty() {
            return;
        }
        let length = self.len().saturating_add(frame.len());
        let most = expected.unwrap_or(max_bytes);
        let least = if expected.is_some() { LEAST_CAPACITY_EXPECTED } else { LEAST_CAPACITY };
        // Doubles, but not past what the body can be. An announced length is not believed at once:
        // to announce costs nothing.
        let capacity = length.saturating_mul(2).max(least).min(most).max(length);
        match self {
            Self::None => *self = Self::One(frame),
            Self::One(first) => {
                let mut bytes = Vec::with_capacity(capacity);
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&frame);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => {
                if length > bytes.capacity() {
                    bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
                }
                bytes.extend_from_slice(&frame);
            }
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.into(),
        }
    }
}

/// Calls code of the body. The payload of a panic is dropped unseen: it may hold what the body does.
fn contain<T>(call: impl FnOnce() -> T) -> Result<T, ReadErrorKind> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| ReadErrorKind::Panicked)
}

#[cfg(test)]
mod tests;
