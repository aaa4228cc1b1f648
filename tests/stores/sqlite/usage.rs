//! When keys were last used.

use sqlx::raw_sql;
use tower_webhook::key::KeyStore;
use tower_webhook::store::{LastUsedSink, LastUsedSource, SqliteKeyStore};

use super::support::{Folder, at, connect, id, insert, record};
use crate::shared::usage::{
    is_kept, keeps_the_later_time, keeps_the_later_time_of_many, loses_no_time_in_an_outage,
};

#[tokio::test]
async fn the_later_time_is_kept_beside_the_key() {
    let folder = Folder::new();
    keeps_the_later_time(&SqliteKeyStore::open(folder.file()).await.unwrap()).await;
    keeps_the_later_time(&SqliteKeyStore::in_memory().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_time_of_many_that_write_at_once_is_kept() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    keeps_the_later_time_of_many(&store).await;
}

#[tokio::test]
async fn no_time_is_lost_while_the_file_is_locked_or_reopened() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    let hasty = store.clone().with_deadline(std::time::Duration::from_millis(200));
    let other = tokio::sync::Mutex::new(connect(&folder.file()).await);
    let down = async || {
        raw_sql("BEGIN IMMEDIATE").execute(&mut *other.lock().await).await.unwrap();
    };
    let up = async || {
        raw_sql("ROLLBACK").execute(&mut *other.lock().await).await.unwrap();
    };
    loses_no_time_in_an_outage(&hasty, down, up).await;
    drop((store, hasty));
    is_kept(&SqliteKeyStore::open(folder.file()).await.unwrap()).await;
}

#[tokio::test]
async fn the_time_of_a_key_goes_with_it() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    store.write(vec![(id("k1"), at(7))]).await.unwrap();
    let mut other = connect(&folder.file()).await;
    raw_sql("PRAGMA foreign_keys = OFF; DELETE FROM keys").execute(&mut other).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    assert_eq!(store.last_used(&[id("k1")]).await.unwrap(), [None]);

    raw_sql("INSERT INTO key_usage VALUES ('k1', 'x')").execute(&mut other).await.unwrap();
    assert!(store.last_used(&[id("k1")]).await.is_err());
    assert!(store.find(&id("k1")).await.unwrap().is_some());
}
