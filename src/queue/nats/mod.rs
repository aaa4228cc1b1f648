//! Jobs in a stream of NATS JetStream.

mod address;
mod change;
mod claim;
mod link;
mod names;
mod read;
mod record;
mod scan;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use self::link::{Line, Link};
use self::names::{LATER, Names, token};
use super::{
    ClaimedJob, Enqueued, HookLimits, HookStats, Job, JobChange, JobCursor, JobFilter, JobId,
    JobQueue, JobState, Lease, LeaseState, NewJob, QueueError, Retention,
};
use crate::ConfigError;

/// A queue in NATS JetStream, for NATS server 2.10 or newer.
///
/// Any number of processes share a queue. Each calls [`setup`](Self::setup) once, which creates what is missing, and is
/// given the same [`HookLimits`].
///
/// # Layout
///
/// | name | is |
/// |---|---|
/// | `<prefix>-jobs` | the stream of messages, with work-queue retention |
/// | `<prefix>.due.<hook>.<id>` | a job that may run or is running: the payload |
/// | `<prefix>.later.<hook>.<id>` | a job that waits for the end of a delay |
/// | `<prefix>.dead.<hook>.<id>` | the payload of a dead job, which [`retry`](JobQueue::retry) needs |
/// | `<prefix>-state` | the bucket with the state of each job that was ever claimed, by its id |
///
/// `<hook>` is a hash of the name, which can be any text. Each hook has a durable pull consumer. Its `max_ack_pending` is
/// the limit of the hook, so that limits are exact across processes. Its metadata has the name.
///
/// # Durability
///
/// A job is stored when the server has acknowledged its message. **The server writes to its disk, but syncs it only every
/// two minutes by default.** A job survives the end of the server's process, and is lost if the machine loses power in
/// these two minutes. Set `sync_interval: always` in the server's `jetstream` block, or use three
/// [replicas](Self::with_replicas) on machines that do not lose power together.
///
/// A server without room accepts no job: [`enqueue`](JobQueue::enqueue) is an error. Jobs are read and purged then, but
/// none is claimed or ended until there is room.
///
/// # Size
///
/// A job and its outcome are one message each, and can be as large as `max_payload` of the server allows, 1 MiB by default,
/// but for 4 KiB. A stored invocation has the body twice, in itself and in its envelope: the limit on bodies is then less
/// than half of that. A larger job is a 413, and one with a larger outcome is dead.
///
/// # Consistency
///
/// * The message is published first. A message without an entry in the bucket is a job that was not claimed yet.
/// * Every later change is a compare-and-set on the revision of the entry, and messages are published and acknowledged
///   afterwards. A worker that gets a message reads the entry, and drops the message if the entry says so: a process can
///   die at each point in between.
/// * A lease and a delay last from when their entry was written, by the clock of the server. The redelivery of the message
///   is only the timer that makes a worker look.
/// * A job whose lease has ended keeps its place under the limit of its hook until it is claimed again. No other job can
///   take the place, so a lease that has ended and goes on passes no limit.
/// * A process that dies after it has changed an entry and before it has moved the message leaves the job to the end of
///   the lease.
/// * Two callers that enqueue under one id while the job runs and ends, or for different hooks, can both get `New`. It
///   runs once.
/// * A message that a process has pulled and not claimed when it dies comes again after 10 seconds.
///
/// # Costs
///
/// A claim asks each hook's consumer in turn, so a queue is for tens of hooks, not for thousands. Consumers are not deleted,
/// so the names of hooks have to be the app's, and not a sender's. That of a hook without jobs can be deleted.
///
/// [`list`](JobQueue::list) reads back from what was written last until the page is full. It reads all that is stored for
/// the last page, and for a filter that few jobs fit. [`purge`](JobQueue::purge) reads from the oldest entry on until it
/// has enough, and with a [`max_count`](Retention::max_count) all entries. Both fail if that takes longer than the
/// [deadline](Self::with_deadline), and read much more slowly from a server older than 2.11. With replicas, `list` can be
/// some milliseconds behind.
///
/// For [`backlog`](JobQueue::backlog) and [`stats`](JobQueue::stats) the server counts the messages of a hook.
/// `oldest_queued` is that of the first job in each line, and a job that was given back is at the end of it.
///
/// # TLS
///
/// The client has no cryptography of its own. For TLS, depend on `async-nats` with its feature `ring` or `aws-lc-rs`.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::queue::{HookLimits, NatsQueue};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = NatsQueue::connect("nats://127.0.0.1:4222")
///     .await?
///     .with_hook_limits(HookLimits::new().with("deploy", 1)?);
/// queue.setup().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsQueue {
    settings: Settings,
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Settings {
    client: async_nats::Client,
    names: Names,
    replicas: usize,
    deadline: Duration,
    limits: HookLimits,
}

/// What the calls of a queue share.
struct Inner {
    link: Link,
    limits: HookLimits,
    deadline: Duration,
    hooks: Mutex<Consumers>,
    /// Rings when this process has made the consumer of a hook.
    new_hook: Notify,
    turn: AtomicUsize,
}

/// The consumers that are known.
#[derive(Default)]
struct Consumers {
    names: BTreeSet<String>,
    listed_at: Option<Instant>,
}

/// How often a process asks for the hooks that other processes have added.
const LISTED_FOR: Duration = Duration::from_secs(1);

impl NatsQueue {
    /// A queue with a client of yours, which has its credentials and TLS.
    #[must_use]
    pub fn new(client: async_nats::Client) -> Self {
        Settings {
            client,
            names: Names::default(),
            replicas: 1,
            deadline: Duration::from_secs(5),
            limits: HookLimits::new(),
        }
        .into()
    }

    /// Connects to servers at addresses such as `nats://127.0.0.1:4222`, separated by commas.
    ///
    /// An address may have a login, which is that of all servers: `nats://user:password@host` or `nats://token@host`,
    /// with percent-encoding. The client connects again when a connection breaks.
    ///
    /// # Errors
    ///
    /// Returns an error if an address is not valid, or if no server can be reached or accepts the login.
    pub async fn connect(addresses: &str) -> Result<Self, QueueError> {
        let (servers, options) = address::read(addresses).map_err(QueueError::unavailable)?;
        let client = options.connect(servers).await.map_err(QueueError::unavailable)?;
        Ok(Self::new(client))
    }

    /// Sets the prefix of all names, `tower-webhook` by default.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not 1 to 64 letters, digits, `-` or `_`.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.settings.names = Names::new(prefix)?;
        Ok(self.settings.into())
    }

    /// Limits how many jobs of a hook run at a time, in all processes together.
    #[must_use]
    pub fn with_hook_limits(mut self, limits: HookLimits) -> Self {
        self.settings.limits = limits;
        self.settings.into()
    }

    /// Sets on how many servers of a cluster [`setup`](Self::setup) keeps each job: 1 by default.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not 1, 3 or 5.
    pub fn with_replicas(mut self, replicas: usize) -> Result<Self, ConfigError> {
        if !matches!(replicas, 1 | 3 | 5) {
            return Err(ConfigError::new("the number of replicas is not 1, 3 or 5"));
        }
        self.settings.replicas = replicas;
        Ok(self.settings.into())
    }

    /// Sets how long a call waits for the server, beside the wait of a claim: 5 seconds by default, a day
    /// at most.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline.min(Duration::from_secs(24 * 60 * 60));
        self.settings.into()
    }

    /// Creates the streams and consumers that are missing.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot be reached or is older than 2.10, if the streams exist with other settings,
    /// or if another process has set other limits. Limits are changed on the consumers, with `nats consumer edit`, while
    /// no process uses the queue.
    pub async fn setup(&self) -> Result<(), QueueError> {
        let inner = &self.inner;
        inner
            .within(async {
                inner.link.create().await?;
                inner.lines().await?;
                for (hook, _) in inner.limits.iter() {
                    inner.know(hook).await?;
                }
                Ok(())
            })
            .await
    }
}

impl From<Settings> for NatsQueue {
    fn from(settings: Settings) -> Self {
        let context = jetstream::ContextBuilder::new()
            .timeout(settings.deadline)
            .ack_timeout(settings.deadline)
            .build(settings.client.clone());
        let link = Link { context, names: settings.names.clone(), replicas: settings.replicas };
        let inner = Inner {
            link,
            limits: settings.limits.clone(),
            deadline: settings.deadline,
            hooks: Mutex::default(),
            new_hook: Notify::new(),
            turn: AtomicUsize::new(0),
        };
        Self { settings, inner: Arc::new(inner) }
    }
}

impl Inner {
    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let late = |_| QueueError::unavailable("the NATS server did not answer in time");
        timeout(self.deadline, call).await.map_err(late)?
    }

    /// The consumers, after a look at their limits.
    async fn lines(&self) -> Result<Vec<Line>, QueueError> {
        let lines = self.link.lines(&self.limits).await?;
        let mut known = self.known();
        // Without those that were deleted: a job of such a hook makes its consumer again.
        known.names = lines.iter().map(|line| line.consumer.clone()).collect();
        known.listed_at = Some(Instant::now());
        drop(known);
        Ok(lines)
    }

    /// The names of the consumers.
    async fn consumers(&self) -> Result<Vec<String>, QueueError> {
        let listed_at = self.known().listed_at;
        if listed_at.is_none_or(|listed_at| listed_at.elapsed() >= LISTED_FOR) {
            self.within(self.lines()).await?;
        }
        let mut names: Vec<_> = self.known().names.iter().cloned().collect();
        if names.is_empty() {
            names.push(LATER.to_owned());
        }
        Ok(names)
    }

    /// Creates the consumer of a hook, if this process has not seen it.
    async fn know(&self, hook: &str) -> Result<(), QueueError> {
        let name = token(hook);
        if self.known().names.contains(&name) {
            return Ok(());
        }
        self.link.create_line(hook, self.limits.of(hook)).await?;
        self.known().names.insert(name);
        self.new_hook.notify_waiters();
        Ok(())
    }

    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn known(&self) -> MutexGuard<'_, Consumers> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl NatsQueue {
    /// Makes a change in a task, which goes on when its caller leaves: one that stops between the entry and the messages
    /// leaves its job to the end of the lease.
    async fn change<T, C>(&self, change: impl FnOnce(Arc<Inner>) -> C) -> Result<T, QueueError>
    where
        C: Future<Output = Result<T, QueueError>> + Send + 'static,
        T: Send + 'static,
    {
        let (inner, change) = (Arc::clone(&self.inner), change(Arc::clone(&self.inner)));
        let task = tokio::spawn(async move { inner.within(change).await });
        task.await.map_err(QueueError::unavailable)?
    }
}

#[async_trait]
impl JobQueue for NatsQueue {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        self.inner.within(self.inner.enqueue(job)).await
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        // In a task: a message that was pulled by a claim that was dropped half way would come again late.
        let inner = Arc::clone(&self.inner);
        let (mut sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let claimed = inner.claim(max, lease, wait, &mut sender).await;
            if let Err(Ok(unclaimed)) = sender.send(claimed) {
                for job in unclaimed {
                    let _ = inner.give_back(&job.lease, Duration::ZERO, uncount).await;
                }
            }
        });
        receiver.await.map_err(QueueError::unavailable)?
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        let lease = *lease;
        self.change(|inner| async move { inner.heartbeat(&lease, lasts).await }).await
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        let (lease, outcome) = (*lease, outcome.to_owned());
        self.change(|inner| async move { inner.complete(&lease, &outcome).await }).await
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        let (lease, error) = (*lease, error.to_owned());
        let fail = move |job: &mut Job| job.error = Some(error.clone());
        self.change(|inner| async move { inner.give_back(&lease, delay, fail).await }).await
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        let lease = *lease;
        self.change(|inner| async move { inner.give_back(&lease, delay, uncount).await }).await
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        let (lease, error) = (*lease, error.to_owned());
        self.change(|inner| async move { inner.bury(&lease, &error, ran).await }).await
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        self.inner.within(self.inner.job(id)).await
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        self.inner.within(self.inner.list(filter, after, limit)).await
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let id = *id;
        self.change(|inner| async move { inner.retry(&id).await }).await
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let id = *id;
        self.change(|inner| async move { inner.remove(&id).await }).await
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        self.inner.within(self.inner.purge(state, retention, max)).await
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        self.inner.within(self.inner.backlog(hook, at_most)).await
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        self.inner.within(self.inner.stats()).await
    }
}

fn uncount(job: &mut Job) {
    job.attempts = job.attempts.saturating_sub(1);
}

impl fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsQueue")
            .field("names", &self.settings.names)
            .field("limits", &self.settings.limits)
            .finish_non_exhaustive()
    }
}
