//! What every store does in a scan over all owners.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tower_webhook::key::{KeyId, KeyRecord, KeyStore, WriteOutcome};
use tower_webhook::store::KeyScan;

use super::{id, insert, owner, record};

/// More than a store reads at once.
const KEPT: usize = 2300;

/// The scanned records by id: one of the same id and another text would be lost otherwise.
async fn scanned(store: &impl KeyScan) -> BTreeMap<KeyId, String> {
    let mut found = BTreeMap::new();
    let mut visit = |record: KeyRecord| {
        let before = found.insert(record.id().clone(), record.encode());
        assert!(before.is_none_or(|before| before == record.encode()));
    };
    store.scan(&mut visit).await.unwrap();
    found
}

pub(crate) async fn a_scan_visits_the_keys_of_all_owners<S: KeyStore + KeyScan>(store: &S) {
    assert_eq!(scanned(store).await.len(), 0);
    // The least and the greatest ids, and ids that differ in case.
    let odd = ["-", "z".repeat(64).as_str(), "A", "a", "_", ":"].map(|key| record(key, "odd", 0));
    let kept = (0..KEPT).map(|n| record(&format!("key-{n}"), &format!("owner-{}", n % 7), 0));
    let kept: Vec<_> = odd.into_iter().chain(kept).collect();
    for chunk in kept.chunks(500) {
        join_all(chunk.iter().map(|record| insert(store, record))).await;
    }
    let expected: BTreeMap<_, _> =
        kept.iter().map(|record| (record.id().clone(), record.encode())).collect();
    assert_eq!(scanned(store).await, expected);

    // What comes and goes meanwhile does not hide what is there all the time.
    let changes = async {
        for n in 0..200 {
            let text = format!("key-{n}-gone");
            insert(store, &record(&text, "bob", n)).await;
            let removed = store.remove(&owner("bob"), &[id(&text)]).await.unwrap();
            assert_eq!(removed, WriteOutcome::Applied);
        }
    };
    let (mut found, ()) = tokio::join!(scanned(store), changes);
    found.retain(|id, _| !id.as_str().ends_with("-gone"));
    assert_eq!(found, expected);
}
