//! The decision about one request, stage by stage, and what comes of it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method};

use super::authenticator::{Authentication, User};
use super::gate::Gate;
use super::policy::{Access, Policy};
use crate::credential::{Candidate, PlacementKind};
use crate::head::{HeadMut, RequestHead};
use crate::identity::{self, Identity};
use crate::key::{
    Begun, KeyId, KeyRecord, KeyVerifier, Owner, Scopes, VerifyError, VerifyErrorKind,
};
use crate::rejection::{Rejection, RejectionKind};
use crate::trace;

/// What a caller who is let in brings along. The stages write it in place, because it is large to pass on;
/// it counts only together with a [`Decision`] that lets the caller in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// `None` on a public route.
    identity: Option<Identity>,
    /// What the authenticator hands to the inner service.
    extensions: Option<Extensions>,
}

pub(crate) type Decision = Result<(), Rejection>;

/// Who is calling, as the rules see it: from a record or from an identity.
struct Caller<'a> {
    owner: &'a Owner,
    key_id: Option<&'a KeyId>,
    scopes: &'a Scopes,
    by_bearer: bool,
}

/// What a store that had to be waited for says about a key.
pub(super) type Verdict = Result<Identity, Rejection>;

/// A head, and what was decided about it.
pub(super) type Decided = (Parts, Result<Admission, Rejection>);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How far a decision has come without waiting.
pub(crate) enum Progress {
    Decided(Decision),
    /// The store has been asked and has not answered yet.
    Verifying(Verifying),
    /// The authenticator has to be asked, with a head that outlives the wait.
    Authenticating,
}

/// A question to the store that is under way.
pub(crate) struct Verifying {
    verification: BoxFuture<Result<Identity, VerifyError>>,
    placement: PlacementKind,
}

impl Gate {
    /// Decides as far as that is possible without waiting.
    pub(crate) fn admit_ready(
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
            Access::User => Progress::Authenticating,
            Access::Token => self.admit_key(policy, head, admission),
        }
    }

    fn admit_key(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Progress {
        let Some((verifier, credentials)) = &self.keys else {
            return Progress::Decided(Err(not_wired(
                "a policy asks for a key, and the layer has no keys",
            )));
        };
        let mut candidate = None;
        if let Err(error) = credentials.find_into(&mut candidate, head) {
            return Progress::Decided(Err(error.into()));
        }
        let Some(candidate) = &candidate else {
            return Progress::Decided(self.admit_again(policy, head, verifier, admission));
        };
        let placement = candidate.placement();
        let Some(presented) = candidate.expose_bytes() else {
            return Progress::Decided(Err(malformed(placement)));
        };
        let begun = verifier.begin_as(presented, policy.key(), |record| {
            self.authorize(policy, head.method(), &Caller::of_record(record, placement))?;
            admission.identity = Some(Identity::of_record(record, verifier.realm(), placement));
            Ok(())
        });
        match begun {
            Begun::Ready(Ok(decision)) => Progress::Decided(decision),
            Begun::Ready(Err(error)) => Progress::Decided(Err(refused_key(error, placement))),
            Begun::Pending(asking) => {
                let realm = verifier.realm();
                let identity =
                    move |record: &KeyRecord| Identity::of_record(record, realm, placement);
                Progress::Verifying(Verifying { verification: asking.verdict(identity), placement })
            }
        }
    }

    /// A layer around this one, with the same keys, has verified the credential in this very request and
    /// taken it out. Then it is known who is calling, and what is left is what this layer asks for.
    fn admit_again(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        verifier: &KeyVerifier,
        admission: &mut Admission,
    ) -> Decision {
        match head.extensions().get::<Identity>() {
            Some(identity) if identity.is_of(verifier.realm()) => {
                self.authorize(policy, head.method(), &Caller::of(identity))?;
                admission.identity = Some(identity.clone());
                Ok(())
            }
            _ => Err(Rejection::new(RejectionKind::Missing)),
        }
    }

    /// Decides, and waits where it has to.
    pub(crate) async fn admit(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        match self.admit_ready(policy, head, admission) {
            Progress::Decided(decision) => decision,
            Progress::Verifying(mut verifying) => {
                let verdict = poll_fn(|cx| verifying.poll(cx)).await;
                self.verified(policy, head.method(), verdict, admission)
            }
            Progress::Authenticating => self.authenticate(policy, head, admission).await,
        }
    }

    /// Decides about a key for which the store had to be waited.
    pub(super) fn verified(
        &self,
        policy: &Policy,
        method: &Method,
        verdict: Verdict,
        admission: &mut Admission,
    ) -> Decision {
        let identity = verdict?;
        self.authorize(policy, method, &Caller::of(&identity))?;
        admission.identity = Some(identity);
        Ok(())
    }

    pub(crate) async fn authenticate(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        let Some(users) = &self.users else {
            return Err(not_wired("a policy asks for a user, and the layer has no authenticator"));
        };
        let candidate = match &users.credentials {
            None => None,
            Some(credentials) => match credentials.find(head) {
                Ok(Some(candidate)) => Some(candidate),
                Ok(None) => return Err(Rejection::new(RejectionKind::Missing).for_user()),
                Err(error) => return Err(Rejection::from(error).for_user()),
            },
        };
        let placement = candidate.as_ref().map(Candidate::placement);
        let by_bearer = placement == Some(PlacementKind::Bearer);
        let answer = users.authenticator.authenticate(head, candidate.as_ref()).await;
        let (identity, extensions) = match answer {
            Ok(Authentication::Accepted(User { owner, scopes, extensions })) => {
                (Identity::of_user(owner, scopes, placement), extensions)
            }
            Ok(Authentication::Refused) => {
                return Err(Rejection::new(RejectionKind::Unknown).by_bearer(by_bearer).for_user());
            }
            Ok(Authentication::Missing) => {
                return Err(Rejection::new(RejectionKind::Missing).for_user());
            }
            Err(error) => {
                return Err(Rejection::new(RejectionKind::Unavailable).with_source(error));
            }
        };
        self.authorize(policy, head.method(), &Caller::of(&identity))
            .map_err(Rejection::for_user)?;
        *admission = Admission { identity: Some(identity), extensions: Some(extensions) };
        Ok(())
    }

    /// What a proven caller may do.
    fn authorize(&self, policy: &Policy, method: &Method, caller: &Caller<'_>) -> Decision {
        let permitted = policy.authorize(caller.owner, caller.key_id, caller.scopes);
        permitted.map_err(|rejection| self.not_permitted(rejection, caller))?;
        if self.conceal {
            policy.check_method(method, self.default_methods)?;
        }
        Ok(())
    }

    #[cold]
    fn not_permitted(&self, rejection: Rejection, caller: &Caller<'_>) -> Rejection {
        let rejection = rejection.with_key_id(caller.key_id.cloned());
        match rejection.kind() {
            RejectionKind::Forbidden if self.conceal => {
                rejection.with_kind(RejectionKind::WrongOwner).by_bearer(caller.by_bearer)
            }
            _ => rejection.by_bearer(caller.by_bearer),
        }
    }

    /// Takes every credential out of an admitted request, and puts the identity in.
    pub(crate) fn enter(&self, head: &mut impl HeadMut, admission: Admission) {
        let Admission { identity, extensions } = admission;
        if let Some(identity) = &identity {
            trace::accepted(identity);
        }
        self.all_credentials().for_each(|credentials| credentials.scrub_head(head));
        if let Some(extensions) = extensions {
            head.extensions_mut().extend(extensions);
        }
        identity::insert(head.extensions_mut(), identity);
    }
}

impl Admission {
    pub(crate) const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether the credential stood in the target of the request.
    pub(crate) fn by_target(&self) -> bool {
        let placement = self.identity.as_ref().and_then(Identity::placement);
        placement.is_some_and(PlacementKind::is_in_target)
    }
}

impl Verifying {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        let verdict = ready!(self.verification.as_mut().poll(cx));
        Poll::Ready(verdict.map_err(|error| refused_key(error, self.placement)))
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

/// The decision about a head that is owned, and its policy if that is not known yet.
pub(super) async fn decide(gate: Arc<Gate>, policy: Option<Policy>, parts: Parts) -> Decided {
    let policy = match policy {
        Some(policy) => Ok(policy),
        None => gate.resolve((&parts).into()).await,
    };
    let mut admission = Admission::default();
    let decision = match policy {
        Ok(policy) => gate.admit(&policy, (&parts).into(), &mut admission).await,
        Err(rejection) => Err(rejection),
    };
    (parts, decision.map(|()| admission))
}

/// Protects the response to a request that had its credential in the target (RFC 6750, section 2.3).
pub(crate) fn protect_target(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn malformed(placement: PlacementKind) -> Rejection {
    Rejection::new(RejectionKind::Malformed).by_bearer(placement == PlacementKind::Bearer)
}

fn not_wired(reason: &'static str) -> Rejection {
    Rejection::new(RejectionKind::NotWired).with_source(reason)
}

fn refused_key(error: VerifyError, placement: PlacementKind) -> Rejection {
    let kind = match error.kind() {
        VerifyErrorKind::Malformed => RejectionKind::Malformed,
        VerifyErrorKind::Unknown => RejectionKind::Unknown,
        VerifyErrorKind::WrongSecret => RejectionKind::WrongSecret,
        VerifyErrorKind::NotYetValid => RejectionKind::NotYetValid,
        VerifyErrorKind::Expired => RejectionKind::Expired,
        VerifyErrorKind::Disabled => RejectionKind::Disabled,
        VerifyErrorKind::Revoked => RejectionKind::Revoked,
        VerifyErrorKind::StoreUnavailable => RejectionKind::Unavailable,
    };
    let rejection = Rejection::new(kind).by_bearer(placement == PlacementKind::Bearer);
    match kind {
        RejectionKind::Unavailable => {
            rejection.with_key_id(error.key_id().cloned()).with_source(error)
        }
        _ => rejection.with_key_id(error.into_key_id()),
    }
}
