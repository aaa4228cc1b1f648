use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

pub use self::invalidations::PostgresInvalidations;
#[cfg(feature = "signature")]
pub use self::replay_guard::PostgresReplayGuard;
use self::retry::{Attempt, Failure, retry};
use self::statements::Statements;
use self::tables::Tables;
use super::task::StoreTasks;
use crate::ConfigError;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

mod invalidations;
#[cfg(feature = "signature")]
mod replay_guard;
pub(crate) mod retry;
mod scan;
mod schema;
pub(crate) mod statements;
pub(crate) mod tables;
mod usage;

/// A store in a PostgreSQL database, version 12 or later.
///
/// # Durability
///
/// A change that was acknowledged is committed. How durable that is, is up to the server's
/// `synchronous_commit` and its standbys: a fail-over to a standby that lags behind brings a revoked
/// key back to life, unless the commit waits for the standby.
///
/// # Consistency
///
/// Every look-up asks the server. A change, such as a revocation, counts for every call that starts
/// after it returned, from every process. A store on a standby sees it as late as the standby does.
///
/// # Faults
///
/// * Everything that keeps the server from answering is an error and not an unknown key: a connection that
///   breaks, a pause, a missing table, a missing permission, a timeout of the server's. A change on a
///   standby is an error. The store works again when the server does, without a restart.
/// * A call that takes longer than the [deadline](Self::with_deadline), and a call beyond the
///   [limit](Self::with_max_calls), is an error. A change runs in a task of its own and goes on when its
///   caller leaves. A look-up ends with its caller. A connection whose call did not finish is closed.
/// * A deadlock, a serialization failure and a broken connection are retried up to three times, with backoff.
///   If a connection breaks before the answer to a change is there, the retry finds out whether the change was
///   made. Where it cannot, the call is an error.
///
/// # Pools
///
/// A look-up is one round trip with a prepared statement, which each connection keeps. Every other call is a
/// transaction. Behind a pooler that gives every transaction another connection, such as PgBouncer, the store
/// needs [`with_transaction_pooling`](Self::with_transaction_pooling), and PgBouncer needs
/// `ignore_startup_parameters = extra_float_digits`, as for every client that uses sqlx.
///
/// The pool pings a connection when a call has finished, in the background and without a deadline: one that
/// falls silent at that moment is missing in the pool until the operating system gives it up. One that falls
/// silent while it is idle costs a look-up its deadline, and is closed then.
///
/// The log of statements of sqlx, and that of the server, can contain the ids of keys, which are no
/// secrets. They do not contain digests.
///
/// # Tables
///
/// [`migrate`](Self::migrate) makes three tables: `webhook_keys` with the text of
/// [`KeyRecord::encode`] in the column `record`, `webhook_key_usage` with the times that a
/// [`LastUsedTracker`](super::LastUsedTracker) writes, which go with their key, and `webhook_keys_schema` with
/// the version of the schema. The other columns, such as `owner` and `expires_at`, are computed by the
/// server from the record, for queries of people; they cannot differ from it and cannot be written. No
/// key is in the database. Tables of an earlier version of this crate are brought up to date by the
/// same call.
///
/// Triggers on `webhook_keys` notify of every change, by any client, when it is committed: see
/// [`invalidations`](Self::invalidations). A `TRUNCATE` of it needs `CASCADE`, because the times refer
/// to the keys.
///
/// This store needs Rust 1.94 and a tokio runtime with its time and network drivers on. Encrypted
/// connections need a feature of sqlx of your choice, such as `tls-rustls`, in your own manifest.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::PostgresKeyStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresKeyStore::connect("postgres://app@db.example.org/app").await?;
/// store.migrate().await?;
/// let keys = KeyManager::new(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresKeyStore {
    tasks: StoreTasks,
    pool: PgPool,
    tables: Tables,
    transaction_pooling: bool,
    statements: Arc<Statements>,
}

impl PostgresKeyStore {
    /// A store that takes its connections from this pool.
    ///
    /// Turn the pool's `test_before_acquire` off, as [`connect`](Self::connect) does: the store retries on a
    /// broken connection, and the test costs every call a round trip.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let tables = Tables::default();
        let statements = Arc::new(Statements::new(pool.clone(), &tables, false));
        Self { tasks: StoreTasks::new(), pool, tables, transaction_pooling: false, statements }
    }

    /// A store with a pool of its own, of ten connections.
    ///
    /// # Errors
    ///
    /// The URL is none, or the server cannot be reached or refuses the connection.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self::new(connect(url).await?))
    }

    /// Sets the schema that the tables are in. The default is `public`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 40 lower case ASCII letters, digits and `_`, or starts with a
    /// digit.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_schema(schema)?;
        Ok(self.rebuilt())
    }

    /// Sets what the names of the tables start with. The default is `webhook_`.
    ///
    /// # Errors
    ///
    /// Refuses what [`with_schema`](Self::with_schema) refuses.
    pub fn with_table_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_prefix(prefix)?;
        Ok(self.rebuilt())
    }

    /// Makes the store work behind a pooler that gives every transaction another connection, such as PgBouncer
    /// with `pool_mode = transaction`: a look-up is a transaction of four round trips then, instead of one
    /// round trip with a prepared statement.
    #[must_use]
    pub fn with_transaction_pooling(mut self) -> Self {
        self.transaction_pooling = true;
        self.rebuilt()
    }

    fn rebuilt(mut self) -> Self {
        let (pool, pooling) = (self.pool.clone(), self.transaction_pooling);
        self.statements = Arc::new(Statements::new(pool, &self.tables, pooling));
        self
    }

    /// Sets how long a call may take, the wait for a connection included. The default is five seconds.
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

    /// The changes of keys in these tables, for a cache in front of the store. They come over a
    /// connection of their own, which is none of the pool and is made as those of the pool are.
    #[must_use]
    pub fn invalidations(&self) -> PostgresInvalidations {
        let options = (*self.pool.connect_options()).clone();
        PostgresInvalidations::of_tables(options, self.tables.clone())
    }

    /// Makes the schema and the tables that are missing, and brings tables of an earlier version up to
    /// date. To call it again, or in several processes at once, changes nothing.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, the role is not permitted to make tables, or the tables were made
    /// by a later version of this crate.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (pool, tables) = (self.pool.clone(), self.tables.clone());
        let migrate = async move { retry(|attempt| tables.migrate(&pool, attempt)).await };
        StoreTasks::new().with_deadline(MIGRATION_DEADLINE).spawn(migrate).await
    }

    /// Whether the store can look up keys: for the start of a process and for its readiness.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or the tables are missing, not readable or of another version.
    pub async fn check(&self) -> Result<(), StoreError> {
        let check = self.tables.check(&self.pool, Attempt::default());
        self.tasks.run(async { check.await.map_err(Failure::into_error) }).await
    }
}

/// A pool of ten connections. One that is not of the pool is made first: its error says what is wrong, where the pool
/// would try again until its time is over.
pub(crate) async fn connect(url: &str) -> Result<PgPool, StoreError> {
    let options: PgConnectOptions = url.parse().map_err(StoreError::new)?;
    let connect = async move {
        let first = options.connect().await.map_err(StoreError::new)?;
        first.close().await.map_err(StoreError::new)?;
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false);
        Ok(pool.connect_lazy_with(options))
    };
    StoreTasks::new().spawn(connect).await
}

/// Less than the deadline of a call, so that the error says what is wrong.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
pub(crate) const MIGRATION_DEADLINE: Duration = Duration::from_secs(60);

#[async_trait]
impl KeyStore for PostgresKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.tasks.run(retry(|attempt| self.statements.find(attempt, id))).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let statements = self.statements.clone();
        let call = async move {
            let text = record.encode();
            retry(|attempt| statements.insert(attempt, record.id(), &text)).await
        };
        self.tasks.spawn(call).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        let statements = self.statements.clone();
        let call = async move {
            let text = record.encode();
            retry(|attempt| statements.replace(attempt, record.id(), &text, expected_version)).await
        };
        self.tasks.spawn(call).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let (statements, owner) = (self.statements.clone(), owner.clone());
        let ids = BTreeSet::from_iter(ids.iter().map(KeyId::to_string));
        let call = async move {
            let ids = Vec::from_iter(ids);
            retry(|attempt| statements.remove(attempt, &owner, &ids)).await
        };
        self.tasks.spawn(call).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let list = retry(|attempt| self.statements.list(attempt, owner, after, limit));
        self.tasks.run(list).await
    }
}

impl fmt::Debug for PostgresKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresKeyStore")
            .field("tasks", &self.tasks)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}
