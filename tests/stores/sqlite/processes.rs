//! Several processes, and several stores, on one file.

use std::io::{BufRead, BufReader, Write as _};
use std::time::{Duration, Instant};

use sqlx::raw_sql;
use tower_webhook::key::{KeyStore, WriteOutcome};
use tower_webhook::store::SqliteKeyStore;

use super::support::{
    Folder, Running, at, child, connect, found, given_file, id, insert, owner, record,
};
use crate::support::SLACK;

/// Inserts keys, revokes the parent's key, and says so.
#[tokio::test]
async fn a_second_process() {
    let Some(file) = given_file() else { return };
    let store = SqliteKeyStore::open(file).await.unwrap();
    println!("\nready");
    for number in 0..100 {
        insert(&store, &record(&format!("child{number}"), "ann", 0)).await;
    }
    let parents = store.find(&id("parents")).await.unwrap().unwrap();
    let revoked = parents.with_revoked_at(Some(at(9))).with_version(2);
    assert_eq!(store.replace(revoked, 1).await.unwrap(), WriteOutcome::Applied);
    println!("revoked");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert!(found(&store, "parents").await.is_none());
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    insert(&store, &record("parents", "ann", 0)).await;
    let mut second =
        Running(child("sqlite::processes::a_second_process", &folder.file()).spawn().unwrap());
    let mut output = BufReader::new(second.0.stdout.take().unwrap());
    let mut wait_for = |expected: &str| {
        let mut line = String::new();
        while line.trim() != expected {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the second process failed");
        }
    };
    wait_for("ready");
    for number in 0..100 {
        insert(&store, &record(&format!("parent{number}"), "ann", 0)).await;
    }
    wait_for("revoked");

    // What another process has done counts at once.
    let parents = store.find(&id("parents")).await.unwrap().unwrap();
    assert_eq!(parents.revoked_at(), Some(at(9)));
    assert_eq!(store.list(&owner("ann"), None, 1000).await.unwrap().len(), 201);
    assert_eq!(store.replace(parents.clone(), 1).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(store.remove(&owner("ann"), &[id("parents")]).await.unwrap(), WriteOutcome::Applied);
    writeln!(second.0.stdin.take().unwrap()).unwrap();
    assert!(second.0.wait().unwrap().success());
}

#[tokio::test]
async fn a_locked_file_fails_changes_and_answers_lookups() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    let mut other = connect(&folder.file()).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let started = Instant::now();
    assert!(store.insert(record("k2", "ann", 0)).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(5) + SLACK);
    assert!(found(&store, "k1").await.is_some());
    let opened = SqliteKeyStore::open(folder.file()).await.unwrap();
    assert!(found(&opened, "k1").await.is_some());

    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    insert(&store, &record("k2", "ann", 0)).await;
}

#[tokio::test]
async fn a_change_past_its_deadline_is_not_made_later() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    let hasty = store.clone().with_deadline(Duration::from_millis(100));
    insert(&store, &record("k1", "ann", 0)).await;
    let mut other = connect(&folder.file()).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    for number in 0..5 {
        let started = Instant::now();
        let new = record("k1", "ann", 0).with_version(100 + number);
        assert!(hasty.replace(new, 1).await.is_err());
        assert!(started.elapsed() < SLACK);
    }
    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();

    // Those changes had their transaction not yet begun, and none of them is made later.
    insert(&store, &record("k2", "ann", 0)).await;
    assert_eq!(store.find(&id("k1")).await.unwrap().unwrap().version(), 1);
    let new = record("k1", "ann", 0).with_version(2);
    assert_eq!(store.replace(new, 1).await.unwrap(), WriteOutcome::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_can_create_one_file_at_once() {
    for _ in 0..10 {
        let folder = Folder::new();
        let opens = (0..8).map(|number| {
            let file = folder.file();
            tokio::spawn(async move {
                let store = SqliteKeyStore::open(file).await.unwrap();
                insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
                store
            })
        });
        let stores = futures_util::future::join_all(opens).await;
        for store in stores {
            let listed = store.unwrap().list(&owner("ann"), None, 10).await.unwrap();
            assert_eq!(listed.len(), 8);
        }
    }
}
