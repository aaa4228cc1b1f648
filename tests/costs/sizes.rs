//! How large response futures are, and what a key takes in memory.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};
use tower_webhook::rejection::ResponseBody;
use tower_webhook::store::MemoryKeyStore;

use crate::support::{Body, Inner, keys, layer, many_keys, request};

type Answer = Result<Response<Body>, Infallible>;

/// A service whose future has so many bytes more.
#[derive(Clone, Copy)]
struct Padded<const BYTES: usize>;

struct PaddedFuture<const BYTES: usize>(Ready<Answer>, [u8; BYTES]);

impl<const BYTES: usize> Future for PaddedFuture<BYTES> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.1[BYTES - 1] = 1;
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<const BYTES: usize> Service<Request<Body>> for Padded<BYTES> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = PaddedFuture<BYTES>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        PaddedFuture(ready(Ok(Response::new(Body::default()))), [0; BYTES])
    }
}

/// A service whose future is boxed.
#[derive(Clone, Copy)]
struct Boxed;

impl Service<Request<Body>> for Boxed {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        Box::pin(ready(Ok(Response::new(Body::default()))))
    }
}

/// How many bytes the future of the layer has beyond the larger of the inner future and the response.
fn added<S>(mut inner: S) -> usize
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let (manager, text) = keys(MemoryKeyStore::new());
    let own =
        size_of_val(&inner.call(request(None))).max(size_of::<Response<ResponseBody<Body>>>());
    let mut service = layer(&manager).layer(inner);
    let accepted = size_of_val(&service.call(request(Some(&text))));
    accepted - own
}

#[test]
fn a_response_future_is_hardly_larger_than_what_it_holds() {
    assert!(added(Inner) <= 32, "{}", added(Inner));
    assert!(added(Boxed) <= 32, "{}", added(Boxed));
    assert!(added(Padded::<100>) <= 32, "{}", added(Padded::<100>));
    assert!(added(Padded::<1000>) <= 32, "{}", added(Padded::<1000>));
}

/// What the allocator adds is not counted.
#[test]
fn a_key_in_memory_takes_at_most_350_bytes() {
    // The map doubles: it is as full as it is with a million keys.
    const COUNT: u32 = 1_000_000 / 64;
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        kept = Some(many_keys(COUNT));
    });
    drop(kept);

    let bytes = info.bytes_current / i64::from(COUNT);
    assert!(bytes <= 350, "{bytes}");
}
