//! The kinds of store in memory.

use std::hint::black_box;
use std::sync::Arc;

use support::floor::{Floor, FloorLater};
use support::guards::{ours, x_api_key};
use support::keys::{Pending, fill, keys};
use support::measure::{Case, Cost, Ratio, Report, Table};
use support::requests::{Inner, header, wait};
use tower_webhook::key::{KeyId, KeyManager, KeyStore};

pub(crate) fn stores(report: &mut Report) {
    let title = "stores";
    if !report.options().wants(title) {
        return;
    }
    let (manager, texts) = keys(100);
    #[cfg_attr(not(feature = "cache"), allow(unused_mut))]
    let mut table = Table::new(title, || {
        Case::service("inner service", Inner, header("x-api-key", texts.clone()))
    })
    .with(Case::service(
        "by hand, one function",
        Floor::new(&texts, Inner),
        header("x-api-key", texts.clone()),
    ))
    .with(case("in memory", &manager, texts))
    .with(answer())
    .with(by_hand_later())
    .with(filled("pending", Pending::default()));
    #[cfg_attr(not(feature = "cache"), allow(unused_mut))]
    let mut ratios = vec![
        Ratio::new(
            "added, answer at once, against one function",
            Cost::Added("in memory"),
            Cost::Added("by hand, one function"),
        ),
        Ratio::new(
            "added, answer later, against one function",
            Cost::Added("pending"),
            Cost::Added("by hand, one function"),
        ),
        Ratio::new(
            "the same, against one that waits by hand",
            Cost::Added("pending"),
            Cost::Added("by hand, pending"),
        ),
    ];
    #[cfg(feature = "cache")]
    {
        use tower_webhook::store::{CachedKeyStore, MemoryKeyStore};
        table = table.with(filled("cached", CachedKeyStore::new(MemoryKeyStore::new())));
        ratios.push(Ratio::new(
            "added, hit of the cache, against in memory",
            Cost::Added("cached"),
            Cost::Added("in memory"),
        ));
    }
    report.table(table, &ratios);
}

/// What the store takes of an answer that has to be waited for: its future, and a record to keep.
fn answer() -> Case {
    let store: Arc<dyn KeyStore> = Arc::new(Pending::default());
    let mut texts = Vec::new();
    fill(Arc::clone(&store), 100, |text| texts.push(text.to_owned()));
    let id = |text: &String| KeyId::new(text.get(4..20).expect("a key")).expect("an id");
    let ids: Vec<_> = texts.iter().map(id).collect();
    let mut next = ids.into_iter().cycle();
    Case::function("the store's answer alone", 64, move || {
        let id = next.next().expect("an id");
        wait(store.find(black_box(&id))).expect("an answer")
    })
}

fn by_hand_later() -> Case {
    let store: Arc<dyn KeyStore> = Arc::new(Pending::default());
    let mut texts = Vec::new();
    fill(Arc::clone(&store), 100, |text| texts.push(text.to_owned()));
    Case::service("by hand, pending", FloorLater::new(store, Inner), header("x-api-key", texts))
}

fn filled(name: &'static str, store: impl KeyStore) -> Case {
    let mut texts = Vec::new();
    let manager = fill(store, 100, |text| texts.push(text.to_owned()));
    case(name, &manager, texts)
}

fn case(name: &'static str, manager: &KeyManager, texts: Vec<String>) -> Case {
    Case::service(name, ours(manager, x_api_key()), header("x-api-key", texts))
}
