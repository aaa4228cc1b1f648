use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::collect::Collected;

/// The whole body of a request, in the request's extensions.
///
/// [`BodyBuffer`](super::BodyBuffer) inserts it, and the [`ReplayBody`](super::ReplayBody) of the same request
/// yields the same bytes. Clones share one body.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_webhook::body::BufferedBody;
///
/// fn is_empty<B>(request: &Request<B>) -> bool {
///     match request.extensions().get::<BufferedBody>() {
///         Some(body) => body.bytes().is_empty(),
///         // The layer is missing, which says nothing about the body.
///         None => false,
///     }
/// }
/// # assert!(!is_empty(&Request::new(())));
/// ```
#[derive(Clone, Default)]
pub struct BufferedBody(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    bytes: Bytes,
    trailers: Option<Box<HeaderMap>>,
}

impl BufferedBody {
    pub(crate) fn new(collected: Collected) -> Self {
        let Collected { bytes, trailers } = collected;
        Self(Arc::new(Mutex::new(Content { bytes, trailers: trailers.map(Box::new) })))
    }

    /// Changes what the body of the same request yields, unless it was polled already. The trailers
    /// are dropped: they may speak about the bytes that are gone.
    pub(crate) fn replace(&self, bytes: Bytes) {
        let old = mem::replace(&mut *self.content(), Content { bytes, trailers: None });
        drop(old);
    }

    /// The bytes. A clone of them is a reference, not a copy.
    ///
    /// Where a credential was in the body and was accepted, the bytes are those without it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.content().bytes.clone()
    }

    /// The header fields that followed the body, if any.
    #[must_use]
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.content().trailers.as_deref().cloned()
    }

    /// Removes a trailer field that must go no further.
    pub(crate) fn remove_trailer(&self, name: &HeaderName) {
        if let Some(trailers) = &mut self.content().trailers {
            trailers.remove(name);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.content().bytes.len()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let content = self.content();
        content.bytes.is_empty() && content.trailers.is_none()
    }

    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the length alone: a body may hold a credential.
impl fmt::Debug for BufferedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedBody").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_body() {
        let bytes = Bytes::from_static(b"opensesame");
        let body = BufferedBody::new(Collected { bytes, trailers: None });
        let clone = body.clone();

        body.replace(Bytes::from_static(b"x"));

        assert_eq!(clone.bytes(), "x");
    }

    #[test]
    fn debug_hides_the_bytes() {
        let bytes = Bytes::from_static(b"opensesame");
        let body = BufferedBody::new(Collected { bytes, trailers: None });

        assert_eq!(format!("{body:?}"), "BufferedBody { len: 10, .. }");
    }
}
