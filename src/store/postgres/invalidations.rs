use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, Row, raw_sql};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::schema;
use super::tables::Tables;
use crate::ConfigError;
use crate::key::StoreError;
use crate::store::invalidation::{Queue, QueueSender, message, queue};
use crate::store::{Invalidation, InvalidationStream};
use crate::util::after;

/// The changes of keys in the tables of a [`PostgresKeyStore`](super::PostgresKeyStore): those that stores make, in
/// any process, and those that are made with `psql`.
///
/// Triggers, which [`migrate`](super::PostgresKeyStore::migrate) makes, `NOTIFY` the id of every key
/// that a statement inserts, updates or deletes. The message is part of the transaction: it comes when
/// the change is committed, and not without it. A statement that changes more than a hundred keys, and
/// a `TRUNCATE`, is reported as [`Invalidation::All`].
///
/// 1. A connection that is lost, or silent for twice the [heartbeat](Self::with_heartbeat), is an
///    error: messages may be missing. The next call connects again, and then says
///    [`Invalidation::All`].
/// 2. A reader that falls behind by more than 1024 messages gets one [`Invalidation::All`].
/// 3. Tables without their triggers are an error: each heartbeat checks that they are there and turned on.
///    Changes that are made while triggers are off are not reported, such as those of
///    `session_replication_role = replica`, of logical replication, and of the restore of a backup.
/// 4. The channel belongs to the schema and the table. Changes of other tables are not reported.
///
/// # Connections
///
/// It keeps one connection, which `LISTEN`s, to the primary server: a standby refuses that. It has
/// to be a session of its own. Behind a pooler that gives every transaction another connection, such as
/// PgBouncer's transaction mode, the messages go to another connection. In most cases that is detected and an
/// error, by the first heartbeat at the latest. The store can use the pooler, and [`new`](Self::new) takes the
/// address of the server.
///
/// PostgreSQL makes transactions that notify commit one after the other, in the whole database. For
/// changes of keys, which are rare, that does not matter.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::store::{Invalidation, InvalidationStream, PostgresKeyStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresKeyStore::connect("postgres://app@db.example.org/app").await?;
/// store.migrate().await?;
/// let mut changes = store.invalidations();
/// while let Some(change) = changes.next().await? {
///     match change {
///         Invalidation::Key(id) => println!("{id} has changed"),
///         Invalidation::All => println!("anything may have changed"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct PostgresInvalidations {
    options: PgConnectOptions,
    tables: Tables,
    heartbeat: Duration,
    subscription: Option<Subscription>,
}

struct Subscription {
    queue: Queue,
    /// The task that reads the connection. It ends with this value.
    _reader: JoinSet<()>,
}

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);

impl PostgresInvalidations {
    /// Changes in the default tables, `webhook_keys` in the schema `public`. It connects when it is
    /// first asked.
    #[must_use]
    pub fn new(options: PgConnectOptions) -> Self {
        Self::of_tables(options, Tables::default())
    }

    /// Sets the schema that the tables are in.
    ///
    /// # Errors
    ///
    /// Refuses what [the store](super::PostgresKeyStore::with_schema) refuses.
    pub fn with_schema(self, schema: &str) -> Result<Self, ConfigError> {
        Ok(Self { tables: self.tables.with_schema(schema)?, subscription: None, ..self })
    }

    /// Sets what the names of the tables start with.
    ///
    /// # Errors
    ///
    /// Refuses what [the store](super::PostgresKeyStore::with_table_prefix) refuses.
    pub fn with_table_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { tables: self.tables.with_prefix(prefix)?, subscription: None, ..self })
    }

    /// Sets how often the connection is checked, and the timeout of connecting and of each check. The default is two
    /// seconds, the least a millisecond.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: Duration) -> Self {
        let heartbeat = heartbeat.max(Duration::from_millis(1));
        Self { heartbeat, subscription: None, ..self }
    }

    pub(super) fn of_tables(options: PgConnectOptions, tables: Tables) -> Self {
        Self { options, tables, heartbeat: DEFAULT_HEARTBEAT, subscription: None }
    }

    async fn subscribe(&self) -> Result<Subscription, StoreError> {
        // The listener wants a pool. This one makes a single connection.
        let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let pool = pool.connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await.map_err(StoreError::new)?;
        // A connection that was lost says so, instead of being replaced.
        listener.eager_reconnect(false);
        listener.listen(&self.tables.channel()).await.map_err(StoreError::new)?;
        let query = schema::is_listening(&self.tables);
        if !is_listening(&mut listener, &query).await.map_err(StoreError::new)? {
            return Err(StoreError::new(NOT_LISTENING));
        }
        let (sender, queue) = queue();
        let mut reader = JoinSet::new();
        reader.spawn(read(listener, sender, query, self.heartbeat));
        Ok(Subscription { queue, _reader: reader })
    }
}

const NOT_LISTENING: &str = "this connection is not notified of changes of keys: the tables are missing or of \
                             another version, their triggers are off, or a pooler is in between";

/// Passes messages on until the connection is lost, or is not notified any more.
///
/// To drop the listener takes leave of the server, on a task of sqlx. If the connection has gone
/// silent, that task ends when the operating system gives the connection up.
async fn read(mut listener: PgListener, sender: QueueSender, query: String, heartbeat: Duration) {
    let mut next_beat = after(Instant::now(), heartbeat);
    loop {
        match timeout_at(next_beat, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                sender.push(message(notification.payload()));
            }
            Ok(_) => return,
            Err(_) => {
                let listening = timeout(heartbeat, is_listening(&mut listener, &query)).await;
                if !matches!(listening, Ok(Ok(true))) {
                    return;
                }
                next_beat = after(Instant::now(), heartbeat);
            }
        }
    }
}

async fn is_listening(listener: &mut PgListener, query: &str) -> Result<bool, sqlx::Error> {
    listener.fetch_one(raw_sql(AssertSqlSafe(query.to_owned()))).await?.try_get("is_listening")
}

#[async_trait]
impl InvalidationStream for PostgresInvalidations {
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
        let Some(subscription) = &mut self.subscription else {
            let subscription = timeout(self.heartbeat, self.subscribe()).await;
            let too_slow = |_| Err(StoreError::new("the server did not answer in time"));
            self.subscription = Some(subscription.unwrap_or_else(too_slow)?);
            return Ok(Some(Invalidation::All));
        };
        let message = subscription.queue.next().await;
        if message.is_none() {
            self.subscription = None;
            return Err(StoreError::new("the subscription to changes of keys is lost"));
        }
        Ok(message)
    }
}

impl fmt::Debug for PostgresInvalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresInvalidations")
            .field("tables", &self.tables)
            .field("heartbeat", &self.heartbeat)
            .field("connected", &self.subscription.is_some())
            .finish_non_exhaustive()
    }
}
