//! The decision about one request, apart from the service that waits for it: what [`Auth`](super::Auth) and
//! [`Hooks`](crate::executor::Hooks) share.

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method};

use super::authenticator::{Authentication, Authenticator, User};
use super::policy::{Access, Policy};
use super::resolver::{BoxError, Resolver};
use crate::config::ConfigError;
use crate::credential::{Candidate, Credentials, PlacementKind};
use crate::head::{HeadMut, RequestHead};
use crate::identity::{self, Identity};
use crate::key::{
    Begun, KeyId, KeyRecord, KeyVerifier, Owner, Scopes, VerifyError, VerifyErrorKind,
};
use crate::rejection::{Challenges, Rejection, RejectionKind, Respond};
use crate::timer::{SystemTimer, Timer};
use crate::trace;

/// Everything about a layer that does not change from request to request.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(super) source: PolicySource,
    pub(super) keys: Option<(KeyVerifier, Credentials)>,
    pub(super) users: Option<Users>,
    /// Places that are scrubbed although no mode reads them.
    pub(super) stripped: Option<Credentials>,
    pub(super) realm: Box<str>,
    pub(super) conceal: bool,
    /// The methods under a policy that names none; `None` for all.
    pub(super) default_methods: Option<&'static [Method]>,
    pub(super) respond: Respond,
    /// How long the inner service has time to become ready.
    pub(super) readiness_deadline: Duration,
    pub(super) timer: Arc<dyn Timer>,
}

/// Where the policy of a request comes from.
#[derive(Clone)]
pub(super) enum PolicySource {
    Fixed(Policy),
    PerRequest(Arc<dyn Resolver>),
}

#[derive(Clone)]
pub(super) struct Users {
    pub(super) authenticator: Arc<dyn Authenticator>,
    /// `None`: the authenticator looks at the head itself.
    pub(super) credentials: Option<Credentials>,
}

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
    pub(super) fn new(source: PolicySource) -> Self {
        Self {
            source,
            keys: None,
            users: None,
            stripped: None,
            realm: "webhook".into(),
            conceal: false,
            default_methods: None,
            respond: Respond::new(),
            readiness_deadline: Duration::from_secs(10),
            timer: Arc::new(SystemTimer::new()),
        }
    }

    /// Ends when the inner service has had its time to become ready.
    pub(super) fn patience(&self) -> BoxFuture<()> {
        self.timer.sleep(self.readiness_deadline)
    }

    /// Makes the challenges anew, after a change of the placements or of the realm.
    pub(super) fn update_challenges(&mut self) -> Result<(), ConfigError> {
        let keys = self.keys.iter().flat_map(|(_, credentials)| credentials.challenges());
        let users = self.users.iter().filter_map(|users| users.credentials.as_ref());
        let users = users.flat_map(Credentials::challenges);
        let keys = Challenges::new(&keys.collect::<Vec<_>>(), &self.realm)?;
        let users = Challenges::new(&users.collect::<Vec<_>>(), &self.realm)?;
        self.respond.set_challenges(keys, users);
        Ok(())
    }

    pub(crate) fn set_default_methods(&mut self, methods: &'static [Method]) {
        self.default_methods = Some(methods);
    }

    pub(crate) const fn respond(&self) -> &Respond {
        &self.respond
    }

    pub(crate) fn keys(&self) -> Option<&KeyVerifier> {
        self.keys.as_ref().map(|(verifier, _)| verifier)
    }

    /// All lists of placements that this gate knows.
    pub(crate) fn all_credentials(&self) -> impl Iterator<Item = &Credentials> {
        let keys = self.keys.as_ref().map(|(_, credentials)| credentials);
        let users = self.users.as_ref().and_then(|users| users.credentials.as_ref());
        keys.into_iter().chain(users).chain(&self.stripped)
    }

    /// Whether requests under a policy need a buffered body before the decision.
    pub(crate) fn needs_body(&self, policy: &Policy) -> bool {
        let credentials = match policy.access() {
            Access::Public => None,
            Access::Token => self.keys.as_ref().map(|(_, credentials)| credentials),
            Access::User => self.users.as_ref().and_then(|users| users.credentials.as_ref()),
        };
        credentials.is_some_and(Credentials::need_body)
    }

    /// The same for a request whose policy is not known yet. One that is refused for its target or its method
    /// needs none.
    pub(super) fn needs_body_of(&self, parts: &mut Parts) -> bool {
        if self.shows_head() {
            self.mark_sensitive(&mut parts.headers);
        }
        let head = RequestHead::from(&*parts);
        match self.resolve_ready(head) {
            Some(Ok(policy)) => {
                self.needs_body(&policy) && self.check_method_first(&policy, head).is_ok()
            }
            Some(Err(_)) => false,
            None => true,
        }
    }

    /// The policy of a request; `None` if the resolver has to wait for it.
    pub(crate) fn resolve_ready(
        &self,
        head: RequestHead<'_>,
    ) -> Option<Result<Cow<'_, Policy>, Rejection>> {
        match &self.source {
            PolicySource::Fixed(policy) => Some(Ok(Cow::Borrowed(policy))),
            PolicySource::PerRequest(resolver) => {
                resolver.resolve_ready(head).map(|answer| self.resolved(answer).map(Cow::Owned))
            }
        }
    }

    pub(crate) async fn resolve(&self, head: RequestHead<'_>) -> Result<Policy, Rejection> {
        match &self.source {
            PolicySource::Fixed(policy) => Ok(policy.clone()),
            PolicySource::PerRequest(resolver) => match resolver.resolve_ready(head) {
                Some(answer) => self.resolved(answer),
                None => self.resolved(resolver.resolve(head).await),
            },
        }
    }

    fn resolved(&self, answer: Result<Option<Policy>, BoxError>) -> Result<Policy, Rejection> {
        match answer {
            Ok(Some(policy)) => Ok(policy),
            Ok(None) => match (self.conceal, &self.keys, &self.users) {
                (true, Some(_), _) => Ok(Policy::token().for_nobody()),
                (true, None, Some(_)) => Ok(Policy::user().for_nobody()),
                _ => Err(Rejection::new(RejectionKind::NotFound)),
            },
            Err(error) => Err(Rejection::new(RejectionKind::Unavailable).with_source(error)),
        }
    }

    /// Whether code of the app gets to see the head before it is scrubbed.
    pub(crate) const fn shows_head(&self) -> bool {
        matches!(self.source, PolicySource::PerRequest(_)) || self.users.is_some()
    }

    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        self.all_credentials().for_each(|credentials| credentials.mark_sensitive(headers));
    }

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

    /// The method comes before the credential, unless that would tell which hooks exist.
    pub(crate) fn check_method_first(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
    ) -> Result<(), Rejection> {
        if self.conceal && policy.access() != Access::Public {
            return Ok(());
        }
        policy.check_method(head.method(), self.default_methods)
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

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Gate");
        match &self.source {
            PolicySource::Fixed(policy) => debug.field("policy", policy),
            PolicySource::PerRequest(_) => debug.field("policy", &"<resolver>"),
        };
        debug
            .field("keys", &self.keys.as_ref().map(|(_, credentials)| credentials))
            .field("users", &self.users.as_ref().map(|users| &users.credentials))
            .field("stripped", &self.stripped)
            .field("realm", &self.realm)
            .field("conceal", &self.conceal)
            .finish_non_exhaustive()
    }
}
