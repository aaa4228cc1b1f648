//! Files that are no queue, and files that others can write to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, raw_sql};
use tower_webhook::queue::SqliteQueue;
use tower_webhook::store::{SqliteFile, SqliteKeyStore, SqliteOpenErrorKind};

use super::{enqueue, file, open};
use crate::support::folder::Folder;

async fn refusal(folder: &Folder) -> SqliteOpenErrorKind {
    SqliteQueue::open(file(folder)).await.unwrap_err().kind()
}

async fn run(folder: &Folder, sql: &str) {
    let mut other = SqliteConnectOptions::new().filename(file(folder)).connect().await.unwrap();
    raw_sql(AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn a_key_file_is_no_queue_and_a_queue_no_key_file() {
    let folder = Folder::new();
    drop(SqliteKeyStore::open(file(&folder)).await.unwrap());
    let error = SqliteQueue::open(file(&folder)).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::Foreign);
    assert_eq!(error.to_string(), format!("{:?}: the file is no queue file", file(&folder)));
    drop(SqliteKeyStore::open(file(&folder)).await.unwrap());

    let folder = Folder::new();
    enqueue(&open(&folder).await, "a").await;
    let error = SqliteKeyStore::open(file(&folder)).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::Foreign);
    assert_eq!(error.to_string(), format!("{:?}: the file is no key file", file(&folder)));
    open(&folder).await.check().await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    for content in ["no database, but some text that is long enough for a header", "short"] {
        let folder = Folder::new();
        fs::write(file(&folder), content.repeat(40)).unwrap();
        fs::set_permissions(file(&folder), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(refusal(&folder).await, SqliteOpenErrorKind::Foreign);
    }
    let folder = Folder::new();
    drop(open(&folder).await);
    run(&folder, "PRAGMA user_version = 2").await;
    assert_eq!(refusal(&folder).await, SqliteOpenErrorKind::NewerSchema);
}

#[tokio::test]
async fn a_schema_that_was_changed_is_refused() {
    for change in [
        "DROP INDEX jobs_open",
        "DROP INDEX jobs_running; CREATE INDEX jobs_running ON jobs (hook) WHERE state = 'running'",
        "ALTER TABLE jobs ADD COLUMN note TEXT",
        "PRAGMA user_version = 0",
    ] {
        let folder = Folder::new();
        drop(open(&folder).await);
        run(&folder, change).await;
        assert_eq!(refusal(&folder).await, SqliteOpenErrorKind::Damaged, "{change}");
    }
}

#[tokio::test]
async fn a_queue_is_for_its_owner_alone() {
    let folder = Folder::new();
    enqueue(&open(&folder).await, "a").await;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
    }
    for path in [folder.path().to_owned(), file(&folder)] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, Permissions::from_mode(before.mode() | 0o020)).unwrap();
        let error = SqliteQueue::open(file(&folder)).await.unwrap_err();
        assert_eq!(error.kind(), SqliteOpenErrorKind::Permissions);
        assert!(error.to_string().contains("or open the queue file with"), "{error}");
        let shared = SqliteFile::new(file(&folder)).with_insecure_permissions();
        SqliteQueue::open(shared).await.unwrap();
        fs::set_permissions(&path, before).unwrap();
    }
    let link = folder.path().join("link.db");
    symlink(file(&folder), &link).unwrap();
    let error = SqliteQueue::open(link).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::NotAFile);
}
