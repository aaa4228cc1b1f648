//! What the benches have in common: one request, one inner service, and the ways to guard it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum::middleware::from_fn_with_state;
use http::{Request, Response};
use sha2::{Digest, Sha256};
use tower::{Layer, Service};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyManager, MemoryKeyStore, NewKey, Owner};

pub(crate) mod floor;

#[allow(dead_code)]
#[path = "../../examples/from_fn.rs"]
mod from_fn;

/// The innermost service: answers at once and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inner;

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Body::empty())))
    }
}

/// The head of a GitHub delivery, with a credential where the case wants one.
pub(crate) fn request(target: &str, credential: Option<(&str, &str)>) -> Request<Body> {
    let mut request = Request::post(target)
        .header("host", "example.com")
        .header("user-agent", "GitHub-Hookshot/abcdef0")
        .header("content-length", "8459")
        .header("accept", "*/*")
        .header("content-type", "application/json")
        .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .header("x-github-event", "push")
        .header("x-github-hook-id", "292430182")
        .header("x-github-hook-installation-target-type", "repository")
        // A real server has put something there already.
        .extension(1_u32)
        .extension(2_u64);
    if let Some((name, value)) = credential {
        request = request.header(name, value);
    }
    request.body(Body::empty()).unwrap_or_default()
}

/// Calls a service whose future is ready at once.
pub(crate) fn call<S>(service: &mut S, request: Request<Body>) -> S::Response
where
    S: Service<Request<Body>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if service.poll_ready(&mut cx).is_ready() {
            break;
        }
    }
    let mut future = pin!(service.call(request));
    loop {
        if let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) {
            return response;
        }
    }
}

/// Runs a future that needs no runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// A manager over a memory store with so many keys, and the texts of the first hundred.
pub(crate) fn keys(count: usize) -> (KeyManager, Vec<String>) {
    let manager = KeyManager::new(MemoryKeyStore::new());
    let mut texts = Vec::new();
    for index in 0..count {
        let owner = Owner::new(format!("owner-{}", index % 1000)).expect("an owner");
        let issued = wait(manager.generate(&owner, NewKey::new("bench"))).expect("a key");
        if texts.len() < 100 {
            texts.push(issued.secret().expose_secret().to_owned());
        }
    }
    (manager, texts)
}

/// Our layer with one placement.
pub(crate) fn ours(manager: &KeyManager, placement: Placement) -> tower_webhook::auth::Auth<Inner> {
    AuthLayer::token(manager, [placement]).expect("a layer").layer(Inner)
}

/// axum's `from_fn` with the same work: the function of `examples/from_fn.rs`.
pub(crate) fn by_hand(
    keys: &[String],
) -> impl Service<Request<Body>, Response = axum::response::Response, Error = Infallible> + Clone + use<>
{
    let keys: HashMap<_, _> = keys
        .iter()
        .map(|key| {
            let id = key.split('_').next().unwrap_or_default().to_owned();
            (id, (Sha256::digest(key).into(), "owner-1".to_owned()))
        })
        .collect();
    from_fn_with_state(Arc::new(from_fn::Keys(keys)), from_fn::require_key).layer(Inner)
}

/// tower-http's static bearer token, which it has deprecated as too basic for real use.
#[allow(deprecated)]
pub(crate) fn static_bearer(
    token: &str,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    tower_http::validate_request::ValidateRequestHeaderLayer::bearer(token).layer(Inner)
}
