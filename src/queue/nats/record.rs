//! What is stored: the message of a job, and the entry that has its state.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::BoxError;
use crate::key::Owner;
use crate::queue::{Job, JobId, JobState, NewJob};
use crate::util::hex;

/// A message of the stream of jobs: a line of JSON, and the payload as it is.
#[derive(Clone, Debug)]
pub(super) struct JobMessage {
    pub(super) job: NewJob,
    /// When the job was stored, if this is not its first message.
    pub(super) created_at: Option<OffsetDateTime>,
    /// The revision of the dead entry that this message puts back.
    pub(super) revives: Option<u64>,
}

#[derive(Deserialize, Serialize)]
struct Head<'a> {
    v: u8,
    hook: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revives: Option<u64>,
}

const VERSION: u8 = 1;

impl JobMessage {
    pub(super) const fn new(job: NewJob) -> Self {
        Self { job, created_at: None, revives: None }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, BoxError> {
        let mut bytes = serde_json::to_vec(&Head {
            v: VERSION,
            hook: (&*self.job.hook).into(),
            owner: self.job.owner.as_ref().map(|owner| owner.as_str().into()),
            fingerprint: hex::encode(&self.job.fingerprint),
            created: self.created_at.map(nanos),
            revives: self.revives,
        })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(self.job.payload.as_bytes());
        Ok(bytes)
    }

    pub(super) fn decode(id: JobId, bytes: &[u8]) -> Result<Self, BoxError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("a message has no head")?;
        let (head, payload) = bytes.split_at(end);
        let head: Head<'_> = serde_json::from_slice(head)?;
        check_version(head.v)?;
        let mut job = NewJob::new(id, std::str::from_utf8(payload.get(1..).unwrap_or_default())?)
            .with_hook(head.hook)
            .with_fingerprint(fingerprint(&head.fingerprint)?);
        job.owner = head.owner.map(Owner::new).transpose()?;
        let created_at = head.created.map(time).transpose()?;
        Ok(Self { job, created_at, revives: head.revives })
    }
}

/// The state of a job: the value of its id in the bucket.
///
/// Times are those of the server: the time at which a revision was written is that of its change, so that an entry
/// has no time that a client made up.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) job: Job,
    /// The job is removed. The entry is left so that no worker runs what is under way to it.
    pub(super) is_removed: bool,
    /// Who runs it.
    pub(super) hold: Option<Hold>,
    /// For how long the lease or the delay lasts, from when this revision was written.
    pub(super) lasts: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hold {
    pub(super) token: u128,
    /// The subject on which the message is acknowledged.
    pub(super) ack: String,
}

/// An entry as it was read.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) entry: Entry,
    /// The fencing token of every change: the sequence of the entry in its stream.
    pub(super) revision: u64,
    pub(super) written_at: OffsetDateTime,
}

#[derive(Deserialize, Serialize)]
struct Value<'a> {
    v: u8,
    hook: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    fingerprint: String,
    state: Cow<'a, str>,
    attempts: u32,
    created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<Cow<'a, str>>,
    lasts_ms: u64,
}

/// The name of the state of a removed job.
const REMOVED: &str = "removed";

impl Entry {
    pub(super) const fn new(job: Job) -> Self {
        Self { job, is_removed: false, hold: None, lasts: Duration::ZERO }
    }

    /// The job begins an attempt.
    pub(super) fn claim(&mut self, hold: Hold, lease: Duration) {
        self.job.state = JobState::Running;
        self.job.attempts = self.job.attempts.saturating_add(1);
        self.job.started_at = None;
        (self.hold, self.lasts) = (Some(hold), lease);
    }

    /// The job leaves its worker.
    pub(super) fn leave(&mut self, state: JobState, delay: Duration) {
        self.job.state = state;
        (self.hold, self.lasts) = (None, delay);
    }

    /// A dead job starts again.
    pub(super) fn revive(&mut self) {
        self.leave(JobState::Queued, Duration::ZERO);
        self.job.attempts = 0;
        (self.job.error, self.job.started_at, self.job.ended_at) = (None, None, None);
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, BoxError> {
        let job = &self.job;
        Ok(serde_json::to_vec(&Value {
            v: VERSION,
            hook: (&*job.hook).into(),
            owner: job.owner.as_ref().map(|owner| owner.as_str().into()),
            fingerprint: hex::encode(&job.fingerprint),
            state: if self.is_removed { REMOVED } else { job.state.as_str() }.into(),
            attempts: job.attempts,
            created: nanos(job.created_at),
            started: job.started_at.map(nanos),
            outcome: job.outcome.as_deref().map(Into::into),
            error: job.error.as_deref().map(Into::into),
            token: self.hold.as_ref().map(|hold| hex::encode(&hold.token.to_be_bytes())),
            ack: self.hold.as_ref().map(|hold| (&*hold.ack).into()),
            lasts_ms: u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX),
        })?)
    }

    pub(super) fn decode(
        id: JobId,
        bytes: &[u8],
        written_at: OffsetDateTime,
    ) -> Result<Self, BoxError> {
        let value: Value<'_> = serde_json::from_slice(bytes)?;
        check_version(value.v)?;
        let is_removed = value.state == REMOVED;
        let state =
            if is_removed { Some(JobState::Dead) } else { JobState::from_name(&value.state) };
        let state = state.ok_or("an entry has no known state")?;
        let started_at = value.started.map(time).transpose()?;
        let hold = match (value.token, value.ack) {
            (Some(token), Some(ack)) => {
                let token = hex::decode(&token).and_then(|bytes| bytes.try_into().ok());
                let token = u128::from_be_bytes(token.ok_or("an entry has no token")?);
                Some(Hold { token, ack: ack.into_owned() })
            }
            _ => None,
        };
        let job = Job {
            id,
            hook: value.hook.into_owned(),
            owner: value.owner.map(Owner::new).transpose()?,
            fingerprint: fingerprint(&value.fingerprint)?,
            state,
            attempts: value.attempts,
            created_at: time(value.created)?,
            // A claim does not know its time before it is written.
            started_at: started_at.or((state == JobState::Running).then_some(written_at)),
            ended_at: state.is_ended().then_some(written_at),
            outcome: value.outcome.map(Cow::into_owned),
            error: value.error.map(Cow::into_owned),
        };
        Ok(Self { job, is_removed, hold, lasts: Duration::from_millis(value.lasts_ms) })
    }
}

/// What a worker does with the message of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// The job may run.
    Run,
    /// It has a delay, and this much of it is left.
    Delay(Duration),
    /// Another worker holds it, for this long.
    Held(Duration),
    /// There is nothing to run any more.
    Drop,
}

/// A message without an entry runs. With one, the entry decides.
pub(super) fn turn(stored: Option<&Stored>, now: OffsetDateTime) -> Turn {
    let Some(Stored { entry, written_at, .. }) = stored else { return Turn::Run };
    if entry.is_removed || entry.job.state.is_ended() {
        return Turn::Drop;
    }
    let passed = Duration::try_from(now - *written_at).unwrap_or_default();
    match entry.lasts.saturating_sub(passed) {
        Duration::ZERO => Turn::Run,
        left if entry.job.state == JobState::Running => Turn::Held(left),
        left => Turn::Delay(left),
    }
}

fn check_version(version: u8) -> Result<(), BoxError> {
    if version == VERSION { Ok(()) } else { Err("the format is that of another version".into()) }
}

fn fingerprint(text: &str) -> Result<[u8; 32], BoxError> {
    let bytes = hex::decode(text).and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.ok_or("a fingerprint is not 32 bytes")?)
}

/// Nanoseconds since 1970, which fit until 2262.
fn nanos(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn time(nanos: i64) -> Result<OffsetDateTime, BoxError> {
    Ok(OffsetDateTime::from_unix_timestamp_nanos(nanos.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000_000_000;

    fn new_job() -> NewJob {
        NewJob::new(JobId::from_bytes([7; 16]), "{\n\"a\": \"ä\"}\n")
            .with_hook("a\nb")
            .with_owner(Owner::new("ann").unwrap())
            .with_fingerprint([255; 32])
    }

    fn stored(state: JobState, lasts: u64) -> Stored {
        let written_at = time(START).unwrap();
        let mut entry = Entry::new(Job::queued(&new_job(), written_at));
        (entry.job.state, entry.lasts) = (state, Duration::from_secs(lasts));
        Stored { entry, revision: 3, written_at }
    }

    #[test]
    fn a_message_has_its_payload_as_it_is() {
        let job = new_job();
        for (created_at, revives) in [(None, None), (Some(time(START).unwrap()), Some(3))] {
            let message = JobMessage { job: job.clone(), created_at, revives };
            let bytes = message.encode().unwrap();
            assert!(bytes.ends_with(job.payload.as_bytes()));
            let read = JobMessage::decode(job.id, &bytes).unwrap();
            assert_eq!((&*read.job.payload, &*read.job.hook), (&*job.payload, &*job.hook));
            assert_eq!((&read.job.owner, read.job.fingerprint), (&job.owner, job.fingerprint));
            assert_eq!((read.created_at, read.revives), (created_at, revives));
        }
        for wrong in ["", "{}", "{}\n", "{\"v\":2,\"hook\":\"\",\"fingerprint\":\"\"}\n{}"] {
            assert!(JobMessage::decode(job.id, wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_time_of_a_revision_is_that_of_its_change() {
        let mut entry = stored(JobState::Queued, 0).entry;
        let hold = Hold { token: 9, ack: "$JS.ACK.a".to_owned() };
        entry.claim(hold.clone(), Duration::from_secs(30));
        let claimed_at = time(START + 1).unwrap();
        let read = Entry::decode(entry.job.id, &entry.encode().unwrap(), claimed_at).unwrap();
        assert_eq!((read.job.started_at, read.job.attempts), (Some(claimed_at), 1));
        assert_eq!((read.hold.clone(), read.lasts), (Some(hold), Duration::from_secs(30)));

        let mut entry = read;
        entry.leave(JobState::Dead, Duration::ZERO);
        entry.job.error = Some("no".to_owned());
        let died_at = time(START + 2).unwrap();
        let mut entry = Entry::decode(entry.job.id, &entry.encode().unwrap(), died_at).unwrap();
        assert_eq!(entry.job.started_at, Some(claimed_at));
        assert_eq!(entry.job.ended_at, Some(died_at));
        assert_eq!(entry.hold, None);

        entry.revive();
        let entry = Entry::decode(entry.job.id, &entry.encode().unwrap(), died_at).unwrap();
        assert_eq!(entry.job, stored(JobState::Queued, 0).entry.job);
    }

    #[test]
    fn the_entry_decides_what_becomes_of_a_message() {
        let now = time(START).unwrap() + Duration::from_secs(10);
        assert_eq!(turn(None, now), Turn::Run);
        let left = Duration::from_secs(5);
        for (state, lasts, expected) in [
            (JobState::Queued, 0, Turn::Run),
            (JobState::Queued, 10, Turn::Run),
            (JobState::Queued, 15, Turn::Delay(left)),
            (JobState::Running, 10, Turn::Run),
            (JobState::Running, 15, Turn::Held(left)),
            (JobState::Succeeded, 15, Turn::Drop),
            (JobState::Dead, 0, Turn::Drop),
        ] {
            assert_eq!(turn(Some(&stored(state, lasts)), now), expected, "{state:?} {lasts}");
        }
        let mut removed = stored(JobState::Queued, 0);
        removed.entry.is_removed = true;
        assert_eq!(turn(Some(&removed), now), Turn::Drop);
        // A clock that went back ends nothing early.
        let before = time(START - 1).unwrap();
        assert_eq!(turn(Some(&stored(JobState::Running, 5)), before), Turn::Held(left));
    }
}
