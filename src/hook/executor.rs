use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use super::{ExecutorError, Invocation, Outcome};

/// Runs hooks.
///
/// An asynchronous function from an [`Invocation`] to a result is an executor, and so is a tower service
/// inside a [`ServiceExecutor`](super::ServiceExecutor). Implement the trait for what has a state of its
/// own.
///
/// A panic is contained and reported as a failure. A deadline that passes drops the future, so an
/// execution that must run to its end starts a task of its own. Work that blocks the thread belongs into
/// the runtime's pool for blocking work, or it delays other requests.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use tower_webhook::hook::{Executor, ExecutorError, Invocation, Outcome};
///
/// struct Counter(std::sync::atomic::AtomicU64);
///
/// #[async_trait]
/// impl Executor for Counter {
///     async fn execute(&self, _invocation: Invocation) -> Result<Outcome, ExecutorError> {
///         Outcome::json(&self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
///     }
/// }
/// ```
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Runs a hook once.
    ///
    /// # Errors
    ///
    /// Returns an error if the execution failed. Its text reaches the caller only if it is
    /// [public](ExecutorError::public).
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError>;
}

#[async_trait]
impl<F, Fut> Executor for F
where
    F: Fn(Invocation) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, ExecutorError>> + Send,
{
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
        self(invocation).await
    }
}

#[async_trait]
impl<E: Executor + ?Sized> Executor for Arc<E> {
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
        (**self).execute(invocation).await
    }
}
