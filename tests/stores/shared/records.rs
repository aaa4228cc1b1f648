//! What every store does with records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::Duration;
use tower_webhook::key::{
    KeyManager, KeyStore, ManageErrorKind, NewKey, PageCursor, Scopes, VerifyErrorKind,
    WriteOutcome,
};

use super::{at, found, id, insert, owner, record, record_at};

/// Every step is made by a store that was opened anew.
pub(crate) async fn a_key_lives_its_life<S: KeyStore>(open: impl AsyncFn() -> S) {
    let ann = owner("ann");
    let keys = KeyManager::new(open().await);
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let key = issued.record().id().clone();
    let first = issued.secret().expose_secret().as_bytes();

    let keys = KeyManager::new(open().await);
    assert_eq!(keys.verifier().verify(first).await.unwrap().owner(), &ann);
    let rotated = keys.rotate(&ann, &key, Duration::HOUR).await.unwrap();

    let keys = KeyManager::new(open().await);
    let second = rotated.secret().expose_secret().as_bytes();
    keys.verifier().verify(first).await.unwrap();
    keys.verifier().verify(second).await.unwrap();
    keys.revoke(&ann, &key).await.unwrap();

    let keys = KeyManager::new(open().await);
    let refused = keys.verifier().verify(first).await.unwrap_err();
    assert!(matches!(refused.kind(), VerifyErrorKind::Revoked | VerifyErrorKind::WrongSecret));
    let revoked = keys.verifier().verify(second).await.unwrap_err();
    assert_eq!(revoked.kind(), VerifyErrorKind::Revoked);
    keys.delete(&ann, std::slice::from_ref(&key)).await.unwrap();
    let deleted = keys.get(&ann, &key).await.unwrap_err();
    assert_eq!(deleted.kind(), ManageErrorKind::NotFound);
}

pub(crate) async fn are_read_back_as_they_were(store: &impl KeyStore) {
    let digest = record("k", "ann", 0).digest().clone();
    let full = record("k2", "Ann Lée \"quoted\" 'single' \\x 日本", 7)
        .with_name("it's 100 % \\ ünïcode $1")
        .unwrap()
        .with_scopes(Scopes::parse(["deploy", "read"]).unwrap())
        .with_previous_digest(Some((digest, at(9))))
        .with_not_before(Some(at(1)))
        .with_expires_at(Some(at(2) + Duration::nanoseconds(1)))
        .with_revoked_at(Some(at(3)))
        .with_disabled(true)
        .with_version(u64::MAX)
        .with_metadata(Some(format!("{{\"a\": \"{}\\u0000\"}}", "x".repeat(60_000))))
        .unwrap();
    for record in [record("k1", "ann", 0), full] {
        insert(store, &record).await;
        assert_eq!(found(store, record.id().as_str()).await, Some(record.encode()));
        let listed = store.list(record.owner(), None, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].encode(), record.encode());
    }
}

pub(crate) async fn versions_have_64_bits(store: &impl KeyStore) {
    let old = record("k", "ann", 0).with_version(u64::MAX - 1);
    insert(store, &old).await;
    for wrong in [0, 1, u64::MAX, u64::MAX - 2, (u64::MAX - 1) / 2, i64::MAX as u64] {
        let outcome = store.replace(old.clone(), wrong).await.unwrap();
        assert_eq!(outcome, WriteOutcome::Conflict, "{wrong}");
    }
    let last = old.clone().with_version(u64::MAX);
    for (new, expected) in [(last, u64::MAX - 1), (old.with_version(1), u64::MAX)] {
        assert_eq!(store.replace(new.clone(), expected).await.unwrap(), WriteOutcome::Applied);
        assert_eq!(found(store, "k").await, Some(new.encode()));
    }
}

pub(crate) async fn are_listed_by_time_to_the_nanosecond_and_then_by_id(store: &impl KeyStore) {
    let years = [-62_167_219_200, -1, 0, 1, 1_700_000_000, 253_402_300_798];
    let steps = [0, 1, 10, 100_000_000, 120_000_000, 999_999_999];
    let mut expected = Vec::new();
    for second in years {
        for nanosecond in steps {
            for key in ["Z", "a", "b.", "b:", "b-1", "b_1", "b1"] {
                let key = format!("{key}.{second}.{nanosecond}");
                let made = at(second) + Duration::nanoseconds(nanosecond);
                let record = record_at(&key, "ann", made);
                insert(store, &record).await;
                expected.push(PageCursor::of(&record));
            }
        }
    }
    expected.sort();
    for limit in [1, 3, 7, 1000] {
        let mut listed = Vec::new();
        loop {
            let page = store.list(&owner("ann"), listed.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            listed.extend(page.iter().map(PageCursor::of));
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(listed, expected, "{limit}");
    }
    assert!(store.list(&owner("ann"), None, 0).await.unwrap().is_empty());
    let last = expected.last();
    assert!(store.list(&owner("ann"), last, usize::MAX).await.unwrap().is_empty());
    assert!(store.list(&owner("bob"), None, 10).await.unwrap().is_empty());
}

/// Pages that are read while keys are added and removed have each other key once.
pub(crate) async fn pages_are_stable(store: &(impl KeyStore + Clone)) {
    for second in 0..40 {
        insert(store, &record(&format!("old{second}"), "ann", second * 10)).await;
    }
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for second in 0..60 {
                insert(&store, &record(&format!("new{second}"), "ann", second * 7 + 1)).await;
                let gone = [id(&format!("new{second}"))];
                if second % 2 == 0 {
                    let removed = store.remove(&owner("ann"), &gone).await.unwrap();
                    assert_eq!(removed, WriteOutcome::Applied);
                }
            }
        })
    };
    while !writer.is_finished() {
        let mut seen: Vec<PageCursor> = Vec::new();
        loop {
            let page = store.list(&owner("ann"), seen.last(), 3).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(PageCursor::of));
        }
        assert!(seen.is_sorted_by(|a, b| a < b));
        let old = seen.iter().filter(|cursor| cursor.id().as_str().starts_with("old")).count();
        assert_eq!(old, 40);
    }
    writer.await.unwrap();
}

pub(crate) async fn are_removed_together_or_not_at_all(store: &impl KeyStore) {
    for key in ["a", "b", "c"] {
        insert(store, &record(key, "ann", 0)).await;
    }
    insert(store, &record("d", "bob", 0)).await;
    let ann = owner("ann");
    for wrong in [vec!["a", "missing"], vec!["a", "b", "d"], vec!["d"], vec!["a", "A"]] {
        let ids: Vec<_> = wrong.iter().map(|key| id(key)).collect();
        assert_eq!(store.remove(&ann, &ids).await.unwrap(), WriteOutcome::Conflict, "{wrong:?}");
        assert_eq!(store.list(&ann, None, 10).await.unwrap().len(), 3);
    }
    assert_eq!(store.remove(&ann, &[]).await.unwrap(), WriteOutcome::Applied);
    let removed = store.remove(&ann, &[id("a"), id("b"), id("a")]).await.unwrap();
    assert_eq!(removed, WriteOutcome::Applied);
    assert_eq!(store.list(&ann, None, 10).await.unwrap().len(), 1);
    assert!(found(store, "d").await.is_some());
}

/// A record that changes its owner and time of creation.
pub(crate) async fn a_record_moves_in_the_lists(store: &impl KeyStore) {
    let (ann, bob) = (owner("ann"), owner("bob"));
    insert(store, &record("a", "ann", 5)).await;
    insert(store, &record("b", "bob", 3)).await;

    let moved = record("a", "bob", 2).with_version(2);
    assert_eq!(store.replace(moved.clone(), 1).await.unwrap(), WriteOutcome::Applied);

    assert!(store.list(&ann, None, 10).await.unwrap().is_empty());
    let listed = store.list(&bob, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.id().as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(listed[0].encode(), moved.encode());
    assert_eq!(store.remove(&ann, &[id("a")]).await.unwrap(), WriteOutcome::Conflict);
    let both = [id("a"), id("b")];
    assert_eq!(store.remove(&bob, &both).await.unwrap(), WriteOutcome::Applied);
    assert!(store.list(&bob, None, 10).await.unwrap().is_empty());
}

/// Managers over two stores of the same records: one changes keys, and one verifies them.
pub(crate) async fn revoked_keys_are_refused_from_then_on(one: &KeyManager, two: &KeyManager) {
    let ann = owner("ann");
    for round in 0..10 {
        let issued = one.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let key = issued.record().id().clone();
        let text = issued.secret().expose_secret().to_owned();
        let revoked = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let (keys, ann, key) = (one.clone(), ann.clone(), key.clone());
            tasks.push(tokio::spawn(async move {
                // A rotation that comes too late, or that others are in the way of, is refused.
                for _ in 0..10 {
                    let _ = keys.rotate(&ann, &key, Duration::HOUR).await;
                }
            }));
            let (verifier, text, revoked) = (two.verifier(), text.clone(), revoked.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..60 {
                    let late = revoked.load(Ordering::SeqCst);
                    match verifier.verify(text.as_bytes()).await {
                        Ok(_) => assert!(!late, "a revoked key was accepted"),
                        Err(error) => {
                            assert_ne!(error.kind(), VerifyErrorKind::StoreUnavailable);
                        }
                    }
                }
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(round * 4)).await;
        loop {
            match one.revoke(&ann, &key).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ManageErrorKind::Conflict),
            }
        }
        revoked.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(one.get(&ann, &key).await.unwrap().revoked_at().is_some());
    }
}
