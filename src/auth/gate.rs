//! The decision about one request, apart from the service that waits for it: what [`Auth`](super::Auth) and
//! [`Hooks`](crate::executor::Hooks) share.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
use crate::key::{Begun, KeyRecord, KeyVerifier, VerifiedKey, VerifyError, VerifyErrorKind};
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

/// A caller who is let in.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` on a public route.
    pub(crate) identity: Option<Identity>,
    /// What the authenticator hands to the inner service.
    extensions: Extensions,
}

pub(crate) type Decision = Result<Admission, Rejection>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How far a decision has come without waiting.
pub(crate) enum Progress {
    Decided(Decision),
    /// The store has been asked and has not answered yet.
    Verifying(Verifying),
    /// The authenticator has to be asked, with a head that outlives the wait.
    Authenticating,
}

pub(crate) struct Verifying {
    verification: BoxFuture<Result<VerifiedKey, VerifyError>>,
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
    pub(crate) fn admit_ready(&self, policy: &Policy, head: RequestHead<'_>) -> Progress {
        if let Err(rejection) = self.check_method_first(policy, head) {
            return Progress::Decided(Err(rejection));
        }
        match policy.access() {
            Access::Public => Progress::Decided(Ok(Admission::new(None))),
            Access::User => Progress::Authenticating,
            Access::Token => self.admit_key(policy, head),
        }
    }

    fn admit_key(&self, policy: &Policy, head: RequestHead<'_>) -> Progress {
        let Some((verifier, credentials)) = &self.keys else {
            return Progress::Decided(Err(not_wired(
                "a policy asks for a key, and the layer has no keys",
            )));
        };
        let candidate = match credentials.find(head) {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return Progress::Decided(self.admit_again(policy, head, verifier)),
            Err(error) => return Progress::Decided(Err(error.into())),
        };
        let placement = candidate.placement();
        let Some(presented) = candidate.expose_bytes() else {
            return Progress::Decided(Err(malformed(placement)));
        };
        let identity = |record: &KeyRecord, realm| Identity::of_record(record, realm, placement);
        match verifier.begin_as(presented, policy.key(), identity) {
            Begun::Ready(Ok(identity)) => Progress::Decided(self.authorize(policy, head, identity)),
            Begun::Ready(Err(error)) => Progress::Decided(Err(refused_key(error, placement))),
            Begun::Pending(verification) => {
                Progress::Verifying(Verifying { verification, placement })
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
    ) -> Decision {
        match head.extensions().get::<Identity>() {
            Some(identity) if identity.is_of(verifier.realm()) => {
                self.authorize(policy, head, identity.clone())
            }
            _ => Err(Rejection::new(RejectionKind::Missing)),
        }
    }

    /// Decides, and waits where it has to.
    pub(crate) async fn admit(&self, policy: &Policy, head: RequestHead<'_>) -> Decision {
        match self.admit_ready(policy, head) {
            Progress::Decided(decision) => decision,
            Progress::Verifying(verifying) => self.verified(policy, head, verifying).await,
            Progress::Authenticating => self.authenticate(policy, head).await,
        }
    }

    pub(crate) async fn verified(
        &self,
        policy: &Policy,
        head: RequestHead<'_>,
        verifying: Verifying,
    ) -> Decision {
        let Verifying { verification, placement } = verifying;
        match verification.await {
            Ok(key) => self.authorize(policy, head, Identity::of_key(&key, placement)),
            Err(error) => Err(refused_key(error, placement)),
        }
    }

    pub(crate) async fn authenticate(&self, policy: &Policy, head: RequestHead<'_>) -> Decision {
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
        let admission = self.authorize(policy, head, identity).map_err(Rejection::for_user)?;
        Ok(Admission { extensions, ..admission })
    }

    fn authorize(&self, policy: &Policy, head: RequestHead<'_>, identity: Identity) -> Decision {
        let by_bearer = identity.placement() == Some(PlacementKind::Bearer);
        let refused = |rejection: Rejection| {
            let rejection = match identity.key_id() {
                Some(key_id) => rejection.with_key_id(key_id.clone()),
                None => rejection,
            };
            match rejection.kind() {
                RejectionKind::Forbidden if self.conceal => {
                    rejection.with_kind(RejectionKind::WrongOwner).by_bearer(by_bearer)
                }
                _ => rejection.by_bearer(by_bearer),
            }
        };
        policy.authorize(&identity).map_err(refused)?;
        if self.conceal {
            policy.check_method(head.method(), self.default_methods)?;
        }
        Ok(Admission::new(Some(identity)))
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
        if let Some(identity) = &admission.identity {
            trace::accepted(identity);
        }
        self.all_credentials().for_each(|credentials| credentials.scrub_head(head));
        head.extensions_mut().extend(admission.extensions);
        identity::insert(head.extensions_mut(), admission.identity);
    }
}

impl Admission {
    fn new(identity: Option<Identity>) -> Self {
        Self { identity, extensions: Extensions::new() }
    }

    /// Whether the credential stood in the target of the request.
    pub(crate) fn by_target(&self) -> bool {
        let placement = self.identity.as_ref().and_then(Identity::placement);
        placement.is_some_and(PlacementKind::is_in_target)
    }
}

/// The policy and the decision for a head that is owned, from the start.
pub(crate) async fn decide(gate: Arc<Gate>, mut parts: Parts) -> (Parts, Decision) {
    gate.mark_sensitive(&mut parts.headers);
    let decision = match gate.resolve((&parts).into()).await {
        Ok(policy) => gate.admit(&policy, (&parts).into()).await,
        Err(rejection) => Err(rejection),
    };
    (parts, decision)
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
    let rejection = match error.key_id() {
        Some(key_id) => rejection.with_key_id(key_id.clone()),
        None => rejection,
    };
    match kind {
        RejectionKind::Unavailable => rejection.with_source(error),
        _ => rejection,
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
