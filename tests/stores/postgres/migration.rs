//! Tables that an earlier version of this crate has made, and those of a later one.

use sqlx::{AssertSqlSafe, Row, raw_sql};
use tower_webhook::key::{KeyStore, WriteOutcome};
use tower_webhook::store::{Invalidation, InvalidationStream, PostgresKeyStore};

use super::server::{Server, shared};
use super::support::{found, id, insert, new_schema, owner, record};

/// What version 1 made, with a key in it.
async fn version_1(server: &Server, schema: &str) -> PostgresKeyStore {
    let sql = include_str!("schema_1.sql").replace("PLACE", schema);
    raw_sql(AssertSqlSafe(sql)).execute(&mut server.connect().await).await.unwrap();
    let store = PostgresKeyStore::connect(&server.url()).await.unwrap();
    let store = store.with_schema(schema).unwrap();
    insert(&store, &record("old", "ann", 0)).await;
    store
}

async fn version_of(server: &Server, schema: &str) -> i32 {
    let sql = format!("SELECT version FROM {schema}.webhook_keys_schema");
    let row = raw_sql(AssertSqlSafe(sql)).fetch_one(&mut server.connect().await).await.unwrap();
    row.get("version")
}

#[tokio::test]
async fn tables_of_version_1_are_migrated_with_their_rows() {
    let server = shared();
    let schema = new_schema();
    let store = version_1(&server, &schema).await;
    assert!(store.check().await.is_err());
    assert!(store.invalidations().next().await.is_err());

    store.migrate().await.unwrap();
    assert_eq!(version_of(&server, &schema).await, 2);
    store.check().await.unwrap();
    assert_eq!(found(&store, "old").await, Some(record("old", "ann", 0).encode()));
    let mut changes = store.invalidations();
    assert_eq!(changes.next().await.unwrap(), Some(Invalidation::All));
    let new = record("old", "ann", 0).with_version(2);
    assert_eq!(store.replace(new, 1).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(changes.next().await.unwrap(), Some(Invalidation::Key(id("old"))));
    store.migrate().await.unwrap();
    assert_eq!(store.list(&owner("ann"), None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_bring_tables_up_to_date_at_once_while_keys_change() {
    let server = shared();
    let schema = new_schema();
    let store = version_1(&server, &schema).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..100 {
                insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
            }
        }
    });
    let migrations = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.migrate().await.unwrap() })
    });
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(version_of(&server, &schema).await, 2);
    assert_eq!(store.list(&owner("ann"), None, 1000).await.unwrap().len(), 101);
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_tables_as_they_were() {
    let server = shared();
    let schema = new_schema();
    let store = version_1(&server, &schema).await;
    let mut admin = server.connect().await;
    let taken = format!(
        "CREATE FUNCTION {schema}.webhook_keys_notify() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    );
    raw_sql(AssertSqlSafe(taken)).execute(&mut admin).await.unwrap();
    assert!(store.migrate().await.is_err());
    assert_eq!(version_of(&server, &schema).await, 1);
    assert!(found(&store, "old").await.is_some());
    let free = format!("DROP FUNCTION {schema}.webhook_keys_notify()");
    raw_sql(AssertSqlSafe(free)).execute(&mut admin).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(version_of(&server, &schema).await, 2);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_and_stay_as_they_are() {
    let server = shared();
    for version in [3, 1000, -1] {
        let schema = new_schema();
        let store = version_1(&server, &schema).await;
        let sql = format!("UPDATE {schema}.webhook_keys_schema SET version = {version}");
        raw_sql(AssertSqlSafe(sql)).execute(&mut server.connect().await).await.unwrap();
        assert!(store.check().await.is_err());
        assert!(store.migrate().await.is_err());
        assert_eq!(version_of(&server, &schema).await, version);
    }
}
