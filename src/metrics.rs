//! Counters and histograms of decisions and executions, through the crate [`metrics`] (feature `metrics`).
//!
//! Install a recorder, such as that of `metrics-exporter-prometheus`, and then give [`Metrics`] to
//! [`AuthLayer::with_metrics`](crate::auth::AuthLayer::with_metrics). [`Hooks`](crate::hook::Hooks) has the metrics of its
//! layer. Names, labels and values are part of the public interface:
//!
//! | name | type | labels |
//! |---|---|---|
//! | `tower_webhook_decisions_total` | counter | `outcome`, `reason`, `placement`, `hook` |
//! | `tower_webhook_decision_duration_seconds` | histogram | `outcome`, `hook` |
//! | `tower_webhook_executions_total` | counter | `outcome`, `reason`, `hook` |
//! | `tower_webhook_execution_duration_seconds` | histogram | `outcome`, `hook` |
//!
//! With [`Queued`](crate::queue::Queued) an execution is the answer to a sender: that the job is stored, or what it has ended
//! with. Jobs and their attempts are measured by [`QueueMetrics`](crate::queue::QueueMetrics): `tower_webhook_jobs`,
//! `tower_webhook_oldest_queued_job_seconds` and `tower_webhook_job_attempts_total`.
//!
//! | label | value |
//! |---|---|
//! | `outcome` of a decision | `accepted` or `refused` |
//! | `outcome` of an execution | `succeeded` or `failed` |
//! | `reason` | [`RejectionKind::as_str`](crate::rejection::RejectionKind::as_str) of a refusal, [`FailureKind::as_str`](crate::hook::FailureKind::as_str) of a failed execution, or `none` |
//! | `placement` | [`PlacementKind::as_str`](crate::credential::PlacementKind::as_str) of an accepted credential, or `none` |
//! | `hook` | the name of the hook, if it was [declared](Metrics::with_hooks), or empty |
//!
//! # Rules
//!
//! 1. All series are there, at zero, as soon as [`Metrics`] is: an alert on the first refusal fires.
//! 2. No request makes a series. Ids of keys, owners, paths and undeclared hooks are in no label.
//! 3. A layer measures a request once: when it is passed on, refused, or answered as a probe. The duration is the time
//!    since the layer was called. It includes what the layer waits for: the store, code of the app, the body where the
//!    layer reads it, and the readiness of the inner service.
//! 4. `Hooks` accepts a request when it calls the executor. A body that the envelope refuses is a refusal, and so is a
//!    request for which no execution is free (`at_capacity`). How an execution ends is no decision: it is counted in
//!    `tower_webhook_executions_total`, with every response.
//! 5. What ends before its decision is not measured: a client that goes away, or an inner service that fails instead of
//!    becoming ready. Nor is an execution whose client goes away.
//!
//! A recorder that drops series which were idle (`idle_timeout` of `metrics-exporter-prometheus`) must not do so with
//! counters and histograms: they would not come back.
//!
//! # Examples
//!
//! The endpoint is outside of the layer, and asks for no key. Serve it on an address that only the scraper reaches.
//!
//! ```
//! use axum::Router;
//! use axum::routing::{get, post};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::key::KeyManager;
//! use tower_webhook::metrics::Metrics;
//! use tower_webhook::store::MemoryKeyStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let seconds = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];
//! let recorder = PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?
//!     .install_recorder()?;
//!
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let auth = AuthLayer::header("x-api-key", &keys)?.with_metrics(Metrics::register());
//! let exposed = recorder.clone();
//! let app = Router::new()
//!     .route("/deploy", post(async || "deployed"))
//!     .route_layer(auth)
//!     .route("/metrics", get(async move || exposed.render()));
//!
//! # use tower::ServiceExt;
//! # app.oneshot(http::Request::post("/deploy").body(axum::body::Body::empty())?).await?;
//! let text = recorder.render();
//! let refused = r#"decisions_total{outcome="refused",reason="missing",placement="none",hook=""} 1"#;
//! assert!(text.contains(refused));
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram,
};

use crate::auth::End;
use crate::credential::PlacementKind;
use crate::hook::FailureKind;
use crate::rejection::RejectionKind;

const DECISIONS: &str = "tower_webhook_decisions_total";
const DECISION_SECONDS: &str = "tower_webhook_decision_duration_seconds";
const EXECUTIONS: &str = "tower_webhook_executions_total";
const EXECUTION_SECONDS: &str = "tower_webhook_execution_duration_seconds";

/// The series of one or more layers, registered with the recorder.
///
/// Cheap to clone. All values count into the same series. See the [module docs](self) for an example.
#[derive(Clone)]
#[must_use]
pub struct Metrics(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    by_hook: HashMap<Box<str>, Series>,
    /// Of requests without a hook, and of hooks that are not declared.
    other: Series,
}

/// The series with one value of `hook`. The look-up in the recorder takes a lock and allocates, so it is done once.
#[derive(Clone)]
struct Series {
    /// With the placements in the order of [`PlacementKind::ALL`].
    accepted: [Counter; PlacementKind::ALL.len()],
    accepted_without_placement: Counter,
    /// In the order of [`RejectionKind::ALL`].
    refused: [Counter; RejectionKind::ALL.len()],
    accepted_seconds: Histogram,
    refused_seconds: Histogram,
    succeeded: Counter,
    /// In the order of [`FailureKind::ALL`].
    failed: [Counter; FailureKind::ALL.len()],
    succeeded_seconds: Histogram,
    failed_seconds: Histogram,
}

impl Metrics {
    /// Registers the series with the recorder that is installed, at zero.
    ///
    /// Call it after the recorder was installed: without one, this value measures nothing, and it does not find out when
    /// one comes later.
    pub fn register() -> Self {
        describe_counter!(DECISIONS, Unit::Count, "Requests that a layer let in or refused.");
        describe_histogram!(DECISION_SECONDS, Unit::Seconds, "Time until a request was decided.");
        describe_counter!(EXECUTIONS, Unit::Count, "Executions of hooks that have ended.");
        describe_histogram!(EXECUTION_SECONDS, Unit::Seconds, "Time of an execution of a hook.");
        Self(Arc::new(Inner { by_hook: HashMap::new(), other: Series::register("") }))
    }

    /// Declares the names of hooks, as policies give them ([`Policy::with_hook`](crate::auth::Policy::with_hook)), and
    /// registers the series of each of them. Several calls declare what all of them say.
    ///
    /// A hook that is not declared is measured with an empty label. So the number of series does not depend on what a
    /// resolver takes for a name. Each declared hook has some 50 counters and 4 histograms.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::{AuthLayer, Policy};
    /// use tower_webhook::hook::{Hooks, Invocation, Outcome};
    /// use tower_webhook::metrics::Metrics;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let metrics = Metrics::register().with_hooks(["deploy", "logs"]);
    /// let auth = AuthLayer::new(Policy::public().with_hook("deploy"))?.with_metrics(metrics);
    /// let hooks = Hooks::new(auth, async |_: Invocation| Ok(Outcome::empty()));
    /// # let _ = hooks;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_hooks(mut self, names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let Inner { by_hook, .. } = Arc::make_mut(&mut self.0);
        for name in names {
            let name = name.into();
            let series = Series::register(&name);
            by_hook.insert(name, series);
        }
        self
    }

    pub(crate) fn measure(&self, end: End, hook: Option<&str>, time: Duration) {
        let Inner { by_hook, other } = &*self.0;
        let series = hook.and_then(|name| by_hook.get(name)).unwrap_or(other);
        series.measure(end, time);
    }
}

impl Series {
    fn register(hook: &str) -> Self {
        let decisions = |outcome: &'static str, reason: &'static str, placement: &'static str| {
            counter!(
                DECISIONS,
                "outcome" => outcome,
                "reason" => reason,
                "placement" => placement,
                "hook" => hook.to_owned(),
            )
        };
        let executions = |outcome: &'static str, reason: &'static str| counter!(EXECUTIONS, "outcome" => outcome, "reason" => reason, "hook" => hook.to_owned());
        let seconds = |name: &'static str, outcome: &'static str| histogram!(name, "outcome" => outcome, "hook" => hook.to_owned());
        Self {
            accepted: PlacementKind::ALL.map(|kind| decisions("accepted", "none", kind.as_str())),
            accepted_without_placement: decisions("accepted", "none", "none"),
            refused: RejectionKind::ALL.map(|kind| decisions("refused", kind.as_str(), "none")),
            accepted_seconds: seconds(DECISION_SECONDS, "accepted"),
            refused_seconds: seconds(DECISION_SECONDS, "refused"),
            succeeded: executions("succeeded", "none"),
            failed: FailureKind::ALL.map(|kind| executions("failed", kind.as_str())),
            succeeded_seconds: seconds(EXECUTION_SECONDS, "succeeded"),
            failed_seconds: seconds(EXECUTION_SECONDS, "failed"),
        }
    }

    fn measure(&self, end: End, time: Duration) {
        let (counter, histogram) = match end {
            End::Accepted(None) => (Some(&self.accepted_without_placement), &self.accepted_seconds),
            End::Accepted(Some(kind)) => (self.accepted.get(kind as usize), &self.accepted_seconds),
            End::Refused(kind) => (self.refused.get(kind as usize), &self.refused_seconds),
            End::Executed(Ok(())) => (Some(&self.succeeded), &self.succeeded_seconds),
            End::Executed(Err(kind)) => (self.failed.get(kind as usize), &self.failed_seconds),
        };
        if let Some(counter) = counter {
            counter.increment(1);
        }
        histogram.record(time);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("hooks", &self.0.by_hook.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_its_own_place() {
        let places = PlacementKind::ALL.map(|kind| kind as usize);
        assert!(places.into_iter().eq(0..places.len()));
        let places = RejectionKind::ALL.map(|kind| kind as usize);
        assert!(places.into_iter().eq(0..places.len()));
        let places = FailureKind::ALL.map(|kind| kind as usize);
        assert!(places.into_iter().eq(0..places.len()));
    }
}
