//! A file with many keys.

use std::time::Instant;

use sqlx::{Row, query};
use tower_webhook::key::KeyStore;
use tower_webhook::store::SqliteKeyStore;

use super::support::{Folder, connect, fill, found, id, owner, setting};

#[tokio::test]
async fn look_ups_and_lists_use_an_index_among_many_keys() {
    let folder = Folder::new();
    let count: u32 = setting("TOWER_WEBHOOK_KEYS", 20_000);
    fill(&folder.file(), count).await;
    let mut connection = connect(&folder.file()).await;

    let plans = [
        (
            "SELECT record, checksum FROM keys WHERE id = ?1",
            "USING INDEX sqlite_autoindex_keys_1 (id=?)",
        ),
        (
            "SELECT record, checksum FROM keys WHERE owner = ?1 AND (created_at, id) > (?2, ?3) \
             ORDER BY created_at, id LIMIT ?4",
            "USING INDEX keys_by_owner (owner=? AND (created_at,id)>(?,?))",
        ),
        ("DELETE FROM keys WHERE id = ?1 AND owner = ?2", "(id=?)"),
    ];
    for (statement, expected) in plans {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps = query(explain).fetch_all(&mut connection).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        assert!(steps.iter().any(|step| step.contains(expected)), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("SCAN") || step.contains("TEMP B-TREE")));
    }

    let started = Instant::now();
    let store = SqliteKeyStore::open_unchecked(folder.file()).await.unwrap();
    println!("{count} keys: opened in {:?}", started.elapsed());
    let started = Instant::now();
    store.check().await.unwrap();
    println!("checked in {:?}", started.elapsed());
    for sample in 0..3 {
        let started = Instant::now();
        for number in 0..5000_u32 {
            let number = number.wrapping_mul(2_654_435_761) % count;
            assert!(found(&store, &format!("{number:016}")).await.is_some());
        }
        println!("sample {sample}: {:?} a look-up", started.elapsed() / 5000);
    }
    let started = Instant::now();
    let listed = store.list(&owner("owner7"), None, 20).await.unwrap();
    println!("a page in {:?}", started.elapsed());
    assert_eq!(listed.len(), 20);
    assert!(store.find(&id("missing")).await.unwrap().is_none());
}
