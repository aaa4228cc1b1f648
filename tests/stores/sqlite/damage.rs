//! Files with flipped bits and missing ends: an error, and never a wrong answer.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::{query, query_scalar};
use time::Duration;
use tower_webhook::key::{KeyRecord, KeyStore};
use tower_webhook::store::{KeyScan, SqliteKeyStore, SqliteOpenErrorKind};

use super::support::{Folder, at, connect, found, id, insert, owner, record};

type Model = BTreeMap<String, KeyRecord>;

/// A file of several pages without a write-ahead log, and what is in it.
async fn whole_file() -> (Vec<u8>, Model) {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    let mut model = Model::new();
    for number in 0..40 {
        let expires_at = at(2_000_000_000) + Duration::days(number);
        let record =
            record(&format!("key{number}"), "ann", number).with_expires_at(Some(expires_at));
        insert(&store, &record).await;
        model.insert(record.id().to_string(), record);
    }
    let large = record("large", "bob", 0);
    let large = large.with_metadata(Some(format!("\"{}\"", "x".repeat(9000)))).unwrap();
    insert(&store, &large).await;
    model.insert("large".to_owned(), large);
    drop(store);
    let mut connection = connect(&folder.file()).await;
    let checkpoint = query("PRAGMA wal_checkpoint(TRUNCATE)");
    checkpoint.execute(&mut connection).await.unwrap();
    (fs::read(folder.file()).unwrap(), model)
}

/// Whether the damage is noticed when the file is opened. If not, every answer is right, or an error.
async fn is_noticed(bytes: &[u8], model: &Model) -> bool {
    let folder = Folder::new();
    write(&folder.file(), bytes);
    let Ok(store) = SqliteKeyStore::open(folder.file()).await else {
        return true;
    };
    check(&store, model).await;
    false
}

fn write(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

async fn check(store: &SqliteKeyStore, model: &Model) {
    for (key, record) in model {
        if let Ok(found) = store.find(&id(key)).await {
            assert_eq!(found.unwrap().encode(), record.encode());
        }
    }
    if let Ok(found) = store.find(&id("missing")).await {
        assert!(found.is_none());
    }
    let mut visited = 0;
    if store.scan(&mut |_| visited += 1).await.is_ok() {
        assert_eq!(visited, model.len());
    }
    for of in ["ann", "bob"] {
        if let Ok(listed) = store.list(&owner(of), None, 100).await {
            let expected = model.values().filter(|record| record.owner().as_str() == of);
            assert_eq!(listed.len(), expected.count());
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_or_harmless() {
    let (bytes, model) = whole_file().await;
    let flips = env::var("TOWER_WEBHOOK_FLIPS").unwrap_or_default();
    let every = bytes.len() * 8;
    let count = if flips == "all" { every } else { flips.parse().unwrap_or(400) };
    // Steps that share no divisor with the number of bits visit all of them in the end.
    let step = (every / count) | 1;
    let mut noticed = 0;
    for number in 0..count {
        let bit = number * step % every;
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        noticed += usize::from(is_noticed(&bytes, &model).await);
    }
    assert!(noticed * 2 > count, "{noticed} of {count}");
}

#[tokio::test]
async fn a_flipped_bit_of_the_header_is_noticed_or_harmless() {
    let (bytes, model) = whole_file().await;
    for bit in 0..800 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        is_noticed(&bytes, &model).await;
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_noticed() {
    let (bytes, model) = whole_file().await;
    for page in 0..bytes.len() / 4096 {
        for rest in [1, 100, 2048, 4095, 4096] {
            let len = page * 4096 + rest;
            if len > 1 && len < bytes.len() {
                assert!(is_noticed(&bytes[..len], &model).await, "{len} of {}", bytes.len());
            }
        }
    }
}

#[tokio::test]
async fn damage_under_an_open_store_is_an_error_or_not_seen_yet() {
    let (bytes, model) = whole_file().await;
    // The row, and what is left of it where it was before.
    let starts = |(start, bytes): (usize, &[u8])| (bytes == b"\"key7\",\"ow").then_some(start);
    let copies: Vec<usize> = bytes.windows(10).enumerate().filter_map(starts).collect();
    for bit in 0..8 {
        let folder = Folder::new();
        write(&folder.file(), &bytes);
        let store = SqliteKeyStore::open_unchecked(folder.file()).await.unwrap();
        let mut damaged = bytes.clone();
        for start in &copies {
            damaged[start + 40] ^= 1 << bit;
        }
        fs::write(folder.file(), &damaged).unwrap();

        // A connection that has not read the page yet.
        assert!(store.find(&id("key7")).await.is_err());
        check(&store, &model).await;
        let damage = store.check().await.unwrap_err();
        assert_eq!(damage.kind(), SqliteOpenErrorKind::Damaged);
    }
}

/// SQLite takes the log's first frame that does not add up for its end. What came before it counts,
/// and what came after it is lost: a user who can do that to the file can put an older copy in its place
/// as well.
#[tokio::test]
async fn a_damaged_log_leads_back_to_an_earlier_state() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    let mut keep = connect(&folder.file()).await;
    let mut states = vec![Model::new()];
    for number in 0..12 {
        let record = record(&format!("key{number}"), "ann", number);
        insert(&store, &record).await;
        let mut state = states.last().unwrap().clone();
        state.insert(record.id().to_string(), record);
        states.push(state);
    }
    let _: i64 = query_scalar("SELECT count(*) FROM keys").fetch_one(&mut keep).await.unwrap();
    let log = folder.path().join("keys.db-wal");
    let (main, log) = (fs::read(folder.file()).unwrap(), fs::read(log).unwrap());
    for cut in (0..log.len()).step_by(3001) {
        for flip in [true, false] {
            let other = Folder::new();
            let mut log = log.clone();
            if flip {
                log[cut] ^= 1;
            } else {
                log.truncate(cut);
            }
            write(&other.file(), &main);
            write(&other.path().join("keys.db-wal"), &log);
            let Ok(store) = SqliteKeyStore::open(other.file()).await else { continue };
            let listed = store.list(&owner("ann"), None, 100).await.unwrap();
            let state = &states[listed.len()];
            check(&store, state).await;
            for key in states.last().unwrap().keys().filter(|key| !state.contains_key(*key)) {
                assert_eq!(found(&store, key).await, None);
            }
        }
    }
}
