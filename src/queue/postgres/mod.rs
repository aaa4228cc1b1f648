use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row, query};
use tokio::time::{Instant, timeout};

use self::bell::Bell;
use self::row::{micros, number, read_job, unix_micros};
use self::sql::Sql;
use super::{
    ClaimedJob, Enqueued, HookLimits, HookStats, Job, JobChange, JobCursor, JobFilter, JobId,
    JobQueue, JobState, Lease, LeaseState, NewJob, QueueError, Retention,
};
use crate::ConfigError;
use crate::key::{Owner, StoreError};
use crate::store::postgres::retry::{Attempt, Failure, retry};
use crate::store::postgres::statements::acquire;
use crate::store::postgres::tables::Tables;
use crate::store::postgres::{MIGRATION_DEADLINE, connect};
use crate::store::task::StoreTasks;

mod bell;
mod claim;
mod row;
mod schema;
mod sql;

/// A queue in a table of PostgreSQL, for any number of machines.
///
/// # Durability
///
/// A job that was acknowledged is committed. A server with `synchronous_commit` and `fsync` on, as they are by default,
/// loses no committed job when it is killed or loses power. With replicas, what a fail-over can lose is a setting of the
/// server (`synchronous_standby_names`).
///
/// # Consistency
///
/// A claim is one statement with `FOR UPDATE SKIP LOCKED`: claims do not wait for each other, and no two get the same job.
/// With [limits](Self::with_hook_limits), claims, and heartbeats of limited hooks, take turns by an advisory lock, so that
/// limits are exact over all processes; a claim then takes time in proportion to the number of hooks that have jobs which
/// have not ended. A process that stops in its turn holds the others up for five seconds. All times are those of the
/// server's clock.
///
/// A claim that waits hears of jobs of other processes by `LISTEN`, and in any case looks again after the
/// [poll interval](Self::with_poll_interval). There is one `NOTIFY` for all jobs of 25 milliseconds. Behind
/// a pooler that pools transactions, `LISTEN` hears nothing, and the poll interval remains.
///
/// # Faults
///
/// A call whose connection breaks is sent again, up to three times within its [deadline](Self::with_deadline). Each call
/// can be sent twice without harm: a job has an id, and a change under a lease has its token. Jobs of a claim whose answer
/// was lost are handed out by the call that is sent again, or are due when their leases have ended. What a
/// [`retry`](JobQueue::retry) or [`remove`](JobQueue::remove) answers that was sent again follows from the state of the job,
/// which others may have changed in between, and a [`purge`](JobQueue::purge) does not count what the lost answer did.
///
/// A payload, outcome or error of more than 256 MiB is too large, and so is the name of a hook that does not fit into an
/// index (2,700 bytes). PostgreSQL refuses a text with a NUL character.
///
/// # The tables
///
/// [`migrate`](Self::migrate) makes `webhook_jobs` and `webhook_jobs_schema`. Finished jobs slow nothing down but
/// the lists that show them; a [`Worker`](super::Worker) removes them when they are old.
///
/// This queue needs Rust 1.94 and a tokio runtime with its time driver on.
///
/// # Security
///
/// Payloads and outcomes are in the clear. A role that can write to the table can have jobs run in the name of any caller.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::hook::{Invocation, Outcome};
/// use tower_webhook::queue::{PostgresQueue, Queued, Worker};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = PostgresQueue::connect("postgres://app@db.example.org/app").await?;
/// queue.migrate().await?;
/// let queued = Queued::new(queue.clone(), "/executions")?;
/// let worker = Worker::new(queue, |_: Invocation| async { Ok(Outcome::empty()) });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresQueue {
    tasks: StoreTasks,
    pool: PgPool,
    tables: Tables,
    sql: Arc<Sql>,
    limits: HookLimits,
    poll_interval: Duration,
    bell: Arc<Bell>,
}

impl PostgresQueue {
    /// A queue that takes its connections from this pool. Claims that wait share one more connection, which
    /// listens: it is outside of the pool, and has the pool's options.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let tables = Tables::default();
        Self {
            tasks: StoreTasks::new(),
            pool,
            sql: Arc::new(Sql::new(&tables)),
            bell: Arc::new(Bell::new(&tables.named("jobs"))),
            tables,
            limits: HookLimits::new(),
            poll_interval: Duration::from_secs(1),
        }
    }

    /// A queue with a pool of its own, of ten connections.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is not valid, or if the server cannot be reached or refuses the connection.
    pub async fn connect(url: &str) -> Result<Self, QueueError> {
        Ok(Self::new(connect(url).await.map_err(fault)?))
    }

    /// Sets the schema that the tables are in. The default is `public`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 40 lower case ASCII letters, digits and `_`, or starts with a digit.
    pub fn with_schema(self, schema: &str) -> Result<Self, ConfigError> {
        let tables = self.tables.clone().with_schema(schema)?;
        Ok(self.with_tables(tables))
    }

    /// Sets what the names of the tables start with. The default is `webhook_`.
    ///
    /// # Errors
    ///
    /// Refuses what [`with_schema`](Self::with_schema) refuses.
    pub fn with_table_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let tables = self.tables.clone().with_prefix(prefix)?;
        Ok(self.with_tables(tables))
    }

    fn with_tables(self, tables: Tables) -> Self {
        let sql = Arc::new(Sql::new(&tables));
        let bell = Arc::new(Bell::new(&tables.named("jobs")));
        Self { tables, sql, bell, ..self }
    }

    /// Limits how many jobs of a hook run at a time, in all processes together.
    #[must_use]
    pub fn with_hook_limits(mut self, limits: HookLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long a call may take, the wait for a connection included, and the wait of a claim left out. The default is
    /// five seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.tasks = self.tasks.with_deadline(deadline);
        self
    }

    /// Sets how often a claim that waits looks for jobs that it was not notified of. The default is a second.
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

    /// The channel on which other processes are notified of jobs. Its messages are empty.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.bell.channel()
    }

    /// Makes the schema and the tables if they are missing. To call it again changes nothing.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, the role is not permitted to make tables, or the tables are of a later version.
    pub async fn migrate(&self) -> Result<(), QueueError> {
        let (pool, tables) = (self.pool.clone(), self.tables.clone());
        let migrate =
            async move { retry(|attempt| schema::migrate(&tables, &pool, attempt)).await };
        let tasks = StoreTasks::new().with_deadline(MIGRATION_DEADLINE);
        tasks.spawn(migrate).await.map_err(fault)
    }

    /// Runs a statement that reads.
    async fn read<'q, T>(
        &self,
        statement: impl Fn() -> Statement<'q>,
        decode: impl Fn(&PgRow) -> Result<T, Failure>,
    ) -> Result<Vec<T>, QueueError> {
        let read = retry(async |attempt| {
            let mut checkout = acquire(&self.pool, attempt).await?;
            let rows = statement().fetch_all(checkout.connection()?).await?;
            checkout.finish();
            rows.iter().map(&decode).collect::<Result<Vec<_>, _>>()
        });
        self.tasks.run(read).await.map_err(fault)
    }

    /// Runs a change that may be sent twice. Returns how many rows it changed, and what is known of attempts before.
    async fn change<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<(u64, Attempt), QueueError> {
        let change = retry(async |attempt| {
            let mut checkout = acquire(&self.pool, attempt).await?;
            let done = statement().execute(checkout.connection()?).await?;
            checkout.finish();
            Ok((done.rows_affected(), attempt))
        });
        let (changed, attempt) = self.tasks.run(change).await.map_err(fault)?;
        if changed > 0 || attempt.outcome_unknown {
            self.bell.ring(&self.tasks, &self.pool);
        }
        Ok((changed, attempt))
    }

    async fn change_under<'q>(
        &self,
        lease: &Lease,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<LeaseState, QueueError> {
        let (changed, attempt) = self.change(statement).await?;
        if changed > 0 {
            return Ok(LeaseState::Held);
        }
        if attempt.outcome_unknown {
            // An attempt before may have made the change. A token is replaced by the next claim alone.
            let has_token = || under(&self.sql.has_token, lease);
            if !self.read(has_token, |_| Ok(())).await?.is_empty() {
                return Ok(LeaseState::Held);
            }
        }
        Ok(LeaseState::Lost)
    }

    async fn change_without_lease<'q>(
        &self,
        id: &JobId,
        statement: impl Fn() -> Statement<'q>,
        is_done: fn(Option<&str>) -> bool,
    ) -> Result<JobChange, QueueError> {
        let (changed, attempt) = self.change(statement).await?;
        if changed > 0 {
            return Ok(JobChange::Changed);
        }
        let exists = || query_of(&self.sql.exists).bind(&id.as_bytes()[..]);
        let states = self.read(exists, |row| Ok(row.try_get::<String, _>("state")?)).await?;
        let state = states.first().map(String::as_str);
        Ok(match state {
            state if attempt.outcome_unknown && is_done(state) => JobChange::Changed,
            None => JobChange::NotFound,
            Some(_) => JobChange::WrongState,
        })
    }
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

#[async_trait]
impl JobQueue for PostgresQueue {
    async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let owner = job.owner.as_ref().map(Owner::as_str);
        let payload = of_fair_size(&job.payload)?;
        let insert = || {
            query_of(&self.sql.enqueue)
                .bind(&job.id.as_bytes()[..])
                .bind(&*job.hook)
                .bind(owner)
                .bind(&job.fingerprint[..])
                .bind(payload)
        };
        loop {
            if self.change(insert).await?.0 > 0 {
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
            let bell = self.bell.next(&self.tasks, &self.pool);
            let claimed = self.take(max, lease).await?;
            let left = wait.saturating_sub(started.elapsed());
            if !claimed.is_empty() || left.is_zero() {
                return Ok(claimed);
            }
            let next = self.next_due().await?.unwrap_or(self.poll_interval);
            let _ = timeout(next.min(self.poll_interval).min(left), bell).await;
        }
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        self.extend(lease, lasts).await
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        let outcome = of_fair_size(outcome)?;
        self.change_under(lease, || under(&self.sql.complete, lease).bind(outcome)).await
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        let error = of_fair_size(error)?;
        let retry = || under(&self.sql.retry_after, lease).bind(micros(delay)).bind(error);
        self.change_under(lease, retry).await
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        self.change_under(lease, || under(&self.sql.release, lease).bind(micros(delay))).await
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        let error = of_fair_size(error)?;
        self.change_under(lease, || under(&self.sql.bury, lease).bind(error).bind(i32::from(!ran)))
            .await
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        let state = || query_of(&self.sql.state).bind(&id.as_bytes()[..]);
        Ok(self.read(state, read_job).await?.pop())
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        if filter.hook.as_deref().is_some_and(is_of_no_job) {
            return Ok(Vec::new());
        }
        let sql = self.sql.list(filter, after);
        let id = after.map(JobCursor::id);
        let list = || {
            let mut list = query_of(&sql);
            if let Some(hook) = &filter.hook {
                list = list.bind(hook);
            }
            if let Some(owner) = &filter.owner {
                list = list.bind(owner.as_str());
            }
            if let (Some(after), Some(id)) = (after, &id) {
                list = list.bind(unix_micros(after.created_at())).bind(&id.as_bytes()[..]);
            }
            list.bind(i64::try_from(limit).unwrap_or(i64::MAX))
        };
        self.read(list, read_job).await
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let retry = || query_of(&self.sql.retry).bind(&id.as_bytes()[..]);
        self.change_without_lease(id, retry, |state| state == Some("queued")).await
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let remove = || query_of(&self.sql.remove).bind(&id.as_bytes()[..]);
        self.change_without_lease(id, remove, |state| state.is_none()).await
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        let sql = self.sql.purge(state, retention);
        let count = retention.max_count.and_then(|count| i64::try_from(count).ok());
        let purge = || {
            query_of(&sql)
                .bind(micros(retention.max_age.unwrap_or_default()))
                .bind(count.unwrap_or(i64::MAX))
                .bind(i64::try_from(max).unwrap_or(i64::MAX))
        };
        let (removed, _) = self.change(purge).await?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        if is_of_no_job(hook) {
            return Ok(0);
        }
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let backlog = || query_of(&self.sql.backlog).bind(hook).bind(at_most);
        let counts = self.read(backlog, |row| number(row, "queued")).await?;
        Ok(counts.first().copied().unwrap_or_default())
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        let stats = |row: &PgRow| {
            let oldest: Option<i64> = row.try_get("oldest")?;
            Ok(HookStats {
                hook: row.try_get("hook")?,
                queued: number(row, "queued")?,
                running: number(row, "running")?,
                dead: number(row, "dead")?,
                oldest_queued: oldest
                    .map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or_default())),
            })
        };
        self.read(|| query_of(&self.sql.stats), stats).await
    }
}

fn query_of<'q>(sql: &str) -> Statement<'q> {
    query(AssertSqlSafe(sql))
}

/// A statement whose first parameters are those of a lease.
fn under<'q>(sql: &str, lease: &Lease) -> Statement<'q> {
    query_of(sql).bind(lease.job().as_bytes().to_vec()).bind(lease.token().to_be_bytes().to_vec())
}

/// PostgreSQL keeps up to a gigabyte, but takes several times as much memory for it.
fn of_fair_size(text: &str) -> Result<&str, QueueError> {
    const MAX_BYTES: usize = 256 << 20;
    let is_fair = text.len() <= MAX_BYTES;
    if is_fair { Ok(text) } else { Err(QueueError::too_large("a text of more than 256 MiB")) }
}

/// Whether no job can have this hook. PostgreSQL refuses the question otherwise.
fn is_of_no_job(hook: &str) -> bool {
    hook.contains('\0')
}

fn fault(error: StoreError) -> QueueError {
    let cause = error.into_cause();
    let error = cause.downcast_ref().and_then(sqlx::Error::as_database_error);
    match error.and_then(DatabaseError::code) {
        // program_limit_exceeded and its class
        Some(state) if state.starts_with("54") => QueueError::too_large(cause),
        // undefined_table
        Some(state) if state == "42P01" => {
            QueueError::unavailable("the tables are missing: call PostgresQueue::migrate")
        }
        _ => QueueError::unavailable(cause),
    }
}

impl fmt::Debug for PostgresQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresQueue")
            .field("tasks", &self.tasks)
            .field("tables", &self.tables)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
