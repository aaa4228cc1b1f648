use tower::ServiceBuilder;
use tower::layer::util::Stack;

use crate::auth::{AuthLayer, BufferedAuthLayer};
use crate::body::BodyBufferLayer;
use crate::drain::DrainLayer;

/// Methods for tower's [`ServiceBuilder`], in the manner of tower-http.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::ServiceBuilder;
/// use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore, ServiceBuilderExt};
///
/// # async fn handle(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
/// #     Ok(Response::default())
/// # }
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let service = ServiceBuilder::new()
///     .authenticate(AuthLayer::bearer(&keys)?)
///     .service_fn(handle);
/// # let _ = service;
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
pub trait ServiceBuilderExt<L>: Sized {
    /// Lets a request through only for a caller who may call: [`AuthLayer`].
    fn authenticate(self, auth: AuthLayer) -> ServiceBuilder<Stack<AuthLayer, L>>;

    /// The same, with the body read under limits: [`AuthLayer::with_buffer`].
    fn authenticate_buffered(
        self,
        auth: BufferedAuthLayer,
    ) -> ServiceBuilder<Stack<BufferedAuthLayer, L>>;

    /// Reads the body under limits, and lets the inner service read it again: [`BodyBufferLayer`].
    fn buffer_body(self, buffer: BodyBufferLayer) -> ServiceBuilder<Stack<BodyBufferLayer, L>>;

    /// Reads what the inner service has left of the body, after the response: [`DrainLayer`].
    fn drain_body(self, drain: DrainLayer) -> ServiceBuilder<Stack<DrainLayer, L>>;
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn authenticate(self, auth: AuthLayer) -> ServiceBuilder<Stack<AuthLayer, L>> {
        self.layer(auth)
    }

    fn authenticate_buffered(
        self,
        auth: BufferedAuthLayer,
    ) -> ServiceBuilder<Stack<BufferedAuthLayer, L>> {
        self.layer(auth)
    }

    fn buffer_body(self, buffer: BodyBufferLayer) -> ServiceBuilder<Stack<BodyBufferLayer, L>> {
        self.layer(buffer)
    }

    fn drain_body(self, drain: DrainLayer) -> ServiceBuilder<Stack<DrainLayer, L>> {
        self.layer(drain)
    }
}
