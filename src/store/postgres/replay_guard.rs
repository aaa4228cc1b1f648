use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgPool, Row, query};

use super::retry::{Attempt, Failure, retry};
use super::statements::acquire;
use super::tables::Tables;
use super::{MIGRATION_DEADLINE, connect};
use crate::key::StoreError;
use crate::replay::{Claim, ClaimId, ReplayGuard, ReplayKey, StoredResponse};
use crate::store::task::StoreTasks;
use crate::{BoxError, ConfigError};

/// Keeps deliveries in a table of PostgreSQL: each runs once, in whichever process.
///
/// A call is one statement, which is sent again if the connection breaks: a claim belongs to the call that makes it. The
/// time is that of the server.
///
/// [`migrate`](Self::migrate) makes the table `webhook_replays`. [`purge`](Self::purge) deletes deliveries whose time has
/// ended: call it from time to time, such as once an hour.
///
/// # Security
///
/// Stored answers are in the clear.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::replay::PostgresReplayGuard;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let guard = PostgresReplayGuard::connect("postgres://app@db.example.org/app").await?;
/// guard.migrate().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresReplayGuard {
    tasks: StoreTasks,
    pool: PgPool,
    tables: Tables,
}

impl PostgresReplayGuard {
    /// A guard that takes its connections from this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { tasks: StoreTasks::new(), pool, tables: Tables::default() }
    }

    /// A guard with a pool of its own, of ten connections.
    ///
    /// # Errors
    ///
    /// The URL is none, or the server cannot be reached or refuses the connection.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self::new(connect(url).await?))
    }

    /// Sets the schema that the table is in. The default is `public`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 40 lower case ASCII letters, digits and `_`, or starts with a digit.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_schema(schema)?;
        Ok(self)
    }

    /// Sets what the name of the table starts with. The default is `webhook_`.
    ///
    /// # Errors
    ///
    /// Refuses what [`with_schema`](Self::with_schema) refuses.
    pub fn with_table_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.tables = self.tables.with_prefix(prefix)?;
        Ok(self)
    }

    /// Sets how long a call may take, the wait for a connection included. The default is five seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.tasks = self.tasks.with_deadline(deadline);
        self
    }

    /// Makes the schema and the table if they are missing. To call it again changes nothing.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or the role is not permitted to make tables.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (pool, tables) = (self.pool.clone(), self.tables.clone());
        let migrate = async move { retry(|attempt| tables.make_replays(&pool, attempt)).await };
        StoreTasks::new().with_deadline(MIGRATION_DEADLINE).spawn(migrate).await
    }

    /// Deletes deliveries whose time has ended, and returns how many.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let sql = format!("DELETE FROM {} WHERE until <= clock_timestamp()", self.table());
        let purge = retry(async |attempt| {
            let mut checkout = acquire(&self.pool, attempt).await?;
            let deleted =
                query(AssertSqlSafe(sql.as_str())).execute(checkout.connection()?).await?;
            checkout.finish();
            Ok(deleted.rows_affected())
        });
        self.tasks.run(purge).await
    }

    fn table(&self) -> String {
        self.tables.named("replays")
    }

    async fn try_claim(
        &self,
        attempt: Attempt,
        key: &ReplayKey,
        id: ClaimId,
        lease: Duration,
    ) -> Result<Claim, Failure> {
        // One statement. What it reads is older than what it writes: a delivery that another request has claimed in
        // between is in flight.
        let sql = format!(
            "WITH claimed AS (
    INSERT INTO {table} AS stored (key, claim, until)
    VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
    ON CONFLICT (key) DO UPDATE
        SET claim = excluded.claim, until = excluded.until, response = NULL
        WHERE stored.until <= clock_timestamp()
            OR stored.claim = excluded.claim AND stored.response IS NULL
    RETURNING 1
)
SELECT (SELECT count(*) FROM claimed) = 1, (SELECT response FROM {table} WHERE key = $1)",
            table = self.table()
        );
        let mut checkout = acquire(&self.pool, attempt).await?;
        let claim = query(AssertSqlSafe(sql.as_str()))
            .bind(&key.as_bytes()[..])
            .bind(&id.to_u128().to_be_bytes()[..])
            .bind(millis(lease));
        let row = claim.fetch_one(checkout.connection()?).await?;
        checkout.finish();
        let (is_new, response): (bool, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        match response {
            _ if is_new => Ok(Claim::New(id)),
            None => Ok(Claim::InFlight),
            Some(text) => {
                let stored = StoredResponse::decode(&text);
                Ok(Claim::Done(stored.map_err(|error| Failure::Answer(StoreError::new(error)))?))
            }
        }
    }

    async fn try_commit(
        &self,
        attempt: Attempt,
        key: &ReplayKey,
        claim: ClaimId,
        text: &str,
        time_to_live: Duration,
    ) -> Result<bool, Failure> {
        let sql = format!(
            "UPDATE {} SET response = $3, until = clock_timestamp() + $4 * interval '1 millisecond'
WHERE key = $1 AND claim = $2 AND until > clock_timestamp() AND (response IS NULL OR response = $3)",
            self.table()
        );
        let mut checkout = acquire(&self.pool, attempt).await?;
        let commit = query(AssertSqlSafe(sql.as_str()))
            .bind(&key.as_bytes()[..])
            .bind(&claim.to_u128().to_be_bytes()[..])
            .bind(text)
            .bind(millis(time_to_live));
        let updated = commit.execute(checkout.connection()?).await?;
        checkout.finish();
        Ok(updated.rows_affected() == 1)
    }

    async fn try_abort(
        &self,
        attempt: Attempt,
        key: &ReplayKey,
        claim: ClaimId,
    ) -> Result<(), Failure> {
        let sql = format!(
            "DELETE FROM {} WHERE key = $1 AND claim = $2 AND response IS NULL",
            self.table()
        );
        let mut checkout = acquire(&self.pool, attempt).await?;
        let abort = query(AssertSqlSafe(sql.as_str()))
            .bind(&key.as_bytes()[..])
            .bind(&claim.to_u128().to_be_bytes()[..]);
        abort.execute(checkout.connection()?).await?;
        checkout.finish();
        Ok(())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(i64::from(u32::MAX) * 1000)
}

#[async_trait]
impl ReplayGuard for PostgresReplayGuard {
    async fn claim(&self, key: &ReplayKey, lease: Duration) -> Result<Claim, BoxError> {
        let id = ClaimId::random()?;
        let claim = retry(|attempt| self.try_claim(attempt, key, id, lease));
        self.tasks.run(claim).await.map_err(StoreError::into_cause)
    }

    async fn commit(
        &self,
        key: &ReplayKey,
        claim: ClaimId,
        response: &StoredResponse,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let text = response.encode();
        let commit = retry(|attempt| self.try_commit(attempt, key, claim, &text, time_to_live));
        self.tasks.run(commit).await.map_err(StoreError::into_cause)
    }

    async fn abort(&self, key: &ReplayKey, claim: ClaimId) -> Result<(), BoxError> {
        let abort = retry(|attempt| self.try_abort(attempt, key, claim));
        self.tasks.run(abort).await.map_err(StoreError::into_cause)
    }
}

impl fmt::Debug for PostgresReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresReplayGuard")
            .field("tasks", &self.tasks)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}
