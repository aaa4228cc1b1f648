//! What a layer knows before the first request, apart from the service that it is put around: what [`Auth`](super::Auth) and
//! [`Hooks`](crate::hook::Hooks) share.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method};
use tokio::time::{Sleep, sleep};

use super::authenticator::Authenticator;
use super::policy::{Access, Policy};
use super::resolver::PolicyResolver;
use crate::BoxError;
use crate::body::BufferedBody;
use crate::clock::Clock;
use crate::credential::{
    BodyReading, Credentials, ExtractError, PlacementKind, PresentedCredential,
};
use crate::envelope::Envelopes;
use crate::error::ConfigError;
use crate::identity::Identity;
use crate::key::{KeyVerifier, LookupTarget, Owner, Scope};
#[cfg(feature = "metrics")]
use crate::metrics::Metrics;
use crate::rate_limit::RateLimits;
use crate::rejection::{Asked, Audience, Challenges, Rejection, RejectionKind, Respond, Scrub};
use crate::request_head::{HeadMut, RequestHead};
use crate::util::{CatchPanic, Panicked, UniqueId, catch_panic, timeout};

/// Everything about a layer that does not change from request to request.
#[derive(Clone)]
pub(crate) struct AuthConfig {
    pub(super) source: PolicySource,
    pub(super) keys: Option<(KeyVerifier, Credentials)>,
    pub(super) users: Option<Users>,
    /// Places that are scrubbed although no mode reads them.
    pub(super) stripped: Vec<Credentials>,
    /// What every policy asks for, in addition to its own requirements.
    pub(super) scopes: Vec<Scope>,
    pub(super) owner: Option<Owner>,
    /// The clock of the verifier, where it is not its own.
    pub(super) clock: Option<Clock>,
    pub(super) realm: Box<str>,
    pub(super) conceal: bool,
    /// Whether a credential of a kind that the policy does not ask for may come along in a header field.
    pub(super) allows_mixed: bool,
    /// How bodies are read where a credential is looked for and removed.
    pub(super) reading: BodyReading<'static>,
    /// How a hook shows bodies, and so where a credential is in them. Any other layer has the default, which goes by
    /// the media type alone.
    pub(crate) envelopes: Envelopes,
    /// The methods under a policy that names none; `None` for all.
    pub(super) default_methods: Option<&'static [Method]>,
    /// The policy for preflight requests, where they are passed on.
    pub(super) preflight: Option<Policy>,
    pub(super) rate_limits: Option<RateLimits>,
    pub(super) respond: Respond,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<Metrics>,
    /// Whether an inner service measures what it accepts by itself, because it can still refuse it.
    pub(super) leaves_accepted: bool,
    /// How long the inner service has time to become ready.
    pub(super) readiness_deadline: Duration,
    /// How long the resolver, the authenticator and the limiter may each take.
    pub(super) decision_deadline: Duration,
}

/// Where the policy of a request comes from.
#[derive(Clone)]
pub(super) enum PolicySource {
    Fixed(Policy),
    PerRequest(Arc<dyn PolicyResolver>),
}

#[derive(Clone)]
pub(super) struct Users {
    /// The same for clones of a layer, and for nothing else.
    pub(super) id: UniqueId,
    pub(super) authenticator: Arc<dyn Authenticator>,
    /// `None`: the authenticator looks at the head itself.
    pub(super) credentials: Option<Credentials>,
}

impl Users {
    pub(super) fn new(authenticator: impl Authenticator, credentials: Option<Credentials>) -> Self {
        Self { id: UniqueId::new(), authenticator: Arc::new(authenticator), credentials }
    }
}

impl AuthConfig {
    pub(super) fn new(source: PolicySource) -> Self {
        Self {
            source,
            keys: None,
            users: None,
            stripped: Vec::new(),
            scopes: Vec::new(),
            owner: None,
            clock: None,
            realm: "webhook".into(),
            conceal: false,
            allows_mixed: false,
            reading: BodyReading::default(),
            envelopes: Envelopes::default(),
            default_methods: None,
            preflight: None,
            rate_limits: None,
            respond: Respond::new(),
            #[cfg(feature = "metrics")]
            metrics: None,
            leaves_accepted: false,
            readiness_deadline: Duration::from_secs(10),
            decision_deadline: Duration::from_secs(5),
        }
    }

    /// Ends when the inner service has had its time to become ready.
    pub(super) fn ready_timeout(&self) -> Pin<Box<Sleep>> {
        Box::pin(sleep(self.readiness_deadline))
    }

    /// Makes the challenges anew, after a change of the placements or of the realm.
    pub(super) fn update_challenges(&mut self) -> Result<(), ConfigError> {
        let keys = self.keys.iter().flat_map(|(_, credentials)| credentials.challenges());
        let users = self.users.iter().filter_map(|users| users.credentials.as_ref());
        let users = users.flat_map(Credentials::challenges);
        let (keys, users) = (keys.collect::<Vec<_>>(), users.collect::<Vec<_>>());
        let all = [&*keys, &*users].concat();
        let challenges = |schemes: &[_]| Challenges::new(schemes, &self.realm);
        let challenges = [challenges(&keys)?, challenges(&users)?, challenges(&all)?];
        self.respond.set_challenges(challenges);
        Ok(())
    }

    /// Settings for a hook, which reads its body by itself.
    pub(crate) fn set_hook_defaults(&mut self) {
        // A policy that names no method serves what a webhook is called by.
        self.default_methods = Some(&[Method::POST]);
        let no_inner =
            |policy: Policy| policy.with_fault("hooks have no inner service for a preflight");
        self.preflight = self.preflight.take().map(no_inner);
        self.reading.refuses_broken_json = true;
        self.leaves_accepted = true;
    }

    pub(crate) fn set_ignores_coding(&mut self) {
        self.reading.ignores_coding = true;
    }

    pub(crate) const fn respond(&self) -> &Respond {
        &self.respond
    }

    /// What a refusal needs of the request that it answers.
    pub(crate) fn asked(&self, head: RequestHead<'_>) -> Asked {
        self.respond.asked(head, self)
    }

    pub(crate) fn keys(&self) -> Option<&KeyVerifier> {
        self.keys.as_ref().map(|(verifier, _)| verifier)
    }

    /// All lists of placements that this config knows.
    pub(crate) fn all_credentials(&self) -> impl Iterator<Item = &Credentials> {
        self.key_credentials().into_iter().chain(self.user_credentials()).chain(&self.stripped)
    }

    /// Whether the body of a request has to be read before the verdict.
    pub(super) fn reads_body_first(&self, policy: &Policy, parts: &Parts) -> bool {
        let (keys, users) = (self.key_credentials(), self.user_credentials());
        let head = RequestHead::from(parts);
        let depends = |list: Option<&Credentials>, other| {
            list.is_some_and(|list| self.depends_on_body(list, other, head).unwrap_or(false))
        };
        let in_head = |list: Option<&Credentials>| {
            list.is_some_and(|list| !matches!(list.position_in_head(head), Ok(None)))
        };
        let depends = match policy.access() {
            Access::Public => return false,
            _ if self.authenticator_reads(policy, head) => {
                return parts.extensions.get::<BufferedBody>().is_none();
            }
            _ if self.conceal => depends(keys, users) || depends(users, keys),
            Access::Token => depends(keys, users),
            Access::User => depends(users, keys),
            Access::AnyOf => {
                depends(keys, users) && !in_head(users) || depends(users, keys) && !in_head(keys)
            }
            Access::AllOf => {
                (depends(keys, users) || depends(users, keys)) && self.places_in_head(head).is_ok()
            }
        };
        let is_readable = |hook| Credentials::may_be_in_body(parts, self.reading(hook));
        // What only one hook reads is read for all of them where they are concealed.
        depends
            && if self.conceal {
                self.envelopes.hooks().any(is_readable)
            } else {
                is_readable(policy.hook())
            }
    }

    /// The places of a key and of the credential of a user in the head.
    ///
    /// # Errors
    ///
    /// Returns an error if there is more than one of a kind, as fields or joined by a proxy.
    pub(super) fn places_in_head(
        &self,
        head: RequestHead<'_>,
    ) -> Result<(Option<usize>, Option<usize>), ExtractError> {
        let mut key = None;
        if let Some((verifier, list)) = &self.keys
            && let Some(mut found) = list.find_in_head(head)?
        {
            found.check_list(|text| verifier.can_parse(text, LookupTarget::Named))?;
            key = Some(found.position());
        }
        let user = self.user_credentials().map(|list| list.position_in_head(head)).transpose()?;
        Ok((key, user.flatten()))
    }

    /// Whether the authenticator is going to be asked, and needs the body for its answer.
    pub(super) fn authenticator_needs_body(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.authenticator.needs_body())
    }

    fn authenticator_reads(&self, policy: &Policy, head: RequestHead<'_>) -> bool {
        let Some(users) = self.users.as_ref().filter(|_| self.authenticator_needs_body()) else {
            return false;
        };
        let has_one = |list: &Credentials| matches!(list.position_in_head(head), Ok(Some(_)));
        let is_asked = match (&users.credentials, policy.access()) {
            (Some(list), _) => has_one(list),
            (None, Access::AnyOf) if !self.conceal => !self.key_credentials().is_some_and(has_one),
            (None, _) => true,
        };
        is_asked && (self.conceal || policy.access().asks_for_user())
    }

    /// How bodies of a hook are read where a credential is looked for and removed.
    pub(super) const fn reading<'a>(&'a self, hook: Option<&'a str>) -> BodyReading<'a> {
        BodyReading { envelopes: Some(&self.envelopes), hook, ..self.reading }
    }

    /// Finds the credential in one list of placements.
    pub(super) fn find<'a>(
        &self,
        policy: &Policy,
        list: &Credentials,
        other: Option<&Credentials>,
        head: RequestHead<'a>,
    ) -> Result<Option<PresentedCredential<'a>>, Rejection> {
        self.depends_on_body(list, other, head)?;
        let mut candidate = None;
        list.find_into(&mut candidate, head, self.reading(policy.hook()))?;
        Ok(candidate)
    }

    /// Whether the credential in one list of placements can be in the body alone. A layer that conceals its hooks
    /// examines both lists for each of them, and one in the body is refused beside one of the other list in a header
    /// field: then the body need not be read.
    fn depends_on_body(
        &self,
        list: &Credentials,
        other: Option<&Credentials>,
        head: RequestHead<'_>,
    ) -> Result<bool, Rejection> {
        let depends = list.depends_on_body(head);
        if depends && self.conceal {
            self.check_beside(None, other, head)?;
        }
        Ok(depends)
    }

    /// Refuses a second credential, in the body, of a kind that the policy asks for.
    #[inline]
    pub(super) fn check_body(
        &self,
        policy: &Policy,
        accepted: Option<&Identity>,
        head: &impl HeadMut,
    ) -> Result<(), Rejection> {
        let check = |list: Option<&Credentials>, accepted: Option<&Identity>| match list {
            Some(list)
                if list.need_body()
                    && accepted.and_then(Identity::placement) != Some(PlacementKind::Body) =>
            {
                Ok(list.check_body(head.head(), self.reading(policy.hook()))?)
            }
            _ => Ok(()),
        };
        let (keys, users) = (self.key_credentials(), self.user_credentials());
        match policy.access() {
            Access::Public => Ok(()),
            Access::Token => check(keys, accepted),
            Access::User => check(users, accepted),
            Access::AnyOf => check(keys, accepted).and_then(|()| check(users, accepted)),
            Access::AllOf => check(keys, accepted.and_then(Identity::also_proven))
                .and_then(|()| check(users, accepted)),
        }
    }

    /// The policy of a request; `None` if the resolver has to wait for it.
    pub(crate) fn resolve_ready(
        &self,
        head: RequestHead<'_>,
    ) -> Option<Result<Cow<'_, Policy>, Rejection>> {
        if let Some(policy) = &self.preflight
            && head.is_preflight()
        {
            return Some(match policy.check_config() {
                Ok(()) => Ok(Cow::Borrowed(policy)),
                Err(error) => Err(misconfigured(error)),
            });
        }
        match &self.source {
            PolicySource::Fixed(policy) => Some(Ok(Cow::Borrowed(policy))),
            PolicySource::PerRequest(resolver) => {
                match catch_panic(|| resolver.resolve_ready(head)) {
                    Ok(answer) => Some(self.resolved(answer?).map(Cow::Owned)),
                    Err(Panicked) => Some(Err(AppCode::Resolver.panicked())),
                }
            }
        }
    }

    pub(crate) async fn resolve(&self, head: RequestHead<'_>) -> Result<Policy, Rejection> {
        if let Some(policy) = self.resolve_ready(head) {
            return policy.map(Cow::into_owned);
        }
        let PolicySource::PerRequest(resolver) = &self.source else {
            return Err(Rejection::new(RejectionKind::Internal));
        };
        let answer = self.ask_app(AppCode::Resolver, || resolver.resolve(head)).await?;
        self.resolved(Ok(answer))
    }

    fn resolved(&self, answer: Result<Option<Policy>, BoxError>) -> Result<Policy, Rejection> {
        let policy = match answer {
            Ok(Some(policy)) if self.scopes.is_empty() && self.owner.is_none() => policy,
            Ok(Some(policy)) => policy.restricted(&self.scopes, self.owner.as_ref()),
            Ok(None) if self.conceal && (self.keys.is_some() || self.users.is_some()) => {
                return Ok(Policy::token().deny_all());
            }
            Ok(None) => return Err(Rejection::new(RejectionKind::NotFound)),
            Err(error) => {
                return Err(Rejection::new(RejectionKind::Unavailable).with_source(error));
            }
        };
        match policy.check_config() {
            Ok(()) => Ok(policy),
            Err(error) => Err(misconfigured(error)),
        }
    }

    /// Waits for code of the app, as long as it may take, and catches its panics.
    pub(super) async fn ask_app<'a, T>(
        &self,
        code: AppCode,
        ask: impl FnOnce() -> Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>,
    ) -> Result<T, Rejection> {
        let mut answer = CatchPanic::new(ask).map_err(|Panicked| code.panicked())?;
        match timeout(self.decision_deadline, &mut answer).await {
            None => Err(code.too_slow()),
            Some(Err(Panicked)) => Err(code.panicked()),
            Some(Ok(answer)) => answer
                .map_err(|error| Rejection::new(RejectionKind::Unavailable).with_source(error)),
        }
    }

    /// The rejection as the caller sees it, with the challenges of what the policy asks for. Where hooks are concealed,
    /// all that comes before a good credential looks the same. The method is checked after it.
    pub(super) fn conceal(&self, policy: &Policy, rejection: Rejection) -> Rejection {
        let rejection = rejection.with_audience(match policy.access() {
            Access::Public | Access::Token => Audience::Keys,
            Access::User => Audience::Users,
            Access::AnyOf | Access::AllOf => Audience::All,
        });
        let shown = !self.conceal
            || policy.access() == Access::Public
            || rejection.kind() == RejectionKind::MethodNotAllowed;
        if shown { rejection } else { rejection.concealed() }
    }

    /// Refuses a credential of the other kind in a header field, beside one that the policy asks for.
    ///
    /// An intermediary may take the request for that of the other caller. Cookies are exempt, because a
    /// browser sends them by itself. A policy that asks for both takes both. A layer that conceals
    /// its hooks does the same work for all of them first.
    pub(super) fn check_mixed(
        &self,
        policy: &Policy,
        accepted: Option<(&Credentials, usize)>,
        other: Option<&Credentials>,
        head: RequestHead<'_>,
    ) -> Result<(), Rejection> {
        if self.conceal || policy.access() == Access::AllOf {
            return Ok(());
        }
        self.check_beside(accepted, other, head)
    }

    pub(super) fn check_beside(
        &self,
        accepted: Option<(&Credentials, usize)>,
        other: Option<&Credentials>,
        head: RequestHead<'_>,
    ) -> Result<(), Rejection> {
        let is_mixed = |other: &Credentials| other.beside_in_header(accepted, head);
        if !self.allows_mixed && other.is_some_and(is_mixed) {
            return Err(Rejection::new(RejectionKind::Ambiguous));
        }
        Ok(())
    }

    pub(super) fn user_credentials(&self) -> Option<&Credentials> {
        self.users.as_ref()?.credentials.as_ref()
    }

    pub(super) fn key_credentials(&self) -> Option<&Credentials> {
        self.keys.as_ref().map(|(_, credentials)| credentials)
    }

    /// Whether code of the app gets to see the head before it is scrubbed.
    pub(crate) const fn shows_head(&self) -> bool {
        matches!(self.source, PolicySource::PerRequest(_)) || self.users.is_some()
    }

    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        self.all_credentials().for_each(|credentials| credentials.mark_sensitive(headers));
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
        policy.check_method(head, self.default_methods)
    }
}

/// For code of the app that looks at a refused request. Keys in places that no placement reads go as well, as far
/// as their format recognises them.
impl Scrub for AuthConfig {
    fn scrub(&self, head: &mut Parts) -> Result<(), ExtractError> {
        self.all_credentials().try_for_each(|credentials| credentials.scrub_outside_body(head))?;
        self.keys().map_or(Ok(()), |keys| keys.scrub(head))
    }
}

fn misconfigured(error: ConfigError) -> Rejection {
    Rejection::new(RejectionKind::Misconfigured).with_source(error)
}

/// Code of the app that takes part in a decision.
#[derive(Clone, Copy)]
pub(super) enum AppCode {
    Resolver,
    Authenticator,
    Limiter,
}

impl AppCode {
    pub(super) fn panicked(self) -> Rejection {
        Rejection::new(RejectionKind::Internal).with_source(match self {
            Self::Resolver => "the resolver panicked",
            Self::Authenticator => "the authenticator panicked",
            Self::Limiter => "the limiter panicked",
        })
    }

    fn too_slow(self) -> Rejection {
        Rejection::new(RejectionKind::Unavailable).with_source(match self {
            Self::Resolver => "the resolver did not answer within its deadline",
            Self::Authenticator => "the authenticator did not answer within its deadline",
            Self::Limiter => "the limiter did not answer within its deadline",
        })
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AuthConfig");
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
            .field("rate_limits", &self.rate_limits)
            .finish_non_exhaustive()
    }
}
