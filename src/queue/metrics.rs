use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use tokio::time::sleep;

use super::worker::{End, contained};
use super::{HookStats, JobQueue};

const JOBS: &str = "tower_webhook_jobs";
const OLDEST: &str = "tower_webhook_oldest_queued_job_seconds";
const ATTEMPTS: &str = "tower_webhook_job_attempts_total";

/// The metrics of a queue and of a [`Worker`](super::Worker), registered with the recorder of the crate `metrics`.
///
/// | name | type | labels |
/// |---|---|---|
/// | `tower_webhook_jobs` | gauge | `state` (`queued`, `running` or `dead`), `hook` |
/// | `tower_webhook_oldest_queued_job_seconds` | gauge, 0 if no job waits | `hook` |
/// | `tower_webhook_job_attempts_total` | counter | `end` (`succeeded`, `failed`, `dead`, `too_new`, `stopped` or `lost`), `hook` |
///
/// `hook` is the name of a [declared](Self::with_hooks) hook; all others are counted together, with an empty name. The
/// gauges are those of the whole queue, which a worker writes every ten seconds: take the maximum over all processes. So that
/// they are there when no worker is, spawn [`watch`](Self::watch) in the processes that store jobs. The counters are those
/// of this process.
///
/// # Examples
///
/// ```
/// use tower_webhook::hook::{Invocation, Outcome};
/// use tower_webhook::queue::{MemoryQueue, QueueMetrics, Worker};
///
/// let metrics = QueueMetrics::register().with_hooks(["deploy"]);
/// let worker = Worker::new(MemoryQueue::new(), |_: Invocation| async { Ok(Outcome::empty()) })
///     .with_metrics(metrics);
/// # let _ = worker;
/// ```
#[derive(Clone)]
#[must_use]
pub struct QueueMetrics(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    by_hook: HashMap<Box<str>, Series>,
    /// Of jobs without a hook, and of hooks that are not declared.
    other: Series,
}

/// The series with one value of `hook`.
#[derive(Clone)]
struct Series {
    queued: Gauge,
    running: Gauge,
    dead: Gauge,
    oldest_seconds: Gauge,
    /// In the order of [`End::NAMES`].
    attempts: [Counter; End::NAMES.len()],
}

impl QueueMetrics {
    /// Registers the series with the recorder that is installed. Without one, this value measures nothing.
    pub fn register() -> Self {
        describe_gauge!(JOBS, Unit::Count, "Jobs of a queue.");
        describe_gauge!(OLDEST, Unit::Seconds, "Age of the oldest job that waits.");
        describe_counter!(ATTEMPTS, Unit::Count, "Attempts of jobs that have ended.");
        Self(Arc::new(Inner { by_hook: HashMap::new(), other: Series::register("") }))
    }

    /// Declares the names of hooks, and registers the series of each of them.
    pub fn with_hooks<H: Into<Box<str>>>(mut self, hooks: impl IntoIterator<Item = H>) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        for hook in hooks {
            let hook = hook.into();
            let series = Series::register(&hook);
            inner.by_hook.insert(hook, series);
        }
        self
    }

    /// Writes the gauges now and every ten seconds. This future does not end. While the queue cannot be reached, the gauges
    /// keep their values. A [worker](super::Worker::with_metrics) with these metrics does this on its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::queue::{MemoryQueue, QueueMetrics, Queued};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let queue = MemoryQueue::new();
    /// tokio::spawn(QueueMetrics::register().with_hooks(["deploy"]).watch(queue.clone()));
    /// let executor = Queued::new(queue, "/executions")?;
    /// # let _ = executor;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn watch(self, queue: impl JobQueue) {
        const INTERVAL: Duration = Duration::from_secs(10);

        loop {
            // An outage is in the log of the other calls.
            if let Ok(stats) = contained(|| queue.stats()).await {
                self.set(&stats);
            }
            sleep(INTERVAL).await;
        }
    }

    pub(super) fn count(&self, hook: &str, end: &End) {
        let series = self.0.by_hook.get(hook).unwrap_or(&self.0.other);
        let place = End::NAMES.iter().position(|name| *name == end.as_str());
        if let Some(counter) = place.and_then(|place| series.attempts.get(place)) {
            counter.increment(1);
        }
    }

    /// Writes the gauges. A hook that the statistics leave out has no jobs.
    pub(super) fn set(&self, stats: &[HookStats]) {
        let Inner { by_hook, other } = &*self.0;
        for (hook, series) in by_hook {
            series.set(stats.iter().filter(|stats| stats.hook == **hook));
        }
        other.set(stats.iter().filter(|stats| !by_hook.contains_key(stats.hook.as_str())));
    }
}

impl Series {
    fn register(hook: &str) -> Self {
        let jobs = |state: &'static str| gauge!(JOBS, "state" => state, "hook" => hook.to_owned());
        Self {
            queued: jobs("queued"),
            running: jobs("running"),
            dead: jobs("dead"),
            oldest_seconds: gauge!(OLDEST, "hook" => hook.to_owned()),
            attempts: End::NAMES
                .map(|end| counter!(ATTEMPTS, "end" => end, "hook" => hook.to_owned())),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
    fn set<'a>(&self, stats: impl Iterator<Item = &'a HookStats>) {
        let sum = stats.fold(HookStats::default(), |sum, stats| HookStats {
            hook: String::new(),
            queued: sum.queued.saturating_add(stats.queued),
            running: sum.running.saturating_add(stats.running),
            dead: sum.dead.saturating_add(stats.dead),
            oldest_queued: sum.oldest_queued.max(stats.oldest_queued),
        });
        self.queued.set(sum.queued as f64);
        self.running.set(sum.running as f64);
        self.dead.set(sum.dead as f64);
        self.oldest_seconds.set(sum.oldest_queued.unwrap_or_default().as_secs_f64());
    }
}

impl fmt::Debug for QueueMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetrics").field("hooks", &self.0.by_hook.keys()).finish()
    }
}
