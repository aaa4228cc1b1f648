use std::sync::Arc;

use sqlx::{query, raw_sql};
use support::measure::{Case, Cost, Goal, Report, Table};
use tokio::runtime::Runtime;
use tower_webhook::key::{KeyStore, SqliteKeyStore};

use crate::case;
use crate::sqlite_support::{Folder, connect, crc32, id, record};

pub(crate) fn look_ups(report: &mut Report, runtime: &Arc<Runtime>) {
    let title = "SQLite";
    if !report.options().wants(title) {
        return;
    }
    let (few, few_store) = runtime.block_on(filled(1000));
    let (many, many_store) = runtime.block_on(filled(report.options().keys.max(1000)));
    let count = report.options().keys.max(1000);
    // Every key in turn, in an order that no cache foresees, or a hundred of them.
    let any = |index: usize| index.wrapping_mul(2_654_435_761);
    let look_up = |name, store: &SqliteKeyStore, of: usize, apart: usize| -> Case {
        let store = store.clone();
        case(name, runtime, move |index| {
            let (store, number) = (store.clone(), any(index) % of * apart);
            async move {
                let found = store.find(&id(&format!("{number:016}"))).await.expect("an answer");
                assert!(found.is_some());
            }
        })
    };
    let table = Table::new(title, || look_up("1,000 keys", &few_store, 1000, 1))
        .with(look_up("many keys, few of them used", &many_store, 100, count / 100))
        .with(look_up("many keys, all of them used", &many_store, count, 1));
    let few_used = Goal::new(
        "   a look-up, few of many keys used, against 1,000",
        Cost::Whole("many keys, few of them used"),
        1.2,
        Cost::Whole("1,000 keys"),
    );
    let all_used = Goal::new(
        "   a look-up, all of many keys used, against 1,000",
        Cost::Whole("many keys, all of them used"),
        1.2,
        Cost::Whole("1,000 keys"),
    );
    report.table(table, &[few_used, all_used.report_only()]);
    drop((few, many));
}

/// A file with so many keys, written past the store, which would wait for the disk after each.
async fn filled(count: usize) -> (Folder, SqliteKeyStore) {
    let folder = Folder::new();
    drop(SqliteKeyStore::open(folder.file()).await.expect("a new file"));
    let mut connection = connect(&folder.file()).await;
    raw_sql("PRAGMA synchronous = OFF; BEGIN").execute(&mut connection).await.unwrap();
    let template = record("TEMPLATE", "OWNER", 0).encode();
    for number in 0..count {
        let text = template.replace("TEMPLATE", &format!("{number:016}"));
        let text = text.replace("OWNER", &format!("owner{}", number % 1000));
        let checksum = crc32(&text);
        let insert = query("INSERT INTO keys (id, record, checksum) VALUES (?, ?, ?)");
        let insert = insert.bind(format!("{number:016}")).bind(text).bind(checksum);
        insert.execute(&mut connection).await.unwrap();
    }
    raw_sql("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    let store = SqliteKeyStore::open_unchecked(folder.file()).await.expect("the file");
    (folder, store)
}
