use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::time::{Instant, timeout, timeout_at};

use super::names::Names;
use super::{RedisStoreError, RedisStoreErrorKind};
use crate::ConfigError;
use crate::key::StoreError;
use crate::store::invalidation::{Queue, message, queue};
use crate::store::{Invalidation, InvalidationStream};
use crate::util::after;

/// The changes of keys in a namespace of a [`RedisKeyStore`](super::RedisKeyStore), by every process.
///
/// Every change publishes the id of its record in the channel `{namespace}:changes`, in the script
/// that makes it.
///
/// 1. A connection that is lost, or silent for twice the [heartbeat](Self::with_heartbeat), is an
///    error: messages may be missing. The next call connects again, and then says
///    [`Invalidation::All`].
/// 2. A reader that falls behind by more than 1024 messages gets one [`Invalidation::All`].
/// 3. A change of the server's data that no script has made, such as the restoration of a backup, is
///    not seen.
///
/// The server speaks RESP3, which is that of Redis 6 and later and of Valkey, and lets the user
/// `SUBSCRIBE` and `PING`.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::store::{Invalidation, InvalidationStream, RedisKeyStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisKeyStore::connect("redis://127.0.0.1/").await?;
/// let mut changes = store.invalidations()?;
/// while let Some(change) = changes.next().await? {
///     match change {
///         Invalidation::Key(id) => println!("{id} has changed"),
///         Invalidation::All => println!("anything may have changed"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct RedisInvalidations {
    client: Client,
    names: Names,
    heartbeat: Duration,
    subscription: Option<Subscription>,
}

struct Subscription {
    connection: MultiplexedConnection,
    queue: Queue,
    next_beat: Instant,
}

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);

impl RedisInvalidations {
    /// Changes in the default namespace, `tower-webhook`, of the server of this client. It connects
    /// when it is first asked.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::in_namespace(client, Names::default())
    }

    /// Sets the namespace.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { names: Names::new(namespace)?, ..self })
    }

    /// Sets the silence after which the server is pinged, and how long it may take to answer. The default is two
    /// seconds, the least a millisecond.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat: heartbeat.max(Duration::from_millis(1)), ..self }
    }

    pub(super) fn in_namespace(client: Client, names: Names) -> Self {
        Self { client, names, heartbeat: DEFAULT_HEARTBEAT, subscription: None }
    }

    async fn subscribe(&self) -> Result<Subscription, RedisStoreError> {
        let info = self.client.get_connection_info();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.clone().set_redis_settings(settings))?;
        let (sender, queue) = queue();
        let push = move |push: PushInfo| {
            let fits = read(&push).is_none_or(|message| sender.push(message));
            if fits { Ok(()) } else { Err(SendError) }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(push);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(self.names.changes()).await?;
        let next_beat = after(Instant::now(), self.heartbeat);
        Ok(Subscription { connection, queue, next_beat })
    }
}

impl Subscription {
    /// The next message, or `None` if the connection is lost.
    async fn next(&mut self, heartbeat: Duration) -> Option<Invalidation> {
        loop {
            if let Ok(message) = timeout_at(self.next_beat, self.queue.next()).await {
                return message;
            }
            let ping = redis::cmd("PING");
            let pong = self.connection.send_packed_command(&ping);
            timeout(heartbeat, pong).await.ok()?.ok()?.extract_error().ok()?;
            self.next_beat = after(Instant::now(), heartbeat);
        }
    }
}

#[async_trait]
impl InvalidationStream for RedisInvalidations {
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
        let Some(subscription) = &mut self.subscription else {
            let subscription = timeout(self.heartbeat, self.subscribe()).await;
            let subscription =
                subscription.unwrap_or_else(|_| Err(RedisStoreErrorKind::TooSlow.into()))?;
            self.subscription = Some(subscription);
            return Ok(Some(Invalidation::All));
        };
        let message = subscription.next(self.heartbeat).await;
        if message.is_none() {
            self.subscription = None;
            return Err(RedisStoreError::new(RedisStoreErrorKind::Unreachable).into());
        }
        Ok(message)
    }
}

impl fmt::Debug for RedisInvalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisInvalidations")
            .field("namespace", &self.names.namespace())
            .field("heartbeat", &self.heartbeat)
            .field("connected", &self.subscription.is_some())
            .finish_non_exhaustive()
    }
}

/// The message in a push, if it is one.
fn read(push: &PushInfo) -> Option<Invalidation> {
    if push.kind != PushKind::Message {
        return None;
    }
    let text = match push.data.as_slice() {
        [_, Value::BulkString(payload)] => std::str::from_utf8(payload).ok(),
        _ => None,
    };
    Some(text.map_or(Invalidation::All, message))
}
