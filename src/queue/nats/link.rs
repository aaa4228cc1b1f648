//! Plumbing: what is read from the server, and written to it.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, ConsumerCreateStrictErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{Context, ErrorCode, kv};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::names::{LATER, Names, Place, token};
use super::record::{Entry, Stored};
use crate::queue::{HookLimits, JobId, QueueError};

/// The connection of a queue, with its names.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) context: Context,
    pub(super) names: Names,
    pub(super) replicas: usize,
}

/// For how long a delivered message is left to a client before its lease is known.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// What the head of a message and the protocol take beside the payload.
const OVERHEAD: usize = 4096;

const OTHER_LIMITS: &str = "the limits of hooks are not those of the consumers in the NATS server, which another process has made";

/// The answer to a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// The server has acknowledged it.
    Stored,
    /// The subject was at another sequence.
    Conflict,
}

/// A stored message.
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) payload: Vec<u8>,
    pub(super) time: OffsetDateTime,
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
struct Message {
    seq: u64,
    #[serde(default)]
    data: String,
    time: String,
}

#[derive(Deserialize)]
struct GetReply {
    message: Message,
}

#[derive(Deserialize)]
struct InfoReply {
    ts: String,
    #[serde(default)]
    total: usize,
    state: StateReply,
}

#[derive(Deserialize)]
struct StateReply {
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

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
        self.check_size(payload.len())?;
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

    fn check_size(&self, size: usize) -> Result<(), QueueError> {
        if size.saturating_add(OVERHEAD) > self.context.client().max_payload() {
            return Err(QueueError::too_large("larger than `max_payload` of the NATS server"));
        }
        Ok(())
    }

    /// The newest message of a subject, which may have wildcards.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Found>, QueueError> {
        self.get(stream, json!({ "last_by_subj": subject })).await
    }

    /// The first message of a subject, from a sequence on.
    pub(super) async fn next(&self, subject: &str, from: u64) -> Result<Option<Found>, QueueError> {
        self.get(&self.names.jobs(), json!({ "next_by_subj": subject, "seq": from })).await
    }

    /// Asks the leader of the stream, so that a read sees every write before it.
    async fn get(
        &self,
        stream: &str,
        query: serde_json::Value,
    ) -> Result<Option<Found>, QueueError> {
        let reply: Result<GetReply, _> =
            self.request(format!("STREAM.MSG.GET.{stream}"), query).await?;
        let message = match reply {
            Ok(reply) => reply.message,
            Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(None),
            Err(error) => return Err(api(error)),
        };
        let payload = STANDARD.decode(message.data).map_err(QueueError::unavailable)?;
        Ok(Some(Found { sequence: message.seq, payload, time: parse(&message.time)? }))
    }

    /// The state of a job.
    pub(super) async fn stored(&self, id: &JobId) -> Result<Option<Stored>, QueueError> {
        let found = self.last(&self.names.states(), &self.names.state(id)).await?;
        let Some(found) = found else { return Ok(None) };
        let entry =
            Entry::decode(*id, &found.payload, found.time).map_err(QueueError::unavailable)?;
        Ok(Some(Stored { entry, revision: found.sequence, written_at: found.time }))
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

    /// The subjects that have messages, and the time of the server.
    pub(super) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<(Vec<String>, OffsetDateTime), QueueError> {
        let mut subjects = Vec::new();
        loop {
            let query = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let reply = self.info(stream, query).await?;
            let page = reply.state.subjects.unwrap_or_default();
            let is_last = page.is_empty();
            subjects.extend(page.into_keys());
            if is_last || subjects.len() >= reply.total {
                return Ok((subjects, parse(&reply.ts)?));
            }
        }
    }

    /// How many subjects have messages. The server counts: a page behind the last one has no subjects.
    pub(super) async fn count(&self, filter: &str) -> Result<u64, QueueError> {
        let query = json!({ "subjects_filter": filter, "offset": i32::MAX });
        Ok(self.info(&self.names.jobs(), query).await?.total as u64)
    }

    /// The time of the server.
    pub(super) async fn now(&self) -> Result<OffsetDateTime, QueueError> {
        parse(&self.info(&self.names.jobs(), json!({})).await?.ts)
    }

    async fn info(&self, stream: &str, query: serde_json::Value) -> Result<InfoReply, QueueError> {
        self.request(format!("STREAM.INFO.{stream}"), query).await?.map_err(api)
    }

    async fn request<T: DeserializeOwned>(
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
    /// for: the message comes again, and its entry says that it is not to be run.
    pub(super) async fn acknowledge(&self, ack: &str) {
        let _ = self.context.client().request(ack.to_owned(), "+ACK".into()).await;
    }

    /// Lets a message come again after a delay. Until then it keeps its place under the limit of its hook.
    pub(super) async fn again_after(&self, ack: &str, delay: Duration) {
        let nak = match delay.as_nanos() {
            0 => "-NAK".to_owned(),
            nanos => format!("-NAK {{\"delay\": {nanos}}}"),
        };
        let _ = self.context.client().publish(ack.to_owned(), nak.into()).await;
    }
}

fn api(error: async_nats::jetstream::Error) -> QueueError {
    QueueError::unavailable(error)
}

fn parse(time: &str) -> Result<OffsetDateTime, QueueError> {
    OffsetDateTime::parse(time, &Rfc3339).map_err(QueueError::unavailable)
}
