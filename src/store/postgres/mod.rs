use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;

pub use self::invalidations::PostgresInvalidations;
use self::lease::Connections;
use self::statements::Statements;
use self::tables::Tables;
use self::trial::{Failure, Trials};
use super::detach::DetachedCalls;
use crate::ConfigError;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

mod invalidations;
mod lease;
mod schema;
mod statements;
mod tables;
mod trial;
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
/// * Whatever keeps the server from answering is an error and not an unknown key: a connection that
///   breaks, a pause, a missing table, a missing permission, a timeout of the server's. A change on a
///   standby is an error. The store works again when the server does, without a restart.
/// * A call that takes longer than the [deadline](Self::with_deadline), and a call beyond the
///   [limit](Self::with_max_calls), is an error. A call that has begun goes on to its end if its
///   caller goes away, because its connection could otherwise give the answer to somebody else. A
///   connection whose call did not come to its end is closed.
/// * A deadlock, a serialization failure and a broken connection are tried again, up to three
///   times. If a connection breaks before the answer to a change is there, the next trial tells
///   whether the change was made. Where it cannot tell, the call is an error.
///
/// # Pools
///
/// The store works behind a pooler that gives every transaction another connection, such as
/// PgBouncer. It keeps no state in a connection and no prepared statements: a look-up is one
/// statement in one message, everything else is a transaction of its own. PgBouncer wants
/// `ignore_startup_parameters = extra_float_digits` for every client that uses sqlx.
///
/// A pool asks the server for a sign of life before and after each use of a connection, which takes longer than
/// a look-up. So a connection that has answered a look-up is kept for the next one, for a twentieth of a
/// second, and then goes back to the pool, which does with it what it is configured to do. Nothing is kept
/// that the pool has no other connection beside: the rest of an application can share the pool.
///
/// The log of statements of sqlx, and that of the server, can contain the ids of keys, which are no
/// secrets. They do not contain digests.
///
/// # Tables
///
/// [`migrate`](Self::migrate) makes three tables: `webhook_keys` with the text of
/// [`KeyRecord::encode`] in the column `record`, `webhook_key_usage` with the times that a
/// [`UsageTracker`](super::UsageTracker) writes, which go with their key, and `webhook_keys_schema` with
/// the version of the schema. The other columns, such as `owner` and `expires_at`, are computed by the
/// server from the record, for queries of people; they cannot differ from it and cannot be written. No
/// key is in the database. Tables of an earlier version of this crate are brought up to date by the
/// same call.
///
/// Triggers on `webhook_keys` tell of every change, whoever makes it, when it is committed: see
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
    calls: DetachedCalls,
    connections: Arc<Connections>,
    /// As many as the pool can have connections.
    turns: Arc<Semaphore>,
    tables: Tables,
    statements: Arc<Statements>,
}

impl PostgresKeyStore {
    /// A store that takes its connections from this pool.
    ///
    /// The pool's limit on connections and its `acquire_timeout` hold, and it gets a connection back within a
    /// tenth of a second (see [Pools](Self#pools)). Whether a connection is tested
    /// before it is used (`test_before_acquire`) costs a round trip, and saves an error or another
    /// trial after the server was restarted.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let tables = Tables::default();
        let statements = Arc::new(Statements::new(&tables));
        let turns = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let turns = Arc::new(Semaphore::new(turns.clamp(1, Semaphore::MAX_PERMITS)));
        let connections = Arc::new(Connections::new(pool));
        Self { calls: DetachedCalls::new(), connections, turns, tables, statements }
    }

    /// A store with a pool of its own, of ten connections.
    ///
    /// # Errors
    ///
    /// The URL is none, or the server cannot be reached or refuses the connection.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = url.parse().map_err(StoreError::new)?;
        let connect = async move {
            let pool = PgPoolOptions::new().max_connections(10).acquire_timeout(ACQUIRE_TIMEOUT);
            pool.connect_with(options).await.map(Self::new).map_err(StoreError::new)
        };
        DetachedCalls::new().run(connect).await
    }

    /// Sets the schema that the tables are in. The default is `public`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 40 lower case ASCII letters, digits and `_`, or starts with a
    /// digit.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_schema(schema)?;
        self.statements = Arc::new(Statements::new(&self.tables));
        Ok(self)
    }

    /// Sets what the names of the tables start with. The default is `webhook_`.
    ///
    /// # Errors
    ///
    /// Refuses what [`with_schema`](Self::with_schema) refuses.
    pub fn with_table_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_prefix(prefix)?;
        self.statements = Arc::new(Statements::new(&self.tables));
        Ok(self)
    }

    /// Sets how long a call may take, the wait for a connection included. The default is five seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.calls = self.calls.with_deadline(deadline);
        self
    }

    /// Sets how many calls can be under way at once, those that wait for a connection included. One
    /// more fails. The default is 1,024; zero counts as one.
    #[must_use]
    pub fn with_max_calls(mut self, limit: usize) -> Self {
        self.calls = self.calls.with_limit(limit);
        self
    }

    /// The changes of keys in these tables, for a cache in front of the store. They come over a
    /// connection of their own, which is none of the pool and is made as those of the pool are.
    #[must_use]
    pub fn invalidations(&self) -> PostgresInvalidations {
        let options = (*self.connections.pool().connect_options()).clone();
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
        let (connections, tables) = (self.connections.clone(), self.tables.clone());
        let calls = DetachedCalls::new().with_deadline(MIGRATION_DEADLINE);
        calls
            .run(async move {
                let mut trials = Trials::new();
                loop {
                    match tables.migrate(&connections).await {
                        Ok(()) => return Ok(()),
                        Err(failure) => trials.next(failure).await?,
                    }
                }
            })
            .await
    }

    /// Whether the store can look up keys: for the start of a process and for its readiness.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or the tables are missing, not readable or of another version.
    pub async fn check(&self) -> Result<(), StoreError> {
        let (connections, tables) = (self.connections.clone(), self.tables.clone());
        let check = async move { tables.check(&connections).await.map_err(Failure::into_error) };
        self.calls.run_in_turn(&self.turns, check).await
    }
}

/// Less than the deadline of a call, so that the error says what is wrong.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
const MIGRATION_DEADLINE: Duration = Duration::from_secs(60);

#[async_trait]
impl KeyStore for PostgresKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let (connections, statements, id) =
            (self.connections.clone(), self.statements.clone(), id.clone());
        let call = async move {
            let mut trials = Trials::new();
            loop {
                match statements.find(&connections, &id).await {
                    Ok(found) => return Ok(found),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.carry_in_turn(&self.turns, call).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let (connections, statements) = (self.connections.clone(), self.statements.clone());
        let call = async move {
            let text = record.encode();
            let mut trials = Trials::new();
            loop {
                match statements.insert(&connections, record.id(), &text).await {
                    Ok(WriteOutcome::Conflict) if trials.is_unsure() => {
                        return settle(&statements, &connections, record.id(), &text).await;
                    }
                    Ok(write) => return Ok(write),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.run_in_turn(&self.turns, call).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        let (connections, statements) = (self.connections.clone(), self.statements.clone());
        let call = async move {
            let text = record.encode();
            let mut trials = Trials::new();
            loop {
                match statements.replace(&connections, record.id(), &text, expected_version).await {
                    Ok(WriteOutcome::Conflict) if trials.is_unsure() => {
                        return settle(&statements, &connections, record.id(), &text).await;
                    }
                    Ok(write) => return Ok(write),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.run_in_turn(&self.turns, call).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let (connections, statements, owner) =
            (self.connections.clone(), self.statements.clone(), owner.clone());
        let ids = BTreeSet::from_iter(ids.iter().map(KeyId::to_string)).into_iter().collect();
        let call = async move {
            let ids: Vec<String> = ids;
            let mut trials = Trials::new();
            loop {
                match statements.remove(&connections, &owner, &ids).await {
                    // The records may be gone because of an earlier trial.
                    Ok(WriteOutcome::Conflict) if trials.is_unsure() => {
                        return Err(unknown_outcome());
                    }
                    Ok(write) => return Ok(write),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.run_in_turn(&self.turns, call).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let (connections, statements, owner) =
            (self.connections.clone(), self.statements.clone(), owner.clone());
        let after = after.cloned();
        let call = async move {
            let mut trials = Trials::new();
            loop {
                match statements.list(&connections, &owner, after.as_ref(), limit).await {
                    Ok(records) => return Ok(records),
                    Err(failure) => trials.next(failure).await?,
                }
            }
        };
        self.calls.run_in_turn(&self.turns, call).await
    }
}

impl fmt::Debug for PostgresKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresKeyStore")
            .field("calls", &self.calls)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

/// What became of a change whose first trial has no answer and whose next one found something else
/// than it expected: that may be the change itself.
async fn settle(
    statements: &Statements,
    connections: &Arc<Connections>,
    id: &KeyId,
    text: &str,
) -> Result<WriteOutcome, StoreError> {
    let stored = statements.find(connections, id).await.map_err(Failure::into_error)?;
    if stored.is_some_and(|stored| stored.encode() == text) {
        return Ok(WriteOutcome::Applied);
    }
    Err(unknown_outcome())
}

fn unknown_outcome() -> StoreError {
    StoreError::new("a connection broke, and it is not known whether the change was made")
}
