//! Files that an earlier version of this crate has made.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use sqlx::{ConnectOptions, query, raw_sql};
use tower_webhook::key::KeyStore;
use tower_webhook::store::{LastUsedSink, LastUsedSource, SqliteKeyStore, SqliteOpenErrorKind};

use super::support::{Folder, at, connect, crc32, found, id, insert, owner, record};

/// A file of version 1, with a key in it.
async fn version_1() -> Folder {
    let folder = Folder::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.file());
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    raw_sql(include_str!("schema_1.sql")).execute(&mut connection).await.unwrap();
    let text = record("old", "ann", 0).encode();
    let insert = query("INSERT INTO keys (id, record, checksum) VALUES ('old', ?1, ?2)");
    insert.bind(&text).bind(crc32(&text)).execute(&mut connection).await.unwrap();
    fs::set_permissions(folder.file(), Permissions::from_mode(0o600)).unwrap();
    folder
}

async fn version_of(folder: &Folder) -> i64 {
    let mut connection = connect(&folder.file()).await;
    sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_file_of_version_1_is_migrated_with_its_rows() {
    let folder = version_1().await;
    for _ in 0..2 {
        let store = SqliteKeyStore::open(folder.file()).await.unwrap();
        assert_eq!(version_of(&folder).await, 2);
        assert_eq!(found(&store, "old").await, Some(record("old", "ann", 0).encode()));
        store.write(vec![(id("old"), at(7))]).await.unwrap();
        assert_eq!(store.last_used(&[id("old")]).await.unwrap(), [Some(at(7))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_bring_a_file_up_to_date_at_once() {
    for _ in 0..5 {
        let folder = version_1().await;
        let opens = (0..8).map(|number| {
            let file = folder.file();
            tokio::spawn(async move {
                let store = SqliteKeyStore::open(file).await.unwrap();
                insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
            })
        });
        for open in opens.collect::<Vec<_>>() {
            open.await.unwrap();
        }
        let store = SqliteKeyStore::open(folder.file()).await.unwrap();
        assert_eq!(store.list(&owner("ann"), None, 100).await.unwrap().len(), 9);
    }
}

#[tokio::test]
async fn a_damaged_file_of_version_1_is_not_touched() {
    for change in [
        "DROP INDEX keys_by_owner",
        "ALTER TABLE keys ADD COLUMN note TEXT",
        "CREATE TABLE key_usage (id TEXT)",
    ] {
        let folder = version_1().await;
        raw_sql(change).execute(&mut connect(&folder.file()).await).await.unwrap();
        let error = SqliteKeyStore::open(folder.file()).await.unwrap_err();
        let kinds = [SqliteOpenErrorKind::Damaged, SqliteOpenErrorKind::Database];
        assert!(kinds.contains(&error.kind()), "{change} {error:?}");
        assert_eq!(version_of(&folder).await, 1, "{change}");
    }
}
