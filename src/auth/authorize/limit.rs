//! The limits on the calls of a caller who may call.

use smol_str::{SmolStr, format_smolstr};

use super::{Admission, Decision, misconfigured};
use crate::BoxError;
use crate::auth::config::{AppCode, AuthConfig};
use crate::auth::policy::Policy;
use crate::identity::Identity;
use crate::rate_limit::{self, Limit, LimitState, Quota, RateLimitFields, RateLimits};
use crate::rejection::{Rejection, RejectionKind};
use crate::trace;
use crate::util::{Panicked, catch_panic};

/// A call that has one limit or two.
struct LimitedCall<'c> {
    limits: &'c RateLimits,
    first: Bucket,
    second: Option<Bucket>,
}

struct Bucket {
    /// What the limit is called in the fields of a response.
    limit: &'static str,
    name: SmolStr,
    quota: Quota,
}

impl AuthConfig {
    /// Counts the call of a caller who may call. `None`: the limiter has to be waited for, and
    /// [`limit`](Self::limit) decides.
    pub(in crate::auth) fn limit_ready(
        &self,
        policy: &Policy,
        admission: &mut Admission,
    ) -> Option<Decision> {
        let call = match self.limited_call(policy, admission.identity.as_ref()) {
            Ok(Some(call)) => call,
            Ok(None) => return Some(Ok(())),
            Err(rejection) => return Some(Err(rejection)),
        };
        let limiter = &call.limits.limiter;
        let first = call.first.limit();
        let answer = catch_panic(|| match &call.second {
            None => limiter.check_ready(&[first]),
            Some(second) => limiter.check_ready(&[first, second.limit()]),
        });
        match answer {
            Ok(answer) => Some(call.decide(answer?.map_err(unavailable), admission)),
            Err(Panicked) => Some(Err(AppCode::Limiter.panicked())),
        }
    }

    /// Counts the call of a caller who may call, and waits where it has to.
    pub(in crate::auth) async fn limit(
        &self,
        policy: &Policy,
        admission: &mut Admission,
    ) -> Decision {
        if let Some(decision) = self.limit_ready(policy, admission) {
            return decision;
        }
        let Some(call) = self.limited_call(policy, admission.identity.as_ref())? else {
            return Ok(());
        };
        let limits: Vec<_> = call.buckets().map(Bucket::limit).collect();
        let answer = self.ask_app(AppCode::Limiter, || call.limits.limiter.check(&limits)).await;
        call.decide(answer, admission)
    }

    /// `None` if nothing limits the call, or a layer around this one has counted it.
    fn limited_call(
        &self,
        policy: &Policy,
        identity: Option<&Identity>,
    ) -> Result<Option<LimitedCall<'_>>, Rejection> {
        let Some(identity) = identity else { return Ok(None) };
        // Beside a user, the key.
        let caller = identity.all().find(|one| one.key_id().is_some()).unwrap_or(identity);
        let (of_policy, of_key) = (policy.rate_limit(), caller.rate_limit());
        let Some(limits) = &self.rate_limits else {
            return match (of_policy, of_key, caller.counted_by()) {
                (Some(_), _, _) => {
                    Err(misconfigured("a policy has a rate limit, and the layer has no limiter"))
                }
                (None, Some(_), None) => {
                    Err(misconfigured("a key has a rate limit, and the layer has no limiter"))
                }
                (None, _, _) => Ok(None),
            };
        };
        if caller.counted_by() == Some(limits.id) {
            return Ok(None);
        }
        let of_caller = of_key.or(limits.default_quota).map(|quota| Bucket::of(caller, quota));
        // Neither the id of a key nor an owner has a line end.
        let of_policy = of_policy.map(|quota| {
            let Bucket { name, .. } = Bucket::of(caller, quota);
            let hook = policy.hook().unwrap_or_default();
            Bucket { limit: "hook", name: format_smolstr!("{name}\n{hook}"), quota }
        });
        Ok(match (of_caller, of_policy) {
            (Some(first), second) => Some(LimitedCall { limits, first, second }),
            (None, Some(first)) => Some(LimitedCall { limits, first, second: None }),
            (None, None) => None,
        })
    }
}

impl Bucket {
    fn of(caller: &Identity, quota: Quota) -> Self {
        let (limit, name) = match caller.key_id() {
            Some(id) => ("key", SmolStr::from_iter(["key:", id.as_str()])),
            None => ("user", SmolStr::from_iter(["user:", caller.owner().as_str()])),
        };
        Self { limit, name, quota }
    }

    fn limit(&self) -> Limit<'_> {
        Limit::new(&self.name, self.quota)
    }
}

impl LimitedCall<'_> {
    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        [Some(&self.first), self.second.as_ref()].into_iter().flatten()
    }

    fn fields(&self, states: &[LimitState]) -> RateLimitFields {
        let buckets = self.buckets().zip(states);
        RateLimitFields::new(buckets.map(|(bucket, state)| (bucket.limit, bucket.quota, state)))
    }

    /// What the answer of the limiter means for the call.
    fn decide(
        &self,
        answer: Result<rate_limit::Decision, Rejection>,
        admission: &mut Admission,
    ) -> Decision {
        let answer =
            answer.and_then(|answer| match answer.states().len() == self.buckets().count() {
                true => Ok(answer),
                false => Err(unavailable("the limiter gave another number of states".into())),
            });
        match answer {
            Ok(answer) if !answer.is_allowed() => {
                let refused = Rejection::new(RejectionKind::RateLimited)
                    .with_retry_after(answer.retry_after())
                    .with_rate_limit(self.fields(answer.states()));
                return Err(match &admission.identity {
                    Some(identity) => refused
                        .with_key_id(identity.key_id().cloned())
                        .with_owner(identity.owner().clone()),
                    None => refused,
                });
            }
            Ok(answer) if self.limits.shows_fields => {
                admission.rate_limit = Some(Box::new(self.fields(answer.states())));
            }
            Ok(_) => {}
            Err(fault)
                if self.limits.is_open_on_outage && fault.kind() == RejectionKind::Unavailable =>
            {
                trace::not_counted(&fault);
            }
            Err(fault) => return Err(fault),
        }
        if let Some(identity) = &mut admission.identity {
            identity.set_counted_by(self.limits.id);
        }
        Ok(())
    }
}

fn unavailable(error: BoxError) -> Rejection {
    Rejection::new(RejectionKind::Unavailable).with_source(error)
}
