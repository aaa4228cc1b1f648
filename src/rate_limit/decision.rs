use std::time::Duration;

use super::Quota;

/// What a [`RateLimiter`](super::RateLimiter) says about a call: the state of each limit, in their order.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::rate_limit::{Decision, LimitState, Quota};
///
/// // Five at once, then one each 12 seconds. The bucket is empty: it is full again in a minute.
/// let quota = Quota::new(5, Duration::from_secs(12))?;
/// let decision = Decision::new([LimitState::new(quota, false, Duration::from_secs(60))]);
/// assert!(!decision.is_allowed());
/// assert_eq!(decision.retry_after(), Duration::from_secs(12));
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decision {
    states: Vec<LimitState>,
}

impl Decision {
    /// The states of the limits that were checked, in their order.
    #[must_use]
    pub fn new(states: impl IntoIterator<Item = LimitState>) -> Self {
        Self { states: states.into_iter().collect() }
    }

    /// Whether every limit allows the call.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.states.iter().all(LimitState::is_allowed)
    }

    /// The time until all limits that refuse the call would allow it; zero for an allowed call.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let refused = self.states.iter().filter(|state| !state.is_allowed());
        refused.map(LimitState::retry_after).max().unwrap_or_default()
    }

    /// The state of each limit.
    #[must_use]
    pub fn states(&self) -> &[LimitState] {
        &self.states
    }
}

/// The state of one bucket after a call was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LimitState {
    is_allowed: bool,
    remaining: u32,
    retry_after: Duration,
    reset_after: Duration,
}

impl LimitState {
    /// The state of a bucket that is full again after `reset_after`, with the call counted if it was.
    #[must_use]
    pub fn new(quota: Quota, is_allowed: bool, reset_after: Duration) -> Self {
        let (window, period) = (quota.window(), quota.period());
        let left = nanos(window.saturating_sub(reset_after));
        let remaining = left.checked_div(nanos(period)).unwrap_or_default();
        Self {
            is_allowed,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            retry_after: reset_after.saturating_add(period).saturating_sub(window),
            reset_after,
        }
    }

    /// Whether this limit allows the call.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// How many more calls are allowed at once.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The time until the next call is allowed; zero if one is allowed now.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The time until the bucket is full.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        self.reset_after
    }
}

/// Windows of quotas are shorter than 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
