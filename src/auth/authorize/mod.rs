//! The decision about one request, stage by stage, and what comes of it.

mod concealed;
mod enter;
mod key;
mod limit;
mod several;
mod user;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Extensions;

use super::config::AuthConfig;
use super::marks::Marks;
use super::policy::{Access, Policy};
use crate::body::SlowBody;
use crate::credential::{PlacementKind, PresentedCredential};
use crate::identity::Identity;
use crate::key::{
    KeyId, KeyRecord, KeyVerifier, LookupTarget, Owner, PendingLookup, Scopes, Verification,
    VerifyError,
};
use crate::rate_limit::RateLimitFields;
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::RequestHead;

pub(super) use self::enter::probe_answer;

/// What a caller who is let in brings along. The stages write it in place, because it is large to pass on;
/// it counts only together with a [`Decision`] that lets the caller in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// `None` on a public route.
    identity: Option<Identity>,
    /// What the authenticator hands to the inner service.
    extensions: Option<Extensions>,
    /// What every response says about the limits.
    rate_limit: Option<Box<RateLimitFields>>,
}

pub(super) type Decision = Result<(), Rejection>;

/// Whose credentials are good. What they may do is not decided yet.
struct Proven {
    identity: Identity,
    extensions: Option<Extensions>,
}

impl Proven {
    const fn key(identity: Identity) -> Self {
        Self { identity, extensions: None }
    }

    fn user((identity, extensions): (Identity, Extensions)) -> Self {
        Self { identity, extensions: Some(extensions) }
    }

    fn both(key: Identity, (user, extensions): (Identity, Extensions)) -> Self {
        Self::user((user.with_also_proven(Some(key)), extensions))
    }
}

/// Who is calling, as the rules see it: from a record or from an identity.
struct Caller<'a> {
    owner: &'a Owner,
    key_id: Option<&'a KeyId>,
    scopes: &'a Scopes,
    by_bearer: bool,
}

/// What a store that had to be waited for says about a key.
pub(super) type Verdict = Result<Identity, Rejection>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How far a decision has come without waiting.
pub(super) enum Progress {
    Decided(Decision),
    /// The store has been asked and has not answered yet.
    Verifying(Verifying),
    /// [`AuthConfig::admit`] decides, with a head that outlives the wait.
    Later,
}

/// A question to the store that is under way.
pub(super) struct Verifying {
    verification: BoxFuture<Result<Identity, VerifyError>>,
    origin: Origin,
}

/// Where a credential was, as far as a refusal needs it.
#[derive(Clone, Copy)]
struct Origin {
    placement: PlacementKind,
    has_form_blank: bool,
}

impl AuthConfig {
    /// Decides as far as that is possible without waiting.
    pub(super) fn admit_ready(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Progress {
        if let Err(rejection) = self.check_method_first(policy, head) {
            return Progress::Decided(Err(rejection));
        }
        match policy.access() {
            Access::Public => Progress::Decided(Ok(())),
            Access::Token if !self.conceal => self.admit_key(policy, head, admission),
            Access::Token | Access::User | Access::AnyOf | Access::AllOf => Progress::Later,
        }
    }

    fn admit_key(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Progress {
        let Some((verifier, credentials)) = &self.keys else {
            return Progress::Decided(Err(no_keys()));
        };
        let mut candidate = None;
        let reading = self.reading(policy.hook());
        if let Err(error) = credentials.find_into(&mut candidate, head, reading) {
            return Progress::Decided(Err(error.into()));
        }
        let Some(candidate) = &mut candidate else {
            return self.admit_again(policy, head, verifier, admission);
        };
        let (accepted, users) = ((credentials, candidate.position()), self.user_credentials());
        if let Err(rejection) = self.check_mixed(policy, Some(accepted), users, head) {
            return Progress::Decided(Err(rejection));
        }
        let placement = candidate.placement();
        let target = policy.key().map_or(LookupTarget::Named, LookupTarget::Only);
        if let Err(error) = candidate.check_list(|text| verifier.can_parse(text, target)) {
            return Progress::Decided(Err(error.into()));
        }
        let Some(presented) = candidate.expose_bytes() else {
            return Progress::Decided(Err(malformed(placement)));
        };
        let verification = verifier.begin_with(presented, target, |record, digest| {
            self.authorize(policy, head, &Caller::of_record(record, placement))?;
            admission.identity = Some(Identity::of_record(verifier, record, digest, placement));
            Ok(())
        });
        match verification {
            Verification::Ready(Ok(decision)) => Progress::Decided(decision),
            Verification::Ready(Err(error)) => {
                Progress::Decided(Err(refused_key(error, Origin::of(candidate))))
            }
            Verification::Pending(lookup) => {
                let verification = identify(verifier, lookup, placement);
                Progress::Verifying(Verifying { verification, origin: Origin::of(candidate) })
            }
        }
    }

    /// A layer around this one, with a clone of the same verifier, has verified the credential in this very
    /// request and taken it out. Then it is known who is calling, and what is left is what this layer asks
    /// for.
    fn admit_again(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        verifier: &KeyVerifier,
        admission: &mut Admission,
    ) -> Progress {
        if head.extensions().get::<SlowBody>().is_some() {
            return Progress::Later;
        }
        Progress::Decided(proven_before(head, verifier).and_then(|identity| {
            self.check_mixed(policy, None, self.user_credentials(), head)?;
            self.authorize(policy, head, &Caller::of(&identity))?;
            admission.identity = Some(identity);
            Ok(())
        }))
    }

    /// Decides, and waits where it has to.
    pub(super) async fn admit(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        match self.admit_ready(policy, head, admission) {
            Progress::Decided(decision) => decision,
            Progress::Verifying(mut verifying) => {
                let verdict = poll_fn(|cx| verifying.poll(cx)).await;
                self.verified(policy, head, verdict, admission)
            }
            Progress::Later => self.admit_later(policy, head, admission).await,
        }
    }

    async fn admit_later(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        self.check_modes(policy)?;
        let decide = |proven: Proven| {
            proven.identity.all().try_for_each(|one| permit(policy, &Caller::of(one)))?;
            self.check_method_last(policy, head)?;
            admission.identity = Some(proven.identity);
            admission.extensions = proven.extensions;
            Ok(())
        };
        let decision = match policy.access() {
            _ if self.conceal => self.prove_concealed(policy, head, decide).await,
            // The verdict of a layer around this one is from before a slow body.
            Access::Public | Access::Token => {
                self.ask_store(policy, head).await.map(Proven::key).and_then(decide)
            }
            Access::User => {
                self.ask_authenticator(policy, head).await.map(Proven::user).and_then(decide)
            }
            Access::AnyOf | Access::AllOf => {
                self.prove_several(policy, head).await.and_then(decide)
            }
        };
        decision.map_err(|rejection| self.conceal(policy, rejection))
    }

    /// Refuses a policy that asks for what the layer does not have.
    fn check_modes(&self, policy: &Policy) -> Decision {
        let access = policy.access();
        if access.asks_for_key() && self.keys.is_none() && !policy.denies_all() {
            return Err(no_keys());
        }
        if access.asks_for_user() && self.users.is_none() {
            return Err(misconfigured(
                "a policy asks for a user, and the layer has no authenticator",
            ));
        }
        Ok(())
    }

    /// Decides about a key for which the store had to be waited.
    pub(super) fn verified(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        verdict: Verdict,
        admission: &mut Admission,
    ) -> Decision {
        let identity = verdict?;
        self.authorize(policy, head, &Caller::of(&identity))?;
        admission.identity = Some(identity);
        Ok(())
    }

    /// Decides again about a caller who was let in a while ago. A user is not asked again.
    pub(super) async fn admit_still(&self, policy: &Policy, identity: &Identity) -> Verdict {
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let fresh = identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer));
        let decision = fresh.and_then(|fresh| {
            fresh.all().try_for_each(|identity| permit(policy, &Caller::of(identity)))?;
            Ok(fresh)
        });
        decision.map_err(|rejection| self.conceal(policy, rejection))
    }

    /// What a proven caller may do.
    fn authorize(&self, policy: &Policy, head: RequestHead<'_>, caller: &Caller<'_>) -> Decision {
        permit(policy, caller)?;
        self.check_method_last(policy, head)
    }

    /// Where hooks are concealed, a caller learns the methods of one that lets them in.
    fn check_method_last(&self, policy: &Policy, head: RequestHead<'_>) -> Decision {
        if self.conceal { policy.check_method(head, self.default_methods) } else { Ok(()) }
    }
}

fn permit(policy: &Policy, caller: &Caller<'_>) -> Decision {
    let permitted = policy.authorize(caller.owner, caller.key_id, caller.scopes);
    permitted.map_err(|rejection| {
        rejection.with_key_id(caller.key_id.cloned()).by_bearer(caller.by_bearer)
    })
}

impl Admission {
    /// How the response is marked. The caller was counted before.
    pub(super) fn take_marks(&mut self) -> Marks {
        Marks::new(self.identity.as_ref(), self.rate_limit.take())
    }
}

impl Verifying {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        let verdict = ready!(self.verification.as_mut().poll(cx));
        Poll::Ready(verdict.map_err(|error| refused_key(error, self.origin)))
    }
}

impl Origin {
    fn of(candidate: &PresentedCredential<'_>) -> Self {
        let (placement, has_form_blank) = (candidate.placement(), candidate.has_form_blank());
        Self { placement, has_form_blank }
    }
}

impl<'a> Caller<'a> {
    fn of(identity: &'a Identity) -> Self {
        Self {
            owner: identity.owner(),
            key_id: identity.key_id(),
            scopes: identity.scopes(),
            by_bearer: identity.placement() == Some(PlacementKind::Bearer),
        }
    }

    fn of_record(record: &'a KeyRecord, placement: PlacementKind) -> Self {
        Self {
            owner: record.owner(),
            key_id: Some(record.id()),
            scopes: record.scopes(),
            by_bearer: placement == PlacementKind::Bearer,
        }
    }
}

fn malformed(placement: PlacementKind) -> Rejection {
    Rejection::new(RejectionKind::Malformed).by_bearer(placement == PlacementKind::Bearer)
}

fn misconfigured(reason: &'static str) -> Rejection {
    Rejection::new(RejectionKind::Misconfigured).with_source(reason)
}

/// The identity of a key for which the store has to be waited.
fn identify(
    verifier: &KeyVerifier,
    lookup: PendingLookup,
    placement: PlacementKind,
) -> BoxFuture<Result<Identity, VerifyError>> {
    let verifier = verifier.clone();
    Box::pin(lookup.finish_with(move |record, digest| {
        Identity::of_record(&verifier, record, digest, placement)
    }))
}

/// The identity that a layer around this one has proven with a clone of the same verifier.
fn proven_before(head: RequestHead<'_>, verifier: &KeyVerifier) -> Verdict {
    let proven = head.extensions().get::<Identity>().into_iter().flat_map(Identity::all);
    let mut by_this = proven.filter(|identity| identity.is_proven_by(verifier));
    by_this.next().cloned().ok_or(Rejection::new(RejectionKind::Missing))
}

fn no_keys() -> Rejection {
    misconfigured("a policy asks for a key, and the layer has no keys")
}

/// The refusal of a key, for the log with the likely reason of a blank in it.
fn refused_key(error: VerifyError, origin: Origin) -> Rejection {
    let rejection = Rejection::of_key(error, origin.placement == PlacementKind::Bearer);
    match rejection.kind() {
        RejectionKind::Malformed | RejectionKind::Unknown | RejectionKind::WrongSecret
            if origin.has_form_blank =>
        {
            rejection.with_source(
                "the credential has a blank: in a query or form a raw `+` is one, and a `+` is sent as %2B",
            )
        }
        _ => rejection,
    }
}
