use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Decision, Limit, LimitState, RateLimiter, gcra};
use crate::BoxError;

/// Counts calls in the memory of this process.
///
/// A refused call counts in no bucket. The time is that of tokio, so tests can pause it.
///
/// # Memory
///
/// A bucket is kept until it is full again, and is dropped when others need its place: of the buckets of one lock, at
/// most half are full ones, or 64. So memory is bounded by the number of callers who were let in within one
/// [window](super::Quota::window). An entry has the name of its bucket and a time, about 80 bytes. The work is
/// amortized: a new bucket looks at two others on the average. There is no task in the background.
///
/// # Examples
///
/// ```
/// use tower_webhook::rate_limit::{Limit, MemoryRateLimiter, Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::BoxError> {
/// let limiter = MemoryRateLimiter::new();
/// let limits = [Limit::new("ann", Quota::per_minute(60)?), Limit::new("ann on deploy", Quota::per_hour(5)?)];
/// let decision = limiter.check(&limits).await?;
/// assert!(decision.is_allowed());
/// assert_eq!(decision.states()[1].remaining(), 4);
/// # Ok(())
/// # }
/// ```
pub struct MemoryRateLimiter {
    start: Instant,
    /// Sharded locks.
    shards: [Mutex<Shard>; SHARDS],
}

const SHARDS: usize = 16;

/// The least number of buckets that are swept.
const MIN_SWEEP: usize = 64;

struct Shard {
    /// When each bucket is full, since the start.
    full_at: HashMap<Box<str>, Duration>,
    /// At how many buckets those that are full are dropped.
    sweep_at: usize,
}

impl MemoryRateLimiter {
    /// All buckets are full.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), shards: Default::default() }
    }

    fn decide(&self, limits: &[Limit<'_>]) -> Decision {
        let now = self.start.elapsed();
        let mut states: Vec<_> =
            limits.iter().map(|limit| self.shard(limit.bucket()).take(limit, now)).collect();
        let is_refused = !states.iter().all(LimitState::is_allowed);
        if is_refused && states.len() > 1 {
            // Compensation: a call that one limit refuses takes nothing from the others.
            for (limit, state) in limits.iter().zip(&mut states) {
                if state.is_allowed() {
                    *state = self.shard(limit.bucket()).give_back(limit, now);
                }
            }
        }
        Decision::new(states)
    }

    fn shard(&self, bucket: &str) -> MutexGuard<'_, Shard> {
        let sum = bucket.bytes().fold(0_u8, u8::wrapping_add);
        let [first, ..] = &self.shards;
        let shard = self.shards.get(usize::from(sum) % SHARDS).unwrap_or(first);
        // Nothing panics while a shard is locked.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn take(&mut self, limit: &Limit<'_>, now: Duration) -> LimitState {
        let kept = self.full_at.get_mut(limit.bucket());
        let full_at = kept.as_deref().copied().unwrap_or_default();
        let state = gcra(full_at, now, limit.quota());
        let full_at = now + state.reset_after();
        match kept {
            Some(kept) => *kept = full_at,
            None => self.insert(limit.bucket(), full_at, now),
        }
        state
    }

    fn give_back(&mut self, limit: &Limit<'_>, now: Duration) -> LimitState {
        let mut full_at = Duration::ZERO;
        if let Some(kept) = self.full_at.get_mut(limit.bucket()) {
            *kept = kept.saturating_sub(limit.quota().period());
            full_at = *kept;
        }
        LimitState::new(limit.quota(), true, full_at.saturating_sub(now))
    }

    /// Mark and sweep, at twice the number of buckets that were left the last time.
    fn insert(&mut self, bucket: &str, full_at: Duration, now: Duration) {
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.full_at.shrink_to(2 * self.full_at.len());
            self.sweep_at = (2 * self.full_at.len()).max(MIN_SWEEP);
        }
        self.full_at.insert(bucket.into(), full_at);
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { full_at: HashMap::new(), sweep_at: MIN_SWEEP }
    }
}

impl Default for MemoryRateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRateLimiter").finish_non_exhaustive()
    }
}

#[async_trait]
impl RateLimiter for MemoryRateLimiter {
    async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
        Ok(self.decide(limits))
    }

    fn check_ready(&self, limits: &[Limit<'_>]) -> Option<Result<Decision, BoxError>> {
        Some(Ok(self.decide(limits)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::rate_limit::Quota;

    const SECOND: Duration = Duration::from_secs(1);

    fn quota(burst: u32) -> Quota {
        Quota::new(burst, SECOND).unwrap()
    }

    fn len(limiter: &MemoryRateLimiter) -> usize {
        limiter.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_are_apart_and_fill_up() {
        let limiter = MemoryRateLimiter::new();
        let allows = |bucket| limiter.decide(&[Limit::new(bucket, quota(1))]).is_allowed();
        assert!(allows("a") && !allows("a"));
        assert!(allows("b"));
        advance(SECOND).await;
        assert!(allows("a") && !allows("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_counts_in_no_bucket() {
        let one = Limit::new("one", quota(1));
        let three = Limit::new("three", quota(3));
        for limits in [[one, three], [three, one]] {
            let limiter = MemoryRateLimiter::new();
            assert!(limiter.decide(&limits).is_allowed());
            for _ in 0..5 {
                let refused = limiter.decide(&limits);
                assert!(!refused.is_allowed());
                let mut remaining: Vec<_> =
                    refused.states().iter().map(LimitState::remaining).collect();
                remaining.sort_unstable();
                assert_eq!(remaining, [0, 2]);
            }
        }

        let twice = MemoryRateLimiter::new().decide(&[one, one]);
        assert_eq!((twice.is_allowed(), twice.states()[0].remaining()), (false, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_smaller_quota_makes_no_caller_wait_long() {
        let limiter = MemoryRateLimiter::new();
        let call = |quota| limiter.decide(&[Limit::new("one", quota)]);
        let hours = Quota::per_hour(2).unwrap();
        assert!(call(hours).is_allowed() && call(hours).is_allowed());
        assert_eq!(call(quota(1)).retry_after(), SECOND);
        advance(SECOND).await;
        assert!(call(quota(1)).is_allowed());
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_dropped() {
        let limiter = MemoryRateLimiter::new();
        let call = |bucket: &str| limiter.decide(&[Limit::new(bucket, quota(2))]).is_allowed();
        for round in 0..20 {
            for number in 0..1000 {
                assert!(call(&format!("{round}/{number}")));
            }
            advance(SECOND).await;
        }
        assert!(len(&limiter) <= 2 * 1000 + SHARDS * MIN_SWEEP, "{}", len(&limiter));

        // One that is not full is kept.
        assert!(call("kept") && call("kept"));
        for number in 0..10_000 {
            assert!(call(&format!("other/{number}")));
        }
        assert!(!call("kept"));
    }
}
