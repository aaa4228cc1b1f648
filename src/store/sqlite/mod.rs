use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, Sqlite, SqlitePool, query};

pub use self::file::SqliteFile;
#[cfg(feature = "queue-sqlite")]
pub(crate) use self::open_error::primary_code;
pub use self::open_error::{SqliteOpenError, SqliteOpenErrorKind};
use self::schema::KEY_FILE;
use super::sql::{Checkout, sortable};
use super::task::StoreTasks;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

mod file;
pub(crate) mod open;
mod open_error;
mod scan;
mod schema;
mod usage;

/// A store in an SQLite file.
///
/// # Durability
///
/// A change that was acknowledged is on the disk: the file is in WAL mode with `synchronous=FULL`. A
/// process that is killed, and a machine that loses power, lose no acknowledged change and leave none
/// half made. This ends where the disk lies about what it has written.
///
/// # Consistency
///
/// Every look-up reads the file. A change, such as a revocation, counts for every call that starts
/// after it returned, in this process and in others: several processes of one machine can share a
/// file. One of them writes at a time; the others wait, and after about four seconds the change
/// fails. A file on a network file system cannot be shared.
///
/// # Faults
///
/// * A call that takes longer than the [deadline](Self::with_deadline), and a call beyond the
///   [limit](Self::with_max_calls), is an error. A call runs in a task of its own and goes on when its caller
///   leaves.
/// * A record has a checksum. One that cannot be read or was changed by anything but this store is
///   an error and not an unknown key.
/// * [`open`](Self::open) reads the whole file and refuses one that is damaged, which takes some fifteen
///   seconds for a million keys and no time for a thousand. Damage that comes later, or that
///   [`open_unchecked`](Self::open_unchecked) does not see, can make a known key unknown if it is in
///   the search tree itself. It makes no unknown key known.
/// * A file that was replaced with an older copy of itself, or whose write-ahead log was cut short
///   by another program, looks like any other. The store cannot detect that.
///
/// # The file
///
/// A table, `keys`, with the text of [`KeyRecord::encode`] in the column `record`. The columns
/// `owner`, `name`, `created_at`, `expires_at`, `disabled`, `revoked_at` and `version` are computed
/// from it, for people with the `sqlite3` tool; they cannot differ from the record and cannot be
/// written. No key is in the file. Another one, `key_usage`, has the times that a
/// [`LastUsedTracker`](super::LastUsedTracker) writes; they go with their key. A file of an earlier version of
/// this crate is brought up to date when it is opened.
///
/// A file is created for its owner alone, and so is its folder if that is missing. A file or folder that its
/// group or others can write to is refused, unless the [`SqliteFile`] says otherwise, and so is a symbolic
/// link.
///
/// This store needs Rust 1.94 and a tokio runtime with its time driver on.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyManager, NewKey, Owner};
/// use tower_webhook::store::SqliteKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("tower-webhook-{}", std::process::id()));
/// # let path = folder.join("keys.db");
/// let keys = KeyManager::new(SqliteKeyStore::open(&path).await?);
/// let issued = keys.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?;
///
/// let keys = KeyManager::new(SqliteKeyStore::open(&path).await?);
/// let verified = keys.verifier().verify(issued.secret().expose_secret().as_bytes()).await?;
/// assert_eq!(verified.owner().as_str(), "ann");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteKeyStore {
    tasks: StoreTasks,
    path: Option<Arc<Path>>,
    /// Up to eight connections.
    readers: SqlitePool,
    /// One connection: SQLite has one writer at a time.
    writer: SqlitePool,
}

impl SqliteKeyStore {
    /// Opens the file at a path, or an [`SqliteFile`], and creates it if there is none. If its folder is
    /// missing, that is created as well, but none of the folders above. Reads everything that is in the
    /// file.
    ///
    /// # Errors
    ///
    /// See [`SqliteOpenErrorKind`].
    ///
    /// # Security
    ///
    /// Every user who can write to the file, or can put another one in its place, can make keys. So both
    /// the file and its folder are refused if their group or others can write to them. Who can rename one
    /// of the folders above is not looked at.
    pub async fn open(file: impl Into<SqliteFile>) -> Result<Self, SqliteOpenError> {
        let store = Self::open_unchecked(file).await?;
        store.check().await?;
        Ok(store)
    }

    /// Opens the file as [`open`](Self::open) does, and refuses one that is missing: for tools that work on the
    /// keys of a server, where a wrong path would create an empty file.
    ///
    /// # Errors
    ///
    /// See [`SqliteOpenErrorKind`].
    pub async fn open_existing(file: impl Into<SqliteFile>) -> Result<Self, SqliteOpenError> {
        Self::open(file.into().existing()).await
    }

    /// Opens the file as [`open`](Self::open) does, and does not read what is in it: for files that are
    /// so large that this takes too long. [`check`](Self::check) can follow later.
    ///
    /// # Errors
    ///
    /// See [`SqliteOpenErrorKind`].
    pub async fn open_unchecked(file: impl Into<SqliteFile>) -> Result<Self, SqliteOpenError> {
        let file = file.into();
        let path = Arc::from(file.path());
        let (writer, readers) =
            open::open(&file, &KEY_FILE).await.map_err(|error| error.at(&path, KEY_FILE.name))?;
        Ok(Self { tasks: StoreTasks::new(), path: Some(path), readers, writer })
    }

    /// A store in memory, for tests.
    ///
    /// # Errors
    ///
    /// The memory does not suffice, or there is no tokio runtime.
    pub async fn in_memory() -> Result<Self, SqliteOpenError> {
        let writer = open::open_in_memory(&KEY_FILE).await?;
        Ok(Self { tasks: StoreTasks::new(), path: None, readers: writer.clone(), writer })
    }

    /// Reads everything that is in the file, while the store can be used. No deadline ends this.
    ///
    /// # Errors
    ///
    /// [`Damaged`](SqliteOpenErrorKind::Damaged), or the file cannot be read.
    pub async fn check(&self) -> Result<(), SqliteOpenError> {
        let check = async { schema::check(&mut *self.readers.acquire().await?).await };
        check.await.map_err(|error| match &self.path {
            Some(path) => error.at(path, KEY_FILE.name),
            None => error,
        })
    }

    /// Sets how long a call may take. The default is five seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.tasks = self.tasks.with_deadline(deadline);
        self
    }

    /// Sets how many calls can be under way at once, those that wait for a connection included. One
    /// more fails. The default is 1,024; zero counts as one.
    #[must_use]
    pub fn with_max_calls(mut self, limit: usize) -> Self {
        self.tasks = self.tasks.with_limit(limit);
        self
    }
}

#[async_trait]
impl KeyStore for SqliteKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let row = query("SELECT record, checksum FROM keys WHERE id = ?1").bind(id.to_string());
            let row = row.fetch_optional(connection).await.map_err(StoreError::new)?;
            let record = row.map(|row| read(&row)).transpose()?;
            if record.as_ref().is_some_and(|record| *record.id() != id) {
                return Err(other_record());
            }
            checkout.finish();
            Ok(record)
        };
        self.tasks.spawn_with(acquire(&self.readers), call).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let (text, checksum) = written(&record);
            let insert = query(
                "INSERT INTO keys (id, record, checksum) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (id) DO NOTHING",
            );
            let insert = insert.bind(record.id().to_string()).bind(text).bind(checksum);
            let done = insert.execute(connection).await.map_err(StoreError::new)?;
            checkout.finish();
            Ok(if done.rows_affected() == 0 {
                WriteOutcome::Conflict
            } else {
                WriteOutcome::Applied
            })
        };
        self.tasks.spawn_with(acquire(&self.writer), call).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let begin = connection.begin_with("BEGIN IMMEDIATE");
            let mut transaction = begin.await.map_err(StoreError::new)?;
            // The version is compared here and not in SQL, whose integers have 63 bits. A damaged
            // record is not written over.
            let row = query("SELECT record, checksum FROM keys WHERE id = ?1");
            let row = row.bind(record.id().to_string());
            let row = row.fetch_optional(&mut *transaction).await.map_err(StoreError::new)?;
            let stored = row.map(|row| read(&row)).transpose()?;
            let write = if stored.is_some_and(|stored| stored.version() == expected_version) {
                let (text, checksum) = written(&record);
                let update = query("UPDATE keys SET record = ?2, checksum = ?3 WHERE id = ?1");
                let update = update.bind(record.id().to_string()).bind(text).bind(checksum);
                update.execute(&mut *transaction).await.map_err(StoreError::new)?;
                WriteOutcome::Applied
            } else {
                WriteOutcome::Conflict
            };
            transaction.commit().await.map_err(StoreError::new)?;
            checkout.finish();
            Ok(write)
        };
        self.tasks.spawn_with(acquire(&self.writer), call).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let owner = owner.clone();
        let ids: BTreeSet<KeyId> = ids.iter().cloned().collect();
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let begin = connection.begin_with("BEGIN IMMEDIATE");
            let mut transaction = begin.await.map_err(StoreError::new)?;
            let mut write = WriteOutcome::Applied;
            for id in ids {
                let delete = query("DELETE FROM keys WHERE id = ?1 AND owner = ?2");
                let delete = delete.bind(id.to_string()).bind(owner.to_string());
                let done = delete.execute(&mut *transaction).await.map_err(StoreError::new)?;
                if done.rows_affected() == 0 {
                    write = WriteOutcome::Conflict;
                    break;
                }
            }
            match write {
                WriteOutcome::Applied => transaction.commit().await.map_err(StoreError::new)?,
                WriteOutcome::Conflict => transaction.rollback().await.map_err(StoreError::new)?,
            }
            checkout.finish();
            Ok(write)
        };
        self.tasks.spawn_with(acquire(&self.writer), call).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let owner = owner.clone();
        let after = after.map(|after| (sortable(after.created_at()), after.id().to_string()));
        // Every text is greater than the empty one.
        let (created_at, id) = after.unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let rows = query(
                "SELECT record, checksum FROM keys \
                 WHERE owner = ?1 AND (created_at, id) > (?2, ?3) \
                 ORDER BY created_at, id LIMIT ?4",
            );
            let rows = rows.bind(owner.to_string()).bind(created_at).bind(id).bind(limit);
            let rows = rows.fetch_all(connection).await.map_err(StoreError::new)?;
            let records = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            if records.iter().any(|record| *record.owner() != owner) {
                return Err(StoreError::new("the list of an owner has a record of another one"));
            }
            checkout.finish();
            Ok(records)
        };
        self.tasks.spawn_with(acquire(&self.readers), call).await
    }
}

impl fmt::Debug for SqliteKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteKeyStore").field("tasks", &self.tasks).finish_non_exhaustive()
    }
}

async fn acquire(pool: &SqlitePool) -> Result<Checkout<Sqlite>, StoreError> {
    Checkout::acquire(pool).await.map_err(StoreError::new)
}

/// The record in a row that has the columns `record` and `checksum`.
fn read(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    let text: &str = row.try_get("record").map_err(StoreError::new)?;
    let checksum: i64 = row.try_get("checksum").map_err(StoreError::new)?;
    if checksum != checksum_of(text) {
        return Err(StoreError::new("the record of a key does not match its checksum"));
    }
    Ok(KeyRecord::decode(text)?)
}

fn other_record() -> StoreError {
    StoreError::new("the row of a key has the record of another one")
}

/// The columns `record` and `checksum` of a row.
fn written(record: &KeyRecord) -> (String, i64) {
    let text = record.encode();
    let checksum = checksum_of(&text);
    (text, checksum)
}

fn checksum_of(text: &str) -> i64 {
    crc32fast::hash(text.as_bytes()).into()
}
