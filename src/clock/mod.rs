use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use time::OffsetDateTime;

mod timestamp;

pub(crate) use self::timestamp::Timestamp;

/// A source of the current time.
///
/// Rules take `now` as an argument; layers, verifiers and managers have a clock.
///
/// # Examples
///
/// ```
/// use tower_webhook::Clock;
///
/// let noon = time::OffsetDateTime::UNIX_EPOCH + time::Duration::hours(12);
/// assert_eq!(Clock::from_fn(move || noon).now(), noon);
/// ```
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> OffsetDateTime + Send + Sync>>);

/// The latest second of [`Clock::system`] in this process.
static FLOOR: AtomicI64 = AtomicI64::new(i64::MIN);

impl Clock {
    /// The clock of the system.
    ///
    /// Within one process it does not go back by a second or more: after a correction backwards it stops
    /// until the system's clock has caught up. An expired key stays expired.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock of your own, for tests and simulations.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Some(now) => now(),
            None => self.timestamp().time(),
        }
    }

    /// As [`now`](Self::now), in the form that rules compare.
    pub(crate) fn timestamp(&self) -> Timestamp {
        match &self.0 {
            Some(now) => Timestamp::new(now()),
            None => never_before(Timestamp::of_system(SystemTime::now()), &FLOOR),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(<fn>)" } else { "Clock(system)" })
    }
}

/// Monotonic clamp: raises `now` to the floor, and the floor to `now`. The floor has whole seconds, so that it
/// is written once per second and not once per request.
fn never_before(now: Timestamp, floor: &AtomicI64) -> Timestamp {
    let second = now.seconds();
    let latest = floor.load(Ordering::Relaxed);
    if second > latest {
        floor.fetch_max(second, Ordering::Relaxed);
    }
    if second < latest { Timestamp::from_unix(latest, 0) } else { now }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn at(time: OffsetDateTime, floor: &AtomicI64) -> OffsetDateTime {
        never_before(Timestamp::new(time), floor).time()
    }

    #[test]
    fn the_system_clock_does_not_step_back() {
        let floor = AtomicI64::new(i64::MIN);
        let noon = OffsetDateTime::UNIX_EPOCH + Duration::hours(12);

        assert_eq!(at(noon, &floor), noon);
        assert_eq!(at(noon - Duration::HOUR, &floor), noon);
        let later = noon + Duration::milliseconds(1500);
        assert_eq!(at(later, &floor), later);
        assert_eq!(at(noon - Duration::HOUR, &floor), noon + Duration::SECOND);
    }

    #[test]
    fn a_time_before_1970_is_a_time() {
        let floor = AtomicI64::new(i64::MIN);
        let early = OffsetDateTime::UNIX_EPOCH - Duration::days(10_000);

        assert_eq!(at(early, &floor), early);
    }

    #[test]
    fn the_system_clock_tells_the_time() {
        let before = OffsetDateTime::now_utc();
        let now = Clock::system().now();

        assert!(before <= now && now <= OffsetDateTime::now_utc());
    }
}
