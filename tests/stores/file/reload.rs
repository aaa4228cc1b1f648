//! The file is read again: all keys change at once, or none.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tower_webhook::key::KeyStore;
use tower_webhook::store::{FileKeyStore, FileStoreErrorKind, Invalidation, InvalidationStream};

use super::{content, content_of, open, path, put};
use crate::shared::{Folder, found, id, owner, record};

#[tokio::test]
async fn a_reload_takes_all_keys_of_the_file_and_no_others() {
    let folder = Folder::new();
    put(&folder, &content(&["k1", "k2"]));
    let store = open(&folder).await;
    assert!(!store.reload().await.unwrap());

    put(&folder, &content(&["k2", "k3"]));
    assert!(found(&store, "k1").await.is_some());
    assert!(store.reload().await.unwrap());

    assert!(found(&store, "k1").await.is_none());
    assert!(found(&store, "k3").await.is_some());
    let listed = store.list(&owner("ann"), None, 10).await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|record| record.id().as_str()).collect();
    assert_eq!(ids, ["k2", "k3"]);
    put(&folder, "[]");
    assert!(store.reload().await.unwrap());
    assert!(found(&store, "k2").await.is_none());
}

/// Neither its length nor its time of change says that this file is another one.
#[tokio::test]
async fn a_change_within_one_tick_is_noticed() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    let store = open(&folder).await;
    let before = fs::metadata(path(&folder)).unwrap();
    fs::write(path(&folder), content(&["k2"])).unwrap();
    let file = fs::File::options().write(true).open(path(&folder)).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(path(&folder)).unwrap().len(), before.len());

    assert!(store.reload().await.unwrap());
    assert!(found(&store, "k2").await.is_some());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_the_keys_of_before() {
    use FileStoreErrorKind as Kind;

    let folder = Folder::new();
    let good = content(&["k1", "k2"]);
    put(&folder, &good);
    let store = open(&folder).await;
    let end = good.trim_end().len();
    let cases = [
        (String::new(), Kind::Malformed, Some(1)),
        (good[..end - 1].to_owned(), Kind::Malformed, Some(4)),
        (good[..good.len() / 2].to_owned(), Kind::Malformed, Some(2)),
        (good.replace("k2", "k1"), Kind::DuplicateId, Some(3)),
        (good.replacen("\"sha256\"", "\"CANARY\"", 1), Kind::InvalidRecord, Some(2)),
        (good.replacen("\"schema\"", "\"CANARY\"", 1), Kind::InvalidRecord, Some(2)),
    ];
    for (content, kind, line) in cases {
        put(&folder, &content);
        let error = store.reload().await.unwrap_err();
        assert_eq!((error.kind(), error.line()), (kind, line), "{content}");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
        assert!(error.to_string().contains(&format!("keys.json\", line {}", line.unwrap())));
        assert_eq!(FileKeyStore::open(path(&folder)).await.unwrap_err().kind(), kind);
        assert!(found(&store, "k1").await.is_some() && found(&store, "k2").await.is_some());
    }
    fs::remove_file(path(&folder)).unwrap();
    assert_eq!(store.reload().await.unwrap_err().kind(), Kind::Inaccessible);
    assert!(found(&store, "k1").await.is_some());

    let status = store.status();
    assert_eq!(status.fault(), Some(Kind::Inaccessible));
    assert!(status.stale_since().unwrap() >= status.checked_at());
    put(&folder, &good);
    assert!(!store.reload().await.unwrap());
    assert!(store.status().fault().is_none() && store.status().stale_since().is_none());
    assert!(store.status().checked_at() >= status.checked_at());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_during_a_swap_see_the_old_keys_or_the_new_ones() {
    let folder = Folder::new();
    // The versions say which set a record is of. `both` is in each set.
    let set = |version, own: &str| {
        content_of([own, "both"].map(|key| record(key, "ann", 0).with_version(version)))
    };
    put(&folder, &set(1, "old"));
    let store = open(&folder).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        move || {
            let mut seen = [0, 0];
            while !is_over.load(Ordering::Relaxed) {
                assert!(store.try_find_now(&id("both"), &mut |found| {
                    seen[usize::from(found.unwrap().version() == 2)] += 1;
                }));
                // The keys of one owner in one look.
                let keys = store.list(&owner("ann"), None, 10).now_or_never();
                let keys = keys.unwrap().unwrap();
                let versions: Vec<u64> = keys.iter().map(|record| record.version()).collect();
                assert!(versions == [1, 1] || versions == [2, 2], "{versions:?}");
            }
            seen
        }
    });
    for round in 0..200 {
        put(&folder, &if round % 2 == 0 { set(2, "new") } else { set(1, "old") });
        assert!(store.reload().await.unwrap());
    }
    is_over.store(true, Ordering::Relaxed);
    let seen = reader.join().unwrap();
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

/// A reader never sees a file that is half written by this store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_whole_at_every_moment() {
    let folder = Folder::new();
    let writer = FileKeyStore::create(path(&folder)).await.unwrap();
    let reader = open(&folder).await;
    let writes = tokio::spawn(async move {
        for number in 0..100 {
            crate::shared::insert(&writer, &record(&format!("k{number}"), "ann", 0)).await;
        }
    });
    let mut reads = 0;
    while !writes.is_finished() {
        reader.reload().await.unwrap();
        reads += 1;
    }
    writes.await.unwrap();
    reader.reload().await.unwrap();
    assert!(reads > 1 && found(&reader, "k99").await.is_some());
}

#[tokio::test]
async fn a_watched_file_is_read_until_the_store_is_gone() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    let store = open(&folder).await;
    assert!(store.watch(Duration::ZERO).is_err());
    let task = tokio::spawn(store.watch(Duration::from_millis(5)).unwrap());
    let mut changes = store.invalidations();

    put(&folder, "[");
    while store.status().stale_since().is_none() {
        tokio::task::yield_now().await;
    }
    put(&folder, &content(&["k2"]));
    assert_eq!(changes.next().await.unwrap(), Some(Invalidation::All));
    assert!(found(&store, "k2").await.is_some() && found(&store, "k1").await.is_none());

    drop(store);
    task.await.unwrap();
    assert_eq!(changes.next().await.unwrap(), None);
}

#[cfg(feature = "cache")]
#[tokio::test]
async fn a_cache_in_front_forgets_when_the_file_changes() {
    use tower_webhook::key::{KeyManager, NewKey};
    use tower_webhook::store::CachedKeyStore;

    let folder = Folder::new();
    let file = FileKeyStore::create(path(&folder)).await.unwrap();
    let cache = CachedKeyStore::new(file.clone());
    let following = tokio::spawn(cache.follow(file.invalidations()));
    let keys = KeyManager::new(cache.clone());
    let issued = keys.generate(&owner("ann"), NewKey::new("laptop")).await.unwrap();
    let verifier = keys.verifier();
    let verify = async || verifier.verify(issued.secret().expose_secret().as_bytes()).await.is_ok();
    assert!(verify().await);
    let with_key = fs::read_to_string(path(&folder)).unwrap();

    put(&folder, "[]");
    // It is in the cache.
    assert!(verify().await);
    assert!(file.reload().await.unwrap());
    while verify().await {
        tokio::task::yield_now().await;
    }
    assert!(cache.stats().entries == 0);

    put(&folder, &with_key);
    assert!(file.reload().await.unwrap());
    while !verify().await {
        tokio::task::yield_now().await;
    }
    following.abort();
}
