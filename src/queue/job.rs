use std::fmt;

use time::OffsetDateTime;

use super::{JobId, QueueError};
use crate::key::Owner;

/// A job that is to be stored.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewJob {
    /// Its id, which is random or [derived](JobId::derived) from an idempotency key.
    pub id: JobId,
    /// The name of its hook, empty if it has none.
    pub hook: String,
    /// The caller, if one was proven.
    pub owner: Option<Owner>,
    /// What an executor needs, as text: [`Invocation::encode`](crate::hook::Invocation::encode). No queue reads it.
    pub payload: String,
    /// A hash of what the sender has sent, which tells a redelivery from another request under the same key.
    pub fingerprint: [u8; 32],
    /// Whether its id was made for it: see [`with_fresh_id`](Self::with_fresh_id).
    pub is_fresh: bool,
}

impl NewJob {
    /// A job without a hook or a caller.
    #[must_use]
    pub fn new(id: JobId, payload: impl Into<String>) -> Self {
        let payload = payload.into();
        Self {
            id,
            hook: String::new(),
            owner: None,
            payload,
            fingerprint: [0; 32],
            is_fresh: false,
        }
    }

    /// Sets the name of its hook.
    #[must_use]
    pub fn with_hook(mut self, hook: impl Into<String>) -> Self {
        self.hook = hook.into();
        self
    }

    /// Sets the caller.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the hash of what the sender has sent.
    #[must_use]
    pub const fn with_fingerprint(mut self, fingerprint: [u8; 32]) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// The id is [random](JobId::random) and was made for this job, so that a queue need not look for another job under
    /// it. A job that is enqueued again after an error may say so again: it runs once, and both answers can be `New`.
    #[must_use]
    pub const fn with_fresh_id(mut self) -> Self {
        self.is_fresh = true;
        self
    }
}

impl fmt::Debug for NewJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJob")
            .field("id", &self.id)
            .field("hook", &self.hook)
            .field("owner", &self.owner)
            .field("payload_length", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobState {
    /// It waits, for its first or another attempt.
    Queued,
    /// A worker runs it, or has died while it did.
    Running,
    /// It has an outcome.
    Succeeded,
    /// It has failed for good.
    Dead,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Succeeded, Self::Dead];

    /// `queued`, `running`, `succeeded` or `dead`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the job has ended.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead)
    }
}

/// What a queue knows about a job, without its payload.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The name of its hook, empty if it has none.
    pub hook: String,
    /// The caller, if one was proven.
    pub owner: Option<Owner>,
    /// The hash of what the sender has sent.
    pub fingerprint: [u8; 32],
    /// Where it is.
    pub state: JobState,
    /// How many attempts have begun, that under way included.
    pub attempts: u32,
    /// When it was stored, by the clock of the queue.
    pub created_at: OffsetDateTime,
    /// When a worker took the job last. That attempt did not run if the job was given back unread, or is dead because
    /// its attempts had been used up.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// What the worker has stored of its success: [`Outcome::encode`](crate::hook::Outcome::encode).
    pub outcome: Option<String>,
    /// What the worker has stored of the last attempt that failed.
    pub error: Option<String>,
}

impl Job {
    /// A job that was just stored.
    #[must_use]
    pub fn queued(job: &NewJob, created_at: OffsetDateTime) -> Self {
        Self {
            id: job.id,
            hook: job.hook.clone(),
            owner: job.owner.clone(),
            fingerprint: job.fingerprint,
            state: JobState::Queued,
            attempts: 0,
            created_at,
            started_at: None,
            ended_at: None,
            outcome: None,
            error: None,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("hook", &self.hook)
            .field("owner", &self.owner)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("created_at", &self.created_at)
            .field("started_at", &self.started_at)
            .field("ended_at", &self.ended_at)
            .finish_non_exhaustive()
    }
}

/// A job that a worker holds.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClaimedJob {
    /// The hold.
    pub lease: Lease,
    /// The name of its hook, empty if it has none.
    pub hook: String,
    /// What was stored.
    pub payload: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

impl ClaimedJob {
    /// A claimed job, for queues.
    #[must_use]
    pub const fn new(lease: Lease, hook: String, payload: String, attempt: u32) -> Self {
        Self { lease, hook, payload, attempt }
    }
}

impl fmt::Debug for ClaimedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedJob")
            .field("lease", &self.lease)
            .field("hook", &self.hook)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The hold of a worker on a job. The token is a fencing token: it tells this claim of the job from every other one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Lease {
    job: JobId,
    token: u128,
}

impl Lease {
    /// A hold with a token that the queue has chosen.
    #[must_use]
    pub const fn new(job: JobId, token: u128) -> Self {
        Self { job, token }
    }

    /// A hold with a token of 128 random bits, which no other claim has.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no random bits.
    pub fn random(job: JobId) -> Result<Self, QueueError> {
        Ok(Self::new(job, random_token()?))
    }

    /// The job.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The fencing token.
    #[must_use]
    pub const fn token(&self) -> u128 {
        self.token
    }
}

/// A fencing token: 128 random bits.
pub(crate) fn random_token() -> Result<u128, QueueError> {
    Ok(u128::from_be_bytes(*JobId::random()?.as_bytes()))
}
