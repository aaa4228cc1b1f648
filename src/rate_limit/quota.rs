use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::ConfigError;

/// How many calls are allowed: a burst at once, and from then on one each period.
///
/// A bucket is full at first and holds the burst. Each call takes one out, and each period puts one in. So in any
/// time `t`, at most `burst + t / period` calls are allowed. With five at once and a period of 12 seconds that is
/// 5 + 60 / 12 = 10 calls in the first minute, and 5 in each minute after it.
///
/// A period has whole microseconds: a fraction is rounded up. A bucket is full again after
/// [`window`](Self::window), which is at most [`MAX_WINDOW`](Self::MAX_WINDOW).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::rate_limit::Quota;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// // 60 at once, then one each second.
/// let quota = Quota::per_minute(60)?;
/// assert_eq!((quota.burst(), quota.period()), (60, Duration::from_secs(1)));
///
/// // The same rate, with five at once.
/// let smooth = quota.with_burst(5)?;
/// assert_eq!(smooth, Quota::new(5, Duration::from_secs(1))?);
///
/// assert!(Quota::per_minute(0).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Quota {
    burst: NonZeroU32,
    period_micros: u64,
}

impl Quota {
    /// The longest time until a bucket is full again: 366 days.
    pub const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// `burst` calls at once, and one more each `period`.
    ///
    /// # Errors
    ///
    /// Returns an error if either is 0, or if `burst * period` is longer than [`MAX_WINDOW`](Self::MAX_WINDOW).
    pub fn new(burst: u32, period: Duration) -> Result<Self, ConfigError> {
        let Some(burst) = NonZeroU32::new(burst) else {
            return Err(ConfigError::new("a quota allows at least one call at once"));
        };
        let micros = period.as_nanos().div_ceil(1000);
        if micros == 0 {
            return Err(ConfigError::new("the period of a quota is longer than 0"));
        }
        let window = micros.saturating_mul(burst.get().into());
        match u64::try_from(micros) {
            Ok(period_micros) if window <= Self::MAX_WINDOW.as_micros() => {
                Ok(Self { burst, period_micros })
            }
            _ => Err(ConfigError::new("the burst of a quota is there again within 366 days")),
        }
    }

    /// `calls` at once, and from then on as many in each second.
    ///
    /// # Errors
    ///
    /// Returns an error if it is 0.
    pub fn per_second(calls: u32) -> Result<Self, ConfigError> {
        Self::per(calls, Duration::from_secs(1))
    }

    /// `calls` at once, and from then on as many in each minute: twice as many in the first minute.
    ///
    /// # Errors
    ///
    /// Returns an error if it is 0.
    pub fn per_minute(calls: u32) -> Result<Self, ConfigError> {
        Self::per(calls, Duration::from_secs(60))
    }

    /// `calls` at once, and from then on as many in each hour.
    ///
    /// # Errors
    ///
    /// Returns an error if it is 0.
    pub fn per_hour(calls: u32) -> Result<Self, ConfigError> {
        Self::per(calls, Duration::from_secs(60 * 60))
    }

    fn per(calls: u32, time: Duration) -> Result<Self, ConfigError> {
        // No period is shorter than a microsecond, and a part of one is rounded up to it.
        let period = time.checked_div(calls).unwrap_or_default();
        Self::new(calls, period.max(Duration::from_nanos(1)))
    }

    /// The same rate, with another number of calls at once.
    ///
    /// # Errors
    ///
    /// Returns what [`new`](Self::new) returns.
    pub fn with_burst(self, burst: u32) -> Result<Self, ConfigError> {
        Self::new(burst, self.period())
    }

    /// The number of calls at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// The time after which one more call is allowed.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_micros(self.period_micros)
    }

    pub(crate) const fn period_micros(&self) -> u64 {
        self.period_micros
    }

    /// The time after which an empty bucket is full: `burst * period`.
    #[must_use]
    pub const fn window(&self) -> Duration {
        // A quota cannot be made whose window does not fit.
        Duration::from_micros(self.period_micros.saturating_mul(self.burst.get() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_quota_has_a_burst_and_a_period() {
        let refused = [
            Quota::new(0, SECOND),
            Quota::new(1, Duration::ZERO),
            Quota::new(2, Quota::MAX_WINDOW),
            Quota::new(1, Duration::MAX),
            Quota::per_second(0),
            Quota::per_minute(0),
            Quota::per_hour(0),
        ];
        for quota in refused {
            assert!(quota.is_err(), "{quota:?}");
        }
        assert!(Quota::new(1, Quota::MAX_WINDOW).is_ok());
        assert!(Quota::new(u32::MAX, Duration::from_micros(1)).is_ok());
        assert!(Quota::per_second(5).unwrap().with_burst(0).is_err());
    }

    #[test]
    fn a_rate_is_never_above_the_one_that_is_asked_for() {
        // 60 / 7 seconds, rounded up.
        let quota = Quota::per_minute(7).unwrap();
        assert_eq!(quota.period(), Duration::from_micros(8_571_429));
        assert_eq!(Quota::per_hour(2).unwrap().window(), Duration::from_secs(60 * 60));
        // More than one in a microsecond looks like one.
        assert_eq!(Quota::per_second(u32::MAX).unwrap().period(), Duration::from_micros(1));
    }

    #[test]
    fn a_quota_is_small() {
        assert_eq!(size_of::<Option<Quota>>(), 16);
    }
}
