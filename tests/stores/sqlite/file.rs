//! Files, and what another program does with them.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection, query, raw_sql};
use tower_webhook::store::SqliteKeyStore;

use crate::shared::record;

/// A connection of another program.
pub(crate) async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Makes a file with so many keys, which are written past the store: it would wait for the disk after each.
pub(crate) async fn fill(file: &Path, count: u32) {
    drop(SqliteKeyStore::open(file).await.unwrap());
    let mut connection = connect(file).await;
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
}

/// The checksum of a row, computed in the slowest way.
pub(crate) fn crc32(text: &str) -> i64 {
    let step = |state: u32, byte: &u8| {
        (0..8).fold(state ^ u32::from(*byte), |state, _| {
            (state >> 1) ^ (0xedb8_8320 & (state & 1).wrapping_neg())
        })
    };
    (!text.as_bytes().iter().fold(u32::MAX, step)).into()
}
