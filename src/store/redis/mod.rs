//! Keys in Redis and Valkey.

mod commands;
mod error;
mod invalidations;
mod link;
mod names;
mod setup;
mod usage;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use redis::aio::ConnectionManager;

use self::commands::{ReadPipeline, ScriptCall, Wait, WriteScript, Written, list, text};
pub use self::error::{RedisStoreError, RedisStoreErrorKind};
pub use self::invalidations::RedisInvalidations;
use self::link::Link;
use self::names::{Names, member, member_at, member_id};
use super::task::StoreTasks;
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
/// [`with_wait`](Self::with_wait); on the keys and the channel above. `initialize` needs `SCAN`;
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
    link: Arc<Link>,
    /// Where changes go, if they wait for replicas: everything behind them on the same connection
    /// waits as well.
    changes: Option<Arc<Link>>,
    wait: Option<Wait>,
    names: Names,
    tasks: StoreTasks,
    deadline: Duration,
}

const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);
/// How often a change is tried whose record changes in between. The second time its version does.
const MAX_ATTEMPTS: usize = 16;
/// How many records of a list are read in one round trip.
const CHUNK_LEN: usize = 64;

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
        Ok(Self::from_link(Link::own(link::client(url)?, DEFAULT_DEADLINE)))
    }

    /// A store on a client of your own. It connects when it is first needed.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::from_link(Link::own(client, DEFAULT_DEADLINE))
    }

    /// A store on a connection of your own.
    ///
    /// The connection's own settings decide how it is made again. A connection manager keeps a
    /// connection whose other end has gone silent without closing it; the other constructors do not.
    #[must_use]
    pub fn new(manager: ConnectionManager) -> Self {
        Self::from_link(Link::given(manager))
    }

    /// Sets the namespace. The default is `tower-webhook`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { names: Names::new(namespace)?, ..self })
    }

    /// Sets how long a call may take. The default is one second. A connection that does not answer within nine
    /// tenths of it is replaced.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { tasks: self.tasks.with_deadline(deadline), deadline, ..self }.relinked()
    }

    /// Sets how many calls may be under way. One more fails at once. The default is 1024.
    #[must_use]
    pub fn with_max_calls(self, max_calls: usize) -> Self {
        Self { tasks: self.tasks.with_limit(max_calls), ..self }
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
        if self.link.client().is_none() {
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
        let client = self.link.client().ok_or_else(|| {
            ConfigError::new("a store that subscribes to changes makes its connections itself")
        })?;
        Ok(RedisInvalidations::in_namespace(client.clone(), self.names.clone()))
    }

    fn from_link(link: Link) -> Self {
        Self {
            link: Arc::new(link),
            changes: None,
            wait: None,
            names: Names::default(),
            tasks: StoreTasks::new().with_deadline(DEFAULT_DEADLINE),
            deadline: DEFAULT_DEADLINE,
        }
    }

    /// New connections, with response timeouts that suit the deadline.
    fn relinked(mut self) -> Self {
        if let Some(client) = self.link.client().cloned() {
            self.link = Arc::new(Link::own(client.clone(), self.deadline));
            let change_link = |wait: Wait| {
                Arc::new(Link::own(client, self.deadline.saturating_add(wait.timeout)))
            };
            self.changes = self.wait.map(change_link);
        }
        self
    }

    fn pipeline(&self) -> ReadPipeline {
        ReadPipeline::new(self.names.sentinel())
    }

    fn script(&self, script: &'static WriteScript) -> ScriptCall {
        ScriptCall::new(script, self.names.sentinel(), self.names.changes())
    }

    fn change_link(&self) -> &Link {
        self.changes.as_ref().unwrap_or(&self.link)
    }

    /// Runs a call in the task of its caller. The connection is shared and drops the answer if the caller leaves.
    async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, StoreError> {
        self.tasks.run(async { Ok(read.await?) }).await
    }

    /// Runs a change in a spawned task.
    async fn write<F, C>(&self, write: F) -> Result<WriteOutcome, StoreError>
    where
        F: FnOnce(Self) -> C,
        C: Future<Output = Result<WriteOutcome, RedisStoreError>> + Send + 'static,
    {
        let wait = self.wait.map_or(Duration::ZERO, |wait| wait.timeout);
        let tasks = self.tasks.clone().with_deadline(self.deadline.saturating_add(wait));
        let write = write(self.clone());
        tasks.spawn(async move { Ok(write.await?) }).await
    }

    async fn find_record(&self, id: &KeyId) -> Result<Option<KeyRecord>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        pipeline.arg("GET", self.names.record(id));
        let mut answers = pipeline.query(&self.link).await?;
        let Some(text) = text(answers.pop().unwrap_or_default())? else {
            return Ok(None);
        };
        Ok(Some(decode(&text, id)?))
    }

    /// The records and their texts, or `None` if one of them is not there. Whether the connection is
    /// alive shows as well, before a change that is sent only once goes over it.
    async fn read_for_change(
        &self,
        ids: &[KeyId],
    ) -> Result<Option<Vec<(KeyRecord, String)>>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        for id in ids {
            pipeline.arg("GET", self.names.record(id));
        }
        let answers = pipeline.query(self.change_link()).await?;
        let mut records = Vec::with_capacity(ids.len());
        for (id, answer) in ids.iter().zip(answers) {
            let Some(text) = text(answer)? else {
                return Ok(None);
            };
            let record = decode(&text, id)?;
            let text = String::from_utf8(text).map_err(|_| RedisStoreErrorKind::InvalidRecord)?;
            records.push((record, text));
        }
        Ok(Some(records))
    }

    async fn insert_record(&self, record: &KeyRecord) -> Result<WriteOutcome, RedisStoreError> {
        self.read_for_change(&[]).await?;
        let call = self
            .script(WriteScript::insert())
            .keys([self.names.record(record.id()), self.names.index(record.owner())])
            .arguments([record.id().to_string(), record.encode(), member(record)]);
        match call.execute(self.change_link(), self.wait).await? {
            Written::Done => Ok(WriteOutcome::Applied),
            Written::Mismatch => Ok(WriteOutcome::Conflict),
        }
    }

    async fn replace_record(
        &self,
        record: &KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, RedisStoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.read_for_change(std::slice::from_ref(record.id())).await?;
            let Some((old, text)) = stored.and_then(|mut stored| stored.pop()) else {
                return Ok(WriteOutcome::Conflict);
            };
            if old.version() != expected_version {
                return Ok(WriteOutcome::Conflict);
            }
            let call = self
                .script(WriteScript::replace())
                .keys([
                    self.names.record(record.id()),
                    self.names.index(old.owner()),
                    self.names.index(record.owner()),
                ])
                .arguments([
                    record.id().to_string(),
                    text,
                    record.encode(),
                    member(&old),
                    member(record),
                ]);
            if call.execute(self.change_link(), self.wait).await? == Written::Done {
                return Ok(WriteOutcome::Applied);
            }
        }
        Err(RedisStoreErrorKind::Contention.into())
    }

    async fn remove_records(
        &self,
        owner: &Owner,
        ids: &[KeyId],
    ) -> Result<WriteOutcome, RedisStoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(stored) = self.read_for_change(ids).await? else {
                return Ok(WriteOutcome::Conflict);
            };
            if stored.iter().any(|(record, _)| record.owner() != owner) {
                return Ok(WriteOutcome::Conflict);
            }
            let mut call = self
                .script(WriteScript::remove())
                .keys([self.names.index(owner), self.names.usage()]);
            for (record, text) in &stored {
                call = call.keys([self.names.record(record.id())]).arguments([
                    record.id().to_string(),
                    text.clone(),
                    member(record),
                ]);
            }
            if call.execute(self.change_link(), self.wait).await? == Written::Done {
                return Ok(WriteOutcome::Applied);
            }
        }
        Err(RedisStoreErrorKind::Contention.into())
    }

    async fn list_records(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, RedisStoreError> {
        let mut records = Vec::new();
        let mut start =
            after.map_or_else(|| "-".to_owned(), |after| format!("({}", member_at(after)));
        while records.len() < limit {
            let wanted = limit - records.len();
            let members = self.members(owner, &start, wanted).await?;
            for chunk in members.chunks(CHUNK_LEN) {
                self.read_members(owner, chunk, &mut records).await?;
            }
            match members.last() {
                Some((last, _)) if members.len() == wanted => start = format!("({last}"),
                _ => break,
            }
        }
        Ok(records)
    }

    /// The next members of an owner's index, and the ids in them.
    async fn members(
        &self,
        owner: &Owner,
        start: &str,
        limit: usize,
    ) -> Result<Vec<(String, KeyId)>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        let index = self.names.index(owner);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        pipeline.arg("ZRANGE", (&index, start, "+", "BYLEX", "LIMIT", 0, limit));
        let mut answers = pipeline.query(&self.link).await?;
        let invalid = || RedisStoreError::new(RedisStoreErrorKind::InvalidRecord);
        let mut members = Vec::new();
        for answer in list(answers.pop().unwrap_or_default())? {
            let member = text(answer)?.ok_or_else(invalid)?;
            let id = member_id(&member).ok_or_else(invalid)?;
            members.push((String::from_utf8(member).map_err(|_| invalid())?, id));
        }
        Ok(members)
    }

    /// The records of members, in their order, without those that were removed since.
    async fn read_members(
        &self,
        owner: &Owner,
        members: &[(String, KeyId)],
        records: &mut Vec<KeyRecord>,
    ) -> Result<(), RedisStoreError> {
        let mut pipeline = self.pipeline();
        for (_, id) in members {
            pipeline.arg("GET", self.names.record(id));
        }
        // Whether the index still has them, asked after the records: what is in the index and was not
        // found before is lost.
        let names: Vec<&str> = members.iter().map(|(member, _)| member.as_str()).collect();
        pipeline.arg("ZMSCORE", (self.names.index(owner), names));
        let mut answers = pipeline.query(&self.link).await?;
        let scores = list(answers.pop().unwrap_or_default())?;
        for (((name, id), answer), score) in members.iter().zip(answers).zip(scores) {
            let is_member = score != Value::Nil;
            let record = text(answer)?.map(|text| decode(&text, id)).transpose()?;
            match record {
                Some(record) if record.owner() == owner && member(&record) == *name => {
                    records.push(record);
                }
                _ if is_member => return Err(RedisStoreErrorKind::InvalidRecord.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl KeyStore for RedisKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.read(self.find_record(id)).await
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
        self.read(self.list_records(owner, after, limit)).await
    }
}

impl fmt::Debug for RedisKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKeyStore")
            .field("namespace", &self.names.namespace())
            .field("deadline", &self.deadline)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// The record in a text that was stored under this id.
fn decode(text: &[u8], id: &KeyId) -> Result<KeyRecord, RedisStoreError> {
    let record = KeyRecord::decode(text)?;
    if record.id() == id { Ok(record) } else { Err(RedisStoreErrorKind::InvalidRecord.into()) }
}
