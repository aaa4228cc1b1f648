//! What auth costs, as ratios of cases measured side by side.
//!
//! ```text
//! cargo bench --bench ratios
//! cargo bench --bench ratios -- --check
//! ```
//!
//! Every case is visited for some milliseconds in turn, in shuffled order, many times over, so that a
//! slow phase of the machine falls on all of them. A row is the median of the paired differences
//! between a case and the bare inner service. The first row is the inner service against itself: if
//! that is not about zero, the machine is too busy to judge by.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use sha2::{Digest, Sha256};
use support::{Inner, by_hand, call, floor, keys, ours, request, static_bearer};
use tower_webhook::credential::Placement;

const BATCH: usize = 64;
const VISITS: usize = 60;
const VISIT: Duration = Duration::from_millis(3);

/// One way to answer a request. The closure answers a batch and returns how long that took.
struct Case {
    name: &'static str,
    batch: Box<dyn FnMut() -> Duration>,
    /// Nanoseconds per request, one number per visit.
    visits: Vec<f64>,
}

fn case<S, F>(name: &'static str, mut service: S, mut make: F) -> Case
where
    S: tower::Service<Request<Body>, Error = std::convert::Infallible> + 'static,
    F: FnMut(usize) -> Request<Body> + 'static,
{
    let mut requests = Vec::with_capacity(BATCH);
    let mut responses = Vec::with_capacity(BATCH);
    let mut count = 0;
    let batch = move || {
        requests.extend((0..BATCH).map(|index| make(count + index)));
        count += BATCH;
        let start = Instant::now();
        for request in requests.drain(..) {
            responses.push(call(&mut service, request));
        }
        let elapsed = start.elapsed();
        responses.clear();
        elapsed
    };
    Case { name, batch: Box::new(batch), visits: Vec::new() }
}

impl Case {
    fn visit(&mut self) {
        let start = Instant::now();
        let mut batches = Vec::new();
        while start.elapsed() < VISIT || batches.len() < 9 {
            batches.push((self.batch)().as_nanos() as f64 / BATCH as f64);
        }
        // What comes first warms the caches after the case before.
        let mut batches = batches.split_off(batches.len() / 3);
        self.visits.push(median(&mut batches));
    }

    fn median(&self) -> f64 {
        median(&mut self.visits.clone())
    }

    /// The median of what this case takes longer than another one, visit by visit.
    fn over(&self, floor: &Self) -> f64 {
        let pairs = self.visits.iter().zip(&floor.visits);
        median(&mut pairs.map(|(own, floor)| own - floor).collect::<Vec<_>>())
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn digest_case() -> Case {
    let text = "1".repeat(55);
    let batch = move || {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(Sha256::digest(black_box(text.as_bytes())));
        }
        start.elapsed()
    };
    Case { name: "one SHA-256 of a key", batch: Box::new(batch), visits: Vec::new() }
}

fn main() {
    // `cargo test --benches` runs every bench once, to see that it works.
    let is_test = env::args().any(|argument| argument == "--test");
    let is_check = env::args().any(|argument| argument == "--check");
    let visits = if is_test { 1 } else { VISITS };

    let (manager, texts) = keys(100);
    let header = |texts: &[String]| {
        let texts = texts.to_vec();
        move |index: usize| request("/", Some(("x-api-key", &texts[index % texts.len()])))
    };
    let bearer = |texts: &[String]| {
        let values: Vec<_> = texts.iter().map(|text| format!("Bearer {text}")).collect();
        move |index: usize| request("/", Some(("authorization", &values[index % values.len()])))
    };
    let query = {
        let targets: Vec<_> = texts.iter().map(|text| format!("/?a=1&b=2&key={text}")).collect();
        move |index: usize| request(&targets[index % targets.len()], None)
    };
    let x_api_key = || Placement::header("x-api-key").expect("a name");
    let wrong: Vec<_> =
        texts.iter().map(|text| format!("{}{}", &text[..text.len() - 6], "000000")).collect();
    let hand_keys: Vec<_> = (0..100).map(|index| format!("k{index}_{}", "s".repeat(40))).collect();

    let mut cases = vec![
        case("inner service alone", Inner, header(&texts)),
        case("inner service again (A/A)", Inner, header(&texts)),
        digest_case(),
        case("tower-http static bearer", static_bearer("k"), |_| {
            request("/", Some(("authorization", "Bearer k")))
        }),
        case("axum from_fn by hand", by_hand(&hand_keys), bearer(&hand_keys)),
        case("by hand, one function", floor::Floor::new(&texts), header(&texts)),
        case("ours: header", ours(&manager, x_api_key()), header(&texts)),
        case("ours: bearer", ours(&manager, Placement::bearer()), bearer(&texts)),
        case("ours: query", ours(&manager, Placement::query("key").expect("a name")), query),
        case("ours: missing", ours(&manager, x_api_key()), |_| request("/", None)),
        case("ours: junk", ours(&manager, x_api_key()), header(&wrong)),
    ];
    for visit in 0..visits {
        // A rotation by a step that shares no factor with the length is a shuffle that needs no generator.
        for step in 0..cases.len() {
            let index = (step * 7 + visit * 3) % cases.len();
            cases[index].visit();
        }
    }

    let floor = &cases[0];
    let find = |name: &str| cases.iter().find(|case| case.name == name).expect("a case");
    let digest = find("one SHA-256 of a key").median();
    println!("{:<30} {:>9} {:>9} {:>7}", "", "ns", "over", "x D");
    for case in &cases {
        let over = case.over(floor);
        println!("{:<30} {:>9.0} {over:>9.0} {:>7.2}", case.name, case.median(), over / digest);
    }

    let ours = find("ours: header");
    let goals = [
        ("P1  header key over the inner service, in D", ours.over(floor) / digest, 2.5),
        (
            "P2  whole call against the static bearer",
            ours.median() / find("tower-http static bearer").median(),
            1.6,
        ),
        (
            "P3  added cost against from_fn by hand",
            ours.over(floor) / find("axum from_fn by hand").over(floor),
            0.35,
        ),
        (
            "    junk against an accepted request",
            find("ours: junk").over(floor) / ours.over(floor),
            0.5,
        ),
    ];
    println!();
    let mut failed = false;
    for (name, reached, goal) in goals {
        let verdict = if reached <= goal { "reached" } else { "missed" };
        failed |= reached > goal;
        println!("{name:<46} {reached:>6.2} of {goal:>5.2} {verdict}");
    }
    let noise = (find("inner service again (A/A)").over(floor) / floor.median()).abs();
    if is_check && noise > 0.05 {
        println!("the inner service differs from itself by {:.0} %: no verdict", noise * 100.0);
        std::process::exit(2);
    }
    if is_check && failed {
        std::process::exit(1);
    }
}
