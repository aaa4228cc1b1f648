//! The crate's side: keys, users and services, built from the descriptions in `cases`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::runtime::{Builder, Runtime};
use tower::util::{BoxCloneService, MapRequestLayer, MapResponseLayer};
use tower::{Layer as _, Service, service_fn};
use tower_webhook::BoxError;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, PolicyResolver, User};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Credentials, Placement, PresentedCredential};
use tower_webhook::drain::DrainLayer;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyId, KeyManager, KeyVerifier, NewKey, Owner, Scope, Scopes};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::{Clock, ConfigError, RequestHead};

use crate::cases::{
    self, Access, Call, Condition, Key, Layer, List, Place, Ring, Secret, Source, Stack,
};
use crate::support::{Mode, TestStore};
use crate::wire;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Inner = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// What a request came to.
pub(crate) struct Outcome {
    pub(crate) response: Response<Bytes>,
    /// `Debug` of the response.
    pub(crate) debug: String,
    /// The requests that the inner service was called with.
    pub(crate) seen: Vec<Request<Bytes>>,
}

/// Two rings of keys.
pub(crate) struct World {
    ready: RingOfKeys,
    later: RingOfKeys,
}

struct RingOfKeys {
    manager: KeyManager,
    verifier: KeyVerifier,
    keys: Vec<(Key, KeyId, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { ready: RingOfKeys::new(Ring::Ready), later: RingOfKeys::new(Ring::Later) }
    }

    fn ring(&self, ring: Ring) -> &RingOfKeys {
        match ring {
            Ring::Ready => &self.ready,
            Ring::Later => &self.later,
        }
    }

    /// The text of a secret.
    pub(crate) fn text(&self, secret: Secret) -> String {
        match secret {
            Secret::Key(ring, key) => self.ring(ring).key(key).2.clone(),
            Secret::Mistyped(ring) => {
                let mut text = self.ring(ring).key(Key::Alice).2.clone();
                let last = text.pop().unwrap();
                text.push(if last == '0' { '1' } else { '0' });
                text
            }
            Secret::Password(cases::Owner::Alice) => "password-of-alice".to_owned(),
            Secret::Password(cases::Owner::Bob) => "password-of-bob".to_owned(),
            Secret::Guess => "guess".to_owned(),
            Secret::Empty => String::new(),
            Secret::Redacted => "redacted".to_owned(),
        }
    }

    pub(crate) fn key_id(&self, (ring, key): (Ring, Key)) -> &KeyId {
        &self.ring(ring).key(key).1
    }

    /// Sends requests to a stack.
    pub(crate) fn run(&self, stack: &Stack, calls: &[Call]) -> Vec<Outcome> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let debug = Arc::new(Mutex::new(String::new()));
        let service = self.service(stack, &seen, &debug);
        let run = |call: &Call| {
            let request = wire::request(call, &|secret| self.text(secret));
            let request = request.map(|bytes| boxed(Full::new(bytes)));
            let response = block_on(async {
                let response = service.clone().call(request).await.unwrap();
                let (parts, body) = response.into_parts();
                Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
            });
            let seen = std::mem::take(&mut *seen.lock().unwrap());
            Outcome { response, debug: std::mem::take(&mut *debug.lock().unwrap()), seen }
        };
        let outcomes = calls.iter().map(run).collect();
        if stack.drain_outside {
            RUNTIME.block_on(tokio::task::yield_now());
        }
        outcomes
    }

    fn service(
        &self,
        stack: &Stack,
        seen: &Arc<Mutex<Vec<Request<Bytes>>>>,
        debug: &Arc<Mutex<String>>,
    ) -> Inner {
        let seen = Arc::clone(seen);
        let mut service = BoxCloneService::new(service_fn(move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                seen.lock().unwrap().push(Request::from_parts(parts, bytes));
                Ok(Response::new(boxed(Full::from("inside"))))
            }
        }));
        if stack.buffer_inside {
            service = buffered(service);
        }
        for layer in stack.layers.iter().rev() {
            let auth = self.layer(layer).expect("a layer that can be configured");
            let debug = Arc::clone(debug);
            service = if layer.with_buffer {
                let auth = auth.with_buffer(BodyBufferLayer::new());
                BoxCloneService::new(
                    MapResponseLayer::new(move |response| shown(response, &debug))
                        .layer(auth.layer(unboxing().layer(service))),
                )
            } else {
                BoxCloneService::new(
                    MapResponseLayer::new(move |response| shown(response, &debug))
                        .layer(auth.layer(service)),
                )
            };
            if layer.buffer_outside {
                service = buffered(service);
            }
        }
        if stack.drain_outside {
            let layer = DrainLayer::new();
            service = BoxCloneService::new(layer.layer(unboxing().layer(service)));
        }
        service
    }

    fn layer(&self, layer: &Layer) -> Result<AuthLayer, ConfigError> {
        let auth = match &layer.source {
            Source::Fixed(policy) => AuthLayer::new(self.policy(policy))?,
            Source::PerRequest { hooks, later } => {
                let hooks = hooks.iter().map(|hook| hook.as_ref().map(|hook| self.policy(hook)));
                AuthLayer::per_request(Hooks { hooks: hooks.collect(), later: *later })
            }
        };
        let mut auth = auth;
        if let Some(keys) = &layer.keys {
            auth = auth.with_keys(self.verifier(keys.ring), credentials(&keys.list)?)?;
            if keys.own_clock {
                auth = auth.with_clock(Clock::from_fn(|| NOW));
            }
        }
        if let Some(users) = &layer.users {
            let authenticator = Users { later: users.later };
            auth = match users.list.places.is_empty() {
                true => auth.with_authenticator(authenticator, [])?,
                false => auth.with_authenticator(authenticator, credentials(&users.list)?)?,
            };
        }
        if !layer.stripped.is_empty() {
            auth = auth.with_removed(layer.stripped.iter().map(placement))?;
        }
        if let Some(scope) = layer.scope {
            auth = auth.with_scope(self::scope(scope))?;
        }
        if let Some(owner) = layer.owner {
            auth = auth.with_owner(self::owner(owner))?;
        }
        if layer.preflight {
            auth = auth.with_preflight_passed_on();
        }
        Ok(if layer.concealed { auth.with_uniform_unauthorized() } else { auth })
    }

    fn verifier(&self, ring: Ring) -> KeyVerifier {
        match ring {
            // Each layer asks the manager.
            Ring::Ready => (&self.ready.manager).into(),
            // Each layer has a clone of one verifier.
            Ring::Later => self.later.verifier.clone(),
        }
    }

    fn policy(&self, policy: &cases::Policy) -> Policy {
        let mut made = match policy.access {
            Access::Public => Policy::public(),
            Access::Token => Policy::token(),
            Access::User => Policy::user(),
            Access::AnyOf => Policy::any_of([Policy::token(), Policy::user()]),
            Access::AllOf => Policy::all_of([Policy::user(), Policy::token()]),
        };
        if let Some(methods) = &policy.methods {
            made = made.with_methods(methods.iter().map(|method| wire::method(*method)));
        }
        if !policy.probes.is_empty() {
            made = made.with_probe(policy.probes.iter().map(|method| wire::method(*method)));
        }
        if policy.without_body {
            made = made.without_body();
        }
        for asked in &policy.scopes {
            made = made.with_scope(scope(*asked));
        }
        if let Some(asked) = policy.owner {
            made = made.with_owner(owner(asked));
        }
        match policy.key {
            Some(key) => made.with_key(self.key_id(key).clone()),
            None => made,
        }
    }
}

impl RingOfKeys {
    fn new(ring: Ring) -> Self {
        let at = |time: OffsetDateTime| Clock::from_fn(move || time);
        let manager = match ring {
            Ring::Ready => KeyManager::new(MemoryKeyStore::new()),
            Ring::Later => KeyManager::new(TestStore::new(Mode::Later)),
        };
        let manager = manager.with_clock(at(NOW));
        let verifier = manager.verifier();
        let keys = Key::ALL.map(|key| {
            let manager = match key {
                Key::Expired => manager.clone().with_clock(at(NOW - time::Duration::days(1))),
                _ => manager.clone(),
            };
            let scopes = match key {
                Key::Narrow => Scopes::new([scope(cases::Scope::A)]),
                _ => Scopes::new([scope(cases::Scope::A), scope(cases::Scope::B)]),
            };
            let owner =
                owner(if key == Key::Bob { cases::Owner::Bob } else { cases::Owner::Alice });
            let draft = NewKey::new("key").with_scopes(scopes).with_disabled(key == Key::Disabled);
            let draft = match key {
                Key::Expired => draft.with_expires_in(time::Duration::hours(1)),
                _ => draft,
            };
            block_on(async {
                let issued = manager.generate(&owner, draft).await.unwrap();
                let id = issued.record().id().clone();
                if key == Key::Revoked {
                    manager.revoke(&owner, &id).await.unwrap();
                }
                (key, id, issued.secret().expose_secret().to_owned())
            })
        });
        Self { manager, verifier, keys: keys.into() }
    }

    fn key(&self, key: Key) -> &(Key, KeyId, String) {
        self.keys.iter().find(|(other, ..)| *other == key).unwrap()
    }
}

/// The caller, as the inner service sees it: the owner, the key, and the key that a user has proven beside.
pub(crate) fn caller(request: &Request<Bytes>) -> Option<(String, Option<KeyId>, Option<KeyId>)> {
    let identity = Identity::of(request.extensions()).expect("an auth layer has seen the request");
    identity.map(|identity| {
        let also = identity.also_proven().and_then(Identity::key_id);
        (identity.owner().as_str().to_owned(), identity.key_id().cloned(), also.cloned())
    })
}

fn credentials(list: &List) -> Result<Credentials, ConfigError> {
    let placements = list.places.iter().map(|(place, condition)| match condition {
        Condition::Always => placement(place),
        Condition::Reading => placement(place)
            .only_if(|head| matches!(*head.method(), http::Method::GET | http::Method::HEAD)),
        Condition::LoggedIn => {
            placement(place).only_if(|head| head.headers().contains_key(wire::SESSION))
        }
    });
    let credentials = Credentials::new(placements)?;
    Ok(match list.merges_copies {
        true => credentials.with_insecure_equal_copies(),
        false => credentials,
    })
}

fn placement(place: &Place) -> Placement {
    let placement = match place {
        Place::Header => Placement::header(wire::HEADER),
        Place::OtherHeader => Placement::header(wire::OTHER_HEADER),
        Place::Bearer => Ok(Placement::bearer()),
        Place::Basic => Ok(Placement::basic()),
        Place::Scheme => Placement::authorization(wire::SCHEME),
        Place::WebSocket => Ok(Placement::websocket_protocol()),
        Place::Cookie => Placement::cookie(wire::COOKIE_NAME),
        Place::Query => Placement::query(wire::PARAMETER),
        Place::Path => Placement::path(wire::TEMPLATE),
        Place::Body => Placement::body(wire::FIELD),
    };
    placement.unwrap()
}

pub(crate) fn owner_name(owner: cases::Owner) -> &'static str {
    match owner {
        cases::Owner::Alice => "alice",
        cases::Owner::Bob => "bob",
    }
}

fn owner(owner: cases::Owner) -> Owner {
    Owner::new(owner_name(owner)).unwrap()
}

fn scope(scope: cases::Scope) -> Scope {
    let name = match scope {
        cases::Scope::A => "a",
        cases::Scope::B => "b",
    };
    Scope::new(name).unwrap()
}

fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A layer for a service that is called with other bodies than its own.
fn unboxing<B>() -> MapRequestLayer<fn(Request<B>) -> Request<Body>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    MapRequestLayer::new(|request: Request<B>| request.map(boxed))
}

fn buffered(service: Inner) -> Inner {
    let service = BodyBufferLayer::new().layer(unboxing().layer(service));
    let boxing = MapResponseLayer::new(|response: Response<_>| response.map(boxed));
    BoxCloneService::new(boxing.layer(service))
}

/// Keeps what the outermost layer's response shows of itself.
fn shown<B>(response: Response<B>, debug: &Mutex<String>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + std::fmt::Debug + Send + 'static,
    B::Error: Into<BoxError>,
{
    *debug.lock().unwrap() = format!("{response:?}");
    response.map(boxed)
}

/// Deadlines are set here and never reached: only the tasks that read the rest of a body are driven.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// Polls a future that never waits for anything but itself.
fn block_on<F: Future>(future: F) -> F::Output {
    let _entered = RUNTIME.enter();
    let mut future = pin!(future);
    for _ in 0..1_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("the request is not answered");
}

/// Pending once.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

struct Hooks {
    hooks: Vec<Option<Policy>>,
    later: bool,
}

impl Hooks {
    fn find(&self, head: RequestHead<'_>) -> Option<Policy> {
        let hook = head.headers().get(wire::HOOK)?.to_str().ok()?;
        self.hooks[hook.parse::<usize>().ok()?].clone()
    }
}

#[async_trait]
impl PolicyResolver for Hooks {
    async fn resolve(&self, head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        yield_now().await;
        Ok(self.find(head))
    }

    fn resolve_ready(&self, head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        (!self.later).then(|| Ok(self.find(head)))
    }
}

struct Users {
    later: bool,
}

#[async_trait]
impl Authenticator for Users {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        if self.later {
            yield_now().await;
        }
        let session = head.headers().get(wire::SESSION).and_then(|value| value.to_str().ok());
        let presented = candidate.map(PresentedCredential::expose_text);
        let alice = User::new(owner(cases::Owner::Alice));
        let bob = User::new(owner(cases::Owner::Bob));
        let bob = bob.with_scopes(Scopes::new([scope(cases::Scope::A)]));
        Ok(match (presented, session) {
            (Some(Some("password-of-alice")), _) | (None, Some("alice")) => {
                Authentication::Accepted(alice)
            }
            (Some(Some("password-of-bob")), _) | (None, Some("bob")) => {
                Authentication::Accepted(bob)
            }
            (Some(_), _) | (None, Some(_)) => Authentication::Refused,
            (None, None) => Authentication::Missing,
        })
    }
}
