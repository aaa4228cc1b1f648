//! The rules of [`RateLimiter`] as a check that the author of a limiter calls from their tests.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::rate_limit::{MemoryRateLimiter, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::check(MemoryRateLimiter::new()).await;
//! # }
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Decision, Limit, LimitState, Quota, RateLimiter};
use crate::util::ErrorChain;

/// Checks a limiter against the rules of [`RateLimiter`].
///
/// Buckets have names that no run before has used, so the place that a limiter shares with others need not be empty.
/// It takes about a second of tokio's time, which may be paused. Clocks of other machines are trusted to run as fast
/// as the one of this machine.
///
/// # Panics
///
/// With the rule, if the limiter breaks one or returns an error.
pub async fn check(limiter: impl RateLimiter) {
    let run = getrandom::u64().unwrap_or_default();
    let limiter: Arc<dyn RateLimiter> = Arc::new(limiter);
    for (name, without_waiting) in [("waiting", false), ("ready", true)] {
        let prefix = format!("conformance:{run:016x}:{name}");
        let trial = Trial { limiter: Arc::clone(&limiter), prefix, without_waiting };
        trial.a_burst_is_allowed().await;
        trial.buckets_are_apart().await;
        trial.a_refused_call_counts_in_no_bucket().await;
        trial.a_bucket_with_two_limits_counts_twice().await;
        trial.a_quota_may_change().await;
        trial.calls_at_the_same_time_are_all_counted().await;
        trial.buckets_fill_up().await;
    }
}

#[derive(Clone)]
struct Trial {
    limiter: Arc<dyn RateLimiter>,
    prefix: String,
    /// Whether the answer without waiting is tried first.
    without_waiting: bool,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
/// More than a call takes, and less than a user of the check waits for.
const SHORT: Duration = Duration::from_millis(200);

impl Trial {
    async fn a_burst_is_allowed(&self) {
        for number in 1..=5 {
            let state = self.one("burst", 5, HOUR).await;
            assert!(state.is_allowed(), "rule 4: call {number} of a burst of 5 is refused");
            assert_eq!(state.remaining(), 5 - number, "rule 3: what call {number} of 5 leaves");
            let window = number * HOUR;
            let reset = state.reset_after();
            assert!(reset <= window && reset > window - HOUR, "rule 3: {reset:?} until it is full");
            assert_eq!(
                state.retry_after().is_zero(),
                number < 5,
                "rule 3: the wait after {number}"
            );
        }
        let refused = self.one("burst", 5, HOUR).await;
        assert!(!refused.is_allowed(), "rule 1: a call beyond the burst is allowed");
        assert_eq!(refused.remaining(), 0, "rule 3: what a refused call leaves");
        let (retry, reset) = (refused.retry_after(), refused.reset_after());
        assert!(!retry.is_zero() && retry <= HOUR, "rule 3: {retry:?} until the next call");
        assert_eq!(reset - retry, 4 * HOUR, "rule 3: {reset:?} until it is full");
    }

    async fn buckets_are_apart(&self) {
        for bucket in ["a", "b", "a:b", "{a}", "a\r\nb", "ä", ""] {
            assert!(self.one(bucket, 1, HOUR).await.is_allowed(), "rule 4: {bucket:?} was used");
            assert!(!self.one(bucket, 1, HOUR).await.is_allowed(), "rule 1: {bucket:?} is empty");
        }
    }

    async fn a_refused_call_counts_in_no_bucket(&self) {
        let (one, three) = (("one", quota(1, HOUR)), ("three", quota(3, HOUR)));
        let first = self.call(&[one, three]).await;
        assert!(first.is_allowed(), "rule 4: the first call is refused");
        assert_eq!(remaining(&first), [0, 2], "rule 3: the states are in the order of the limits");
        for limits in [[one, three], [three, one]] {
            let refused = self.call(&limits).await;
            assert!(!refused.is_allowed(), "rule 1: a call that one limit refuses is allowed");
            for (state, (name, _)) in refused.states().iter().zip(limits) {
                assert_eq!(state.is_allowed(), name == "three", "rule 3: the state of {name}");
                assert_eq!(
                    state.remaining(),
                    if name == "three" { 2 } else { 0 },
                    "rule 2: {name}"
                );
            }
        }
        let allowed = self.call(&[three]).await;
        assert_eq!(remaining(&allowed), [1], "rule 2: a refused call was counted");
    }

    async fn a_bucket_with_two_limits_counts_twice(&self) {
        let limit = ("twice", quota(3, HOUR));
        let both = self.call(&[limit, limit]).await;
        assert!(both.is_allowed(), "rule 1: a bucket of 3 has place for 2");
        assert_eq!(remaining(&both), [2, 1], "rule 1: a bucket with two limits counts twice");
        assert!(!self.call(&[limit, limit]).await.is_allowed(), "rule 1: there is place for 1");
        assert_eq!(remaining(&self.call(&[limit]).await), [0], "rule 2: one place was left");
    }

    async fn a_quota_may_change(&self) {
        for _ in 0..2 {
            assert!(self.one("change", 2, HOUR).await.is_allowed(), "rule 4: a burst of 2");
        }
        let larger = self.one("change", 4, HOUR).await;
        assert!(larger.is_allowed() && larger.remaining() == 1, "rule 5: 3 of 4 are counted");
        let smaller = self.one("change", 1, SHORT).await;
        assert!(!smaller.is_allowed(), "rule 5: a bucket that was empty is allowed");
        let wait = smaller.retry_after();
        assert!(wait <= SHORT, "rule 5: {wait:?} until the next call, with a period of {SHORT:?}");
        after(wait).await;
        assert!(self.one("change", 1, SHORT).await.is_allowed(), "rule 6: refused after its wait");
    }

    async fn calls_at_the_same_time_are_all_counted(&self) {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let trial = self.clone();
                tokio::spawn(async move { trial.one("crowd", 10, HOUR).await.is_allowed() })
            })
            .collect();
        let mut allowed = 0;
        for call in calls {
            allowed += u32::from(call.await.is_ok_and(|is_allowed| is_allowed));
        }
        assert_eq!(allowed, 10, "rule 7: allowed of 20 calls at the same time, with a burst of 10");
    }

    async fn buckets_fill_up(&self) {
        let (started, mut allowed, mut waits) = (Instant::now(), 0, 0);
        while waits < 3 {
            let state = self.one("refill", 2, SHORT).await;
            if state.is_allowed() {
                allowed += 1;
                let most = 2 + started.elapsed().as_micros() / SHORT.as_micros() + 1;
                assert!(allowed <= most, "rule 1: {allowed} calls, and at most {most} are allowed");
                continue;
            }
            let wait = state.retry_after();
            assert!(wait <= SHORT, "rule 3: {wait:?} until the next call");
            after(wait).await;
            waits += 1;
            allowed += 1;
            assert!(
                self.one("refill", 2, SHORT).await.is_allowed(),
                "rule 6: refused after its wait"
            );
        }
    }

    async fn one(&self, bucket: &str, burst: u32, period: Duration) -> LimitState {
        let decision = self.call(&[(bucket, quota(burst, period))]).await;
        let [state] = decision.states() else { unreachable!("`call` has compared the lengths") };
        *state
    }

    async fn call(&self, limits: &[(&str, Quota)]) -> Decision {
        let names: Vec<_> =
            limits.iter().map(|(name, _)| format!("{}:{name}", self.prefix)).collect();
        let limits: Vec<_> =
            names.iter().zip(limits).map(|(name, (_, quota))| Limit::new(name, *quota)).collect();
        let ready = self.without_waiting.then(|| self.limiter.check_ready(&limits)).flatten();
        let answer = match ready {
            Some(answer) => answer,
            None => self.limiter.check(&limits).await,
        };
        let decision = answer.unwrap_or_else(|error| fail(&*error));
        assert_eq!(decision.states().len(), limits.len(), "rule 3: one state for each limit");
        decision
    }
}

fn quota(burst: u32, period: Duration) -> Quota {
    Quota::new(burst, period).unwrap_or_else(|error| fail(&error))
}

fn remaining(decision: &Decision) -> Vec<u32> {
    decision.states().iter().map(LimitState::remaining).collect()
}

/// A little longer, for clocks that do not run at exactly the same pace.
async fn after(wait: Duration) {
    sleep(wait + wait / 20).await;
}

#[expect(clippy::panic, reason = "a failed check of a test suite is a panic")]
fn fail(error: &(dyn Error + 'static)) -> ! {
    panic!("the limiter does not answer: {}", ErrorChain(error))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::BoxError;
    use crate::rate_limit::MemoryRateLimiter;

    #[tokio::test(start_paused = true)]
    async fn the_limiter_in_memory_keeps_the_rules() {
        check(MemoryRateLimiter::new()).await;
    }

    type Check = fn(&MemoryRateLimiter, &[Limit<'_>]) -> Result<Decision, BoxError>;

    /// A limiter that breaks a rule.
    struct Broken(MemoryRateLimiter, Check);

    #[async_trait]
    impl RateLimiter for Broken {
        async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
            self.1(&self.0, limits)
        }
    }

    async fn run(check_call: Check) {
        check(Broken(MemoryRateLimiter::new(), check_call)).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "rule 1: a call beyond the burst is allowed")]
    async fn a_limiter_that_allows_too_many_is_found() {
        run(|memory, limits| {
            let decision = memory.check_ready(limits).unwrap()?;
            let allowed = |(limit, state): (&Limit<'_>, &LimitState)| {
                LimitState::new(limit.quota(), true, state.reset_after())
            };
            Ok(Decision::new(limits.iter().zip(decision.states()).map(allowed)))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "rule 2: three")]
    async fn a_limiter_that_counts_refused_calls_is_found() {
        run(|memory, limits| {
            let alone = |limit| memory.check_ready(&[limit]).unwrap().unwrap().states()[0];
            Ok(Decision::new(limits.iter().copied().map(alone)))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "rule 3: the states are in the order of the limits")]
    async fn a_limiter_that_mixes_limits_up_is_found() {
        run(|memory, limits| {
            let decision = memory.check_ready(limits).unwrap()?;
            Ok(Decision::new(decision.states().iter().rev().copied()))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the limiter does not answer: down")]
    async fn a_limiter_that_does_not_answer_is_found() {
        run(|_, _| Err("down".into())).await;
    }
}
