//! Many calls at once, and callers that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_webhook::key::KeyStore;
use tower_webhook::store::RedisKeyStore;

use super::proxy::{Mode, Proxy};
use super::support::{Numbers, done, fresh, id, record_of, recovers};

/// The owner of a key has the key's name in it, so that a record shows which look-up it answers.
fn own(index: u64) -> (String, String) {
    (format!("k{index}"), format!("owner of k{index}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cancelled_calls_mix_up_nothing() {
    let (server, direct) = fresh().await;
    for index in 0..64 {
        let (text, owner) = own(index);
        done(direct.insert(record_of(&owner, &text, 0)).await);
    }
    let proxy = Proxy::start(server.port()).await;
    let store = RedisKeyStore::connect_lazy(&proxy.url()).unwrap();
    let store = store.with_deadline(Duration::from_secs(10)).with_max_calls(512);
    recovers(&store, "k0").await;
    proxy.set(Mode::Throttle(32 * 1024));

    let cancelled = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..100)
        .map(|seed| {
            let (store, cancelled, answered) = (store.clone(), cancelled.clone(), answered.clone());
            tokio::spawn(async move {
                let mut numbers = Numbers::new(seed);
                while cancelled.load(Ordering::Relaxed) < 10_000 {
                    let index = numbers.below(80);
                    let (text, owner) = own(index);
                    let id = id(&text);
                    let patience = Duration::from_micros(numbers.below(4000));
                    let call = store.find(&id);
                    // Now and then a caller stays.
                    let found = if numbers.below(8) == 0 {
                        call.await
                    } else if let Ok(found) = tokio::time::timeout(patience, call).await {
                        found
                    } else {
                        cancelled.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    match found {
                        Ok(Some(record)) => {
                            assert_eq!(record.id(), &id);
                            assert_eq!(record.owner().as_str(), owner);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(None) => assert!(index >= 64, "{text} was there"),
                        // More calls than allowed are under way.
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 500, "{answered:?}");
    assert_eq!(proxy.accepted(), 1, "one connection was enough");

    // No place is taken any more.
    proxy.set(Mode::Pass);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let calls: Vec<_> = (0..512)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { store.find(&id(&own(index % 64).0)).await })
        })
        .collect();
    for (index, call) in calls.into_iter().enumerate() {
        let found = call.await.unwrap().unwrap().unwrap();
        assert_eq!(found.id().as_str(), own(index as u64 % 64).0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_under_load_mix_up_nothing() {
    let (server, direct) = fresh().await;
    for index in 0..64 {
        let (text, owner) = own(index);
        done(direct.insert(record_of(&owner, &text, 0)).await);
    }
    let proxy = Arc::new(Proxy::start(server.port()).await);
    let store = RedisKeyStore::connect_lazy(&proxy.url()).unwrap();
    let store = store.with_deadline(Duration::from_millis(300));
    recovers(&store, "k0").await;

    let ended = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..32)
        .map(|seed| {
            let (store, ended) = (store.clone(), ended.clone());
            tokio::spawn(async move {
                let mut numbers = Numbers::new(seed);
                let mut answers = 0;
                while ended.load(Ordering::Relaxed) == 0 {
                    let index = numbers.below(80);
                    let (text, owner) = own(index);
                    match store.find(&id(&text)).await {
                        Ok(Some(record)) => {
                            assert_eq!(record.owner().as_str(), owner);
                            answers += 1;
                        }
                        Ok(None) => assert!(index >= 64, "{text} was there"),
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
                answers
            })
        })
        .collect();
    let mut numbers = Numbers::new(7);
    for _ in 0..150 {
        tokio::time::sleep(Duration::from_millis(numbers.below(20))).await;
        let bytes = numbers.below(3000) as usize;
        proxy.set(match numbers.below(3) {
            0 | 1 => Mode::Cut { pieces: numbers.below(3) as usize, bytes },
            _ => Mode::Throttle(1 + bytes),
        });
    }
    proxy.set(Mode::Pass);
    recovers(&store, "k1").await;
    ended.store(1, Ordering::Relaxed);
    let mut answers = 0;
    for task in tasks {
        answers += task.await.unwrap();
    }
    assert!(answers > 100, "{answers}");
}
