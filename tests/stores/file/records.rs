//! The contract of stores, in this process and in others.

use std::sync::atomic::{AtomicU32, Ordering};

use tower_webhook::key::{KeyManager, KeyStore, NewKey, WriteOutcome};
use tower_webhook::store::{FileKeyStore, KeyScan, conformance};

use super::{content, content_of, open, path, put};
use crate::shared::{Folder, found, id, owner, record, records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_stores_is_kept() {
    let folder = Folder::new();
    let file = AtomicU32::new(0);
    conformance::check(async || {
        let name = format!("{}.json", file.fetch_add(1, Ordering::Relaxed));
        FileKeyStore::create(folder.path().join(name)).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_outlives_the_store() {
    let folder = Folder::new();
    conformance::check_durable(async || FileKeyStore::create(path(&folder)).await.unwrap()).await;
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was() {
    let folder = Folder::new();
    let store = FileKeyStore::create(path(&folder)).await.unwrap();
    records::are_read_back_as_they_were(&store).await;
}

#[tokio::test]
async fn a_key_lives_its_life_across_restarts() {
    let folder = Folder::new();
    records::a_key_lives_its_life(async || FileKeyStore::create(path(&folder)).await.unwrap())
        .await;
}

#[tokio::test]
async fn a_scan_visits_the_keys_of_all_owners() {
    let folder = Folder::new();
    let records = ["ann", "bob", "cy"].map(|of| record(&format!("key-of-{of}"), of, 0));
    put(&folder, &content_of(records.clone()));
    let mut found = Vec::new();
    open(&folder).await.scan(&mut |record| found.push(record.encode())).await.unwrap();
    found.sort();
    assert_eq!(found, records.map(|record| record.encode()));
}

// Look-ups do not yield to the task that writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_kept_as_in_other_stores() {
    let folder = Folder::new();
    let fresh = async |name: &str| {
        FileKeyStore::create(folder.path().join(format!("{name}.json"))).await.unwrap()
    };
    records::versions_have_64_bits(&fresh("a").await).await;
    records::are_listed_by_time_to_the_nanosecond_and_then_by_id(&fresh("b").await).await;
    records::pages_are_stable(&fresh("c").await).await;
    records::are_removed_together_or_not_at_all(&fresh("d").await).await;
    records::a_record_moves_in_the_lists(&fresh("e").await).await;
}

/// Each change reads the file first, so that none undoes one of another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_two_processes_are_all_kept() {
    let folder = Folder::new();
    let first = FileKeyStore::create(path(&folder)).await.unwrap();
    // As in another process: no part of it is shared.
    let second = open(&folder).await;
    let many = |store: FileKeyStore, name: &'static str| {
        tokio::spawn(async move {
            for number in 0..50 {
                let key = record(&format!("{name}{number}"), "ann", 0);
                assert_eq!(store.insert(key).await.unwrap(), WriteOutcome::Applied);
            }
        })
    };
    let (one, other) = (many(first.clone(), "a"), many(second.clone(), "b"));
    one.await.unwrap();
    other.await.unwrap();

    for store in [first, second] {
        store.reload().await.unwrap();
        assert_eq!(store.list(&owner("ann"), None, 1000).await.unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_change_is_decided_on_the_file_and_not_on_what_was_read_before() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    let store = open(&folder).await;
    put(&folder, &content(&["k2"]));

    assert_eq!(store.insert(record("k2", "ann", 0)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(store.insert(record("k1", "ann", 0)).await.unwrap(), WriteOutcome::Applied);
    assert!(found(&store, "k2").await.is_some());
    let removed = store.remove(&owner("ann"), &[id("k1"), id("k2")]).await.unwrap();
    assert_eq!(removed, WriteOutcome::Applied);
    assert_eq!(std::fs::read_to_string(path(&folder)).unwrap(), "[\n]\n");
}

#[tokio::test]
async fn a_broken_file_is_not_written_over() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    let keys = KeyManager::new(open(&folder).await);
    let broken = content(&["k1", "k2"]).replace("]\n", "");
    put(&folder, &broken);

    assert!(keys.generate(&owner("ann"), NewKey::new("laptop")).await.is_err());
    assert!(keys.revoke(&owner("ann"), &id("k1")).await.is_err());
    assert_eq!(std::fs::read_to_string(path(&folder)).unwrap(), broken);
}
