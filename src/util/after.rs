use std::time::Duration;

use tokio::time::Instant;

/// The instant after a time, which is cut at 30 years, as tokio does: a clock has no room for every duration.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(Duration::from_secs(30 * 365 * 24 * 60 * 60))
}
