use std::time::Duration;

use crate::queue::{Backoff, Retention};

/// The settings of a worker. What they mean is at its methods.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) slots: usize,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) deadline: Duration,
    pub(super) lease: Duration,
    pub(super) stop_limit: Duration,
    pub(super) max_outcome_bytes: usize,
    pub(super) succeeded: Retention,
    pub(super) dead: Retention,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<crate::queue::QueueMetrics>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 16,
            attempts: 5,
            backoff: Backoff::default(),
            deadline: Duration::from_secs(15 * 60),
            lease: Duration::from_secs(15),
            stop_limit: Duration::from_secs(10),
            max_outcome_bytes: 1024 * 1024,
            succeeded: Retention::forever().with_max_age(DAY * 7),
            dead: Retention::forever().with_max_age(DAY * 30),
            #[cfg(feature = "metrics")]
            metrics: None,
        }
    }
}
