use std::sync::Arc;

use async_trait::async_trait;

use super::Policy;
use crate::BoxError;
use crate::request_head::RequestHead;

/// Decides for each request which hook it is for, and who may call that hook.
///
/// A closure from a [`RequestHead`] to an `Option<Policy>` is a resolver. Implement the trait where the
/// answer has to be waited for.
///
/// Credentials are still in the head; header values in configured places are marked as sensitive.
///
/// # Examples
///
/// ```
/// use tower_webhook::RequestHead;
/// use tower_webhook::auth::{AuthLayer, Policy};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
///     "/hook/status" => Some(Policy::public()),
///     "/hook/deploy" => Some(Policy::token()),
///     _ => None,
/// });
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait PolicyResolver: Send + Sync + 'static {
    /// The policy for a request, or `None` if nothing is served there (404).
    ///
    /// # Errors
    ///
    /// Returns an error if the answer cannot be had now. The request is refused with 503.
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError>;

    /// The same without waiting, where that is possible. The default never is.
    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        let _ = head;
        None
    }
}

#[async_trait]
impl<F> PolicyResolver for F
where
    F: Fn(RequestHead<'_>) -> Option<Policy> + Send + Sync + 'static,
{
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        Ok(self(head))
    }

    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        Some(Ok(self(head)))
    }
}

#[async_trait]
impl<R: PolicyResolver + ?Sized> PolicyResolver for Arc<R> {
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        (**self).resolve(head).await
    }

    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        (**self).resolve_ready(head)
    }
}
