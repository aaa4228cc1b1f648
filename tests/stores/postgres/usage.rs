//! When keys were last used.

use sqlx::{AssertSqlSafe, raw_sql};
use tower_webhook::key::KeyStore;
use tower_webhook::store::{LastUsedSink, LastUsedSource, PostgresKeyStore};

use super::server::{Server, shared};
use super::support::{at, id, insert, new_schema, record, store, store_in};
use crate::shared::usage::{
    is_kept, keeps_the_later_time, keeps_the_later_time_of_many, loses_no_time_in_an_outage,
};

#[tokio::test]
async fn the_later_time_is_kept_beside_the_key() {
    let server = shared();
    keeps_the_later_time(&store(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_time_of_many_that_write_at_once_is_kept() {
    let server = shared();
    keeps_the_later_time_of_many(&store(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_time_is_lost_while_the_server_is_gone() {
    let server = Server::start();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let hasty = store.with_deadline(std::time::Duration::from_millis(800));
    loses_no_time_in_an_outage(&hasty, async || server.kill(), async || server.restart()).await;
    server.kill();
    server.restart();
    let again = PostgresKeyStore::connect(&server.url()).await.unwrap();
    is_kept(&again.with_schema(&schema).unwrap()).await;
}

#[tokio::test]
async fn the_time_goes_with_its_key_and_is_not_reported() {
    use tower_webhook::store::{Invalidation, InvalidationStream};

    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    insert(&store, &record("k1", "ann", 0)).await;
    let mut changes = store.invalidations();
    assert_eq!(changes.next().await.unwrap(), Some(Invalidation::All));
    store.write(vec![(id("k1"), at(7))]).await.unwrap();
    assert_eq!(store.last_used(&[id("k1")]).await.unwrap(), [Some(at(7))]);
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(200), changes.next());
    assert!(quiet.await.is_err());

    let delete = format!("DELETE FROM {schema}.webhook_keys");
    raw_sql(AssertSqlSafe(delete)).execute(&mut server.connect().await).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    assert_eq!(store.last_used(&[id("k1")]).await.unwrap(), [None]);

    let gone = format!("DROP TABLE {schema}.webhook_key_usage");
    raw_sql(AssertSqlSafe(gone)).execute(&mut server.connect().await).await.unwrap();
    assert!(store.write(vec![(id("k1"), at(7))]).await.is_err());
    assert!(store.last_used(&[id("k1")]).await.is_err());
    assert!(store.find(&id("k1")).await.unwrap().is_some());
}
