//! Model-based test: random stacks of layers and random requests, against a model of status, identity and removal.
//!
//! `MODEL_STACKS` sets how many stacks are tried, and `MODEL_SEED` the first of them: a failure prints both.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod cases;
mod model;
mod random;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod wire;
mod world;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::key::{KeyId, Owner, Scope};

use self::cases::{Call, Caller, Secret, Stack};
use self::model::Answer;
use self::random::Random;
use self::world::{Outcome, World};

/// Debug builds are slower.
const STACKS: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
const CALLS: usize = 4;
/// Seeds of stacks that did something else once.
const FOUND: [u64; 1] = [1928475497054932193];

#[test]
fn every_stack_does_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let stacks = number("MODEL_STACKS").unwrap_or(STACKS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = number("MODEL_SEED").unwrap_or(now.as_secs() << 30);
    let world = World::new();
    let mut inside = 0;
    let seeds = (0..stacks).map(|index| first.wrapping_add(index));
    for seed in FOUND.into_iter().chain(seeds) {
        match catch_unwind(AssertUnwindSafe(|| check_stack(&world, seed))) {
            Ok(count) => inside += count,
            Err(panic) => {
                println!("run it again with MODEL_SEED={seed} MODEL_STACKS=1");
                resume_unwind(panic);
            }
        }
    }
    let calls = (stacks + FOUND.len() as u64) * CALLS as u64;
    println!("{stacks} stacks from seed {first}: {inside} of {calls} requests were let in");
    // A model that refuses everything would agree with a crate that does.
    assert!(stacks < 1_000 || inside > calls / 10);
}

/// What a layer is asked for and cannot keep is an error when it is made.
#[test]
fn a_layer_that_cannot_keep_its_settings_is_not_made() {
    let (scope, owner) = (Scope::new("a").unwrap(), Owner::new("alice").unwrap());
    let key = KeyId::new("k1").unwrap();
    let public = Policy::public();

    assert!(AuthLayer::public().with_scope(scope.clone()).is_err());
    assert!(AuthLayer::public().with_owner(owner.clone()).is_err());
    assert!(AuthLayer::new(public.clone().with_scope(scope.clone())).is_err());
    assert!(AuthLayer::new(public.clone().with_owner(owner.clone())).is_err());
    assert!(AuthLayer::new(public.with_key(key.clone())).is_err());
    assert!(AuthLayer::new(Policy::user().with_key(key.clone())).is_err());

    let token = Policy::token().with_scope(scope).with_owner(owner).with_key(key);
    assert!(AuthLayer::new(token.with_methods([Method::POST])).is_ok());
}

/// Runs one stack. How many requests were let in.
fn check_stack(world: &World, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let stack = random.stack();
    let calls: Vec<Call> = (0..CALLS).map(|_| random.call(&stack)).collect();
    let outcomes = world.run(&stack, &calls);
    let mut concealed = HashMap::new();
    let mut inside = 0;
    for (call, outcome) in calls.iter().zip(&outcomes) {
        let answer = model::answer(&stack, call);
        let checked = catch_unwind(AssertUnwindSafe(|| {
            check(world, call, outcome, &answer);
            check_concealed(call, outcome, &answer, &mut concealed);
        }));
        if let Err(panic) = checked {
            show(&stack, call, &answer, outcome);
            resume_unwind(panic);
        }
        inside += u64::from(!matches!(answer, Answer::Refused { .. }));
    }
    inside
}

fn check(world: &World, call: &Call, outcome: &Outcome, answer: &Answer) {
    for (_, secret) in &call.copies {
        let text = world.text(*secret);
        let is_secret =
            matches!(secret, Secret::Key(..) | Secret::Mistyped(_) | Secret::Password(_));
        assert!(!is_secret || !outcome.debug.contains(&text), "`Debug` shows a secret");
    }
    let status = outcome.response.status();
    match answer {
        Answer::Inside { caller, call } => {
            assert_eq!(status, StatusCode::OK);
            let [seen] = &outcome.seen[..] else { panic!("called {} times", outcome.seen.len()) };
            let named = |caller: &Caller| {
                let [key, also] =
                    [caller.key, caller.also].map(|key| key.map(|key| world.key_id(key).clone()));
                (world::owner_name(caller.owner).to_owned(), key, also)
            };
            assert_eq!(world::caller(seen), caller.as_ref().map(named), "another caller");
            let expected = wire::request(call, &|secret| world.text(secret));
            assert_eq!(seen.method(), expected.method());
            assert_eq!(seen.uri(), expected.uri());
            assert_eq!(seen.headers(), expected.headers());
            assert_eq!(seen.body(), expected.body());
        }
        Answer::Probed => {
            assert_eq!(status, StatusCode::OK);
            assert_eq!(outcome.seen.len(), 0, "the inner service was called");
            assert!(outcome.response.body().is_empty(), "a probe has content");
            let stored = outcome.response.headers().get(CACHE_CONTROL).unwrap();
            assert!(stored.to_str().unwrap().contains("no-store"), "a probe is cached");
        }
        Answer::Refused { ways, .. } => {
            assert_eq!(outcome.seen.len(), 0, "the inner service was called");
            let challenges = outcome.response.headers().get_all(WWW_AUTHENTICATE).iter().count();
            let is_way =
                |way: &model::Refusal| status == way.status && challenges == way.challenges;
            assert!(ways.iter().any(is_way), "{status} with {challenges} challenges");
        }
    }
}

/// What a concealing layer says, byte for byte.
type Concealed = HashMap<bool, (HeaderMap, Vec<u8>)>;

/// All requests without a good credential have one answer, but for the content that `HEAD` does not have. Layers around
/// the one that refuses may add to it.
fn check_concealed(call: &Call, outcome: &Outcome, answer: &Answer, concealed: &mut Concealed) {
    let Answer::Refused { layer: 0, concealed: true, .. } = answer else { return };
    if outcome.response.status() != StatusCode::UNAUTHORIZED {
        return;
    }
    let said = (outcome.response.headers().clone(), outcome.response.body().to_vec());
    let first = concealed.entry(call.method == cases::Method::Head).or_insert_with(|| said.clone());
    assert_eq!(*first, said, "a concealed hook differs from the others");
}

fn show(stack: &Stack, call: &Call, answer: &Answer, outcome: &Outcome) {
    stack.layers.iter().for_each(|layer| println!("layer: {layer:?}"));
    println!("buffer inside: {}, drain outside: {}", stack.buffer_inside, stack.drain_outside);
    println!("call: {call:?}\nmodel: {answer:?}\nresponse: {}", outcome.debug);
    outcome.seen.iter().for_each(|seen| println!("seen: {seen:?}"));
}
