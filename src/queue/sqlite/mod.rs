use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqlitePool, query};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::row::{after, before, micros, read_job};
use self::schema::QUEUE_FILE;
use super::{
    ClaimedJob, Enqueued, HookLimits, HookStats, Job, JobChange, JobCursor, JobFilter, JobId,
    JobQueue, JobState, Lease, LeaseState, NewJob, QueueError, Retention,
};
use crate::key::StoreError;
use crate::store::sql::Checkout;
use crate::store::sqlite::open::{check_integrity, open};
use crate::store::sqlite::primary_code;
use crate::store::task::StoreTasks;
use crate::store::{SqliteFile, SqliteOpenError};
use crate::{Clock, ConfigError};

mod claim;
mod row;
mod schema;
mod statements;

/// A queue in an SQLite file, which several processes of one machine share.
///
/// # Durability
///
/// A job that was acknowledged is on the disk: the file is in WAL mode with `synchronous=FULL`. A process that is
/// killed, and a machine that loses power, lose no acknowledged job and no acknowledged outcome. This ends where the
/// disk lies about what it has written.
///
/// # Consistency
///
/// Every change is one transaction, and one process writes at a time: no two claims get the same job, and limits of
/// hooks are exact over all processes. The others wait, and after about four seconds the change fails. A file on a
/// network file system cannot be shared.
///
/// A claim hears at once of jobs that clones of its queue enqueue, and looks every
/// [250 ms](Self::with_poll_interval) for those of other processes. Jobs are claimed in the order in which they are due.
/// A claim takes time in proportion to the number of hooks that have jobs which have not ended, and not to the number
/// of jobs.
///
/// Times are those of the machine's clock. If it is set back, jobs that wait are due later, and leases end later, by as
/// much. If it is set forward, leases end earlier.
///
/// # Faults
///
/// * A full disk, a file that another program has locked and a damaged file are an error, and so is a call that takes
///   longer than the [deadline](Self::with_deadline).
/// * A job that cannot be read, because something but this queue has changed it, is dead as soon as it is claimed, which
///   is logged. What shows it is an error, which names its id; [`remove`](JobQueue::remove) removes it.
/// * A file that is moved or deleted while it is open goes on to be used, and nothing else sees what is in it.
/// * [`open`](Self::open) does not read the jobs. [`check`](Self::check) does, and finds damage.
/// * [`stats`](JobQueue::stats) leaves out hooks of which all jobs have succeeded.
///
/// # The file
///
/// A table, `jobs`, for people with the `sqlite3` tool. Ids are bytes:
///
/// ```sql
/// SELECT lower(hex(id)), hook, state, attempts, error FROM jobs;
/// ```
///
/// Times are microseconds since 1970. `due_at` is when a job can
/// be claimed: for one that waits the end of its delay, for one that runs the end of its lease. A file of keys is
/// refused as a queue, and a queue as a file of keys.
///
/// A file is created for its owner alone, and so is its folder if that is missing. A file or folder that its group or
/// others can write to is refused, unless the [`SqliteFile`] says otherwise, and so is a symbolic link.
///
/// This queue needs Rust 1.94 and a tokio runtime with its time driver on.
///
/// # Security
///
/// Payloads are in the clear, with everything that a request had in it but its credential. Outcomes are, too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_webhook::queue::{JobId, JobQueue, JobState, NewJob, SqliteQueue};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("tower-webhook-queue-{}", std::process::id()));
/// # let path = folder.join("queue.db");
/// let queue = SqliteQueue::open(&path).await?;
/// let id = JobId::random()?;
/// let _ = queue.enqueue(NewJob::new(id, "{}").with_hook("deploy")).await?;
///
/// // Another process.
/// let queue = SqliteQueue::open(&path).await?;
/// let lease = Duration::from_secs(15);
/// for job in queue.claim(16, lease, Duration::from_secs(1)).await? {
///     let _ = queue.complete(&job.lease, "done").await?;
/// }
/// assert_eq!(queue.state(&id).await?.unwrap().state, JobState::Succeeded);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteQueue {
    tasks: StoreTasks,
    limits: HookLimits,
    clock: Clock,
    poll_interval: Duration,
    path: Arc<Path>,
    /// Up to eight connections.
    readers: SqlitePool,
    /// One connection: SQLite has one writer at a time.
    writer: SqlitePool,
    /// Rings when a job may be due.
    bell: Arc<Notify>,
}

type Statement = Query<'static, Sqlite, SqliteArguments>;

impl SqliteQueue {
    /// Opens the file at a path, or an [`SqliteFile`], and creates it if there is none. If its folder is missing, that is
    /// created as well, but none of the folders above.
    ///
    /// # Errors
    ///
    /// See [`SqliteOpenErrorKind`](crate::store::SqliteOpenErrorKind).
    ///
    /// # Security
    ///
    /// Every user who can write to the file, or can put another one in its place, can have jobs run in the name of any
    /// caller. So both the file and its folder are refused if their group or others can write to them. The folders above are not
    /// checked: a user who can rename one of them can do the same.
    pub async fn open(file: impl Into<SqliteFile>) -> Result<Self, SqliteOpenError> {
        let file = file.into();
        let path = Arc::from(file.path());
        let opened = open(&file, &QUEUE_FILE).await;
        let (writer, readers) = opened.map_err(|error| error.at(&path, QUEUE_FILE.name))?;
        Ok(Self {
            tasks: StoreTasks::new(),
            limits: HookLimits::new(),
            clock: Clock::system(),
            poll_interval: Duration::from_millis(250),
            path,
            readers,
            writer,
            bell: Arc::default(),
        })
    }

    /// Limits how many jobs of a hook run at a time, in all processes together.
    #[must_use]
    pub fn with_hook_limits(mut self, limits: HookLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long a call may take, apart from the wait of a claim. The default is five seconds. With less than the
    /// four seconds for which SQLite waits for another writer, a change whose call has failed may still be made.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.tasks = self.tasks.with_deadline(deadline);
        self
    }

    /// Sets how many calls can be under way at once, those that wait for a connection included. One more fails. The
    /// default is 1,024; zero counts as one.
    #[must_use]
    pub fn with_max_calls(mut self, limit: usize) -> Self {
        self.tasks = self.tasks.with_limit(limit);
        self
    }

    /// Sets how often a claim that waits looks for jobs that other processes have enqueued. The default is 250 ms. A look
    /// reads an index, and stops no writer.
    ///
    /// # Errors
    ///
    /// Refuses less than a millisecond.
    pub fn with_poll_interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        if interval < Duration::from_millis(1) {
            return Err(ConfigError::new(
                "the poll interval of a queue is less than a millisecond",
            ));
        }
        self.poll_interval = interval;
        Ok(self)
    }

    /// Replaces the clock. All processes that share the file need one that agrees.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Reads everything that is in the file, while the queue can be used. No deadline ends this.
    ///
    /// # Errors
    ///
    /// [`Damaged`](crate::store::SqliteOpenErrorKind::Damaged), or the file cannot be read.
    pub async fn check(&self) -> Result<(), SqliteOpenError> {
        let check = async { check_integrity(&mut *self.readers.acquire().await?).await };
        check.await.map_err(|error| error.at(&self.path, QUEUE_FILE.name))
    }

    fn now(&self) -> i64 {
        micros(self.clock.now())
    }

    /// Runs a statement that is a change of its own. It goes on when its caller leaves. Returns how many rows it changed.
    async fn change(&self, statement: Statement) -> Result<u64, QueueError> {
        let bell = Arc::clone(&self.bell);
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let done = statement.execute(connection).await.map_err(StoreError::new)?;
            checkout.finish();
            bell.notify_waiters();
            Ok(done.rows_affected())
        };
        self.tasks.spawn_with(acquire(&self.writer), call).await.map_err(fault)
    }

    async fn change_under(&self, statement: Statement) -> Result<LeaseState, QueueError> {
        Ok(if self.change(statement).await? > 0 { LeaseState::Held } else { LeaseState::Lost })
    }

    async fn change_without_lease(
        &self,
        id: &JobId,
        statement: Statement,
    ) -> Result<JobChange, QueueError> {
        if self.change(statement).await? > 0 {
            return Ok(JobChange::Changed);
        }
        let exists = query("SELECT 1 FROM jobs WHERE id = ?1").bind(bytes(id));
        let found = self.read(exists, |_| Ok(())).await?;
        Ok(if found.is_empty() { JobChange::NotFound } else { JobChange::WrongState })
    }

    /// Runs a statement that reads.
    async fn read<T: Send + 'static>(
        &self,
        statement: Statement,
        decode: fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, QueueError> {
        let call = |mut checkout: Checkout<Sqlite>| async move {
            let connection = checkout.connection().map_err(StoreError::new)?;
            let rows = statement.fetch_all(connection).await.map_err(StoreError::new)?;
            checkout.finish();
            rows.iter().map(decode).collect()
        };
        self.tasks.spawn_with(acquire(&self.readers), call).await.map_err(fault)
    }
}

#[async_trait]
impl JobQueue for SqliteQueue {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        loop {
            let insert = query(statements::ENQUEUE)
                .bind(bytes(&job.id))
                .bind(job.hook.clone())
                .bind(job.owner.as_ref().map(ToString::to_string))
                .bind(job.fingerprint.to_vec())
                .bind(self.now())
                .bind(job.payload.clone());
            if self.change(insert).await? > 0 {
                return Ok(Enqueued::New);
            }
            if let Some(known) = self.state(&job.id).await? {
                return Ok(Enqueued::Known(Box::new(known)));
            }
            // It was removed in between.
        }
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        let started = Instant::now();
        loop {
            // Armed before the look, so that a job that comes in between rings.
            let bell = self.bell.notified();
            let (is_due, next) = self.look(max).await?;
            if is_due {
                let claimed = self.take(max, lease).await?;
                if !claimed.is_empty() {
                    return Ok(claimed);
                }
            }
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let pause = next.map_or(self.poll_interval, |next| next.min(self.poll_interval));
            let _ = timeout(pause.min(left), bell).await;
        }
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        let (queue, lease) = (self.clone(), *lease);
        let extend = |checkout| async move {
            queue.extend(checkout, &lease, lasts).await.map_err(StoreError::new)
        };
        self.tasks.spawn_with(acquire(&self.writer), extend).await.map_err(fault)
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        let complete = under(statements::COMPLETE, lease).bind(self.now()).bind(outcome.to_owned());
        self.change_under(complete).await
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        let retry = under(statements::RETRY_AFTER, lease);
        self.change_under(retry.bind(after(self.now(), delay)).bind(error.to_owned())).await
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        self.change_under(under(statements::RELEASE, lease).bind(after(self.now(), delay))).await
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        let bury = under(statements::BURY, lease).bind(self.now()).bind(error.to_owned());
        let bury = bury.bind(i64::from(!ran));
        self.change_under(bury).await
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        let state = query(AssertSqlSafe(statements::state())).bind(bytes(id));
        Ok(self.read(state, read_job).await?.pop())
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        // Without a cursor, after all times.
        let created_at = after.map_or(i64::MAX, |after| micros(after.created_at()));
        let id = after.map(|after| bytes(&after.id())).unwrap_or_default();
        let list = query(AssertSqlSafe(statements::list(filter)))
            .bind(filter.hook.clone())
            .bind(created_at)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let list = match &filter.owner {
            Some(owner) => list.bind(owner.to_string()),
            None => list,
        };
        self.read(list, read_job).await
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let retry = query(statements::RETRY).bind(bytes(id)).bind(self.now());
        self.change_without_lease(id, retry).await
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        self.change_without_lease(id, query(statements::REMOVE).bind(bytes(id))).await
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        // What is beyond the age or the count are the oldest jobs, so that one place in their order bounds both. It is
        // read before the lock is taken. Jobs that end meanwhile move it forward alone.
        let too_old = retention.max_age.map(|age| (before(self.now(), age), Vec::new()));
        let surplus = match retention.max_count.and_then(|count| i64::try_from(count).ok()) {
            Some(count) => {
                let beyond = query(statements::BEYOND).bind(state.as_str()).bind(count);
                self.read(beyond, read_place).await?.pop()
            }
            None => None,
        };
        // Without either, before all jobs: the file is asked nevertheless, because it may not be able to answer.
        let (ended_at, id) = too_old.max(surplus).unwrap_or((i64::MIN, Vec::new()));
        let purge = query(statements::PURGE)
            .bind(state.as_str())
            .bind(ended_at)
            .bind(id)
            .bind(i64::try_from(max).unwrap_or(i64::MAX));
        Ok(usize::try_from(self.change(purge).await?).unwrap_or(usize::MAX))
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        let backlog = query(statements::BACKLOG)
            .bind(hook.to_owned())
            .bind(i64::try_from(at_most).unwrap_or(i64::MAX));
        let count = self.read(backlog, |row| count(row, "queued")).await?;
        Ok(count.into_iter().sum())
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        let now = self.now();
        let stats = self.read(query(statements::STATS), |row| {
            let mut stats =
                HookStats::new(row.try_get::<&str, _>("hook").map_err(StoreError::new)?);
            stats.queued = count(row, "queued")?;
            stats.running = count(row, "running")?;
            stats.dead = count(row, "dead")?;
            let oldest: Option<i64> = row.try_get("oldest").map_err(StoreError::new)?;
            Ok((stats, oldest))
        });
        let age = |oldest: i64| {
            Duration::from_micros(u64::try_from(now.saturating_sub(oldest)).unwrap_or(0))
        };
        let stats = stats.await?.into_iter().map(|(mut stats, oldest)| {
            stats.oldest_queued = oldest.map(age);
            stats
        });
        Ok(stats.collect())
    }
}

impl fmt::Debug for SqliteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteQueue")
            .field("tasks", &self.tasks)
            .field("limits", &self.limits)
            .field("poll_interval", &self.poll_interval)
            .finish_non_exhaustive()
    }
}

async fn acquire(pool: &SqlitePool) -> Result<Checkout<Sqlite>, StoreError> {
    Checkout::acquire(pool).await.map_err(StoreError::new)
}

fn bytes(id: &JobId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// A statement whose first two parameters are those of a lease.
fn under(sql: &'static str, lease: &Lease) -> Statement {
    query(sql).bind(bytes(&lease.job())).bind(lease.token().to_be_bytes().to_vec())
}

/// A place in the order of the ends of jobs. Without an id, before all jobs that have ended at that time.
fn read_place(row: &SqliteRow) -> Result<(i64, Vec<u8>), StoreError> {
    let (ended_at, id) = (row.try_get("ended_at"), row.try_get("id"));
    Ok((ended_at.map_err(StoreError::new)?, id.map_err(StoreError::new)?))
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    row.try_get(column).map_err(StoreError::new)
}

fn fault(error: StoreError) -> QueueError {
    let cause = error.into_cause();
    match cause.downcast_ref().and_then(primary_code) {
        // SQLITE_TOOBIG
        Some(18) => QueueError::too_large(cause),
        _ => QueueError::unavailable(cause),
    }
}

#[cfg(test)]
mod tests;
