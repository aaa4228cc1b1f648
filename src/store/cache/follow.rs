//! The task that reads a subscription: retry with backoff.

use std::sync::Weak;
use std::time::Duration;

use super::inner::Inner;
use crate::store::{Invalidation, InvalidationStream};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn follow<S>(cache: Weak<Inner<S>>, mut invalidations: impl InvalidationStream) {
    let end = End(cache);
    let mut pause = FIRST_PAUSE;
    let mut is_connected = true;
    loop {
        let next = invalidations.next().await;
        // The task alone does not keep the cache.
        let Some(cache) = end.0.upgrade() else { return };
        if next.is_ok() && !is_connected {
            // Changes during the gap were not reported.
            cache.forget_all();
            is_connected = true;
            pause = FIRST_PAUSE;
        }
        match next {
            Ok(Some(Invalidation::Key(id))) => cache.forget(&id),
            Ok(Some(Invalidation::All)) => cache.forget_all(),
            Ok(None) => return,
            Err(_) => {
                cache.counters.subscription_errors.add_one();
                cache.forget_all();
                is_connected = false;
                drop(cache);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Invalidates everything when the task ends, also by a panic or an abort.
struct End<S>(Weak<Inner<S>>);

impl<S> Drop for End<S> {
    fn drop(&mut self) {
        if let Some(cache) = self.0.upgrade() {
            cache.forget_all();
        }
    }
}
