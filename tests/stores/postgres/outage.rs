//! Servers that end, pause and start again, and connections that break.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyManager, KeyStore, NewKey, VerifyErrorKind, WriteOutcome};
use tower_webhook::store::PostgresKeyStore;

use super::proxy::{Fault, Proxy};
use super::server::Server;
use super::support::{find, found, id, insert, new_schema, owner, record, recovers, store};
use crate::support::SLACK;
use crate::support::port::Port;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_an_error_until_it_is_back() {
    let server = Server::start();
    let store = store(&server.url()).await.with_deadline(Duration::from_secs(1));
    let keys = KeyManager::new(store.clone());
    let ann = owner("ann");
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let text = issued.secret().expose_secret().as_bytes();
    for _ in 0..2 {
        // Connections of a pool that is busy.
        let finds = (0..10).map(|_| store.find(issued.record().id()));
        futures_util::future::join_all(finds).await;
        server.kill();
        let started = Instant::now();
        let refused = keys.verifier().verify(text).await.unwrap_err();
        assert_eq!(refused.kind(), VerifyErrorKind::StoreUnavailable);
        assert!(store.find(&id("unknown")).await.is_err());
        assert!(store.insert(record("k1", "ann", 0)).await.is_err());
        assert!(store.list(&ann, None, 10).await.is_err());
        assert!(store.remove(&ann, &[id("k1")]).await.is_err());
        assert!(store.check().await.is_err());
        assert!(started.elapsed() < Duration::from_secs(8));

        server.restart();
        recovers(|| store.find(issued.record().id())).await.unwrap();
        // Nothing is left of the outage in any connection of the pool.
        let finds = (0..40).map(|_| store.find(issued.record().id()));
        for found in futures_util::future::join_all(finds).await {
            assert!(found.unwrap().is_some());
        }
        keys.verifier().verify(text).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_an_error_at_the_deadline_and_recovers() {
    let server = Server::start();
    let store = store(&server.url()).await.with_deadline(Duration::from_secs(1));
    insert(&store, &record("k1", "ann", 0)).await;
    for _ in 0..2 {
        server.pause();
        let calls = (0..20).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                if number % 2 == 0 {
                    assert!(store.find(&id("k1")).await.is_err());
                } else {
                    assert!(store.insert(record(&format!("n{number}"), "ann", 0)).await.is_err());
                }
                assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        server.resume();
        recovers(|| find(&store, "k1")).await.unwrap();
        let finds = (0..40).map(|_| find(&store, "k1"));
        for found in futures_util::future::join_all(finds).await {
            assert!(found.unwrap().is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_are_terminated_are_replaced() {
    let server = Server::start();
    let store = store(&server.url()).await;
    insert(&store, &record("k1", "ann", 0)).await;
    let mut admin = server.connect().await;
    for round in 0..10 {
        let finds = (0..10).map(|_| find(&store, "k1"));
        futures_util::future::join_all(finds).await;
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let work = {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let key = format!("k{round}.{number}");
                    // A change whose connection is terminated is made in another trial.
                    insert(&store, &record(&key, "ann", 0)).await;
                    assert!(found(&store, &key).await.is_some());
                }
            })
        };
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        sqlx::raw_sql(terminate).execute(&mut admin).await.unwrap();
        work.await.unwrap();
    }
    assert_eq!(store.list(&owner("ann"), None, 1000).await.unwrap().len(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_under_load_are_replaced() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    // The pool pings a connection after a call, without a deadline: each round costs it one or two.
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(24);
    let options = options.acquire_timeout(Duration::from_secs(2)).test_before_acquire(false);
    let pool = options.connect(&proxy.url()).await.unwrap();
    let store = PostgresKeyStore::new(pool).with_schema(&new_schema()).unwrap();
    let store = store.with_deadline(Duration::from_millis(200));
    store.migrate().await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    for round in 0..4 {
        let load = (0..8).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let ends = Instant::now() + Duration::from_millis(400);
                while Instant::now() < ends {
                    let found = store.find(&id("k1")).await;
                    assert!(found.is_err() || found.unwrap().is_some());
                }
            })
        });
        let load: Vec<_> = load.collect();
        tokio::time::sleep(Duration::from_millis(100 + round * 13)).await;
        // The connections that are there say nothing any more, and never end.
        proxy.set(if round % 4 == 3 { Fault::Reset } else { Fault::Stall });
        for task in load {
            task.await.unwrap();
        }
        if round % 4 == 3 {
            proxy.set(Fault::None);
        }
        recovers(|| find(&store, "k1")).await.unwrap();
        proxy.set(Fault::None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_drops_everything_is_an_error_in_time() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&proxy.url()).await.with_deadline(Duration::from_millis(500));
    insert(&store, &record("k1", "ann", 0)).await;
    proxy.set(Fault::StallAll);
    for _ in 0..3 {
        let started = Instant::now();
        assert!(store.find(&id("k1")).await.is_err());
        assert!(started.elapsed() < Duration::from_millis(500) + SLACK);
    }
    proxy.set(Fault::None);
    assert!(recovers(|| find(&store, "k1")).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_at_any_byte_is_an_error_or_was_whole() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let schema = new_schema();
    let direct = super::support::store_in(&server.url(), &schema).await;
    insert(&direct, &record("k1", "ann", 0)).await;
    // From the first byte of the greeting to the last one of the answer.
    for count in (0..1500).step_by(23) {
        proxy.set(Fault::CutAnswerAfter(count));
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        let pool = options.connect_lazy(&proxy.url()).unwrap();
        let store = PostgresKeyStore::new(pool).with_schema(&schema).unwrap();
        let store = store.with_deadline(Duration::from_millis(300));
        if let Ok(found) = store.find(&id("k1")).await {
            assert_eq!(found.unwrap().encode(), record("k1", "ann", 0).encode());
        }
        if count % 5 == 0
            && let Ok(found) = store.find(&id("unknown")).await
        {
            assert!(found.is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_meaning_is_an_error() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&proxy.url()).await.with_deadline(Duration::from_millis(300));
    insert(&store, &record("k1", "ann", 0)).await;
    for seed in 0..=255 {
        proxy.set(Fault::Garbage(seed));
        assert!(store.find(&id("k1")).await.is_err(), "{seed}");
    }
    proxy.set(Fault::None);
    assert!(recovers(|| find(&store, "k1")).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_with_a_lost_answer_is_made_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&proxy.url()).await;
    let ann = owner("ann");
    for (key, lost) in [("a", "BEGIN"), ("b", "INSERT"), ("c", "COMMIT")] {
        proxy.set(Fault::CutAnswerTo(lost));
        assert_eq!(
            store.insert(record(key, "ann", 0)).await.unwrap(),
            WriteOutcome::Applied,
            "{lost}"
        );
        assert!(found(&store, key).await.is_some());
        assert_eq!(store.insert(record(key, "ann", 0)).await.unwrap(), WriteOutcome::Conflict);
    }
    for (version, lost) in (1..).zip(["BEGIN", "UPDATE", "COMMIT"]) {
        proxy.set(Fault::CutAnswerTo(lost));
        let new = record("a", "ann", 0).with_version(version + 1);
        assert_eq!(
            store.replace(new.clone(), version).await.unwrap(),
            WriteOutcome::Applied,
            "{lost}"
        );
        assert_eq!(store.replace(new, version).await.unwrap(), WriteOutcome::Conflict);
    }
    for (key, lost) in [("a", "BEGIN"), ("b", "DELETE")] {
        proxy.set(Fault::CutAnswerTo(lost));
        assert_eq!(store.remove(&ann, &[id(key)]).await.unwrap(), WriteOutcome::Applied, "{lost}");
    }
    // The retry finds nothing, and the cause is not known.
    proxy.set(Fault::CutAnswerTo("COMMIT"));
    assert!(store.remove(&ann, &[id("c")]).await.is_err());
    assert!(found(&store, "c").await.is_none());

    // The record of another call is not taken for ours.
    insert(&store, &record("k1", "bob", 0)).await;
    proxy.set(Fault::CutAnswerTo("INSERT"));
    assert!(store.insert(record("k1", "ann", 0)).await.is_err());
    proxy.set(Fault::None);
    assert_eq!(found(&store, "k1").await, Some(record("k1", "bob", 0).encode()));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_from_the_start() {
    let port = Port::reserve().number();
    let started = Instant::now();
    let url = format!("postgres://app:hunter2@127.0.0.1:{port}/app");
    let error = PostgresKeyStore::connect(&url).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5) + SLACK);
    assert!(!error.to_string().contains("hunter2"));
    assert!(!format!("{error:?}").contains("hunter2"));
    for url in ["", "no url", "http://example.org", "postgres://a:hunter2@[::1/x"] {
        let error = PostgresKeyStore::connect(url).await.unwrap_err();
        assert_eq!(error.to_string(), "the key store cannot answer");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
