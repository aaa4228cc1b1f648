//! Requests, keys, services, and what a call of them costs.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::AllocationInfo;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use time::OffsetDateTime;
use tower::{Layer, Service};
use tower_webhook::auth::{Auth, AuthLayer};
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, KeyManager, KeyStore, KeyVerifier, NewKey, Owner, StoreError};
use tower_webhook::store::{LastUsedSink, MemoryKeyStore};

pub(crate) type Body = Full<Bytes>;

/// How many of 1000 calls allocate. The first ones may.
pub(crate) fn allocating(mut call: impl FnMut()) -> usize {
    (0..1000).for_each(|_| call());
    (0..1000).filter(|_| allocation_counter::measure(&mut call).count_total > 0).count()
}

/// Every count is at most what it may be.
#[track_caller]
pub(crate) fn no_more_than<const N: usize>(limits: [u64; N], counts: [u64; N]) {
    let within = counts.iter().zip(limits).all(|(count, limit)| *count <= limit);
    assert!(within, "{counts:?} and not {limits:?}");
}

/// Answers at once and allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Body::default())))
    }
}

/// A manager with one key, and the text of the key.
pub(crate) fn keys(store: impl KeyStore) -> (KeyManager, String) {
    let manager = KeyManager::new(store);
    let owner = Owner::new("ann").unwrap();
    let issued = wait(manager.generate(&owner, NewKey::new("test"))).unwrap();
    let text = issued.secret().expose_secret().to_owned();
    (manager, text)
}

/// A manager with so many keys.
pub(crate) fn many_keys(count: u32) -> KeyManager {
    let manager = KeyManager::new(MemoryKeyStore::new());
    let owners: Vec<_> =
        (0..100).map(|owner| Owner::new(format!("owner-{owner}")).unwrap()).collect();
    for index in 0..count as usize {
        let new = NewKey::new("test").with_all_scopes();
        wait(manager.generate(&owners[index % owners.len()], new)).unwrap();
    }
    manager
}

/// The inner service behind a key in `x-api-key`.
pub(crate) fn guarded(manager: &KeyManager) -> Auth<Inner> {
    layer(manager).layer(Inner)
}

pub(crate) fn layer(keys: impl Into<KeyVerifier>) -> AuthLayer {
    AuthLayer::token(keys, [Placement::header("x-api-key").unwrap()]).unwrap()
}

/// A request as a server makes it, which has put something into the extensions already.
pub(crate) fn request(key: Option<&str>) -> Request<Body> {
    let mut request = bare_request(key);
    request.extensions_mut().insert(1_u32);
    request.extensions_mut().insert(2_u64);
    request
}

pub(crate) fn bare_request(key: Option<&str>) -> Request<Body> {
    let mut request =
        Request::post("/hook/7?tag=a&dry=1").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    request.body(Body::default()).unwrap()
}

/// What the second call costs, without the making and the dropping of the request. A first call may fill
/// what is kept.
pub(crate) fn cost<S, B, R>(
    service: &mut S,
    mut make: impl FnMut() -> Request<B>,
    status: u16,
) -> AllocationInfo
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    drop(wait(service.call(make())));
    let request = make();
    let mut response = None;
    let info = allocation_counter::measure(|| response = Some(wait(service.call(request))));
    assert_eq!(response.unwrap().unwrap().status(), status);
    info
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Keeps nothing.
pub(crate) struct Nowhere;

#[async_trait]
impl LastUsedSink for Nowhere {
    async fn write(&self, _: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        Ok(())
    }
}
