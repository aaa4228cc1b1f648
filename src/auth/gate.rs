//! What a layer knows beforehand, apart from the service that it is put around: what [`Auth`](super::Auth) and
//! [`Hooks`](crate::executor::Hooks) share.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method};

use super::authenticator::Authenticator;
use super::policy::{Access, Policy};
use super::resolver::{BoxError, Resolver};
use crate::config::ConfigError;
use crate::credential::Credentials;
use crate::head::RequestHead;
use crate::key::KeyVerifier;
use crate::rejection::{Challenges, Rejection, RejectionKind, Respond};
use crate::timer::{SystemTimer, Timer};

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
    pub(super) fn patience(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
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
