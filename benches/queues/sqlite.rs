use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool, query, raw_sql};
use tower_webhook::queue::{JobId, JobQueue, SqliteQueue};

use crate::engine::{Engine, Names};
use crate::support::folder::Folder;

/// A file with a queue, and another one with a table.
pub(crate) struct Sqlite {
    queue: Arc<SqliteQueue>,
    bare: SqlitePool,
    folder: Folder,
}

#[async_trait]
impl Engine for Sqlite {
    const NAMES: Names = Names {
        bare: "INSERT, bare client",
        idle: "SQLite, idle",
        one_producer: "SQLite, 1 producer",
        many_producers: "SQLite, 16 producers",
        end_to_end: "SQLite, end to end",
        claims: Some("SQLite, claims"),
    };

    async fn start() -> Self {
        let folder = Folder::new();
        let queue = SqliteQueue::open(queue_file(&folder)).await.expect("a new file");
        let bare = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_with(options(&folder.path().join("bare.db")))
            .await
            .expect("a new file");
        let table =
            "CREATE TABLE jobs (id BLOB NOT NULL PRIMARY KEY, payload TEXT NOT NULL) STRICT";
        raw_sql(table).execute(&bare).await.expect("a table");
        Self { queue: Arc::new(queue), bare, folder }
    }

    fn queue(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.queue) as _
    }

    async fn store(&self, id: JobId, text: &str) {
        let insert = query("INSERT INTO jobs (id, payload) VALUES (?1, ?2)");
        let insert = insert.bind(&id.as_bytes()[..]).bind(text);
        insert.execute(&self.bare).await.expect("a new row");
    }

    async fn add_ended(&self, count: usize) {
        let options = options(&queue_file(&self.folder)).pragma("cache_size", "-262144");
        let mut connection = options.connect().await.expect("the file");
        let insert = query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
            INSERT INTO jobs (id, hook, owner, fingerprint, state, attempts, due_at, created_at,
                started_at, ended_at, outcome, payload)
            SELECT randomblob(16), 'deploy', 'owner0', zeroblob(32), 'succeeded', 1, n, n, n, n, '', ''
            FROM numbers",
        );
        let insert = insert.bind(i64::try_from(count).expect("not so many jobs"));
        insert.execute(&mut connection).await.expect("new rows");
        let checkpoint = raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection);
        checkpoint.await.expect("room on the disk");
    }
}

fn queue_file(folder: &Folder) -> PathBuf {
    folder.path().join("queue.db")
}

/// What the queue has set, too.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}
