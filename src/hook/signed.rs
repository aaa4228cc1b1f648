//! What hooks do with deliveries whose signature is good: show it, and run each once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::Invocation;
use super::hooks::Answer;
use crate::identity::Identity;
use crate::rejection::{Rejection, RejectionKind};
use crate::replay::{Claim, ReplayGuard, ReplayKey, StoredResponse};
use crate::signature::SignedDelivery;
use crate::trace;

#[derive(Clone, Default)]
pub(super) struct SignedHooks {
    /// The member of envelopes that says what is signed.
    pub(super) member: Option<Box<str>>,
    guard: Option<Guard>,
}

/// Runs each delivery once.
#[derive(Clone)]
pub(super) struct Guard {
    guard: Arc<dyn ReplayGuard>,
    time_to_live: Duration,
}

/// A delivery that is to be run once.
pub(super) struct Guarded {
    key: ReplayKey,
    lease: Duration,
    /// A captured message can be sent again for this long, before and after its time.
    tolerance: Duration,
}

/// What a guard may take in addition to the execution, of which the lease has to be longer.
const GUARD_TIME: Duration = Duration::from_secs(5);

impl SignedHooks {
    pub(super) fn set_guard(&mut self, guard: impl ReplayGuard, time_to_live: Duration) {
        self.guard = Some(Guard { guard: Arc::new(guard), time_to_live });
    }

    /// The guard, for an invocation by a delivery that something signed identifies.
    pub(super) fn guarded(
        &self,
        invocation: &Invocation,
        deadline: Duration,
    ) -> Option<(&Guard, Guarded)> {
        let guard = self.guard.as_ref()?;
        let signed = invocation.extensions.get::<SignedDelivery>()?;
        let owner = invocation.identity.as_ref().map(Identity::owner)?;
        let hook = invocation.hook.as_deref().unwrap_or_default();
        let key = signed.replay_key(hook, owner.as_str())?;
        let tolerance = signed.tolerance().unwrap_or_default();
        Some((guard, Guarded { key, lease: deadline.saturating_add(GUARD_TIME), tolerance }))
    }
}

impl Guard {
    /// Claims the delivery, runs it, and keeps its answer if it ended well. A delivery that was answered gets the same
    /// answer. A guard that fails after the execution changes nothing: the claim ends with its lease.
    pub(super) async fn run_once(
        &self,
        delivery: Guarded,
        run: impl Future<Output = Answer>,
    ) -> Result<Response<Bytes>, Rejection> {
        let Guarded { key, lease, tolerance } = delivery;
        let claimed = self.guard.claim(&key, lease).await;
        let id = match claimed {
            Ok(Claim::New(id)) => id,
            Ok(Claim::InFlight) => return Err(Rejection::new(RejectionKind::InFlight)),
            Ok(Claim::Done(stored)) => {
                let mut response = stored.into_response();
                response.headers_mut().insert("x-replayed", HeaderValue::from_static("true"));
                return Ok(response);
            }
            Err(error) => {
                return Err(Rejection::new(RejectionKind::Unavailable).with_source(error));
            }
        };
        let Answer { response, is_success } = run.await;
        let settled = match &response {
            Ok(response) if is_success => {
                let (stored, kept) = (
                    StoredResponse::of(response),
                    self.time_to_live.max(tolerance.saturating_mul(2)),
                );
                self.guard.commit(&key, id, &stored, kept).await.map(drop)
            }
            _ => self.guard.abort(&key, id).await,
        };
        if let Err(error) = settled {
            trace::unsettled(&*error);
        }
        response
    }
}

impl fmt::Debug for SignedHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedHooks").field("member", &self.member).finish_non_exhaustive()
    }
}
