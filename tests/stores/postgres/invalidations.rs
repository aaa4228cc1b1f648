//! Notifications of changes, and caches that follow them.

use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tower_webhook::key::{KeyStore, WriteOutcome};
use tower_webhook::store::{
    Invalidation, InvalidationStream, PostgresInvalidations, PostgresKeyStore,
};

use super::pooler::Pooler;
use super::proxy::{Fault, Proxy};
use super::server::{Server, program, shared};
use super::support::{id, insert, new_schema, owner, record, store, store_in};
use crate::shared::invalidations::{HEARTBEAT, is_quiet, key, next, waiting_can_be_given_up};
use crate::support::SLACK;

/// A subscription that listens.
async fn listening(store: &PostgresKeyStore) -> PostgresInvalidations {
    let mut changes = store.invalidations().with_heartbeat(HEARTBEAT);
    assert_eq!(changes.next().await.unwrap(), Some(Invalidation::All));
    changes
}

async fn execute(connection: &mut PgConnection, sql: impl Into<String>) {
    raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.unwrap();
}

async fn replace(store: &PostgresKeyStore, key: &str, version: u64) {
    let new = record(key, "ann", 0).with_version(version + 1);
    assert_eq!(store.replace(new, version).await.unwrap(), WriteOutcome::Applied);
}

#[tokio::test]
async fn every_change_reaches_each_listener_of_its_table() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let other = store.clone().with_table_prefix("other_").unwrap();
    other.migrate().await.unwrap();
    let elsewhere = super::support::store(&server.url()).await;
    let mut here = listening(&store).await;
    let options: PgConnectOptions = server.url().parse().unwrap();
    let there = PostgresInvalidations::new(options).with_schema(&schema).unwrap();
    let mut there = there.with_table_prefix("other_").unwrap();
    assert_eq!(next(&mut there).await, Some(Invalidation::All));

    insert(&store, &record("a", "ann", 0)).await;
    insert(&store, &record("b", "ann", 0)).await;
    assert_eq!(next(&mut here).await, key("a"));
    assert_eq!(next(&mut here).await, key("b"));
    replace(&store, "a", 1).await;
    assert_eq!(next(&mut here).await, key("a"));
    // A look-up from now on finds the change.
    assert_eq!(store.find(&id("a")).await.unwrap().unwrap().version(), 2);
    let removed = store.remove(&owner("ann"), &[id("a"), id("b")]).await.unwrap();
    assert_eq!(removed, WriteOutcome::Applied);
    assert_eq!(next(&mut here).await, key("a"));
    assert_eq!(next(&mut here).await, key("b"));

    // Calls that change nothing are not reported, and neither are other tables.
    insert(&other, &record("c", "ann", 0)).await;
    insert(&elsewhere, &record("d", "ann", 0)).await;
    assert_eq!(store.replace(record("a", "ann", 0), 2).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(store.remove(&owner("ann"), &[id("a")]).await.unwrap(), WriteOutcome::Conflict);
    assert!(is_quiet(&mut here).await);
    assert_eq!(next(&mut there).await, key("c"));
    assert!(is_quiet(&mut there).await);
}

#[tokio::test]
async fn a_change_is_reported_when_it_is_committed() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    insert(&store, &record("a", "ann", 0)).await;
    let mut changes = listening(&store).await;
    let mut admin = server.connect().await;
    let update = format!("UPDATE {schema}.webhook_keys SET record = record || ' '");

    execute(&mut admin, format!("BEGIN; {update}")).await;
    assert!(is_quiet(&mut changes).await);
    execute(&mut admin, "ROLLBACK").await;
    assert!(is_quiet(&mut changes).await);
    execute(&mut admin, format!("BEGIN; {update}; COMMIT")).await;
    assert_eq!(next(&mut changes).await, key("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_psql_is_reported() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    for number in 0..150 {
        insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
    }
    let mut changes = listening(&store).await;
    let psql = |sql: &str| {
        let mut psql = Command::new(program("psql"));
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &server.url(), "-c", sql]);
        assert!(psql.status().unwrap().success(), "{sql}");
    };
    let table = format!("{schema}.webhook_keys");

    psql(&format!("UPDATE {table} SET record = record || ' ' WHERE id IN ('k7', 'k8')"));
    let mut two = [next(&mut changes).await, next(&mut changes).await];
    two.sort_by_key(|message| format!("{message:?}"));
    assert_eq!(two, [key("k7"), key("k8")]);
    psql(&format!("DELETE FROM {table} WHERE id = 'k7'"));
    assert_eq!(next(&mut changes).await, key("k7"));
    // Both the id that is gone and the one that is new.
    psql(&format!(
        "UPDATE {table} SET id = 'new', record = jsonb_set(record::jsonb, '{{id}}', '\"new\"') \
         WHERE id = 'k8'"
    ));
    let mut two = [next(&mut changes).await, next(&mut changes).await];
    two.sort_by_key(|message| format!("{message:?}"));
    assert_eq!(two, [key("k8"), key("new")]);

    // Many at once are one message.
    psql(&format!("UPDATE {table} SET record = record || ' '"));
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    assert!(is_quiet(&mut changes).await);
    psql(&format!("TRUNCATE {table} CASCADE"));
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    assert!(is_quiet(&mut changes).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_can_be_given_up_and_loses_nothing() {
    let server = shared();
    let store = store(&server.url()).await;
    waiting_can_be_given_up(&store, &mut listening(&store).await).await;
}

#[tokio::test]
async fn more_messages_than_there_is_place_for_become_one() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let mut changes = listening(&store).await;
    let record = record("a", "ann", 0).encode();
    let insert = format!(
        "DO $$ BEGIN FOR i IN 1..3000 LOOP INSERT INTO {schema}.webhook_keys (id, record) \
         VALUES ('k' || i, jsonb_set('{record}', '{{id}}', to_jsonb('k' || i))); END LOOP; END $$"
    );
    execute(&mut server.connect().await, insert).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    for index in 1..=1024 {
        assert_eq!(next(&mut changes).await, key(&format!("k{index}")));
    }
    assert!(is_quiet(&mut changes).await);
    super::support::insert(&store, &super::support::record("last", "ann", 0)).await;
    assert_eq!(next(&mut changes).await, key("last"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_an_error_and_clears_the_cache() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let mut changes = listening(&store).await;
    server.kill();
    for _ in 0..3 {
        assert_eq!(next(&mut changes).await, None);
    }
    server.restart();
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    insert(&store, &record("a", "ann", 0)).await;
    assert_eq!(next(&mut changes).await, key("a"));

    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE query LIKE '%pg_listening_channels%' AND pid <> pg_backend_pid()";
    execute(&mut server.connect().await, terminate).await;
    assert_eq!(next(&mut changes).await, None);
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_pauses_is_lost() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let mut changes = listening(&store).await;
    // Quiet, and alive.
    assert!(tokio::time::timeout(HEARTBEAT * 4, changes.next()).await.is_err());

    server.pause();
    let started = Instant::now();
    assert_eq!(next(&mut changes).await, None);
    assert!(started.elapsed() < HEARTBEAT * 3 + SLACK, "{:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(next(&mut changes).await, None);
    assert!(started.elapsed() < HEARTBEAT * 2 + SLACK, "{:?}", started.elapsed());
    server.resume();
    let started = Instant::now();
    while next(&mut changes).await != Some(Invalidation::All) {
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    insert(&store, &record("a", "ann", 0)).await;
    assert_eq!(next(&mut changes).await, key("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_or_falls_silent_is_lost() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let proxy = Proxy::start(server.port()).await;
    let options: PgConnectOptions = proxy.url().parse().unwrap();
    let changes = PostgresInvalidations::new(options).with_schema(&schema).unwrap();
    let mut changes = changes.with_heartbeat(HEARTBEAT);
    for (round, fault) in
        [Fault::Reset, Fault::Stall, Fault::StallAll, Fault::Garbage(7)].into_iter().enumerate()
    {
        assert_eq!(next(&mut changes).await, Some(Invalidation::All), "{fault:?}");
        proxy.set(fault);
        insert(&store, &record(&format!("lost{round}"), "ann", 0)).await;
        let started = Instant::now();
        assert_eq!(next(&mut changes).await, None, "{fault:?}");
        assert!(started.elapsed() < HEARTBEAT * 3 + SLACK, "{fault:?} {:?}", started.elapsed());
        proxy.set(Fault::None);
    }
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_without_notifications_is_an_error() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let mut admin = server.connect().await;
    let table = format!("{schema}.webhook_keys");
    for (off, on) in [
        ("DISABLE TRIGGER ALL", "ENABLE TRIGGER ALL"),
        ("DISABLE TRIGGER notify_delete", "ENABLE TRIGGER notify_delete"),
        ("ENABLE REPLICA TRIGGER notify_insert", "ENABLE ALWAYS TRIGGER notify_insert"),
    ] {
        let mut changes = listening(&store).await;
        execute(&mut admin, format!("ALTER TABLE {table} {off}")).await;
        // By the next heartbeat.
        assert_eq!(next(&mut changes).await, None, "{off}");
        let error = changes.next().await.unwrap_err();
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("triggers"), "{text}");
        execute(&mut admin, format!("ALTER TABLE {table} {on}")).await;
        assert_eq!(next(&mut changes).await, Some(Invalidation::All), "{on}");
    }
    let missing = store.clone().with_schema("missing").unwrap();
    assert!(missing.invalidations().next().await.is_err());
    let mut changes = listening(&store).await;
    execute(&mut admin, format!("DROP TABLE {table} CASCADE")).await;
    assert_eq!(next(&mut changes).await, None);
    assert_eq!(next(&mut changes).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_of_transactions_in_between_is_an_error() {
    let server = Server::start();
    let pooler = Pooler::start(server.port()).await;
    let store = store(&pooler.url()).await;
    let mut changes = store.invalidations().with_heartbeat(HEARTBEAT);
    assert_eq!(next(&mut changes).await, None);
    assert_eq!(next(&mut changes).await, None);
}

#[test]
fn a_runtime_that_ends_while_listening_is_no_panic() {
    let server = shared();
    for threads in [1, 2] {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).enable_all().build().unwrap();
        let mut changes = runtime.block_on(async {
            let store = store(&server.url()).await;
            listening(&store).await
        });
        drop(runtime);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert_eq!(next(&mut changes).await, None);
            assert_eq!(next(&mut changes).await, Some(Invalidation::All));
        });
        drop(runtime);
    }
}

#[test]
fn nothing_about_the_connection_is_shown() {
    let options: PgConnectOptions = "postgres://app:hunter2@db.example.org/app".parse().unwrap();
    let text = format!("{:?}", PostgresInvalidations::new(options));
    assert!(!text.contains("hunter2") && !text.contains("example"), "{text}");
}
