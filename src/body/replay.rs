use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::BufferedBody;

/// The body of a request that was read: the same bytes and the same trailers, once more.
///
/// The bytes come as one frame. [`size_hint`](Body::size_hint) is exact.
pub struct ReplayBody(State);

enum State {
    /// Not polled yet. What the buffered body holds when it is first polled counts.
    Buffered(BufferedBody),
    Replay {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
}

impl ReplayBody {
    /// The body that `buffered` holds when this one is first polled.
    pub(crate) const fn new(buffered: BufferedBody) -> Self {
        Self(State::Buffered(buffered))
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let State::Buffered(buffered) = &self.0 {
            let (bytes, trailers) = (buffered.bytes(), buffered.trailers());
            self.0 = State::Replay { bytes, trailers };
        }
        Poll::Ready(match &mut self.0 {
            State::Replay { bytes, trailers } if bytes.is_empty() => {
                trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
            }
            State::Replay { bytes, .. } => Some(Ok(Frame::data(mem::take(bytes)))),
            State::Buffered(_) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Buffered(buffered) => buffered.is_end_stream(),
            State::Replay { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match &self.0 {
            State::Buffered(buffered) => buffered.len(),
            State::Replay { bytes, .. } => bytes.len(),
        };
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for ReplayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::super::collect::Collected;
    use super::*;

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])
    }

    fn buffered(bytes: &'static [u8], trailers: Option<HeaderMap>) -> BufferedBody {
        BufferedBody::new(Collected { bytes: Bytes::from_static(bytes), trailers })
    }

    #[tokio::test]
    async fn the_bytes_come_as_one_frame_and_then_the_trailers() {
        let buffered = buffered(b"abc", Some(trailers()));
        let mut body = ReplayBody::new(buffered.clone());

        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), buffered.bytes().as_ptr());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(!body.is_end_stream());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap(), trailers());
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
        assert!(body.frame().await.is_none());
        assert_eq!(buffered.bytes(), "abc");
    }

    #[tokio::test]
    async fn an_empty_body_has_no_frame() {
        let mut body = ReplayBody::new(buffered(b"", None));

        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_empty_body_keeps_its_trailers() {
        let mut body = ReplayBody::new(buffered(b"", Some(trailers())));

        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_replacement_before_the_first_poll_is_what_is_replayed() {
        let buffered = buffered(b"key=1&a=2", Some(trailers()));
        let body = ReplayBody::new(buffered.clone());

        buffered.replace(Bytes::from_static(b"a=2"));

        assert_eq!(body.size_hint().exact(), Some(3));
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), None);
        assert_eq!(collected.to_bytes(), "a=2");
    }

    #[tokio::test]
    async fn a_replacement_by_nothing_ends_the_body() {
        let buffered = buffered(b"key=1", Some(trailers()));
        let mut body = ReplayBody::new(buffered.clone());

        buffered.replace(Bytes::new());

        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}
