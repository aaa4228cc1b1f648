//! The tables of a queue.

use sqlx::{AssertSqlSafe, PgPool, Row, raw_sql};

use crate::key::StoreError;
use crate::store::postgres::retry::{Attempt, Failure};
use crate::store::postgres::tables::Tables;

/// The version that this crate reads and writes.
const VERSION: i32 = 1;

/// Makes the tables if they are missing.
///
/// `due_at` is when a job can be claimed: for one that waits the end of its delay, for one that runs the end of its lease.
/// `token` is that of the last lease. Indexes of jobs that have not ended are small, however many have ended. Rows are
/// updated three times or more, so pages have room for it, and the table is vacuumed early.
pub(super) async fn migrate(
    tables: &Tables,
    pool: &PgPool,
    attempt: Attempt,
) -> Result<(), Failure> {
    let mut checkout = tables.begin_migration(pool, attempt).await?;
    let (jobs, version, prefix) =
        (tables.named("jobs"), tables.named("jobs_schema"), tables.prefix());
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {jobs} (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    hook text COLLATE \"C\" NOT NULL,
    owner text COLLATE \"C\",
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    state text COLLATE \"C\" NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'dead')),
    attempts integer NOT NULL CHECK (attempts >= 0),
    token bytea,
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    outcome text,
    error text,
    payload text NOT NULL,
    CHECK ((state IN ('succeeded', 'dead')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_due\" ON {jobs} (due_at) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_by_hook\" ON {jobs} (hook, due_at) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_running\" ON {jobs} (hook, due_at) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_ended\" ON {jobs} (state, ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_dead\" ON {jobs} (created_at, id) WHERE state = 'dead';
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_by_time\" ON {jobs} (created_at, id);
CREATE INDEX IF NOT EXISTS \"{prefix}jobs_by_owner\" ON {jobs} (owner, created_at, id) WHERE owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS {version} (version integer NOT NULL);
INSERT INTO {version} SELECT {VERSION} WHERE NOT EXISTS (SELECT 1 FROM {version});
SELECT version FROM {version}"
    );
    let rows = raw_sql(AssertSqlSafe(create)).fetch_all(checkout.connection()?).await?;
    let version = rows.last().map(|row| row.try_get::<i32, _>("version")).transpose()?;
    if version != Some(VERSION) {
        let error = StoreError::new("the tables of the queue are of another version");
        return Err(Failure::Answer(error));
    }
    raw_sql("COMMIT").execute(checkout.connection()?).await?;
    checkout.finish();
    Ok(())
}
