use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::backlog::BacklogLimit;
use super::{Enqueued, Job, JobId, JobQueue, JobState, NewJob, QueueError, QueueErrorKind};
use crate::ConfigError;
use crate::hook::{Executor, ExecutorError, Invocation, Outcome, StoredErrorKind};
use crate::identity::Identity;
#[cfg(feature = "signature")]
use crate::signature::SignedDelivery;
use crate::trace;
use crate::util::base_path;

/// Executor that stores invocations as jobs, and acknowledges them when they are durable. A [`Worker`](super::Worker)
/// runs them, in this process or in others.
///
/// The answer is 202 with `{"id":"..","state":"queued"}` and a `Location` below the path of the
/// [`Executions`](super::Executions).
///
/// | situation | answer |
/// |---|---|
/// | the job is stored | 202 |
/// | it ends within the [wait](Self::with_wait) | its outcome |
/// | a job with the same [key](Self::with_key) was stored before, and has ended | the outcome of that job, or its failure |
/// | it has not ended, or a later version of this crate has written its outcome | 202 with its id |
/// | it was stored for another payload | 422 |
/// | the queue cannot answer, or [too many jobs](Self::with_max_backlog) wait | 503 with `Retry-After` |
/// | the job is larger than the queue takes | 413 |
///
/// A job that is dead stays so, and each redelivery gets its failure (502 with the error as the detail): a success would
/// hide it, and another run is an operator's to start. After [a retry](super::Executions) the answer is 202 again, and the
/// new outcome at the end.
///
/// A replay guard of the hooks keeps no refusal: after the other job is gone, the same request is not a 422 any more.
///
/// # Examples
///
/// ```
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
/// use tower_webhook::queue::{MemoryQueue, Queued, Worker};
///
/// async fn deploy(invocation: Invocation) -> Result<Outcome, ExecutorError> {
///     Outcome::json(&invocation.body().len())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = MemoryQueue::new();
/// tokio::spawn(Worker::new(queue.clone(), deploy).run_until(std::future::pending()));
/// let hooks = Hooks::new(AuthLayer::public(), Queued::new(queue, "/executions")?);
///
/// # use tower::ServiceExt;
/// let request = http::Request::post("/").header("content-type", "application/json");
/// let request = request.body(http_body_util::Full::<bytes::Bytes>::from("{}"))?;
/// let response = hooks.oneshot(request).await?;
/// assert_eq!(response.status(), http::StatusCode::ACCEPTED);
/// assert!(response.headers()["location"].to_str()?.starts_with("/executions/"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queued {
    queue: Arc<dyn JobQueue>,
    path: Box<str>,
    wait: Duration,
    key: Option<Arc<KeyFn>>,
    backlog: Arc<BacklogLimit>,
}

type KeyFn = dyn Fn(&Invocation) -> Option<String> + Send + Sync;

/// How many jobs of a hook wait at most, unless a setting says otherwise.
const MAX_BACKLOG: u64 = 100_000;

/// When a sender is to come back that was refused.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The polls of a job whose outcome is waited for: exponential backoff between these.
const FIRST_POLL: Duration = Duration::from_millis(4);
const LAST_POLL: Duration = Duration::from_millis(128);

impl Queued {
    /// Stores jobs in this queue. The path is that under which clients reach the [`Executions`](super::Executions).
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not begin with `/`, or has other characters than those of a path.
    pub fn new(queue: impl JobQueue, path: impl AsRef<str>) -> Result<Self, ConfigError> {
        Ok(Self {
            queue: Arc::new(queue),
            path: base_path(path.as_ref())?,
            wait: Duration::ZERO,
            key: None,
            backlog: Arc::new(BacklogLimit::new(MAX_BACKLOG)),
        })
    }

    /// Waits for the outcome, for up to this long. A job that has not ended by then goes on. The default is not to
    /// wait.
    ///
    /// A caller who waits is one of the [executions](crate::hook::Hooks::with_max_executions) that a hook may have at a
    /// time. That limit is 64 by default: of 100 callers who wait, 36 get a 503 and their jobs are not stored.
    ///
    /// The time has to be less than the [deadline](crate::hook::Hooks::with_deadline) of the hooks, whose answer would be
    /// a 504 otherwise.
    #[must_use]
    pub const fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets where the idempotency key of an invocation is, such as [`idempotency_key`], or with the feature `signature`
    /// `delivery_key`. Invocations of one caller for one hook under one key are one job: a redelivery runs nothing, and gets
    /// the answer of the first one. `None` is an invocation without a key, which is a job of its own.
    ///
    /// The job of a key has the id [`JobId::derived`] of the caller, the hook and the key: who knows a delivery finds its
    /// job. A key is known for as long as its job is [kept](super::Worker::with_retention). What is compared is the method,
    /// the target and the body.
    ///
    /// # Security
    ///
    /// All anonymous callers share their keys: see [`JobId::derived`].
    #[must_use]
    pub fn with_key(
        mut self,
        key: impl Fn(&Invocation) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// Bounds how many jobs of one hook wait. The default is 100,000.
    ///
    /// The queue counts at most once a second, and again before a job is refused, at most ten times a second where at least
    /// half of the bound waits. In between this process counts what it stores. So the jobs of one process keep to the bound,
    /// other processes can pass it by what they store within a second, and a job that has begun to run makes room after
    /// a tenth of a second at most.
    ///
    /// # Errors
    ///
    /// Returns an error if the bound is 0.
    pub fn with_max_backlog(mut self, jobs: u64) -> Result<Self, ConfigError> {
        if jobs == 0 {
            return Err(ConfigError::new("the bound on jobs that wait is 0"));
        }
        self.backlog = Arc::new(BacklogLimit::new(jobs));
        Ok(self)
    }

    /// The job that an invocation is stored as.
    fn job(&self, invocation: &Invocation) -> Result<NewJob, QueueError> {
        let hook = invocation.hook().unwrap_or_default();
        let owner = invocation.identity().map(Identity::owner);
        let payload = invocation.encode();
        let job = match self.key.as_ref().and_then(|key| key(invocation)) {
            Some(key) => NewJob::new(JobId::derived(owner, hook, &key), payload),
            None => NewJob::new(JobId::random()?, payload).with_fresh_id(),
        };
        let job = job.with_hook(hook).with_fingerprint(fingerprint(invocation));
        Ok(match owner {
            Some(owner) => job.with_owner(owner.clone()),
            None => job,
        })
    }

    async fn try_execute(&self, invocation: Invocation) -> Result<Answer, QueueError> {
        let job = self.job(&invocation)?;
        drop(invocation);
        let (id, fingerprint) = (job.id, job.fingerprint);
        let (hook, owner) = (job.hook.clone(), job.owner.clone());
        let Some(stored) = self.store(job).await? else { return Ok(Answer::Full) };
        let known = match stored {
            Enqueued::New => None,
            Enqueued::Known(known) if known.fingerprint != fingerprint => {
                return Ok(Answer::OtherPayload);
            }
            Enqueued::Known(known) => Some(known),
        };
        trace::queued(&id, &hook, owner.as_ref(), known.is_some());
        if let Some(known) = known.filter(|known| known.state.is_ended()) {
            return Ok(Answer::Ended(known));
        }
        Ok(match self.ended(&id).await {
            Some(job) => Answer::Ended(Box::new(job)),
            None => Answer::Stored(id),
        })
    }

    /// Stores a job. `None`: too many wait. A redelivery adds none, and gets its answer in any case.
    async fn store(&self, job: NewJob) -> Result<Option<Enqueued>, QueueError> {
        let Some(admitted) = self.backlog.admit(&job.hook, &*self.queue).await? else {
            let known = if job.is_fresh { None } else { self.queue.state(&job.id).await? };
            return Ok(known.map(|known| Enqueued::Known(Box::new(known))));
        };
        let enqueued = self.queue.enqueue(job).await?;
        if matches!(enqueued, Enqueued::Known(_)) {
            admitted.take_back();
        }
        Ok(Some(enqueued))
    }

    /// Polls a job until it has ended or the wait is over. The job is stored: a queue that cannot answer is no failure
    /// here.
    async fn ended(&self, id: &JobId) -> Option<Job> {
        let start = Instant::now();
        let mut pause = FIRST_POLL;
        loop {
            let left = self.wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            // The last poll is at the end.
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LAST_POLL);
            if let Ok(Some(job)) = self.queue.state(id).await
                && job.state.is_ended()
            {
                return Some(job);
            }
        }
    }

    /// What the caller would have got from the executor itself.
    fn ended_with(&self, job: Job) -> Result<Outcome, ExecutorError> {
        match (job.state, job.outcome, job.error) {
            (JobState::Succeeded, Some(outcome), _) => match Outcome::decode(&outcome) {
                // No failure: it was stored, and a process of that version can read its outcome.
                Err(error) if error.kind() == StoredErrorKind::UnsupportedVersion => {
                    self.accepted(&job.id)
                }
                outcome => Ok(outcome?),
            },
            // The texts of stored errors are public: see `Worker`.
            (JobState::Dead, _, Some(error)) => Err(ExecutorError::public(error)),
            _ => Err("an ended job has no end".into()),
        }
    }

    fn accepted(&self, id: &JobId) -> Result<Outcome, ExecutorError> {
        let location = HeaderValue::try_from(format!("{}/{id}", self.path))?;
        Outcome::json_text(format!(r#"{{"id":"{id}","state":"queued"}}"#))?
            .with_status(StatusCode::ACCEPTED)?
            .with_header(LOCATION, location)
    }
}

enum Answer {
    Stored(JobId),
    Ended(Box<Job>),
    OtherPayload,
    Full,
}

#[async_trait]
impl Executor for Queued {
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
        match self.try_execute(invocation).await {
            Ok(Answer::Stored(id)) => self.accepted(&id),
            Ok(Answer::Ended(job)) => self.ended_with(*job),
            Ok(Answer::OtherPayload) => {
                Err(ExecutorError::invalid("the idempotency key was used for another request"))
            }
            Ok(Answer::Full) => {
                Err(ExecutorError::busy(RETRY_AFTER).with_source("too many jobs of the hook wait"))
            }
            Err(error) if error.kind() == QueueErrorKind::TooLarge => {
                let text = "the job is larger than the queue takes";
                Err(ExecutorError::input_too_large(text).with_source(error))
            }
            Err(error) => Err(ExecutorError::unavailable(RETRY_AFTER).with_source(error)),
        }
    }
}

fn fingerprint(invocation: &Invocation) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Without scheme and host, which HTTP/2 has in each target and HTTP/1.1 in none.
    let target = invocation.uri().path_and_query().map_or("", |target| target.as_str());
    // Lengths in front, so that no two requests are the same bytes.
    for part in [invocation.method().as_str().as_bytes(), target.as_bytes(), invocation.body()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The value of the header `Idempotency-Key`, if there is one that is not empty
/// ([draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)).
///
/// # Examples
///
/// ```
/// # use tower_webhook::queue::{MemoryQueue, Queued};
/// use tower_webhook::queue::idempotency_key;
///
/// let queued = Queued::new(MemoryQueue::new(), "/executions")?.with_key(idempotency_key);
/// # let _ = queued;
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[must_use]
pub fn idempotency_key(invocation: &Invocation) -> Option<String> {
    let lines = invocation.headers().get_all("idempotency-key");
    // Escaped, so that no two keys become one. A line end is in no header.
    let lines: Vec<_> =
        lines.iter().map(|line| line.as_bytes().escape_ascii().to_string()).collect();
    let value = lines.join("\n");
    (!value.trim().is_empty()).then_some(value)
}

/// What identifies a signed delivery: its id, if that is signed, or else its signature. `None` if the invocation was not
/// signed, or by a token that is the same each time.
///
/// # Security
///
/// An id that is not signed, such as the `X-GitHub-Delivery` of GitHub, is no key: with another one, a captured delivery
/// would be another job.
///
/// # Examples
///
/// ```
/// # use tower_webhook::queue::{MemoryQueue, Queued};
/// use tower_webhook::queue::delivery_key;
///
/// let queued = Queued::new(MemoryQueue::new(), "/executions")?.with_key(delivery_key);
/// # let _ = queued;
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[cfg(feature = "signature")]
#[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
#[must_use]
pub fn delivery_key(invocation: &Invocation) -> Option<String> {
    let signed = invocation.extensions().get::<SignedDelivery>()?;
    // Hook and owner are parts of the id that is made from this.
    signed.replay_key("", "").map(|key| key.to_string())
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("path", &self.path)
            .field("wait", &self.wait)
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
