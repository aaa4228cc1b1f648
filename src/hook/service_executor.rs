use std::fmt;
use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tower_service::Service;

use super::{Executor, ExecutorError, Invocation, Outcome};
use crate::BoxError;

/// An executor that calls a tower service, with the layers around it.
///
/// Each execution calls a clone of its own, once that clone is ready. The wait counts towards the deadline
/// of the execution.
///
/// # Examples
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_webhook::BoxError;
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::hook::{Hooks, Invocation, Outcome, ServiceExecutor};
///
/// let service = ServiceBuilder::new().concurrency_limit(4).service(service_fn(
///     |invocation: Invocation| async move {
///         Ok::<_, BoxError>(Outcome::json_text(invocation.envelope().as_str()).map_err(|_| "text")?)
///     },
/// ));
/// let hooks = Hooks::new(AuthLayer::public(), ServiceExecutor::new(service));
/// # let _ = hooks;
/// ```
pub struct ServiceExecutor<S>(Mutex<S>);

impl<S> ServiceExecutor<S> {
    /// Wraps a service.
    #[must_use]
    pub const fn new(service: S) -> Self {
        Self(Mutex::new(service))
    }
}

#[async_trait]
impl<S> Executor for ServiceExecutor<S>
where
    S: Service<Invocation, Response = Outcome> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
        Ok(service.call(invocation).await.map_err(Into::into)?)
    }
}

impl<S> fmt::Debug for ServiceExecutor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceExecutor").finish_non_exhaustive()
    }
}
