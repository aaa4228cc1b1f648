//! Claims: messages are pulled from the consumers, and their entries decide.

use std::future::pending;
use std::pin::{Pin, pin};
use std::time::Duration;

use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::Inner;
use super::link::Written;
use super::names::{LATER, Place, id};
use super::record::{self, Entry, Hold, JobMessage, Stored, Turn, turn};
use crate::BoxError;
use crate::queue::job::random_token;
use crate::queue::{ClaimedJob, Job, JobId, JobState, Lease, QueueError};
use crate::util::after;

/// How long a claim that does not wait gives the server to look.
const GRACE: Duration = Duration::from_millis(25);
/// How long a request that does not wait is open: the server does not answer it while the limit of a hook is reached.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a request that is given up is listened to: longer than any of them is open.
const LINGER: Duration = Duration::from_secs(2);
/// The longest request that waits. A server that is away is seen after that time.
const ROUND: Duration = Duration::from_secs(1);
/// How often a change is tried again when another one came in between.
pub(super) const TRIES: usize = 16;

/// A message of a consumer.
struct Delivery {
    id: JobId,
    place: Place,
    message: JobMessage,
    /// When it was stored.
    stored_at: OffsetDateTime,
    /// The subject on which it is acknowledged.
    ack: String,
    is_first: bool,
}

/// The caller of a claim, who may leave.
pub(super) type Caller = oneshot::Sender<Result<Vec<ClaimedJob>, QueueError>>;

/// The end of a wait, other than its time.
type Stop<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

impl Inner {
    /// Up to `max` jobs. Under load the consumers are asked in turns, so that no message is pulled that is not wanted.
    /// An idle queue has one request waiting at each of them.
    pub(super) async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
        caller: &mut Caller,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        let end = after(Instant::now(), wait.max(GRACE));
        let mut claimed = Vec::new();
        let mut consumers = self.consumers().await?;
        let first = self.next_turn() % consumers.len().max(1);
        consumers.rotate_left(first);
        // Messages whose delay is over become messages of their hooks, so they come first.
        consumers.sort_by_key(|name| name != LATER);
        for consumer in consumers {
            while claimed.len() < max {
                let wanted = max - claimed.len();
                let consumer = std::slice::from_ref(&consumer);
                let pulled = self.pull(consumer, wanted, None, pin!(pending())).await?;
                if pulled.is_empty() {
                    break;
                }
                self.take_all(pulled, max, lease, &mut claimed).await?;
            }
        }
        while claimed.is_empty() && max > 0 && !caller.is_closed() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Armed before the look, so that a hook that comes in between rings.
            let bell = self.new_hook.notified();
            let consumers = self.consumers().await?;
            let stop = pin!(async {
                tokio::select! {
                    () = bell => {}
                    () = caller.closed() => {}
                }
            });
            let expires = left.clamp(GRACE, ROUND);
            let pulled = self.pull(&consumers, 1, Some(expires), stop).await?;
            self.take_all(pulled, max, lease, &mut claimed).await?;
        }
        Ok(claimed)
    }

    /// Pulls messages: up to `batch` from each consumer. With `expires` it waits for the first one.
    async fn pull(
        &self,
        consumers: &[String],
        batch: usize,
        expires: Option<Duration>,
        mut stop: Stop<'_>,
    ) -> Result<Vec<Message>, QueueError> {
        let client = self.link.context.client();
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.map_err(QueueError::unavailable)?;
        let query = serde_json::json!({
            "batch": batch,
            "no_wait": expires.is_none(),
            "expires": expires.map_or(0, |expires| expires.as_nanos()),
        });
        for consumer in consumers {
            let subject =
                format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.link.names.jobs());
            let sent = client.publish_with_reply(subject, inbox.clone(), query.to_string().into());
            sent.await.map_err(QueueError::unavailable)?;
        }
        let (mut pulled, mut open) = (Vec::new(), consumers.len());
        let patience = expires.map_or(PATIENCE, |expires| expires + self.deadline);
        let end = Instant::now() + patience;
        while open > 0 && pulled.len() < batch {
            let reply = tokio::select! {
                biased;
                reply = timeout_at(end, replies.next()) => reply,
                () = stop.as_mut(), if expires.is_some() => break,
            };
            let reply = match reply {
                Ok(reply) => reply,
                Err(_) if expires.is_none() => break,
                Err(_) => return Err(QueueError::unavailable("the NATS server does not answer")),
            };
            let reply = reply.ok_or_else(|| QueueError::unavailable("the connection is closed"))?;
            match reply.status {
                None => pulled.push(reply),
                Some(status) => open -= usize::from(is_last(status, reply.description.as_deref())?),
            }
        }
        if open > 0 {
            // What the server sends to a request that is given up goes back. Without a subscription the server would wait
            // for its acknowledgement first.
            let link = self.link.clone();
            tokio::spawn(async move {
                while let Ok(Some(reply)) = timeout(LINGER, replies.next()).await {
                    if let (None, Some(ack)) = (reply.status, reply.reply) {
                        link.again_after(&ack, Duration::ZERO).await;
                    }
                }
            });
        }
        Ok(pulled)
    }

    /// Claims the jobs of messages. Those of more than `max` go back.
    async fn take_all(
        &self,
        pulled: Vec<Message>,
        max: usize,
        lease: Duration,
        claimed: &mut Vec<ClaimedJob>,
    ) -> Result<(), QueueError> {
        let mut wanted = Vec::new();
        for message in pulled {
            let Some(delivery) = Delivery::parse(&message) else {
                // Not one of ours. It is left for an operator to look at.
                continue;
            };
            if delivery.place == Place::Due && claimed.len() + wanted.len() >= max {
                self.link.again_after(&delivery.ack, Duration::ZERO).await;
            } else {
                wanted.push(delivery);
            }
        }
        let mut failed = None;
        for taken in join_all(wanted.iter().map(|delivery| self.take(delivery, lease))).await {
            match taken {
                Ok(job) => claimed.extend(job),
                Err(error) => failed = Some(error),
            }
        }
        // Jobs that were claimed are not lost to an error of another one.
        failed.filter(|_| claimed.is_empty()).map_or(Ok(()), Err)
    }

    async fn take(
        &self,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<ClaimedJob>, QueueError> {
        // Most messages are delivered once, and have no entry yet.
        let mut stored = None;
        if !delivery.is_first || delivery.place == Place::Later {
            stored = self.link.stored(&delivery.id).await?;
        }
        for _ in 0..TRIES {
            let now = match &stored {
                Some(stored) if !stored.entry.lasts.is_zero() => self.link.now().await?,
                _ => OffsetDateTime::UNIX_EPOCH,
            };
            let written = match (delivery.place, turn(stored.as_ref(), now)) {
                (Place::Due, Turn::Run) => {
                    let token = random_token()?;
                    let (entry, revision) = delivery.claimed(stored.take(), token, lease);
                    let written = self.link.write(&entry, revision).await?;
                    if written == Written::Stored {
                        self.link.again_after(&delivery.ack, lease).await;
                        return Ok(Some(delivery.job(token, entry.job.attempts)));
                    }
                    written
                }
                (Place::Due, Turn::Delay(_)) => {
                    self.move_to(Place::Later, delivery).await?;
                    return Ok(None);
                }
                (_, Turn::Run) => {
                    self.move_to(Place::Due, delivery).await?;
                    return Ok(None);
                }
                (Place::Due, Turn::Held(left)) | (_, Turn::Delay(left)) => {
                    self.link.again_after(&delivery.ack, left).await;
                    return Ok(None);
                }
                (_, Turn::Drop | Turn::Held(_)) => match stored.take() {
                    Some(stored) if delivery.revives(&stored) => self.revive(stored).await?,
                    _ => {
                        self.link.acknowledge(&delivery.ack).await;
                        return Ok(None);
                    }
                },
            };
            let _ = written;
            stored = self.link.stored(&delivery.id).await?;
        }
        Err(QueueError::unavailable("other changes kept coming in between"))
    }

    /// Puts a message into another line: it is published there first, and acknowledged here then. If it is there
    /// already, another process has died between the two.
    async fn move_to(&self, place: Place, delivery: &Delivery) -> Result<(), QueueError> {
        let subject = self.link.names.job(place, &delivery.message.job.hook, &delivery.id);
        let mut message = delivery.message.clone();
        message.created_at.get_or_insert(delivery.stored_at);
        message.revives = None;
        let message = message.encode().map_err(QueueError::unavailable)?;
        let _ = self.link.publish(subject, message, Some(0)).await?;
        self.link.acknowledge(&delivery.ack).await;
        Ok(())
    }
}

impl Delivery {
    fn parse(message: &Message) -> Option<Self> {
        let id = id(&message.subject)?;
        let later = message.subject.split('.').nth(1)? == "later";
        let ack = message.reply.as_ref()?.to_string();
        // `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<sequence>.<time>.<pending>`, or with domain and account.
        let words: Vec<_> = ack.split('.').collect();
        let first = if words.len() == 9 { 4 } else { 6 };
        let number = |index: usize| words.get(first + index)?.parse::<i64>().ok();
        Some(Self {
            id,
            place: if later { Place::Later } else { Place::Due },
            message: JobMessage::decode(id, &message.payload).ok()?,
            stored_at: record::time(number(3)?).ok()?,
            is_first: number(0)? == 1,
            ack,
        })
    }

    /// The entry of this job under a new lease, and the revision that it replaces.
    fn claimed(&self, stored: Option<Stored>, token: u128, lease: Duration) -> (Entry, u64) {
        let created_at = self.message.created_at.unwrap_or(self.stored_at);
        let (mut entry, revision) = stored.map_or_else(
            || (Entry::new(Job::queued(&self.message.job, created_at)), 0),
            |stored| (stored.entry, stored.revision),
        );
        entry.claim(Hold { token, ack: self.ack.clone() }, lease);
        (entry, revision)
    }

    fn job(&self, token: u128, attempt: u32) -> ClaimedJob {
        let job = &self.message.job;
        let lease = Lease::new(self.id, token);
        ClaimedJob::new(lease, job.hook.clone(), job.payload.clone(), attempt)
    }

    /// Whether a dead job was to be put back, and the process died before it was.
    fn revives(&self, stored: &Stored) -> bool {
        stored.entry.job.state == JobState::Dead
            && !stored.entry.is_removed
            && self.message.revives == Some(stored.revision)
    }
}

/// Whether a status is the end of a request.
fn is_last(status: StatusCode, description: Option<&str>) -> Result<bool, QueueError> {
    let cause: BoxError = match status.as_u16() {
        // A sign of life.
        100 => return Ok(false),
        // No message, or the time is over.
        404 | 408 => return Ok(true),
        // The limit of the hook is reached.
        409 if description.is_some_and(|text| text.contains("MaxAckPending")) => return Ok(true),
        503 => "the NATS server has no such stream or consumer: it is not set up".into(),
        _ => "the NATS server has refused a pull".into(),
    };
    Err(QueueError::unavailable(cause))
}
