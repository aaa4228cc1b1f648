//! Keys and counts of calls in Redis and Valkey.

mod commands;
mod error;
mod invalidations;
mod link;
mod names;
mod namespace;
mod rate_limiter;
mod records;
#[cfg(feature = "signature")]
mod replay_guard;
mod scan;
mod setup;
mod usage;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::ConnectionManager;

use self::commands::{Lua, ReadPipeline, ScriptCall, Wait};
pub use self::error::{RedisStoreError, RedisStoreErrorKind};
pub use self::invalidations::RedisInvalidations;
use self::link::Link;
use self::names::{LAYOUT, Names};
use self::namespace::Namespace;
pub use self::rate_limiter::RedisRateLimiter;
#[cfg(feature = "signature")]
pub use self::replay_guard::RedisReplayGuard;
use crate::ConfigError;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

/// A store in Redis (6.2 or later) or Valkey.
///
/// A namespace is set up once, by [`initialize`](Self::initialize), which writes a sentinel. Every call reads the
/// sentinel: a server that has lost its data is an outage, and not one without the key.
///
/// # Layout
///
/// All names of a namespace share the hash tag `{namespace}`, and with it one slot of a cluster.
///
/// | name | type | is |
/// |---|---|---|
/// | `{namespace}:sentinel` | string | the version of this layout |
/// | `{namespace}:record:<id>` | string | the text of [`KeyRecord::encode`] |
/// | `{namespace}:owner:<owner>` | sorted set | the owner's ids, by time of creation and id |
/// | `{namespace}:usage` | sorted set | the ids by the second of their last use, if a [`LastUsedTracker`](super::LastUsedTracker) writes it |
/// | `{namespace}:changes` | channel | the id of every record that changes |
///
/// A [`RedisRateLimiter`] can share the namespace: its names begin with `{namespace}:rate:`.
///
/// No name has a secret or a digest in it: names are seen in `MONITOR`, `SLOWLOG` and `SCAN`. No key
/// has a time to live: when a key expires is in its record.
///
/// # Consistency
///
/// A look-up is one round trip with two commands: `GET` of the record, and `GET` of the sentinel. It sees every
/// change whose call has returned. A change reads first, and then runs one script that compares what was read:
/// records, index and message in the channel change together or not at all.
///
/// That holds for one server. One that takes over after a fail-over may lack the last changes, a revocation
/// too: see [`with_wait`](Self::with_wait).
///
/// # Durability
///
/// A change that returned is in the memory of the server, and on its disk as the server is configured:
/// with `appendonly yes` and `appendfsync always` at once, with `appendfsync everysec` within about a
/// second, otherwise with the next snapshot. A power cut in between takes the change back, a
/// revocation too.
///
/// # Revocation
///
/// The next look-up that starts after [`revoke`](crate::key::KeyManager::revoke) returned finds the key
/// revoked, in every process. A request that was let in before goes on.
///
/// # Outages
///
/// A change runs in a task of its own and goes on when its caller leaves; a look-up ends with its caller. Both
/// end at the [deadline](Self::with_deadline) of the store. A look-up is sent again when the connection breaks; a
/// change is not, since its outcome is unknown. The connection is made again with backoff and jitter, with delays
/// of up to one second. A connection that does not answer in time is replaced. Nothing needs a restart.
///
/// # Security
///
/// A client that can write to the server can make any key, unless digests are made with a
/// [`Pepper`](crate::key::Pepper). The commands needed are `GET`, `SET`, `DEL`, `EXISTS`, `ZADD`,
/// `ZREM`, `ZCARD`, `ZRANGE`, `ZMSCORE`, `PUBLISH`, `EVAL`, `EVALSHA`, and `WAIT` for
/// [`with_wait`](Self::with_wait); on the keys and the channel above. `initialize` and [`KeyScan`](super::KeyScan) need `SCAN`;
/// `CONFIG GET` and `INFO` are used if they are allowed.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::RedisKeyStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisKeyStore::connect("redis://127.0.0.1/").await?.with_namespace("my-app")?;
/// store.check().await?;
/// let keys = KeyManager::new(store);
/// # let _ = keys;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisKeyStore {
    namespace: Namespace,
    /// Where changes go, if they wait for replicas: everything behind them on the same connection
    /// waits as well.
    changes: Option<Arc<Link>>,
    wait: Option<Wait>,
}

impl RedisKeyStore {
    /// Connects to the server at a URL: `redis://user:password@host:port/database`. Makes sure that it
    /// answers and evicts no records (see [`check`](Self::check)).
    ///
    /// A `rediss://` URL needs a TLS feature of the `redis` crate.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`, `Unreachable`, `TooSlow`, `Server`, `Eviction`.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        let store = Self::connect_lazy(url)?;
        store.check_server().await?;
        Ok(store)
    }

    /// Connects to the server at a URL when it is first needed. Until the server is there, calls fail.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`.
    pub fn connect_lazy(url: &str) -> Result<Self, RedisStoreError> {
        Ok(Self::from_client(link::client(url)?))
    }

    /// A store on a client of your own. It connects when it is first needed.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::in_namespace(Namespace::from_client(client))
    }

    /// A store on a connection of your own.
    ///
    /// The connection's own settings decide how it is made again. A connection manager keeps a
    /// connection whose other end has gone silent without closing it; the other constructors do not.
    #[must_use]
    pub fn new(manager: ConnectionManager) -> Self {
        Self::in_namespace(Namespace::new(Link::given(manager)))
    }

    /// Sets the namespace. The default is `tower-webhook`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { namespace: self.namespace.with_name(namespace)?, ..self })
    }

    /// Sets how long a call may take. The default is one second. A connection that does not answer within nine
    /// tenths of it is replaced.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { namespace: self.namespace.with_deadline(deadline), ..self }.relinked()
    }

    /// Sets how many calls may be under way. One more fails at once. The default is 1024.
    #[must_use]
    pub fn with_max_calls(self, max_calls: usize) -> Self {
        Self { namespace: self.namespace.with_max_calls(max_calls), ..self }
    }

    /// Makes every change wait until this many replicas have it, for at most `timeout` on top of the
    /// deadline. A change that too few have confirmed is made, and the call still fails, with
    /// `NotDurable`.
    ///
    /// A replica confirms that it has received a change, not that it is on its disk. To repeat a call
    /// that has failed does not wait again if there is nothing left to change.
    ///
    /// Changes go over a connection of their own, one after the other.
    ///
    /// # Errors
    ///
    /// Refuses no replicas, a timeout under one millisecond, and a store on a connection of your own.
    pub fn with_wait(self, replicas: usize, timeout: Duration) -> Result<Self, ConfigError> {
        if replicas == 0 || timeout < Duration::from_millis(1) {
            return Err(ConfigError::new(
                "changes wait for at least one replica and one millisecond",
            ));
        }
        if self.link().client().is_none() {
            return Err(ConfigError::new(
                "a store that waits for replicas makes its connections itself",
            ));
        }
        Ok(Self { wait: Some(Wait { replicas, timeout }), ..self }.relinked())
    }

    /// The changes of keys in this namespace, for a cache in front of the store.
    ///
    /// # Errors
    ///
    /// Refuses a store on a connection of your own: see [`RedisInvalidations::new`].
    pub fn invalidations(&self) -> Result<RedisInvalidations, ConfigError> {
        let client = self.link().client().ok_or_else(|| {
            ConfigError::new("a store that subscribes to changes makes its connections itself")
        })?;
        Ok(RedisInvalidations::in_namespace(client.clone(), self.names().clone()))
    }

    /// A limiter with the connection, the namespace and the deadline of this store.
    ///
    /// A store whose server waits for its disk (`appendfsync always`) makes every call that is counted wait too: then
    /// give the limiter [a server of its own](RedisRateLimiter#servers).
    #[must_use]
    pub fn rate_limiter(&self) -> RedisRateLimiter {
        RedisRateLimiter::in_namespace(self.namespace.clone())
    }

    fn in_namespace(namespace: Namespace) -> Self {
        Self { namespace, changes: None, wait: None }
    }

    /// A connection for changes that wait, with a response timeout that suits the deadline.
    fn relinked(mut self) -> Self {
        let client = self.link().client().cloned();
        self.changes = client.zip(self.wait).map(|(client, wait)| {
            Arc::new(Link::own(client, self.namespace.deadline().saturating_add(wait.timeout)))
        });
        self
    }

    fn link(&self) -> &Link {
        self.namespace.link()
    }

    fn names(&self) -> &Names {
        self.namespace.names()
    }

    fn pipeline(&self) -> ReadPipeline {
        ReadPipeline::new(self.names().sentinel())
    }

    fn script(&self, script: &'static Lua) -> ScriptCall {
        ScriptCall::new(script)
            .keys([self.names().sentinel()])
            .arguments([LAYOUT.to_owned(), self.names().changes()])
    }

    fn change_link(&self) -> &Link {
        self.changes.as_deref().unwrap_or_else(|| self.link())
    }

    /// Runs a change in a spawned task.
    async fn write<F, C>(&self, write: F) -> Result<WriteOutcome, StoreError>
    where
        F: FnOnce(Self) -> C,
        C: Future<Output = Result<WriteOutcome, RedisStoreError>> + Send + 'static,
    {
        let wait = self.wait.map_or(Duration::ZERO, |wait| wait.timeout);
        self.namespace.spawn(wait, write(self.clone())).await
    }
}

#[async_trait]
impl KeyStore for RedisKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.namespace.run(self.find_record(id)).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.write(|store| async move { store.insert_record(&record).await }).await
    }

    async fn replace(
        &self,
        record: KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, StoreError> {
        self.write(|store| async move { store.replace_record(&record, expected_version).await })
            .await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let owner = owner.clone();
        let ids: Vec<KeyId> = BTreeSet::from_iter(ids.iter().cloned()).into_iter().collect();
        self.write(|store| async move { store.remove_records(&owner, &ids).await }).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.namespace.run(self.list_records(owner, after, limit)).await
    }
}

impl fmt::Debug for RedisKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKeyStore")
            .field("namespace", &self.names().namespace())
            .field("deadline", &self.namespace.deadline())
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
