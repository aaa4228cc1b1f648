use std::fmt;
use std::sync::Arc;

use super::{Quota, RateLimiter};
use crate::util::UniqueId;

/// The limits of a layer: who counts, and how many calls are allowed where nothing else says so.
///
/// Give it to [`AuthLayer::with_rate_limits`](crate::auth::AuthLayer::with_rate_limits). Layers inside each other that
/// have clones of one value count a call once.
///
/// # Examples
///
/// ```
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::rate_limit::{MemoryRateLimiter, Quota, RateLimits};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let limits = RateLimits::new(MemoryRateLimiter::new()).with_default_quota(Quota::per_minute(60)?);
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let layer = AuthLayer::header("x-api-key", &keys)?.with_rate_limits(limits)?;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RateLimits {
    /// The same for clones, and for nothing else.
    pub(crate) id: UniqueId,
    pub(crate) limiter: Arc<dyn RateLimiter>,
    pub(crate) default_quota: Option<Quota>,
    pub(crate) is_open_on_outage: bool,
    pub(crate) shows_fields: bool,
}

impl RateLimits {
    /// Limits that this limiter counts. Calls are limited as the records of keys
    /// ([`NewKey::with_rate_limit`](crate::key::NewKey::with_rate_limit)) and policies
    /// ([`Policy::with_rate_limit`](crate::auth::Policy::with_rate_limit)) say.
    ///
    /// Share a limiter with an [`Arc`].
    pub fn new(limiter: impl RateLimiter) -> Self {
        Self {
            id: UniqueId::new(),
            limiter: Arc::new(limiter),
            default_quota: None,
            is_open_on_outage: false,
            shows_fields: false,
        }
    }

    /// How many calls a caller is allowed whose key says nothing about it. Without this, as many as they like.
    pub fn with_default_quota(mut self, quota: Quota) -> Self {
        self.default_quota = Some(quota);
        self
    }

    /// Adds `RateLimit` and `RateLimit-Policy` to every response to a call that was counted, and not only to a 429.
    pub fn with_fields_on_every_response(mut self) -> Self {
        self.shows_fields = true;
        self
    }

    /// Lets calls in uncounted, with a line in the log, where the limiter fails or does not answer within its
    /// deadline. Without this setting such a call is refused with 503. A limiter that panics is a 500 in either case.
    ///
    /// # Security
    ///
    /// Who can make the limiter fail, by load for example, has no limit.
    pub fn with_insecure_open_on_outage(mut self) -> Self {
        self.is_open_on_outage = true;
        self
    }
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits")
            .field("default_quota", &self.default_quota)
            .field("is_open_on_outage", &self.is_open_on_outage)
            .field("shows_fields", &self.shows_fields)
            .finish_non_exhaustive()
    }
}
