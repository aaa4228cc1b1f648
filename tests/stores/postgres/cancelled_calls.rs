//! Callers that go away in the middle of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_webhook::key::{KeyStore, WriteOutcome};
use tower_webhook::store::PostgresKeyStore;

use super::proxy::{Fault, Proxy};
use super::server::{Server, shared};
use super::support::{
    find, found, id, insert, new_schema, owner, record, recovers, setting, store, store_in,
};

/// Calls of many callers of whom most go away. Every answer is to the question that was asked.
async fn cancel_many(store: &PostgresKeyStore, count: u64) {
    for number in 0..50 {
        insert(store, &record(&format!("k{number}"), &format!("owner{}", number % 5), number))
            .await;
    }
    let tasks = (0..20_u64).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut answered = 0;
            for step in 0..count / 20 {
                let number = (task * 31 + step * 17) % 60;
                let patience = Duration::from_micros((step * 7919 + task * 104_729) % 4000);
                let key = id(&format!("k{number}"));
                if let Ok(found) = tokio::time::timeout(patience, store.find(&key)).await {
                    let found = found.unwrap();
                    assert_eq!(found.is_some(), number < 50);
                    assert!(found.is_none_or(|record| *record.id() == key));
                    answered += 1;
                }
                if step % 10 == 0 {
                    let of = owner(&format!("owner{}", number % 5));
                    let list = store.list(&of, None, 100);
                    if let Ok(listed) = tokio::time::timeout(patience, list).await {
                        let listed = listed.unwrap();
                        assert!(listed.iter().all(|record| *record.owner() == of));
                        let first = |record: &&tower_webhook::key::KeyRecord| {
                            record.id().as_str().starts_with('k')
                        };
                        assert_eq!(listed.iter().filter(first).count(), 10);
                    }
                    let new = record(&format!("n{task}.{step}"), of.as_str(), 0);
                    let _ = tokio::time::timeout(patience, store.insert(new)).await;
                }
            }
            answered
        })
    });
    let mut answered = 0;
    for task in tasks.collect::<Vec<_>>() {
        answered += task.await.unwrap();
    }
    assert!(answered > 0 && answered < count, "{answered} of {count} were answered");
    for number in 0..60 {
        let found = found(store, &format!("k{number}")).await;
        assert_eq!(found.is_some(), number < 50);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_gets_the_answer_to_a_call_that_was_cancelled() {
    let server = shared();
    let store = store(&server.url()).await;
    cancel_many(&store, setting("TOWER_WEBHOOK_CANCELS", 2000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_change_is_made_whole_or_not_at_all() {
    let server = shared();
    let store = store(&server.url()).await;
    for round in 0..50_u64 {
        for key in ["a", "b"] {
            let _ = store.insert(record(key, "ann", 0)).await.unwrap();
        }
        let both = [id("a"), id("b")];
        let ann = owner("ann");
        let remove = store.remove(&ann, &both);
        let _ = tokio::time::timeout(Duration::from_micros(round * 60), remove).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let left = store.list(&owner("ann"), None, 10).await.unwrap().len();
        assert!(left == 0 || left == 2, "{left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_pass_their_deadline_free_their_connections() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&proxy.url()).await.with_deadline(Duration::from_millis(300));
    insert(&store, &record("k1", "ann", 0)).await;
    for _ in 0..3 {
        proxy.set(Fault::Stall);
        let calls = (0..40).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let started = std::time::Instant::now();
                let _ = store.find(&id(&format!("k{number}"))).await;
                started.elapsed()
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(call.await.unwrap() < Duration::from_secs(1));
        }
        proxy.set(Fault::None);
        assert!(recovers(|| find(&store, "k1")).await.is_some());
    }
}

#[test]
fn a_runtime_that_ends_during_calls_leaves_whole_changes() {
    let server = shared();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let schema = new_schema();
    let made = Arc::new(AtomicUsize::new(0));
    for round in 0..8 {
        let ending = runtime();
        let (url, schema) = (server.url(), schema.clone());
        let store = ending.block_on(store_in(&url, &schema));
        let changes = store.clone();
        let counter = Arc::clone(&made);
        ending.spawn(async move {
            for number in 0.. {
                let key = format!("k{round}.{number}");
                insert(&changes, &record(&key, "ann", 0)).await;
                counter.fetch_add(1, Ordering::Relaxed);
                let new = record(&key, "ann", 0).with_version(2);
                assert_eq!(changes.replace(new, 1).await.unwrap(), WriteOutcome::Applied);
            }
        });
        let started = std::time::Instant::now();
        while made.load(Ordering::Relaxed) < 2 * (round + 1) {
            assert!(started.elapsed() < Duration::from_secs(60), "no change is made");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round as u64));
        drop(ending);
        let call = futures_util::FutureExt::now_or_never(store.find(&id("k0.0")));
        assert!(call.unwrap().is_err(), "there is no runtime");
    }
    runtime().block_on(async {
        let store = store_in(&server.url(), &schema).await;
        let listed = store.list(&owner("ann"), None, 100_000).await.unwrap();
        assert!(listed.len() >= made.load(Ordering::Relaxed));
        assert!(listed.iter().all(|record| (1..=2).contains(&record.version())));
    });
}
