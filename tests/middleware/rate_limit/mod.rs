//! Limits on the calls of a caller.

mod buckets;
mod faults;
mod fields;
mod governor;
mod order;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::rate_limit::{
    Decision, Limit, MemoryRateLimiter, Quota, RateLimiter, RateLimits,
};
use tower_webhook::{BoxError, RequestHead};

use crate::support::{Keys, Logins, Recorder, scope};

/// How a [`Spy`] answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Answer {
    /// At once.
    #[default]
    Ready,
    /// After having been pending once.
    Later,
    Error,
    /// With no state at all.
    Nothing,
    Hang,
    Panic,
    /// Panics in the fast path.
    PanicNow,
}

/// A limiter in memory that keeps the names of the buckets, and misbehaves on demand. Clones share everything.
#[derive(Clone, Default)]
struct Spy {
    memory: Arc<MemoryRateLimiter>,
    answer: Arc<Mutex<Answer>>,
    buckets: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    fn answers(self, answer: Answer) -> Self {
        *self.answer.lock().unwrap() = answer;
        self
    }

    /// The buckets of the calls since the last time, those of one call with a blank between them.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.buckets.lock().unwrap())
    }

    fn keep(&self, limits: &[Limit<'_>]) {
        let names: Vec<_> = limits.iter().map(Limit::bucket).collect();
        self.buckets.lock().unwrap().push(names.join(" "));
    }
}

#[async_trait]
impl RateLimiter for Spy {
    async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
        self.keep(limits);
        let answer = *self.answer.lock().unwrap();
        match answer {
            Answer::Error => return Err("no route to 10.0.0.1".into()),
            Answer::Nothing => return Ok(Decision::new([])),
            Answer::Hang => std::future::pending().await,
            Answer::Panic => panic!("the limiter panicked"),
            Answer::Ready | Answer::Later | Answer::PanicNow => tokio::task::yield_now().await,
        }
        self.memory.check(limits).await
    }

    fn check_ready(&self, limits: &[Limit<'_>]) -> Option<Result<Decision, BoxError>> {
        let answer = *self.answer.lock().unwrap();
        match answer {
            Answer::Ready => {
                self.keep(limits);
                self.memory.check_ready(limits)
            }
            Answer::PanicNow => panic!("the limiter panicked"),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    WithBuffer,
    Hooks,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::WithBuffer, Kind::Hooks];

/// Five at once, then one each 12 seconds.
fn five() -> Quota {
    Quota::new(5, Duration::from_secs(12)).unwrap()
}

fn one() -> Quota {
    Quota::new(1, Duration::from_secs(60)).unwrap()
}

fn limits(spy: &Spy) -> RateLimits {
    RateLimits::new(spy.clone()).with_default_quota(five())
}

/// `POST /deploy` needs the scope `deploy`, `/admin` the scope `admin`, `/once` has a limit of its own, `/user` needs
/// a user, `/both` both, `/any` one of them; `/public` is public, `/probe` has probes.
fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    let post = |policy: Policy| policy.with_methods([Method::POST]);
    Some(match head.uri().path() {
        "/deploy" => post(Policy::token()).with_hook("deploy").with_scope(scope("deploy")),
        "/admin" => post(Policy::token()).with_hook("admin").with_scope(scope("admin")),
        "/once" => post(Policy::token()).with_hook("once").with_rate_limit(one()),
        "/user" => post(Policy::user()),
        "/both" => post(Policy::all_of([Policy::token(), Policy::user()])),
        "/any" => post(Policy::any_of([Policy::token(), Policy::user()])),
        "/public" => post(Policy::public()),
        "/probe" => post(Policy::token()).with_probe([Method::HEAD]),
        _ => return None,
    })
}

fn layer(keys: &Keys) -> AuthLayer {
    let for_keys = [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::query("token").unwrap(),
    ];
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, for_keys)
        .unwrap()
        .with_authenticator(Logins, [Placement::cookie("session").unwrap()])
        .unwrap()
}

fn limited(keys: &Keys, spy: &Spy) -> AuthLayer {
    layer(keys).with_rate_limits(limits(spy)).unwrap()
}

fn post(path: &str, key: &str) -> Request<Full<Bytes>> {
    Request::post(path).header("x-api-key", key).body(Full::default()).unwrap()
}

async fn call<B>(kind: Kind, auth: &AuthLayer, request: Request<B>) -> Response<Bytes>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + std::fmt::Debug,
{
    let (auth, inner) = (auth.clone(), Recorder::default());
    match kind {
        Kind::Plain => whole(auth.layer(inner).oneshot(request).await.unwrap()).await,
        Kind::WithBuffer => {
            let service =
                auth.with_buffer(BodyBufferLayer::new().with_max_bytes(1024)).layer(inner);
            whole(service.oneshot(request).await.unwrap()).await
        }
        Kind::Hooks => {
            let run = |_: Invocation| std::future::ready(Outcome::json("done"));
            let hooks = Hooks::new(auth, run).with_max_body_bytes(1024);
            whole(hooks.oneshot(request).await.unwrap()).await
        }
    }
}

async fn whole<B>(response: Response<B>) -> Response<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn status(auth: &AuthLayer, request: Request<Full<Bytes>>) -> u16 {
    call(Kind::Plain, auth, request).await.status().as_u16()
}
