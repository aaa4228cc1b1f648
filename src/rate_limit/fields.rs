use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{LimitState, Quota};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The values of `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): Lists of
/// Structured Fields (RFC 9651).
#[derive(Clone, Debug)]
pub(crate) struct RateLimitFields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl RateLimitFields {
    /// The names of the limits are printable ASCII without quotes and backslashes.
    pub(crate) fn new<'a>(
        limits: impl Iterator<Item = (&'static str, Quota, &'a LimitState)>,
    ) -> Self {
        let (mut policy, mut limit) = (String::new(), String::new());
        for (name, quota, state) in limits {
            let separator = if policy.is_empty() { "" } else { ", " };
            let (burst, window) = (quota.burst(), whole_seconds(quota.window()));
            let remaining = state.remaining();
            // Writing to a text cannot fail.
            let _ = write!(policy, "{separator}\"{name}\";q={burst};w={window}");
            let _ = write!(limit, "{separator}\"{name}\";r={remaining}");
            if remaining == 0 {
                let _ = write!(limit, ";t={}", whole_seconds(state.retry_after()));
            }
        }
        let value = |text| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Self { policy: value(policy), limit: value(limit) }
    }

    /// Adds the fields. A list may be split over lines, so those of a layer inside stay.
    pub(crate) fn append_to(&self, headers: &mut HeaderMap) {
        headers.append(RATE_LIMIT_POLICY, self.policy.clone());
        headers.append(RATE_LIMIT, self.limit.clone());
    }
}

/// Rounded up: neither these fields nor `Retry-After` have fractions (RFC 9110, section 10.2.3).
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_limits_are_a_list() {
        let key = Quota::new(5, Duration::from_secs(12)).unwrap();
        let hook = Quota::per_second(3).unwrap();
        let (of_key, of_hook) = (
            LimitState::new(key, false, Duration::from_millis(59_500)),
            LimitState::new(hook, true, Duration::from_millis(334)),
        );
        let limits = [("key", key, &of_key), ("hook", hook, &of_hook)];
        let fields = RateLimitFields::new(limits.into_iter());
        let mut headers = HeaderMap::new();
        fields.append_to(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""key";q=5;w=60, "hook";q=3;w=2"#);
        assert_eq!(headers["ratelimit"], r#""key";r=0;t=12, "hook";r=1"#);
    }

    #[test]
    fn seconds_are_rounded_up() {
        let millis = [0, 1, 999, 1_000, 1_001, 30_000].map(Duration::from_millis);
        assert_eq!(millis.map(whole_seconds), [0, 1, 1, 1, 2, 30]);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
