//! Limits on the calls of a caller.
//!
//! An [`AuthLayer`](crate::auth::AuthLayer) and [`Hooks`](crate::hook::Hooks) count the calls of callers who may call,
//! and refuse those beyond a [`Quota`] with 429. A [`RateLimiter`] keeps the counts:
//!
//! | limiter | counts |
//! |---|---|
//! | [`MemoryRateLimiter`] | in one process |
//! | `RedisRateLimiter` (feature `redis`) | in Redis or Valkey, for all processes together |
//! | a type of your own | wherever it likes: implement [`RateLimiter`], and check it with `conformance` (feature `conformance`) |
//!
//! The algorithm is GCRA, the generic cell rate algorithm: see [`gcra`].
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use tower_webhook::rate_limit::{Limit, MemoryRateLimiter, Quota, RateLimiter};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_webhook::BoxError> {
//! let limiter = MemoryRateLimiter::new();
//! // Two calls at once, then one each 12 seconds.
//! let limit = [Limit::new("ann", Quota::new(2, Duration::from_secs(12))?)];
//!
//! assert!(limiter.check(&limit).await?.is_allowed());
//! assert!(limiter.check(&limit).await?.is_allowed());
//! let third = limiter.check(&limit).await?;
//! assert!(!third.is_allowed());
//! assert!(third.retry_after() <= Duration::from_secs(12));
//! # Ok(())
//! # }
//! ```

#[cfg(any(test, feature = "conformance"))]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod decision;
mod fields;
mod gcra;
mod limit;
mod limiter;
mod limits;
mod memory;
mod quota;

pub use self::decision::{Decision, LimitState};
pub(crate) use self::fields::{RateLimitFields, whole_seconds};
pub use self::gcra::gcra;
pub use self::limit::Limit;
pub use self::limiter::RateLimiter;
pub use self::limits::RateLimits;
pub use self::memory::MemoryRateLimiter;
pub use self::quota::Quota;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::store::redis::RedisRateLimiter;
