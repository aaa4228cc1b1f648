use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::BufferedBody;

pin_project! {
    /// The body of a request that was read: the same bytes and the same trailers, once more.
    ///
    /// The bytes come as one frame. [`size_hint`](Body::size_hint) is exact.
    pub struct ReplayBody<B> {
        #[pin]
        inner: Inner<B>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner<B> {
        Passthrough { #[pin] body: B },
        Buffered { buffered: BufferedBody },
        Replay { bytes: Bytes, trailers: Option<HeaderMap> },
    }
}

impl<B> ReplayBody<B> {
    /// A body that is not read beforehand.
    pub(crate) const fn passthrough(body: B) -> Self {
        Self { inner: Inner::Passthrough { body } }
    }

    /// The body that `buffered` holds when this one is first polled.
    pub(crate) const fn buffered(buffered: BufferedBody) -> Self {
        Self { inner: Inner::Buffered { buffered } }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut inner = self.project().inner;
        if let InnerProj::Buffered { buffered } = inner.as_mut().project() {
            let (bytes, trailers) = (buffered.bytes(), buffered.trailers());
            inner.set(Inner::Replay { bytes, trailers });
        }
        match inner.project() {
            InnerProj::Passthrough { body } => body.poll_frame(cx),
            InnerProj::Replay { bytes, trailers } if bytes.is_empty() => {
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            InnerProj::Replay { bytes, .. } => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            InnerProj::Buffered { .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Passthrough { body } => body.is_end_stream(),
            Inner::Buffered { buffered } => buffered.is_end_stream(),
            Inner::Replay { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match &self.inner {
            Inner::Passthrough { body } => return body.size_hint(),
            Inner::Buffered { buffered } => buffered.len(),
            Inner::Replay { bytes, .. } => bytes.len(),
        };
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::{BodyExt, Full};

    use super::super::read::Collected;
    use super::*;

    type Replay = ReplayBody<Full<Bytes>>;

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])
    }

    fn buffered(bytes: &'static [u8], trailers: Option<HeaderMap>) -> BufferedBody {
        BufferedBody::new(Collected { bytes: Bytes::from_static(bytes), trailers })
    }

    #[tokio::test]
    async fn the_bytes_come_as_one_frame_and_then_the_trailers() {
        let buffered = buffered(b"abc", Some(trailers()));
        let mut body = Replay::buffered(buffered.clone());

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
        let mut body = Replay::buffered(buffered(b"", None));

        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_empty_body_keeps_its_trailers() {
        let mut body = Replay::buffered(buffered(b"", Some(trailers())));

        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_replacement_before_the_first_poll_is_what_is_replayed() {
        let buffered = buffered(b"key=1&a=2", Some(trailers()));
        let body = Replay::buffered(buffered.clone());

        buffered.replace(Bytes::from_static(b"a=2"));

        assert_eq!(body.size_hint().exact(), Some(3));
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), None);
        assert_eq!(collected.to_bytes(), "a=2");
    }

    #[tokio::test]
    async fn a_replacement_by_nothing_ends_the_body() {
        let buffered = buffered(b"key=1", Some(trailers()));
        let mut body = Replay::buffered(buffered.clone());

        buffered.replace(Bytes::new());

        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_passed_through_is_itself() {
        let body = Replay::passthrough(Full::new(Bytes::from_static(b"abc")));

        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
