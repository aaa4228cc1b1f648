//! Requests, the innermost service, and how one is sent to the other without a runtime.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use http::{Request, Response};
use tower::Service;

/// The innermost service: answers at once and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Body::empty())))
    }
}

/// The head of a GitHub delivery, with a credential where the case wants one.
#[must_use]
pub fn request(target: &str, credential: Option<(&str, &str)>) -> Request<Body> {
    request_with(target, credential, Body::empty())
}

/// The same, with a body.
#[must_use]
pub fn request_with<B>(target: &str, credential: Option<(&str, &str)>, body: B) -> Request<B> {
    let mut request = Request::post(target)
        .header("host", "example.com")
        .header("user-agent", "GitHub-Hookshot/abcdef0")
        .header("accept", "*/*")
        .header("content-type", "application/json")
        .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .header("x-github-event", "push")
        .header("x-github-hook-id", "292430182")
        .header("x-github-hook-installation-target-id", "79929171")
        .header("x-github-hook-installation-target-type", "repository")
        // A real server has put something there already.
        .extension(1_u32)
        .extension(2_u64);
    if let Some((name, value)) = credential {
        request = request.header(name, value);
    }
    request.body(body).expect("a request")
}

/// Requests with one header more, whose values take turns.
pub fn header(name: &'static str, values: Vec<String>) -> impl FnMut(usize) -> Request<Body> {
    move |index| request("/", Some((name, &values[index % values.len()])))
}

/// Requests to targets that take turns.
pub fn target(targets: Vec<String>) -> impl FnMut(usize) -> Request<Body> {
    move |index| request(&targets[index % targets.len()], None)
}

/// A text for each text.
pub fn each(texts: &[String], text: impl Fn(&str) -> String) -> Vec<String> {
    texts.iter().map(|own| text(own)).collect()
}

/// Calls a service whose future is ready at once.
pub fn call<S, B>(service: &mut S, request: Request<B>) -> S::Response
where
    S: Service<Request<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut cx).is_pending() {}
    match wait(service.call(request)) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Runs a future that needs no runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
