//! A loop for each case, whose instructions `.ci/instructions` counts.
//!
//! ```text
//! cargo bench --bench instructions -- list
//! cargo bench --bench instructions -- CASE TIMES
//! ```
//!
//! Everything is made before the loop, so that nothing but
//! the calls and their responses is in it.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::env;
use std::hint::black_box;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use support::guards::{ours, x_api_key};
use support::keys::{junk, keys};
use support::payload;
use support::requests::{Inner, call, request};
use tower::{Layer, Service};
use tower_webhook::auth::AuthLayer;
use tower_webhook::content::{self, ContentLimits, MediaType};
use tower_webhook::credential::Placement;
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};

/// Makes what a case needs for so many calls, and makes the calls.
type Run = fn(usize);

const CASES: [(&str, Run); 8] = [
    ("inner-service", |times| answer(times, Inner, || request("/", None))),
    ("header-accepted", |times| {
        let (manager, texts) = keys(1);
        answer(times, ours(&manager, x_api_key()), || header(&texts[0]));
    }),
    ("header-missing", |times| {
        let (manager, _) = keys(1);
        answer(times, ours(&manager, x_api_key()), || request("/", None));
    }),
    ("header-junk", |times| {
        let (manager, texts) = keys(1);
        let junk = junk(&texts);
        answer(times, ours(&manager, x_api_key()), || header(&junk[0]));
    }),
    ("public", |times| {
        answer(times, AuthLayer::public().layer(Inner), || request("/", None));
    }),
    ("query-accepted", |times| {
        let (manager, texts) = keys(1);
        let target = format!("/?a=1&b=2&key={}", texts[0]);
        let placement = Placement::query("key").expect("a name");
        answer(times, ours(&manager, placement), || request(&target, None));
    }),
    ("body-key-8-KiB", |times| {
        let body = Bytes::from(payload::json("k1", 8 * 1024));
        let limits = ContentLimits::new();
        let find = |()| content::find_field(&MediaType::Json, &body, "api_key", &limits).is_ok();
        repeat(vec![(); times], find);
    }),
    ("envelope-8-KiB", |times| {
        let (head, _) = request("/hook/7?tag=a&dry=1", None).into_parts();
        let body = Bytes::from(payload::json("k1", 8 * 1024));
        let builder = EnvelopeBuilder::new();
        let build = |()| builder.build(&EnvelopeInput::new(&head, &body)).expect("an envelope");
        repeat(vec![(); times], build);
    }),
];

fn main() {
    // `cargo bench` adds a flag of its own.
    let arguments: Vec<String> =
        env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    match &arguments[..] {
        [name, times] => {
            let times = times.parse().expect("the second argument is a number");
            let case = CASES.iter().find(|(other, _)| other == name);
            let (_, run) = case.expect("the first argument is the name of a case");
            run(times);
        }
        [list] if list == "list" => CASES.iter().for_each(|(name, _)| println!("{name}")),
        _ => println!("instructions are counted by .ci/instructions"),
    }
}

fn header(text: &str) -> Request<Body> {
    request("/", Some(("x-api-key", text)))
}

fn answer<S, R>(times: usize, mut service: S, make: impl Fn() -> Request<Body>)
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible>,
{
    let requests = (0..times).map(|_| make()).collect();
    repeat(requests, |request| call(&mut service, request));
}

/// What is counted: the script knows this function by its name.
#[inline(never)]
fn repeat<I, T>(inputs: Vec<I>, mut work: impl FnMut(I) -> T) {
    for input in inputs {
        black_box(work(black_box(input)));
    }
}
