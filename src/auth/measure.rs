//! What is counted and timed (feature `metrics`; without it there is no code, and no clock is read).

#[cfg(feature = "metrics")]
use std::time::Instant;

use http::Extensions;

use super::config::AuthConfig;
use super::policy::{Access, Policy};
use crate::credential::PlacementKind;
use crate::hook::FailureKind;
use crate::identity::Identity;
use crate::rejection::RejectionKind;

/// Runs from the call of a layer or of an executor to its end, and measures once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopwatch {
    /// `None`: there is nothing to measure, or it was measured already.
    #[cfg(feature = "metrics")]
    since: Option<Instant>,
}

/// What a measurement is about.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "for metrics"))]
pub(crate) enum End {
    /// The request was passed on, or was a probe.
    Accepted(Option<PlacementKind>),
    Refused(RejectionKind),
    Executed(Result<(), FailureKind>),
}

impl End {
    pub(super) fn accepted(policy: &Policy, extensions: &Extensions) -> Self {
        Self::Accepted(match policy.access() {
            // An identity on a public route is that of a layer outside.
            Access::Public => None,
            _ => extensions.get().and_then(Identity::placement),
        })
    }
}

impl AuthConfig {
    #[cfg(feature = "metrics")]
    pub(crate) fn start_stopwatch(&self) -> Stopwatch {
        Stopwatch { since: self.metrics.as_ref().map(|_| Instant::now()) }
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) const fn start_stopwatch(&self) -> Stopwatch {
        let _ = self;
        Stopwatch {}
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn measure(
        &self,
        stopwatch: &mut Stopwatch,
        hook: Option<&str>,
        end: impl FnOnce() -> End,
    ) {
        if let (Some(metrics), Some(since)) = (&self.metrics, stopwatch.since.take()) {
            metrics.measure(end(), hook, since.elapsed());
        }
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) fn measure(
        &self,
        _stopwatch: &mut Stopwatch,
        _hook: Option<&str>,
        _end: impl FnOnce() -> End,
    ) {
        let _ = self;
    }
}
