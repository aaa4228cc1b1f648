//! Plumbing: streams and consumers, and what is written to them.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, ConsumerCreateStrictErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, kv};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::names::{LATER, Names, Place, token};
use super::record::Entry;
use crate::queue::{Backoff, HookLimits, QueueError};

/// The connection of a queue, with its names.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) context: Context,
    pub(super) names: Names,
    pub(super) replicas: usize,
}

/// For how long a delivered message is left to a client before its lease is known.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// How long the answer to an acknowledgement is waited for.
const NOTED: Duration = Duration::from_millis(250);
/// What the protocol takes beside a message. The server closes the connection of a client that sends too much.
const OVERHEAD: usize = 2048;
/// How much larger the copies of a message can be, which have a longer head.
const COPY_OVERHEAD: usize = 2048;

const OTHER_LIMITS: &str = "the limits of hooks are not those of the consumers in the NATS server, which another process has made";

/// The answer to a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// The server has acknowledged it.
    Stored,
    /// The subject was at another sequence.
    Conflict,
}

/// What a consumer says of its hook.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) consumer: String,
    /// `None` is the consumer of the messages that wait.
    pub(super) hook: Option<String>,
    pub(super) limit: Option<u32>,
    /// How many messages are under way.
    pub(super) under_way: u64,
    /// The sequence of the message that was delivered last.
    pub(super) delivered: u64,
}

/// The metadata of a consumer that has the name of its hook.
const HOOK: &str = "hook";

#[derive(Deserialize)]
struct ConsumersReply {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<ConsumerReply>>,
}

#[derive(Deserialize)]
struct ConsumerReply {
    name: String,
    config: ConsumerConfig,
    delivered: Delivered,
    num_ack_pending: u64,
}

#[derive(Deserialize)]
struct ConsumerConfig {
    #[serde(default)]
    max_ack_pending: i64,
    #[serde(default)]
    metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Delivered {
    stream_seq: u64,
}

impl From<ConsumerReply> for Line {
    fn from(reply: ConsumerReply) -> Self {
        Self {
            hook: reply.config.metadata.get(HOOK).cloned(),
            consumer: reply.name,
            limit: u32::try_from(reply.config.max_ack_pending).ok(),
            under_way: reply.num_ack_pending,
            delivered: reply.delivered.stream_seq,
        }
    }
}

impl Link {
    /// Creates the streams and the consumer of the messages that wait. What exists and is the same is left alone.
    pub(super) async fn create(&self) -> Result<(), QueueError> {
        if !self.context.client().is_server_compatible(2, 10, 0) {
            return Err(QueueError::unavailable("the NATS server is older than 2.10"));
        }
        let jobs = Config {
            name: self.names.jobs(),
            subjects: self.names.all(),
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            allow_direct: true,
            num_replicas: self.replicas,
            ..Config::default()
        };
        self.context.create_stream(jobs).await.map_err(QueueError::unavailable)?;
        let states = kv::Config {
            bucket: self.names.bucket(),
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..kv::Config::default()
        };
        self.context.create_key_value(states).await.map_err(QueueError::unavailable)?;
        self.create_consumer(LATER, self.names.everywhere(Place::Later), None, HashMap::new()).await
    }

    /// Creates the consumer of a hook. One with another limit is an error.
    pub(super) async fn create_line(
        &self,
        hook: &str,
        limit: Option<u32>,
    ) -> Result<(), QueueError> {
        let name = token(hook);
        let filter = self.names.of_hook(Place::Due, &name);
        self.create_consumer(
            &name,
            filter,
            limit,
            HashMap::from([(HOOK.to_owned(), hook.to_owned())]),
        )
        .await
    }

    async fn create_consumer(
        &self,
        name: &str,
        filter: String,
        limit: Option<u32>,
        metadata: HashMap<String, String>,
    ) -> Result<(), QueueError> {
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: filter,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: limit.map_or(-1, i64::from),
            max_waiting: 4096,
            metadata,
            ..pull::Config::default()
        };
        let created =
            self.context.create_consumer_strict_on_stream(config, self.names.jobs()).await;
        created.map(drop).map_err(|error| match error.kind() {
            ConsumerCreateStrictErrorKind::AlreadyExists => QueueError::unavailable(OTHER_LIMITS),
            _ => QueueError::unavailable(error),
        })
    }

    /// All consumers. One whose limit is not the one in `limits` is an error.
    pub(super) async fn lines(&self, limits: &HookLimits) -> Result<Vec<Line>, QueueError> {
        let mut lines = Vec::new();
        loop {
            let subject = format!("CONSUMER.LIST.{}", self.names.jobs());
            let reply: ConsumersReply =
                self.request(subject, json!({ "offset": lines.len() })).await?.map_err(api)?;
            let page = reply.consumers.unwrap_or_default();
            let is_last = page.is_empty();
            lines.extend(page.into_iter().map(Line::from));
            if is_last || lines.len() >= reply.total {
                break;
            }
        }
        let differs =
            |line: &Line| line.hook.as_ref().is_some_and(|hook| line.limit != limits.of(hook));
        if lines.iter().any(differs) {
            return Err(QueueError::unavailable(OTHER_LIMITS));
        }
        Ok(lines)
    }

    /// Publishes a message, and waits until the server has stored it.
    pub(super) async fn publish(
        &self,
        subject: String,
        payload: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<Written, QueueError> {
        self.check_size(payload.len(), OVERHEAD)?;
        let mut message = PublishMessage::build().payload(payload.into());
        if let Some(expected) = expected {
            message = message.expected_last_subject_sequence(expected);
        }
        let published = match self.context.send_publish(subject, message).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match published {
            Ok(_) => Ok(Written::Stored),
            Err(error) => match error.kind() {
                PublishErrorKind::WrongLastSequence => Ok(Written::Conflict),
                PublishErrorKind::MaxPayloadExceeded => Err(QueueError::too_large(error)),
                _ => Err(QueueError::unavailable(error)),
            },
        }
    }

    /// Refuses the message of a new job of which no copy could be published.
    pub(super) fn check_new(&self, message: &[u8]) -> Result<(), QueueError> {
        self.check_size(message.len(), OVERHEAD + COPY_OVERHEAD)
    }

    fn check_size(&self, size: usize, overhead: usize) -> Result<(), QueueError> {
        if size.saturating_add(overhead) > self.context.client().max_payload() {
            return Err(QueueError::too_large("larger than `max_payload` of the NATS server"));
        }
        Ok(())
    }

    /// Compare-and-set on the revision of an entry. Revision 0 is that there is none.
    pub(super) async fn write(&self, entry: &Entry, revision: u64) -> Result<Written, QueueError> {
        let value = entry.encode().map_err(QueueError::unavailable)?;
        self.publish(self.names.state(&entry.job.id), value, Some(revision)).await
    }

    /// Deletes the messages of a subject up to a sequence, and returns how many.
    pub(super) async fn erase(
        &self,
        stream: &str,
        subject: &str,
        last: u64,
    ) -> Result<u64, QueueError> {
        #[derive(Deserialize)]
        struct Reply {
            purged: u64,
        }
        let query = json!({ "filter": subject, "seq": last.saturating_add(1) });
        let reply = self.request(format!("STREAM.PURGE.{stream}"), query).await?;
        reply.map(|Reply { purged }| purged).map_err(api)
    }

    pub(super) async fn request<T: DeserializeOwned>(
        &self,
        subject: String,
        query: serde_json::Value,
    ) -> Result<Result<T, async_nats::jetstream::Error>, QueueError> {
        match self.context.request(subject, &query).await.map_err(QueueError::unavailable)? {
            Response::Ok(reply) => Ok(Ok(reply)),
            Response::Err { error } => Ok(Err(error)),
        }
    }

    /// Acknowledges a message, and waits until the server has taken note. An acknowledgement that is lost is made up
    /// for: the message comes again, and its entry says that it is not to be run. A server that was killed may have
    /// forgotten the delivery, and does not answer then.
    pub(super) async fn acknowledge(&self, ack: &str) {
        let client = self.context.client();
        let _ = timeout(NOTED, client.request(ack.to_owned(), "+ACK".into())).await;
    }

    /// Lets a message come again after a delay, or after 30 days, when its entry says what is left of it. Until then it
    /// keeps its place under the limit of its hook.
    pub(super) async fn again_after(&self, ack: &str, delay: Duration) {
        let nak = match delay.min(Backoff::LONGEST).as_nanos() {
            0 => "-NAK".to_owned(),
            nanos => format!("-NAK {{\"delay\": {nanos}}}"),
        };
        let _ = self.context.client().publish(ack.to_owned(), nak.into()).await;
    }
}

pub(super) fn api(error: async_nats::jetstream::Error) -> QueueError {
    QueueError::unavailable(error)
}
