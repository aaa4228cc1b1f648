use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use self::thread::Sleep;

mod thread;

/// What measures deadlines.
///
/// Deadlines run on a monotonic clock and have nothing to do with [`Clock`](crate::Clock), which
/// says what time it is.
///
/// # Examples
///
/// A timer that never fires, for tests:
///
/// ```
/// use std::{future::Future, pin::Pin, time::Duration};
///
/// use tower_webhook::Timer;
///
/// struct Never;
///
/// impl Timer for Never {
///     fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         Box::pin(std::future::pending())
///     }
/// }
/// ```
pub trait Timer: Send + Sync + 'static {
    /// A future that is ready once `duration` has passed.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The built-in timer, which works on every runtime and without one.
///
/// The first sleep of a process starts one helper thread that serves all of them. To begin a sleep and to end
/// it early wakes no other thread, as long as the sleeps are about equally long.
#[derive(Clone, Copy, Default)]
pub struct SystemTimer;

impl SystemTimer {
    /// The built-in timer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Timer for SystemTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep::new(duration))
    }
}

impl fmt::Debug for SystemTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemTimer")
    }
}

/// A timer on tokio's clock, which tests can pause.
///
/// Sleeps are made and awaited inside a tokio runtime whose time driver is on.
#[derive(Clone, Copy, Default)]
pub struct TokioTimer;
impl TokioTimer {
    /// A timer on tokio's clock.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}
impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
impl fmt::Debug for TokioTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokioTimer")
    }
}

/// What a future yields, or `None` if it takes longer than `duration`. A future that is ready at once
/// costs no sleep.
pub(crate) async fn within<T>(
    timer: &dyn Timer,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = None;
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        let sleep = sleep.get_or_insert_with(|| timer.sleep(duration));
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_sleep_lasts_at_least_its_duration() {
        let started = Instant::now();

        SystemTimer::new().sleep(Duration::from_millis(20)).await;

        assert!(started.elapsed() >= Duration::from_millis(20));
    }
    #[tokio::test(start_paused = true)]
    async fn a_sleep_on_a_paused_clock_ends_at_once() {
        let started = Instant::now();

        TokioTimer::new().sleep(Duration::from_secs(3600)).await;

        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
