//! Opening a file of any kind: settings and schema.

use std::thread::available_parallelism;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool, query_scalar, raw_sql};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::{SqliteFile, SqliteOpenError, SqliteOpenErrorKind};

/// A kind of file: what its header says, and its schema.
#[derive(Debug)]
pub(crate) struct FileKind {
    /// Its name in errors.
    pub(crate) name: &'static str,
    /// Four letters in ASCII, in the header of the file.
    pub(crate) application_id: i64,
    pub(crate) version: i64,
    /// Every object of the schema: the version that brought it, its name, and the statement that makes it
    /// and that SQLite keeps.
    pub(crate) schema: &'static [(i64, &'static str, &'static str)],
}

/// How long SQLite waits for a lock of another process or connection. Less than the deadline of a
/// call, so that the error says what is wrong.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// 16 MiB of pages for each connection that looks up, in SQLite's notation of KiB below zero. It is filled as
/// needed. With the default of 2 MiB the upper pages of the index of a million keys do not stay in memory.
const READER_CACHE: &str = "-16384";

/// The pool of the connection for changes, and that of those for look-ups.
pub(crate) async fn open(
    file: &SqliteFile,
    kind: &FileKind,
) -> Result<(SqlitePool, SqlitePool), SqliteOpenError> {
    check_runtime()?;
    let path = file.prepare()?;
    let options = options().filename(path);
    let writer = pool(1, options.clone());
    let mut connection = writer.acquire().await?;
    set_journal_mode(&mut connection).await?;
    migrate(&mut connection, kind).await?;
    drop(connection);

    let readers = options.pragma("query_only", "ON").pragma("cache_size", READER_CACHE);
    let count = available_parallelism().map_or(2, usize::from).clamp(2, 8);
    Ok((writer, pool(u32::try_from(count).unwrap_or(2), readers)))
}

pub(super) async fn open_in_memory(kind: &FileKind) -> Result<SqlitePool, SqliteOpenError> {
    check_runtime()?;
    let pool = pool(1, options());
    migrate(&mut *pool.acquire().await?, kind).await?;
    Ok(pool)
}

/// Connections are made when they are needed and stay open: a file in memory ends with its connection.
fn pool(max: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(max)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

fn check_runtime() -> Result<(), SqliteOpenError> {
    let missing = |error| SqliteOpenError::with_cause(SqliteOpenErrorKind::Database, error);
    Handle::try_current().map(drop).map_err(missing)
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        // What `synchronous` means on macOS only with these.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Turns the write-ahead log on. SQLite does not wait for its turn here.
async fn set_journal_mode(connection: &mut SqliteConnection) -> Result<(), SqliteOpenError> {
    let started = Instant::now();
    loop {
        let mode = query_scalar::<_, String>("PRAGMA journal_mode = WAL");
        let error = match mode.fetch_one(&mut *connection).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(SqliteOpenError::new(SqliteOpenErrorKind::Database)),
            Err(error) => SqliteOpenError::from(error),
        };
        if error.kind() != SqliteOpenErrorKind::Busy || started.elapsed() > BUSY_TIMEOUT {
            return Err(error);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Creates the schema in an empty file, brings that of an earlier version up to date, and checks that
/// of any other.
async fn migrate(
    connection: &mut SqliteConnection,
    kind: &FileKind,
) -> Result<(), SqliteOpenError> {
    if earlier_version(connection, kind).await?.is_some() {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        // Another process may have been faster.
        if let Some(version) = earlier_version(&mut transaction, kind).await? {
            check_objects(&mut transaction, kind, version).await?;
            for (since, _, statement) in kind.schema {
                if *since > version {
                    raw_sql(*statement).execute(&mut *transaction).await?;
                }
            }
            let ids = format!(
                "PRAGMA application_id = {}; PRAGMA user_version = {}",
                kind.application_id, kind.version
            );
            raw_sql(sqlx::AssertSqlSafe(ids)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    check_schema(connection, kind).await
}

/// The version of a file that is to be brought up to date, 0 if it is empty.
async fn earlier_version(
    connection: &mut SqliteConnection,
    kind: &FileKind,
) -> Result<Option<i64>, SqliteOpenError> {
    let objects: i64 =
        query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await?;
    Ok(match ids(connection).await? {
        (0, 0) if objects == 0 => Some(0),
        (id, version) if id == kind.application_id && (1..kind.version).contains(&version) => {
            Some(version)
        }
        _ => None,
    })
}

/// The ids of the application and of its schema.
async fn ids(connection: &mut SqliteConnection) -> Result<(i64, i64), SqliteOpenError> {
    let application = query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let version = query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    Ok((application, version))
}

async fn check_schema(
    connection: &mut SqliteConnection,
    kind: &FileKind,
) -> Result<(), SqliteOpenError> {
    let (application, version) = ids(connection).await?;
    if application != kind.application_id {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::Foreign));
    }
    if version > kind.version {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::NewerSchema));
    }
    if version < kind.version {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::Damaged));
    }
    check_objects(connection, kind, version).await
}

/// Whether everything is there that belongs to a version.
async fn check_objects(
    connection: &mut SqliteConnection,
    kind: &FileKind,
    version: i64,
) -> Result<(), SqliteOpenError> {
    for (_, name, statement) in kind.schema.iter().filter(|(since, ..)| *since <= version) {
        let found = query_scalar::<_, String>("SELECT sql FROM sqlite_schema WHERE name = ?1");
        let found = found.bind(*name).fetch_optional(&mut *connection).await?;
        if found.as_deref() != Some(*statement) {
            return Err(SqliteOpenError::new(SqliteOpenErrorKind::Damaged));
        }
    }
    Ok(())
}

/// Reads every page of the file, and compares the indexes with their tables.
pub(crate) async fn check_integrity(
    connection: &mut SqliteConnection,
) -> Result<(), SqliteOpenError> {
    let report: String =
        query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await?;
    if report != "ok" {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::Damaged));
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::store::sqlite::schema::KEY_FILE;

    #[tokio::test]
    async fn every_connection_waits_for_the_disk() {
        let name = format!("tower-webhook-sqlite-open-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let file = SqliteFile::new(folder.join("keys.db"));
        let (writer, readers) = open(&file, &KEY_FILE).await.unwrap();
        for pool in [&writer, &readers, &writer] {
            // The first one was made by `open`. The next one is made here, as after a failed call.
            let mut connection = pool.acquire().await.unwrap().detach();
            for (pragma, expected) in
                [("synchronous", 2), ("fullfsync", 1), ("checkpoint_fullfsync", 1)]
            {
                let set = format!("PRAGMA {pragma}");
                let set = query_scalar::<_, i64>(sqlx::AssertSqlSafe(set));
                assert_eq!(set.fetch_one(&mut connection).await.unwrap(), expected, "{pragma}");
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
