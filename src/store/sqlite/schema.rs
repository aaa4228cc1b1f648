//! The schema of a key file, and a look at everything that is in it.

use sqlx::{Row, SqliteConnection, query};

use super::open::{FileKind, check_integrity};
use super::{SqliteOpenError, SqliteOpenErrorKind, read};

/// `twhk`: a file of keys.
pub(super) const KEY_FILE: FileKind =
    FileKind { name: "key file", application_id: 0x7477_686b, version: 2, schema: &SCHEMA };

/// `created_at` is what `sortable` computes. `version` is of any type because SQLite's integers have
/// 63 bits.
const SCHEMA: [(i64, &str, &str); 4] = [
    (
        1,
        "keys",
        "CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    owner TEXT NOT NULL AS (json_extract(record, '$.owner')),
    name TEXT NOT NULL AS (json_extract(record, '$.name')),
    created_at TEXT NOT NULL AS (
        substr(json_extract(record, '$.created_at'), 1, 19) || '.' || substr(
            rtrim(substr(json_extract(record, '$.created_at'), 21), 'Z') || '000000000', 1, 9
        ) || 'Z'
    ),
    expires_at TEXT AS (json_extract(record, '$.expires_at')),
    disabled INTEGER NOT NULL AS (json_extract(record, '$.disabled')),
    revoked_at TEXT AS (json_extract(record, '$.revoked_at')),
    version ANY NOT NULL AS (json_extract(record, '$.version'))
) STRICT",
    ),
    (1, "keys_by_owner", "CREATE INDEX keys_by_owner ON keys (owner, created_at, id)"),
    (
        2,
        "key_usage",
        "CREATE TABLE key_usage (
    id TEXT NOT NULL PRIMARY KEY,
    last_used TEXT NOT NULL
) STRICT, WITHOUT ROWID",
    ),
    (
        2,
        "keys_deleted",
        "CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN
    DELETE FROM key_usage WHERE id = old.id;
END",
    ),
];

/// Reads everything: the trees by SQLite, the records here.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), SqliteOpenError> {
    let damaged = |cause| SqliteOpenError::with_cause(SqliteOpenErrorKind::Damaged, cause);
    check_integrity(connection).await?;
    let mut last = i64::MIN;
    loop {
        let rows = query(
            "SELECT rowid, id, record, checksum FROM keys WHERE rowid > ?1 ORDER BY rowid LIMIT 1000",
        );
        let rows = rows.bind(last).fetch_all(&mut *connection).await?;
        for row in &rows {
            let record = read(row).map_err(damaged)?;
            if row.try_get::<&str, _>("id")? != record.id().as_str() {
                return Err(SqliteOpenError::new(SqliteOpenErrorKind::Damaged));
            }
        }
        match rows.last() {
            Some(row) => last = row.try_get("rowid")?,
            None => return Ok(()),
        }
    }
}
