//! A store with very many keys.

use axum::body::Body;
use http::Request;
use support::guards::{ours, x_api_key};
use support::keys::{fill, keys};
use support::measure::{Case, Cost, Fact, Ratio, Report, Table, resident_bytes};
use support::requests::{Inner, header, request};
use tower_webhook::key::KeyManager;
use tower_webhook::store::MemoryKeyStore;

/// How many keys carry the traffic in the case where few of many do.
const HOT: usize = 100;

pub(crate) fn keys_in_memory(report: &mut Report) {
    let title = "number of keys";
    if !report.options().wants(title) {
        return;
    }
    let count = report.options().keys;
    let (few, few_texts) = keys(10);
    let (many, texts, bytes) = many(count);
    let hot = texts.evenly(HOT);
    let table = Table::new(title, || {
        Case::service("inner service", Inner, header("x-api-key", hot.clone()))
    })
    .with(case("10 keys", &few, header("x-api-key", few_texts)))
    .with(case("many keys, few of them used", &many, header("x-api-key", hot.clone())))
    .with(case("many keys, all of them used", &many, at_random(texts)));
    report.table(
        table,
        &[
            Ratio::new(
                "added, few of many keys used, against 10 keys",
                Cost::Added("many keys, few of them used"),
                Cost::Added("10 keys"),
            ),
            Ratio::new(
                "whole call, all keys used, against 10 keys",
                Cost::Whole("many keys, all of them used"),
                Cost::Whole("10 keys"),
            ),
        ],
    );
    if count >= 100_000 {
        report.fact(Fact { name: "resident bytes for each key", about: title, value: bytes });
    }
}

fn case(
    name: &'static str,
    manager: &KeyManager,
    make: impl FnMut(usize) -> Request<Body> + 'static,
) -> Case {
    Case::service(name, ours(manager, x_api_key()), make)
}

/// A manager with so many keys, their texts, and how much memory a key takes.
fn many(count: usize) -> (KeyManager, Texts, f64) {
    let mut texts = Texts::with_room_for(count);
    let before = resident_bytes();
    let manager = fill(MemoryKeyStore::new(), count, |text| texts.push(text));
    let grown = resident_bytes().saturating_sub(before);
    let own = grown.saturating_sub(texts.0.len() as u64);
    (manager, texts, own as f64 / count as f64)
}

/// The texts of keys, one after the other.
struct Texts(String);

impl Texts {
    const LEN: usize = 65;

    fn with_room_for(count: usize) -> Self {
        Self(String::with_capacity(count * Self::LEN))
    }

    fn push(&mut self, text: &str) {
        assert_eq!(text.len(), Self::LEN);
        self.0.push_str(text);
    }

    fn count(&self) -> usize {
        self.0.len() / Self::LEN
    }

    fn get(&self, index: usize) -> &str {
        &self.0[index * Self::LEN..][..Self::LEN]
    }

    fn evenly(&self, count: usize) -> Vec<String> {
        let step = (self.count() / count).max(1);
        (0..self.count()).step_by(step).map(|index| self.get(index).to_owned()).collect()
    }
}

/// Requests with every key in turn, in an order that no cache foresees.
fn at_random(texts: Texts) -> impl FnMut(usize) -> Request<Body> {
    move |index| {
        let scattered = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let text = texts.get(scattered as usize % texts.count());
        request("/", Some(("x-api-key", text)))
    }
}
