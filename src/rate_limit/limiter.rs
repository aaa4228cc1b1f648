use std::sync::Arc;

use async_trait::async_trait;

use super::{Decision, Limit};
use crate::BoxError;

/// Counts calls, and says which are too many.
///
/// # Rules
///
/// 1. A call is allowed if all its limits allow it, and it is then counted in all of their buckets: twice in one that
///    has two limits.
/// 2. A refused call counts in no bucket.
/// 3. A [`Decision`] has one state for each limit, in the same order. Any other number is taken for a failure.
/// 4. A bucket that was not used before is full.
/// 5. The quota of a bucket may change from call to call.
/// 6. After [`Decision::retry_after`], a call is allowed, unless others were counted in between.
/// 7. Calls at the same time are counted as if they came one after the other.
///
/// `conformance::check`, with the feature `conformance`, checks a limiter against these rules.
///
/// # Examples
///
/// A limiter that asks for the time itself, and keeps one bucket behind a lock:
///
/// ```
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use async_trait::async_trait;
/// use tower_webhook::BoxError;
/// use tower_webhook::rate_limit::{Decision, Limit, RateLimiter, gcra};
///
/// struct OneBucket {
///     start: Instant,
///     full_at: Mutex<Duration>,
/// }
///
/// #[async_trait]
/// impl RateLimiter for OneBucket {
///     async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
///         let [limit] = limits else { return Err("one limit at a time".into()) };
///         let mut full_at = self.full_at.lock().map_err(|_| "poisoned")?;
///         let now = self.start.elapsed();
///         let state = gcra(*full_at, now, limit.quota());
///         *full_at = now + state.reset_after();
///         Ok(Decision::new([state]))
///     }
/// }
/// ```
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Checks and counts one call.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer cannot be had now.
    async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError>;

    /// The same without waiting, where that is possible. The default never is. `None` has counted nothing.
    fn check_ready(&self, limits: &[Limit<'_>]) -> Option<Result<Decision, BoxError>> {
        let _ = limits;
        None
    }
}

#[async_trait]
impl<L: RateLimiter + ?Sized> RateLimiter for Arc<L> {
    async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
        (**self).check(limits).await
    }

    fn check_ready(&self, limits: &[Limit<'_>]) -> Option<Result<Decision, BoxError>> {
        (**self).check_ready(limits)
    }
}
