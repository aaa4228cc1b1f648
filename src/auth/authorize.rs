//! The decision about one request, stage by stage, and what comes of it.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request};

use super::authenticator::{Authentication, User};
use super::config::{AppCode, AuthConfig};
use super::future::{Entered, Refusal};
use super::policy::{Access, Policy};
use crate::body::SlowBody;
use crate::credential::{PlacementKind, PresentedCredential};
use crate::identity::{self, Identity};
use crate::key::{
    KeyId, KeyRecord, KeyVerifier, LookupTarget, Owner, PendingLookup, Scopes, Verification,
    VerifyError,
};
use crate::rejection::{Rejection, RejectionKind};
use crate::request_head::{HeadMut, RequestHead};
use crate::trace;
use crate::util::UniqueId;

/// What a caller who is let in brings along. The stages write it in place, because it is large to pass on;
/// it counts only together with a [`Decision`] that lets the caller in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// `None` on a public route.
    identity: Option<Identity>,
    /// What the authenticator hands to the inner service.
    extensions: Option<Extensions>,
}

pub(super) type Decision = Result<(), Rejection>;

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
    placement: PlacementKind,
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
            Access::Token | Access::User => Progress::Later,
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
        if let Err(error) = credentials.find_into(&mut candidate, head, self.reading) {
            return Progress::Decided(Err(error.into()));
        }
        let Some(candidate) = &candidate else {
            return self.admit_again(policy, head, verifier, admission);
        };
        let (accepted, users) = ((credentials, candidate.position()), self.user_credentials());
        if let Err(rejection) = self.check_mixed(Some(accepted), users, head.headers()) {
            return Progress::Decided(Err(rejection));
        }
        let placement = candidate.placement();
        let Some(presented) = candidate.expose_bytes() else {
            return Progress::Decided(Err(malformed(placement)));
        };
        let target = policy.key().map_or(LookupTarget::Named, LookupTarget::Only);
        let verification = verifier.begin_with(presented, target, |record, digest| {
            self.authorize(policy, head.method(), &Caller::of_record(record, placement))?;
            admission.identity = Some(Identity::of_record(verifier, record, digest, placement));
            Ok(())
        });
        match verification {
            Verification::Ready(Ok(decision)) => Progress::Decided(decision),
            Verification::Ready(Err(error)) => {
                Progress::Decided(Err(refused_key(error, placement)))
            }
            Verification::Pending(lookup) => {
                let verification = identify(verifier, lookup, placement);
                Progress::Verifying(Verifying { verification, placement })
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
            self.check_mixed(None, self.user_credentials(), head.headers())?;
            self.authorize(policy, head.method(), &Caller::of(&identity))?;
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
                self.verified(policy, head.method(), verdict, admission)
            }
            Progress::Later if policy.access() == Access::User && self.users.is_none() => {
                Err(misconfigured("a policy asks for a user, and the layer has no authenticator"))
            }
            Progress::Later if self.conceal => {
                let decision = self.admit_concealed(policy, head, admission).await;
                decision.map_err(|rejection| self.conceal(policy, rejection))
            }
            Progress::Later if policy.access() == Access::Token => {
                // The verdict of a layer around this one is from before a slow body.
                let Some((verifier, _)) = &self.keys else { return Err(no_keys()) };
                let identity = proven_before(head, verifier)?;
                self.check_mixed(None, self.user_credentials(), head.headers())?;
                admission.identity =
                    Some(self.admit_still(policy, head.method(), &identity).await?);
                Ok(())
            }
            Progress::Later => {
                let (identity, extensions) = self.ask_authenticator(head).await?;
                self.authorize(policy, head.method(), &Caller::of(&identity))
                    .map_err(Rejection::for_user)?;
                *admission = Admission { identity: Some(identity), extensions: Some(extensions) };
                Ok(())
            }
        }
    }

    /// Decides for a layer that conceals its hooks. The store and the authenticator are asked about what the
    /// request presents, under every policy, and a fault of theirs is the answer for every hook.
    async fn admit_concealed(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        admission: &mut Admission,
    ) -> Decision {
        if policy.access() == Access::Token && self.keys.is_none() && !policy.denies_all() {
            return Err(no_keys());
        }
        let key = self.ask_store(policy, head).await;
        let user = self.ask_authenticator(head).await;
        let is_fault = |rejection: &&Rejection| rejection.status().is_server_error();
        let faults = [key.as_ref().err(), user.as_ref().err()];
        let fault = faults.into_iter().flatten().find(is_fault).cloned();

        let proven = match policy.access() {
            Access::User => user.map(|(identity, extensions)| (identity, Some(extensions))),
            Access::Token | Access::Public => key.map(|identity| (identity, None)),
        };
        let decision = proven.and_then(|(identity, extensions)| {
            self.authorize(policy, head.method(), &Caller::of(&identity))?;
            *admission = Admission { identity: Some(identity), extensions };
            Ok(())
        });
        decision.map_err(|rejection| match rejection.kind() {
            RejectionKind::MethodNotAllowed => rejection,
            _ => fault.unwrap_or(rejection),
        })
    }

    /// What the store says about the key in a request, under every policy.
    async fn ask_store(&self, policy: &Policy, head: RequestHead<'_>) -> Verdict {
        let Some((verifier, credentials)) = &self.keys else {
            return Err(Rejection::new(RejectionKind::Missing));
        };
        let mut candidate = None;
        credentials.find_into(&mut candidate, head, self.reading)?;
        let Some(candidate) = candidate else {
            let identity = proven_before(head, verifier)?;
            self.check_mixed(None, self.user_credentials(), head.headers())?;
            let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
            return match head.extensions().get::<SlowBody>() {
                None => Ok(identity),
                Some(SlowBody) => {
                    identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer))
                }
            };
        };
        let accepted = Some((credentials, candidate.position()));
        self.check_mixed(accepted, self.user_credentials(), head.headers())?;
        let placement = candidate.placement();
        let Some(presented) = candidate.expose_bytes() else { return Err(malformed(placement)) };
        // A decoy is looked up where the text of a key names none, so that an unknown hook takes as long.
        let decoy = decoy(head);
        let target = LookupTarget::Concealed(policy.key().unwrap_or(&decoy));
        let verification = verifier.begin_with(presented, target, |record, digest| {
            Identity::of_record(verifier, record, digest, placement)
        });
        let verdict = match verification {
            Verification::Ready(verdict) => verdict,
            Verification::Pending(lookup) => identify(verifier, lookup, placement).await,
        };
        match verdict {
            Ok(identity) if policy.key().is_none() && identity.key_id() == Some(&decoy) => {
                Err(malformed(placement))
            }
            verdict => verdict.map_err(|error| refused_key(error, placement)),
        }
    }

    /// What the authenticator says about a request.
    async fn ask_authenticator(
        &self,
        head: RequestHead<'_>,
    ) -> Result<(Identity, Extensions), Rejection> {
        let Some(users) = &self.users else {
            return Err(Rejection::new(RejectionKind::Missing).for_user());
        };
        let candidate = match &users.credentials {
            None => None,
            Some(credentials) => {
                let mut candidate = None;
                credentials
                    .find_into(&mut candidate, head, self.reading)
                    .map_err(|error| Rejection::from(error).for_user())?;
                let Some(found) = &candidate else { return proven_user_before(head, users.id) };
                let accepted = Some((credentials, found.position()));
                self.check_mixed(accepted, self.key_credentials(), head.headers())?;
                candidate
            }
        };
        let placement = candidate.as_ref().map(PresentedCredential::placement);
        let by_bearer = placement == Some(PlacementKind::Bearer);
        let ask = || users.authenticator.authenticate(head, candidate.as_ref());
        match self.ask_app(AppCode::Authenticator, ask).await? {
            Authentication::Accepted(User { owner, scopes, extensions }) => {
                // Without placements, it is only known now that there is a credential of this kind.
                if candidate.is_none() {
                    self.check_mixed(None, self.key_credentials(), head.headers())?;
                }
                Ok((Identity::of_user(users.id, owner, scopes, placement), extensions))
            }
            Authentication::Refused => {
                Err(Rejection::new(RejectionKind::Unknown).by_bearer(by_bearer).for_user())
            }
            Authentication::Missing => Err(Rejection::new(RejectionKind::Missing).for_user()),
        }
    }

    /// Decides about a key for which the store had to be waited.
    fn verified(
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

    /// Lets a request in whose key has been looked up, if it may.
    pub(super) fn enter_verified<B>(
        &self,
        mut request: Request<B>,
        policy: Policy,
        verdict: Verdict,
        since: Instant,
    ) -> Result<Entered<B>, Rejection> {
        let mut admission = Admission::default();
        let decision = self.verified(&policy, request.method(), verdict, &mut admission);
        let by_target = admission.by_target();
        decision
            .and_then(|()| self.enter(&policy, &mut request, admission))
            .map_err(|rejection| rejection.in_answer_to(request.method()))?;
        Ok(Entered { request, policy, by_target, since })
    }

    /// Lets the head of a request in, if it may, and finds out its policy where that is not known yet.
    pub(super) async fn enter_head(
        self: Arc<Self>,
        policy: Option<Policy>,
        mut parts: Parts,
    ) -> Result<Entered<()>, Refusal> {
        match self.decide_head(policy, &mut parts).await {
            Ok((policy, by_target, since)) => {
                Ok(Entered { request: Request::from_parts(parts, ()), policy, by_target, since })
            }
            Err(rejection) => Err(rejection.in_answer_to(&parts.method).into()),
        }
    }

    async fn decide_head(
        &self,
        policy: Option<Policy>,
        parts: &mut Parts,
    ) -> Result<(Policy, bool, Instant), Rejection> {
        let policy = match policy {
            Some(policy) => policy,
            None => self.resolve((&*parts).into()).await?,
        };
        let mut admission = Admission::default();
        let since = Instant::now();
        self.admit(&policy, (&*parts).into(), &mut admission).await?;
        let by_target = admission.by_target();
        self.enter(&policy, parts, admission)?;
        Ok((policy, by_target, since))
    }

    /// Decides again about a caller who was let in a while ago. A user is not asked again.
    pub(super) async fn admit_still(
        &self,
        policy: &Policy,
        method: &Method,
        identity: &Identity,
    ) -> Verdict {
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let fresh = identity.reverify().await.map_err(|error| Rejection::of_key(error, by_bearer));
        let decision = fresh.and_then(|fresh| {
            self.authorize(policy, method, &Caller::of(&fresh))?;
            Ok(fresh)
        });
        decision.map_err(|rejection| self.conceal(policy, rejection).in_answer_to(method))
    }

    /// What a proven caller may do.
    fn authorize(&self, policy: &Policy, method: &Method, caller: &Caller<'_>) -> Decision {
        let permitted = policy.authorize(caller.owner, caller.key_id, caller.scopes);
        permitted.map_err(|rejection| {
            rejection.with_key_id(caller.key_id.cloned()).by_bearer(caller.by_bearer)
        })?;
        if self.conceal {
            policy.check_method(method, self.default_methods)?;
        }
        Ok(())
    }

    /// Takes every credential out of an admitted request, and puts the identity in.
    ///
    /// # Errors
    ///
    /// Returns a rejection if a place cannot be cleaned.
    pub(super) fn enter(
        &self,
        policy: &Policy,
        head: &mut impl HeadMut,
        admission: Admission,
    ) -> Decision {
        let Admission { identity, extensions } = admission;
        for credentials in self.all_credentials() {
            credentials.scrub_head(head, self.reading)?;
        }
        if let Some(identity) = &identity {
            trace::accepted(identity);
        }
        if let Some(hook) = policy.hook_name() {
            head.extensions_mut().insert(HookName(hook));
        }
        if let Some(extensions) = extensions {
            head.extensions_mut().extend(extensions);
        }
        identity::insert(head.extensions_mut(), identity);
        Ok(())
    }
}

/// The name of the hook that a request is for, in its extensions.
#[derive(Clone)]
pub(crate) struct HookName(pub(crate) Arc<str>);

impl Admission {
    /// Whether the credential was in the target of the request.
    pub(super) fn by_target(&self) -> bool {
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

/// Protects the response to a request that had its credential in the target (RFC 6750, section 2.3).
pub(super) fn protect_target(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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
    match head.extensions().get::<Identity>() {
        Some(identity) if identity.is_proven_by(verifier) => Ok(identity.clone()),
        _ => Err(Rejection::new(RejectionKind::Missing)),
    }
}

/// The user that a layer around this one has proven: a clone of this one, with other scopes perhaps. What the
/// authenticator handed on is in the request already.
fn proven_user_before(
    head: RequestHead<'_>,
    users: UniqueId,
) -> Result<(Identity, Extensions), Rejection> {
    match head.extensions().get::<Identity>() {
        Some(identity) if identity.is_user_of(users) => Ok((identity.clone(), Extensions::new())),
        _ => Err(Rejection::new(RejectionKind::Missing).for_user()),
    }
}

/// A decoy: the id that replaces the key of a hook that has none. Each path has another one, so that a cache knows it
/// as little as a hook that is called for the first time.
fn decoy(head: RequestHead<'_>) -> KeyId {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KeyId::of_number(SEED.hash_one(head.uri().path()))
}

fn no_keys() -> Rejection {
    misconfigured("a policy asks for a key, and the layer has no keys")
}

fn refused_key(error: VerifyError, placement: PlacementKind) -> Rejection {
    Rejection::of_key(error, placement == PlacementKind::Bearer)
}
