//! What a worker does about a queue that fails, and about jobs that it cannot read.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::QueueError;
use crate::trace;
use crate::util::CatchPanic;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, QueueError>> + Send + 'a>>;

/// Calls a queue. A panic is an error of the queue.
pub(in crate::queue) async fn contained<'a, T>(
    call: impl FnOnce() -> Answer<'a, T>,
) -> Result<T, QueueError> {
    let answer = match CatchPanic::new(call) {
        Ok(call) => call.await,
        Err(panicked) => Err(panicked),
    };
    answer.unwrap_or_else(|_panicked| Err(QueueError::unavailable("the queue panicked")))
}

/// Whether the queue answers. The begin and the end of an outage are logged once, whichever call meets them.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_away: AtomicBool,
}

impl Health {
    pub(super) fn failed(&self, error: &QueueError) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            trace::queue_unavailable(error);
        }
    }

    pub(super) fn answered(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            trace::queue_available();
        }
    }
}

/// Exponential backoff of calls that fail.
#[derive(Default)]
pub(super) struct Pauses {
    count: u32,
}

impl Pauses {
    pub(super) fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(50 << self.count.min(7));
        self.count = self.count.saturating_add(1);
        pause.min(Duration::from_secs(5))
    }
}

/// Lets one event in a minute through.
#[derive(Debug, Default)]
pub(super) struct OncePerMinute {
    last: Mutex<Option<Instant>>,
}

impl OncePerMinute {
    pub(super) fn is_due(&self) -> bool {
        const MINUTE: Duration = Duration::from_secs(60);

        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= MINUTE);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}
