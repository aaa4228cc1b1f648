use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Row, query, query_scalar};
use tower_webhook::key::{KeyManager, KeyStore, WriteOutcome};
use tower_webhook::store::{SqliteKeyStore, conformance};

use super::support::{Folder, at, connect, found, id, insert, owner, record};
use crate::shared::records;
use crate::shared::scan::a_scan_visits_the_keys_of_all_owners;

async fn open(folder: &Folder) -> SqliteKeyStore {
    SqliteKeyStore::open(folder.file()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_stores_is_kept() {
    conformance::check(async || SqliteKeyStore::in_memory().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_stores_is_kept_in_a_file() {
    let folder = Folder::new();
    let file = AtomicU32::new(0);
    conformance::check(async || {
        let name = format!("{}.db", file.fetch_add(1, Ordering::Relaxed));
        SqliteKeyStore::open(folder.path().join(name)).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_outlives_the_store() {
    let folder = Folder::new();
    conformance::check_durable(async || open(&folder).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_its_table_is_an_outage() {
    let folder = Folder::new();
    conformance::check_outage(async || {
        let file = folder.path().join(format!("{:?}.db", std::time::Instant::now()));
        let store = SqliteKeyStore::open(&file).await.unwrap();
        let drop = query("DROP TABLE keys").execute(&mut connect(&file).await).await;
        drop.unwrap();
        store
    })
    .await;
}

#[tokio::test]
async fn a_key_lives_its_life_across_restarts() {
    let folder = Folder::new();
    records::a_key_lives_its_life(async || open(&folder).await).await;
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was() {
    let folder = Folder::new();
    records::are_read_back_as_they_were(&open(&folder).await).await;
}

#[tokio::test]
async fn a_version_is_compared_in_all_its_64_bits() {
    records::versions_have_64_bits(&SqliteKeyStore::in_memory().await.unwrap()).await;
}

#[tokio::test]
async fn records_are_listed_by_time_to_the_nanosecond_and_then_by_id() {
    let folder = Folder::new();
    records::are_listed_by_time_to_the_nanosecond_and_then_by_id(&open(&folder).await).await;
}

#[tokio::test]
async fn pages_are_stable_while_keys_are_added_and_removed() {
    let folder = Folder::new();
    records::pages_are_stable(&open(&folder).await).await;
}

#[tokio::test]
async fn keys_are_removed_together_or_not_at_all() {
    let folder = Folder::new();
    records::are_removed_together_or_not_at_all(&open(&folder).await).await;
}

#[tokio::test]
async fn a_record_that_changes_its_owner_and_time_moves_in_the_lists() {
    records::a_record_moves_in_the_lists(&SqliteKeyStore::in_memory().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_changes_to_one_version_one_wins() {
    let folder = Folder::new();
    let one = open(&folder).await;
    let two = open(&folder).await;
    insert(&one, &record("k", "ann", 0)).await;
    for version in 1..20 {
        let changes = (0..16).map(|number| {
            let store = if number % 2 == 0 { one.clone() } else { two.clone() };
            let new = record("k", "ann", 0).with_version(version + 1);
            let new = new.with_name(number.to_string()).unwrap();
            tokio::spawn(async move { store.replace(new, version).await.unwrap() })
        });
        let mut done = 0;
        for change in futures_util::future::join_all(changes).await {
            done += usize::from(change.unwrap() == WriteOutcome::Applied);
        }
        assert_eq!(done, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_fails_every_verification_that_starts_later() {
    let folder = Folder::new();
    let one = KeyManager::new(open(&folder).await);
    let two = KeyManager::new(open(&folder).await);
    records::revoked_keys_are_refused_from_then_on(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_leave_nothing_behind() {
    let folder = Folder::new();
    let store = open(&folder).await;
    for number in 0..50 {
        insert(&store, &record(&format!("k{number}"), "ann", number)).await;
    }
    let mut tasks = Vec::new();
    for task in 0..20_u64 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for step in 0..500_u64 {
                let number = (task * 31 + step * 17) % 60;
                let key = id(&format!("k{number}"));
                let find = store.find(&key);
                let patience = std::time::Duration::from_micros(step * 7 % 400);
                if let Ok(found) = tokio::time::timeout(patience, find).await {
                    let found = found.unwrap();
                    assert_eq!(found.is_some(), number < 50);
                    assert!(found.is_none_or(|record| *record.id() == key));
                }
                if step % 50 == 0 {
                    let write = store.insert(record(&format!("n{task}.{step}"), "ann", 0));
                    let _ = tokio::time::timeout(patience, write).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    // A change that had begun goes on. This one is the last.
    insert(&store, &record("last", "ann", 0)).await;
    for number in 0..50 {
        assert!(found(&store, &format!("k{number}")).await.is_some());
    }
    let listed = store.list(&owner("ann"), None, 1000).await.unwrap();
    assert!((51..=251).contains(&listed.len()), "{}", listed.len());
}

#[tokio::test]
async fn generated_columns_show_the_record_and_are_read_only() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let made = record("k1", "ann", 0).with_expires_at(Some(at(60))).with_disabled(true);
    insert(&store, &made).await;
    let mut connection = connect(&folder.file()).await;

    let row = query(
        "SELECT id, owner, name, created_at, expires_at, disabled, revoked_at, version FROM keys",
    );
    let row = row.fetch_one(&mut connection).await.unwrap();
    let text = |column| row.get::<Option<String>, _>(column);
    assert_eq!(text("id").as_deref(), Some("k1"));
    assert_eq!(text("owner").as_deref(), Some("ann"));
    assert_eq!(text("name").as_deref(), Some("laptop"));
    assert_eq!(text("created_at").as_deref(), Some("1970-01-01T00:00:00.000000000Z"));
    assert_eq!(text("expires_at").as_deref(), Some("1970-01-01T00:01:00Z"));
    assert!(row.get::<bool, _>("disabled"));
    assert_eq!(text("revoked_at"), None);
    assert_eq!(row.get::<i64, _>("version"), 1);

    for column in ["owner", "created_at", "expires_at", "disabled", "revoked_at", "version"] {
        let update = sqlx::AssertSqlSafe(format!("UPDATE keys SET {column} = NULL"));
        assert!(query(update).execute(&mut connection).await.is_err(), "{column}");
    }
}

#[tokio::test]
async fn a_row_changed_by_another_program_is_an_error() {
    let changes = [
        "UPDATE keys SET record = replace(record, 'ann', 'eve')",
        "UPDATE keys SET record = replace(record, '\"disabled\":false', '\"disabled\":true')",
        "UPDATE keys SET record = replace(record, '\"schema\":1', '\"schema\":2')",
        "UPDATE keys SET record = json_remove(record, '$.expires_at')",
        "UPDATE keys SET checksum = 0",
        "UPDATE keys SET id = 'k2'; UPDATE keys SET id = 'k1' WHERE id = 'k2'; \
         UPDATE keys SET checksum = checksum + 1",
    ];
    for change in changes {
        let folder = Folder::new();
        let store = open(&folder).await;
        insert(&store, &record("k1", "ann", 0)).await;
        let mut connection = connect(&folder.file()).await;
        sqlx::raw_sql(change).execute(&mut connection).await.unwrap();

        assert!(store.find(&id("k1")).await.is_err(), "{change}");
        let new = record("k1", "ann", 0).with_version(2);
        assert!(store.replace(new, 1).await.is_err(), "{change}");
        assert!(SqliteKeyStore::open(folder.file()).await.is_err(), "{change}");
    }

    // The record of one key under the id of another.
    let folder = Folder::new();
    let store = open(&folder).await;
    insert(&store, &record("k1", "ann", 0)).await;
    let mut connection = connect(&folder.file()).await;
    query("UPDATE keys SET id = 'k2'").execute(&mut connection).await.unwrap();
    assert!(store.find(&id("k2")).await.is_err());
    assert!(store.list(&owner("ann"), None, 1).await.is_ok());
    assert!(SqliteKeyStore::open(folder.file()).await.is_err());
}

#[tokio::test]
async fn a_missing_table_is_an_error_and_no_unknown_key() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let mut connection = connect(&folder.file()).await;
    query("DROP TABLE keys").execute(&mut connection).await.unwrap();

    let error = store.find(&id("k1")).await.unwrap_err();

    assert_eq!(error.to_string(), "the key store cannot answer");
    assert!(error.source().unwrap().to_string().contains("no such table"));
    assert!(store.list(&owner("ann"), None, 1).await.is_err());
    assert!(store.insert(record("k1", "ann", 0)).await.is_err());
    assert!(store.remove(&owner("ann"), &[id("k1")]).await.is_err());
}

#[tokio::test]
async fn synchronous_writes_to_a_write_ahead_log_are_on() {
    let folder = Folder::new();
    let _store = open(&folder).await;
    let mut connection = connect(&folder.file()).await;
    let mode: String =
        query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn outside_of_a_runtime_a_call_is_an_error() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(SqliteKeyStore::open(folder.file())).unwrap();
    runtime.block_on(insert(&store, &record("k1", "ann", 0)));
    drop(runtime);

    let error = futures_util::FutureExt::now_or_never(store.find(&id("k1"))).unwrap().unwrap_err();
    assert!(error.source().unwrap().to_string().contains("runtime"));
    let opened = futures_util::FutureExt::now_or_never(SqliteKeyStore::open(folder.file()));
    assert!(opened.unwrap().is_err());

    // Another runtime can go on with the same store.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(found(&store, "k1")).is_some());
}

#[test]
fn a_runtime_that_ends_during_calls_leaves_a_whole_file() {
    let folder = Folder::new();
    for round in 0..10 {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let file = folder.file();
        runtime.spawn(async move {
            let store = SqliteKeyStore::open(file).await.unwrap();
            for number in 0.. {
                insert(&store, &record(&format!("{round}.{number}"), "ann", 0)).await;
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 5));
        drop(runtime);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&folder).await;
        assert!(!store.list(&owner("ann"), None, 10_000).await.unwrap().is_empty());
    });
}

#[tokio::test]
async fn a_scan_visits_every_key_once_it_is_there() {
    let folder = Folder::new();
    a_scan_visits_the_keys_of_all_owners(&open(&folder).await).await;
}
