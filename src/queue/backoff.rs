use std::time::Duration;

use crate::ConfigError;

/// Exponential backoff with jitter: how long a job waits between two attempts.
///
/// The wait after attempt `n` is `first * 2^(n - 1)`, at most `max`, and up to a quarter more, at random, so that jobs
/// which failed together do not come back together. The queue keeps the end of the wait, so it survives a restart.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::queue::Backoff;
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60))?.without_jitter();
/// let waits: Vec<_> = (1..=8).map(|attempt| backoff.delay(attempt).as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    has_jitter: bool,
}

impl Backoff {
    /// The longest wait.
    pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// Waits between these two.
    ///
    /// # Errors
    ///
    /// Returns an error if the first wait is 0 or longer than the longest one, or the longest one is over 30 days.
    pub fn new(first: Duration, max: Duration) -> Result<Self, ConfigError> {
        if first.is_zero() || first > max || max > Self::LONGEST {
            return Err(ConfigError::new(
                "the waits of a backoff are 0, reversed, or over 30 days",
            ));
        }
        Ok(Self { first, max, has_jitter: true })
    }

    /// Waits exactly that long.
    #[must_use]
    pub const fn without_jitter(mut self) -> Self {
        self.has_jitter = false;
        self
    }

    /// How long a job waits after this attempt.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let random = if self.has_jitter { getrandom::u32().unwrap_or_default() } else { 0 };
        self.with_random(attempt, random)
    }

    fn with_random(&self, attempt: u32, random: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = self.first.checked_mul(factor).unwrap_or(self.max).min(self.max);
        let jitter = (wait / 4).mul_f64(f64::from(random) / f64::from(u32::MAX));
        wait + jitter
    }
}

impl Default for Backoff {
    /// 1 second to 5 minutes.
    fn default() -> Self {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
        Self { first, max, has_jitter: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_adds_up_to_a_quarter() {
        let backoff = Backoff::default();
        let seconds = Duration::from_secs;
        assert_eq!(backoff.with_random(1, 0), seconds(1));
        assert_eq!(backoff.with_random(1, u32::MAX), Duration::from_millis(1250));
        assert_eq!(backoff.with_random(3, 0), seconds(4));
        for attempt in [10, 32, 33, u32::MAX] {
            assert_eq!(backoff.with_random(attempt, 0), seconds(300), "{attempt}");
            assert_eq!(backoff.with_random(attempt, u32::MAX), seconds(375), "{attempt}");
        }
    }

    #[test]
    fn waits_that_make_no_sense_are_refused() {
        let seconds = Duration::from_secs;
        assert!(Backoff::new(seconds(0), seconds(1)).is_err());
        assert!(Backoff::new(seconds(2), seconds(1)).is_err());
        assert!(Backoff::new(seconds(2), Duration::MAX).is_err());
    }
}
