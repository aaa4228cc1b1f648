//! A pool that the application shares with the store.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{sleep, timeout};
use tower_webhook::key::KeyStore;
use tower_webhook::store::PostgresKeyStore;

use super::server::{Server, shared};
use super::support::{find, found, id, insert, new_schema, record};

const SOON: Duration = Duration::from_secs(5);

/// A store with one key, on a pool of so many connections that others share.
async fn lent(url: &str, connections: u32) -> (PgPool, PostgresKeyStore) {
    let pool = PgPoolOptions::new().max_connections(connections).connect(url).await.unwrap();
    let store = PostgresKeyStore::new(pool.clone()).with_schema(&new_schema()).unwrap();
    store.migrate().await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    (pool, store)
}

/// How many connections the pool has given away.
fn away(pool: &PgPool) -> usize {
    pool.size() as usize - pool.num_idle()
}

async fn comes_back(pool: &PgPool) {
    let started = Instant::now();
    while away(pool) > 0 {
        assert!(started.elapsed() < SOON, "the pool has not got its connections back");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_leave_connections_to_others() {
    let server = shared();
    let (pool, store) = lent(&server.url(), 2).await;
    let look_ups = tokio::spawn(async move {
        for _ in 0.. {
            found(&store, "k1").await.unwrap();
        }
    });
    for _ in 0..10 {
        let both = async { (pool.acquire().await.unwrap(), pool.acquire().await.unwrap()) };
        drop(timeout(SOON, both).await.unwrap());
        sleep(Duration::from_millis(20)).await;
    }
    look_ups.abort();
}

#[tokio::test]
async fn idle_connections_that_died_are_replaced_all_at_once() {
    let server = Server::start();
    let (_pool, store) = lent(&server.url(), 10).await;
    let mut admin = server.connect().await;
    for _ in 0..5 {
        let finds = (0..8).map(|_| find(&store, "k1"));
        for found in futures_util::future::join_all(finds).await {
            assert!(found.unwrap().is_some());
        }
        let terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                         WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        sqlx::raw_sql(terminate).execute(&mut admin).await.unwrap();
        assert!(found(&store, "k1").await.is_some());
    }
}

#[tokio::test]
async fn a_closed_pool_is_an_error() {
    let server = shared();
    let (pool, store) = lent(&server.url(), 4).await;
    found(&store, "k1").await.unwrap();
    timeout(SOON, pool.close()).await.unwrap();
    assert!(find(&store, "k1").await.is_err());
    assert_eq!(pool.size(), 0);
}

#[test]
fn a_connection_of_a_runtime_that_has_ended_is_replaced() {
    let server = shared();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = runtime();
    let (pool, store) = first.block_on(lent(&server.url(), 4));
    first.block_on(found(&store, "k1"));
    drop(first);
    assert!(store.find(&id("k1")).now_or_never().unwrap().is_err());

    let second = runtime();
    for _ in 0..3 {
        second.block_on(async {
            assert!(super::support::recovers(|| find(&store, "k1")).await.is_some());
        });
    }
    drop((second, store));
    drop(pool);
}

#[test]
fn a_store_may_be_dropped_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = shared();
    let (pool, store) = runtime.block_on(lent(&server.url(), 4));
    runtime.block_on(found(&store, "k1"));
    drop(store);
    runtime.block_on(comes_back(&pool));
}
