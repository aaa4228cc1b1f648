use tower_layer::Layer;

use super::{Auth, AuthLayer};
use crate::body::{Buffer, BufferLayer};
use crate::credential::Credentials;

/// How much of a body is read for a caller who is not known yet.
const PRE_AUTH_MAX_BYTES: usize = 16 * 1024;

/// Layer that authenticates and buffers the body, in the right order.
///
/// Without a placement in the body, the body is not polled before the verdict, and then read under the
/// limits of the [`BufferLayer`]. With one, the body is read first, under a limit of its own
/// ([`with_pre_auth_max_bytes`](Self::with_pre_auth_max_bytes)), because the one who sends it is not known
/// yet. That is only so where the policy asks for a credential and serves the method: a
/// [resolver](super::Resolver) that answers at once is asked twice for this.
///
/// The inner service is a service of `Request<ReplayBody<ReplayBody<B>>>`, which a service that is generic
/// over its body type does not notice.
///
/// Made by [`AuthLayer::with_buffer`].
///
/// # Examples
///
/// ```
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::body::BufferLayer;
/// use tower_webhook::credential::Placement;
/// use tower_webhook::key::{KeyManager, MemoryKeyStore};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let layer = AuthLayer::token(&keys, [Placement::body("api_key")?])?
///     .with_buffer(BufferLayer::new().with_max_bytes(1024 * 1024))
///     .with_pre_auth_max_bytes(64 * 1024);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BufferedAuthLayer {
    auth: AuthLayer,
    buffer: BufferLayer,
    pre_auth_max_bytes: usize,
}

impl BufferedAuthLayer {
    pub(super) const fn new(auth: AuthLayer, buffer: BufferLayer) -> Self {
        Self { auth, buffer, pre_auth_max_bytes: PRE_AUTH_MAX_BYTES }
    }

    /// The limit on bodies that are read before the caller is known, in bytes. The default is 16 KiB.
    /// Without a placement in the body it has no effect.
    ///
    /// # Security
    ///
    /// Anybody can make the server hold this much for each connection.
    pub const fn with_pre_auth_max_bytes(mut self, max_bytes: usize) -> Self {
        self.pre_auth_max_bytes = max_bytes;
        self
    }
}

impl<S> Layer<S> for BufferedAuthLayer {
    type Service = Buffer<Auth<Buffer<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        let gate = self.auth.clone().into_gate();
        let some_need_body = gate.all_credentials().any(Credentials::need_body);
        let max_bytes = self.buffer.max_bytes().min(self.pre_auth_max_bytes);
        let before = self.buffer.clone().with_max_bytes(max_bytes).with_identity_coding_only();
        let before = before.with_filter(move |head| some_need_body && gate.needs_body_of(head));
        before.layer(self.auth.layer(self.buffer.layer(inner)))
    }
}
