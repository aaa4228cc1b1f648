use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tower_layer::Layer;

use super::BodyBuffer;
use super::collect::{BodyLimits, BodyRules};
use crate::rejection::{NoPlacements, Rejection, Respond};
use crate::request_head::RequestHead;

/// Reads the body of each request under limits, and replays it to the inner service.
///
/// See the [module docs](super) for the rules and an example.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::Response;
/// use tower_webhook::body::BodyBufferLayer;
///
/// let layer = BodyBufferLayer::new()
///     .with_max_bytes(1024 * 1024)
///     .with_deadline(Duration::from_secs(30))
///     .with_identity_coding_only()
///     .with_rejection_response(|rejection, _head| Response::new(Bytes::from_static(rejection.code().as_bytes())));
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BodyBufferLayer(Shared);

/// What all requests have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) limits: BodyLimits,
    pub(super) respond: Respond,
    pub(super) identity_coding_only: bool,
}

impl Shared {
    pub(super) fn refuse(&self, rejection: &Rejection, head: RequestHead<'_>) -> Response<Bytes> {
        self.respond.response(rejection, &self.respond.asked(head, &NoPlacements))
    }
}

impl BodyBufferLayer {
    /// A layer with a limit of 1 MiB and a deadline of 10 seconds.
    pub fn new() -> Self {
        Self(Shared {
            limits: BodyLimits::default(),
            respond: Respond::new(),
            identity_coding_only: false,
        })
    }

    /// The largest body that is read, in bytes, without its trailers and its transfer coding. With 0
    /// every body but the empty one is refused. The default is 1 MiB.
    ///
    /// # Security
    ///
    /// Each request that is under way can hold twice as much. The number of requests is not limited
    /// here.
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.0.limits.max_bytes = max_bytes;
        self
    }

    /// The settings, for a layer that reads bodies itself.
    pub(crate) fn into_rules(self) -> BodyRules {
        let Shared { limits, respond, identity_coding_only } = self.0;
        let respond = Some(Arc::new(respond));
        BodyRules { limits, respond, takes_coded: !identity_coding_only }
    }

    /// The time in which the whole body must arrive. A body that trickles does not extend it. The default
    /// is 10 seconds.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.0.limits.deadline = deadline;
        self
    }

    /// Refuses a request whose `Content-Encoding` has anything but `identity`, with 415 and
    /// `Accept-Encoding: identity` (RFC 9110, sections 8.4 and 15.5.16).
    ///
    /// Without this setting the bytes are replayed as they were sent, in any coding.
    pub fn with_identity_coding_only(mut self) -> Self {
        self.0.identity_coding_only = true;
        self
    }

    /// Replaces the body and the further headers of refusals.
    ///
    /// The status, and the headers that the [rules of refusals](crate::rejection) ask for, are set
    /// after the closure has run.
    ///
    /// The closure is shown a copy of the request's head. Inside [`AuthLayer::with_buffer`] it is as
    /// [`AuthLayer::with_rejection_response`] says. This layer alone knows no placements: the copy then has no query,
    /// no `Authorization`, `Proxy-Authorization` and `Cookie`, and no header value that is
    /// [marked as sensitive](http::HeaderValue::is_sensitive).
    ///
    /// # Security
    ///
    /// A key in a header of its own or in the path is in that copy, where this layer alone is around the layer that
    /// asks for it. Mark such a header as sensitive (`SetSensitiveRequestHeadersLayer` of tower-http), or use
    /// [`AuthLayer::with_buffer`].
    ///
    /// [`AuthLayer::with_buffer`]: crate::auth::AuthLayer::with_buffer
    /// [`AuthLayer::with_rejection_response`]: crate::auth::AuthLayer::with_rejection_response
    pub fn with_rejection_response(
        mut self,
        response: impl Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.0.respond.set_body(response);
        self
    }
}

impl BodyBufferLayer {
    /// Answers a refused gRPC or gRPC-web call in the form of gRPC, as
    /// [`AuthLayer::with_grpc_rejections`](crate::auth::AuthLayer::with_grpc_rejections) does. That setting covers
    /// the refusals of its [buffer](crate::auth::AuthLayer::with_buffer), which need no other one.
    ///
    /// # Security
    ///
    /// The status is 200: see there.
    pub fn with_grpc_rejections(mut self) -> Self {
        self.0.respond.set_grpc();
        self
    }
}

impl<S> Layer<S> for BodyBufferLayer {
    type Service = BodyBuffer<S>;

    fn layer(&self, inner: S) -> BodyBuffer<S> {
        BodyBuffer::new(inner, Arc::new(self.0.clone()))
    }
}

impl Default for BodyBufferLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .field("identity_coding_only", &self.identity_coding_only)
            .field("respond", &self.respond)
            .finish_non_exhaustive()
    }
}
