use std::time::Duration;

use super::{LimitState, Quota};

/// The generic cell rate algorithm (GCRA), as a pure function of one point in time: `full_at`, when the bucket is
/// full. In the terms of the algorithm that is the theoretical arrival time.
///
/// Both times are measured from the same origin, whichever that is. A bucket without a time is full: give zero. After
/// a call, `now` plus [`LimitState::reset_after`] is the time to keep. A bucket whose time has passed need not be
/// kept.
///
/// A call moves `full_at` one period later. It is refused, and moves nothing, if the bucket would then take longer
/// than [`Quota::window`] to be full. A time further ahead than the window, because a clock went back or the quota
/// became smaller, is that of an empty bucket from then on: no caller waits for longer than a period.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::rate_limit::{Quota, gcra};
///
/// let quota = Quota::new(2, Duration::from_secs(10))?;
/// let now = Duration::from_secs(100);
///
/// let first = gcra(Duration::ZERO, now, quota);
/// assert!(first.is_allowed());
/// let second = gcra(now + first.reset_after(), now, quota);
/// assert_eq!((second.is_allowed(), second.remaining()), (true, 0));
///
/// let third = gcra(now + second.reset_after(), now, quota);
/// assert!(!third.is_allowed());
/// assert_eq!(third.retry_after(), Duration::from_secs(10));
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[must_use]
pub fn gcra(full_at: Duration, now: Duration, quota: Quota) -> LimitState {
    let before = full_at.saturating_sub(now).min(quota.window());
    let after = before.saturating_add(quota.period());
    match after <= quota.window() {
        true => LimitState::new(quota, true, after),
        false => LimitState::new(quota, false, before),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A bucket, and the calls that come to it.
    struct Bucket {
        full_at: Duration,
        quota: Quota,
    }

    impl Bucket {
        fn new(burst: u32, period: Duration) -> Self {
            Self { full_at: Duration::ZERO, quota: Quota::new(burst, period).unwrap() }
        }

        fn call(&mut self, now: Duration) -> LimitState {
            let state = gcra(self.full_at, now, self.quota);
            self.full_at = now + state.reset_after();
            state
        }
    }

    #[test]
    fn a_burst_then_one_each_period() {
        let mut bucket = Bucket::new(5, 12 * SECOND);
        let start = 1000 * SECOND;
        for remaining in (0..5).rev() {
            let state = bucket.call(start);
            assert_eq!((state.is_allowed(), state.remaining()), (true, remaining));
        }
        let refused = bucket.call(start + SECOND);
        assert_eq!((refused.is_allowed(), refused.retry_after()), (false, 11 * SECOND));
        assert_eq!(refused.reset_after(), 59 * SECOND);

        let later = bucket.call(start + 12 * SECOND);
        assert_eq!((later.is_allowed(), later.retry_after()), (true, 12 * SECOND));
        assert!(!bucket.call(start + 12 * SECOND).is_allowed());
        assert_eq!(bucket.call(start + 600 * SECOND).remaining(), 4);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_caller_wait_long() {
        let mut bucket = Bucket::new(5, 12 * SECOND);
        for _ in 0..5 {
            bucket.call(10_000 * SECOND);
        }
        let state = bucket.call(SECOND);
        assert_eq!((state.is_allowed(), state.retry_after()), (false, 12 * SECOND));
        assert!(bucket.call(13 * SECOND).is_allowed());
    }

    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl governor::clock::Clock for Hand {
        type Instant = Duration;

        fn now(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    proptest! {
        /// Differential testing.
        #[test]
        fn governor_decides_alike(
            burst in 1_u32..50,
            period in 1_u64..5_000_000,
            steps in proptest::collection::vec(0_u64..10_000_000, 1..200),
        ) {
            let mut bucket = Bucket::new(burst, Duration::from_micros(period));
            let theirs = governor::Quota::with_period(bucket.quota.period()).unwrap();
            let theirs = theirs.allow_burst(NonZeroU32::new(burst).unwrap());
            let hand = Hand::default();
            let theirs = governor::RateLimiter::direct_with_clock(theirs, hand.clone());
            for step in steps {
                hand.0.fetch_add(step, Ordering::Relaxed);
                let now = governor::clock::Clock::now(&hand);
                let state = bucket.call(now);
                match theirs.check() {
                    Ok(()) => prop_assert!(state.is_allowed()),
                    Err(until) => {
                        prop_assert!(!state.is_allowed());
                        prop_assert_eq!(until.wait_time_from(now), state.retry_after());
                    }
                }
            }
        }

        #[test]
        fn no_more_calls_than_burst_and_rate(
            burst in 1_u32..50,
            period in 1_u64..5_000_000,
            steps in proptest::collection::vec(0_u64..10_000_000, 1..200),
        ) {
            let mut bucket = Bucket::new(burst, Duration::from_micros(period));
            let (mut now, mut allowed) = (0, 0_u64);
            for step in steps {
                now += step;
                let state = bucket.call(Duration::from_micros(now));
                allowed += u64::from(state.is_allowed());
                prop_assert!(allowed <= u64::from(burst) + now / period);
                // What it says about the next call is true.
                let wait = state.retry_after();
                let at = |time| gcra(bucket.full_at, time, bucket.quota).is_allowed();
                prop_assert!(at(Duration::from_micros(now) + wait));
                if !wait.is_zero() {
                    prop_assert!(!at(Duration::from_micros(now - 1) + wait));
                }
                prop_assert_eq!(state.remaining() > 0, wait.is_zero());
            }
        }
    }
}
