//! Plumbing: what is read from the streams.

use std::ops::Range;

use async_nats::Message;
use async_nats::header::{NATS_SEQUENCE, NATS_SUBJECT, NATS_TIME_STAMP};
use async_nats::jetstream::ErrorCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::link::{Link, api};
use super::names::id;
use super::record::{Entry, Stored};
use crate::BoxError;
use crate::queue::{JobId, QueueError};

/// How many messages one request reads at most, and how many bytes.
const BATCH: u64 = 256;
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// A stored message.
pub(super) struct Found {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) payload: Vec<u8>,
    pub(super) time: OffsetDateTime,
}

/// What the server says of a stream.
#[derive(Deserialize)]
struct Info {
    ts: String,
    #[serde(default)]
    total: u64,
    state: State,
}

#[derive(Deserialize)]
struct State {
    first_seq: u64,
    last_seq: u64,
}

#[derive(Deserialize)]
struct GetReply {
    message: GetMessage,
}

#[derive(Deserialize)]
struct GetMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
    time: String,
}

impl Link {
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
        let payload = STANDARD.decode(&message.data).map_err(QueueError::unavailable)?;
        let GetMessage { subject, seq: sequence, time, .. } = message;
        Ok(Some(Found { subject, sequence, payload, time: parse(&time)? }))
    }

    /// The state of a job.
    pub(super) async fn stored(&self, id: &JobId) -> Result<Option<Stored>, QueueError> {
        let found = self.last(&self.names.states(), &self.names.state(id)).await?;
        found.map(|found| found.entry(*id)).transpose()
    }

    /// The messages of a subject from a sequence on, in their order: batch direct get. None is the end of the stream. A
    /// server older than 2.11 sends one at a time.
    pub(super) async fn batch(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Vec<Found>, QueueError> {
        let client = self.context.client();
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.map_err(QueueError::unavailable)?;
        let query = json!({
            "next_by_subj": subject, "seq": from, "batch": BATCH, "max_bytes": BATCH_BYTES,
        });
        let sent = client.publish_with_reply(
            format!("$JS.API.DIRECT.GET.{stream}"),
            inbox,
            query.to_string().into(),
        );
        sent.await.map_err(QueueError::unavailable)?;
        let mut found = Vec::new();
        while let Some(reply) = replies.next().await {
            match reply.status.map(|status| status.as_u16()) {
                None => {}
                // The end of the batch, or no message.
                Some(204 | 404) => return Ok(found),
                Some(_) => break,
            }
            let is_batch = has_header(&reply, "Nats-Num-Pending");
            found.push(Found::direct(&reply).map_err(QueueError::unavailable)?);
            if !is_batch {
                return Ok(found);
            }
        }
        Err(QueueError::unavailable("the NATS server has refused a read: the queue is not set up"))
    }

    /// How many subjects have messages. The server counts: a page behind the last one has no subjects.
    pub(super) async fn count(&self, filter: &str) -> Result<u64, QueueError> {
        let query = json!({ "subjects_filter": filter, "offset": i32::MAX });
        Ok(self.info(&self.names.jobs(), query).await?.total)
    }

    /// The time of the server.
    pub(super) async fn now(&self) -> Result<OffsetDateTime, QueueError> {
        parse(&self.info(&self.names.jobs(), json!({})).await?.ts)
    }

    /// The first and the last sequence of a stream, and the time of the server.
    async fn range(&self, stream: &str) -> Result<(State, OffsetDateTime), QueueError> {
        let info = self.info(stream, json!({})).await?;
        Ok((info.state, parse(&info.ts)?))
    }

    async fn info(&self, stream: &str, query: serde_json::Value) -> Result<Info, QueueError> {
        self.request(format!("STREAM.INFO.{stream}"), query).await?.map_err(api)
    }
}

impl Found {
    /// A reply to a direct get: the message as it was published, with its place in headers.
    fn direct(reply: &Message) -> Result<Self, BoxError> {
        let header = |name: &str| {
            let value = reply.headers.as_ref()?.get_last(name)?;
            Some(value.as_str())
        };
        let header = |name: &str| {
            header(name).ok_or("a message of the NATS server has no place in its stream")
        };
        Ok(Self {
            subject: header(NATS_SUBJECT.as_ref())?.to_owned(),
            sequence: header(NATS_SEQUENCE.as_ref())?.parse()?,
            payload: reply.payload.to_vec(),
            time: OffsetDateTime::parse(header(NATS_TIME_STAMP.as_ref())?, &Rfc3339)?,
        })
    }

    /// The entry of a job.
    pub(super) fn entry(&self, id: JobId) -> Result<Stored, QueueError> {
        let entry = Entry::decode(id, &self.payload, self.time).map_err(QueueError::unavailable)?;
        Ok(Stored { entry, revision: self.sequence, written_at: self.time })
    }

    /// The id of the job.
    pub(super) fn id(&self) -> Option<JobId> {
        id(&self.subject)
    }
}

/// The records of a stream from the newest back, in windows of sequences that double. In the end it reads those that were
/// written meanwhile, so that a record that moves during the walk is seen.
pub(super) struct Walk<'a> {
    link: &'a Link,
    stream: String,
    subject: String,
    first: u64,
    last: u64,
    /// What is left of the window.
    window: Range<u64>,
    /// Where the window begins.
    start: u64,
    width: u64,
    /// The time of the oldest record that was read.
    oldest: OffsetDateTime,
}

impl<'a> Walk<'a> {
    pub(super) async fn new(
        link: &'a Link,
        stream: String,
        subject: String,
    ) -> Result<Self, QueueError> {
        let (state, now) = link.range(&stream).await?;
        let (first, last) = (state.first_seq, state.last_seq);
        let start = last + 1;
        let window = start..start;
        Ok(Self { link, stream, subject, first, last, window, start, width: BATCH, oldest: now })
    }

    /// The next batch, in the order of the stream, and `None` at the end. No further window is begun if enough was read
    /// with all that is newer than a time.
    pub(super) async fn next(
        &mut self,
        is_enough: impl Fn(OffsetDateTime) -> bool,
    ) -> Result<Option<Vec<Found>>, QueueError> {
        while self.window.end < u64::MAX || !self.window.is_empty() {
            if self.window.is_empty() {
                if self.start <= self.first || is_enough(self.oldest) {
                    self.window = self.last + 1..u64::MAX;
                } else {
                    let end = self.start;
                    self.start = end.saturating_sub(self.width).max(self.first);
                    self.window = self.start..end;
                    self.width = self.width.saturating_mul(2);
                }
            }
            let from = self.window.start;
            let mut found = self.link.batch(&self.stream, &self.subject, from).await?;
            found.retain(|found| self.window.contains(&found.sequence));
            let (Some(first), Some(last)) = (found.first(), found.last()) else {
                self.window.start = self.window.end;
                continue;
            };
            self.oldest = self.oldest.min(first.time);
            self.window.start = last.sequence + 1;
            return Ok(Some(found));
        }
        Ok(None)
    }
}

fn has_header(reply: &Message, name: &str) -> bool {
    reply.headers.as_ref().is_some_and(|headers| headers.get_last(name).is_some())
}

fn parse(time: &str) -> Result<OffsetDateTime, QueueError> {
    OffsetDateTime::parse(time, &Rfc3339).map_err(QueueError::unavailable)
}
