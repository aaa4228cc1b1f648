//! What a worker does beside its jobs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Worker;
use super::faults::contained;
use crate::queue::JobState;

/// How many jobs one call removes.
const BATCH: usize = 1000;

/// How often jobs are looked for that were kept for long enough, with a random part, so that workers take turns.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) async fn purge(self: Arc<Self>) {
        let Self { queue, config, .. } = &*self;
        loop {
            let jitter = getrandom::u32().unwrap_or_default() % 30_000;
            sleep(PURGE_INTERVAL + Duration::from_millis(jitter.into())).await;
            let ends = [(JobState::Succeeded, config.succeeded), (JobState::Dead, config.dead)];
            for (state, retention) in ends {
                loop {
                    match contained(|| queue.purge(state, &retention, BATCH)).await {
                        Ok(BATCH) => {}
                        Ok(_) => break,
                        Err(error) => {
                            self.health.failed(&error);
                            break;
                        }
                    }
                }
            }
        }
    }
}
