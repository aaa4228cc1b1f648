//! Leases: claims, and the limits of hooks that they and heartbeats keep.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Postgres, Row, raw_sql};

use super::row::{micros, read_claimed};
use super::{PostgresQueue, fault, query_of, under};
use crate::queue::job::random_token;
use crate::queue::{ClaimedJob, Lease, LeaseState, QueueError};
use crate::store::postgres::retry::{Attempt, Failure, retry};
use crate::store::postgres::statements::acquire;
use crate::store::sql::Checkout;

/// The key of an advisory lock: what leases jobs of limited hooks takes turns.
const TURN_LOCK: i32 = 0x7477_6a6c;

impl PostgresQueue {
    /// The jobs that are due.
    pub(super) async fn take(
        &self,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        // One token for the call, so that an attempt finds what one before has taken.
        let token = random_token()?;
        let take = retry(|attempt| self.try_take(attempt, token, max, lease));
        let rows = self.tasks.run(take).await.map_err(fault)?;
        let claimed = rows.iter().map(|row| read_claimed(row, token));
        claimed.collect::<Result<_, _>>().map_err(|failure| fault(failure.into_error()))
    }

    async fn try_take(
        &self,
        attempt: Attempt,
        token: u128,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<PgRow>, Failure> {
        let (bytes, max) = (token.to_be_bytes(), i64::try_from(max).unwrap_or(i64::MAX));
        let mut checkout = acquire(&self.pool, attempt).await?;
        if attempt.outcome_unknown {
            let claimed = query_of(&self.sql.claimed).bind(&bytes[..]);
            let rows = claimed.fetch_all(checkout.connection()?).await?;
            if !rows.is_empty() {
                checkout.finish();
                return Ok(rows);
            }
        }
        if self.limits.iter().next().is_none() {
            let claim = query_of(&self.sql.claim).bind(&bytes[..]).bind(micros(lease)).bind(max);
            let rows = claim.fetch_all(checkout.connection()?).await?;
            checkout.finish();
            return Ok(rows);
        }
        let limits = self.limit_rows();
        let take = query_of(&self.sql.claim_limited).bind(&bytes[..]).bind(micros(lease)).bind(max);
        self.begin_turn(&mut checkout).await?;
        let rows = take.bind(limits.0).bind(limits.1).fetch_all(checkout.connection()?).await?;
        end_turn(checkout).await?;
        Ok(rows)
    }

    /// Extends a lease. One of a hook with a limit takes its turn: if it has ended, it needs room.
    pub(super) async fn extend(
        &self,
        lease: &Lease,
        lasts: Duration,
    ) -> Result<LeaseState, QueueError> {
        let (hooks, most) = self.limit_rows();
        let extend = retry(async |attempt| {
            let mut checkout = acquire(&self.pool, attempt).await?;
            let extend = under(&self.sql.heartbeat, lease).bind(micros(lasts)).bind(&hooks);
            let mut done = extend.execute(checkout.connection()?).await?.rows_affected();
            if done == 0 && !hooks.is_empty() {
                let extend = under(&self.sql.heartbeat_limited, lease).bind(micros(lasts));
                self.begin_turn(&mut checkout).await?;
                let extend = extend.bind(&hooks).bind(&most).execute(checkout.connection()?);
                done = extend.await?.rows_affected();
                end_turn(checkout).await?;
            } else {
                checkout.finish();
            }
            Ok(done)
        });
        let extended = self.tasks.run(extend).await.map_err(fault)?;
        Ok(if extended > 0 { LeaseState::Held } else { LeaseState::Lost })
    }

    /// The hooks that have a limit, and their limits.
    fn limit_rows(&self) -> (Vec<&str>, Vec<i64>) {
        self.limits.iter().map(|(hook, limit)| (hook, i64::from(limit))).unzip()
    }

    /// Begins a transaction under a lock, so that what leases jobs of limited hooks takes turns. The next statement sees
    /// what turns before have done. Compiling it would take longer than running it. The server ends the turn of a process that
    /// has stopped.
    async fn begin_turn(&self, checkout: &mut Checkout<Postgres>) -> Result<(), Failure> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL jit = off;
SET LOCAL idle_in_transaction_session_timeout = '5s';
SELECT pg_advisory_xact_lock({TURN_LOCK}, hashtext('{}'))",
            self.tables.named("jobs")
        );
        raw_sql(AssertSqlSafe(begin)).fetch_all(checkout.connection()?).await?;
        Ok(())
    }

    /// How long it is until the next job is due that the claim before did not find due. At least a moment, because that of
    /// a hook without room, or of another claim, is not for this one.
    pub(super) async fn next_due(&self) -> Result<Option<Duration>, QueueError> {
        let next = |row: &PgRow| Ok(row.try_get::<i64, _>("next")?);
        let next = self.read(|| query_of(&self.sql.next_due), next).await?;
        let next = next.first().map(|micros| u64::try_from(*micros).unwrap_or_default());
        Ok(next.map(|micros| Duration::from_micros(micros).max(Duration::from_millis(10))))
    }
}

async fn end_turn(mut checkout: Checkout<Postgres>) -> Result<(), Failure> {
    raw_sql("COMMIT").execute(checkout.connection()?).await?;
    checkout.finish();
    Ok(())
}
