//! Rows as jobs, and times as integers.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use crate::key::{Owner, StoreError};
use crate::queue::{ClaimedJob, Job, JobId, JobState, Lease};
use crate::store::postgres::retry::Failure;

/// At most about 100 years, which an interval can be added to.
pub(super) fn micros(duration: Duration) -> i64 {
    const MOST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    i64::try_from(duration.min(MOST).as_micros()).unwrap_or(i64::MAX)
}

/// Not before 1970: PostgreSQL does not know every time that a cursor can have.
pub(super) fn unix_micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX).max(0)
}

pub(super) fn number(row: &PgRow, column: &str) -> Result<u64, Failure> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unreadable())
}

pub(super) fn read_claimed(row: &PgRow, token: u128) -> Result<ClaimedJob, Failure> {
    let lease = Lease::new(read_id(row)?, token);
    let attempt = u32::try_from(row.try_get::<i32, _>("attempts")?).map_err(|_| unreadable())?;
    Ok(ClaimedJob::new(lease, row.try_get("hook")?, row.try_get("payload")?, attempt))
}

pub(super) fn read_job(row: &PgRow) -> Result<Job, Failure> {
    let time = |column| match row.try_get::<Option<i64>, _>(column)? {
        Some(micros) => {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
            Ok(Some(time.map_err(|_| unreadable())?))
        }
        None => Ok::<_, Failure>(None),
    };
    let owner: Option<&str> = row.try_get("owner")?;
    let fingerprint: &[u8] = row.try_get("fingerprint")?;
    Ok(Job {
        id: read_id(row)?,
        hook: row.try_get("hook")?,
        owner: owner.map(Owner::new).transpose().map_err(|_| unreadable())?,
        fingerprint: fingerprint.try_into().map_err(|_| unreadable())?,
        state: JobState::from_name(row.try_get("state")?).ok_or_else(unreadable)?,
        attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).map_err(|_| unreadable())?,
        created_at: time("created_at")?.ok_or_else(unreadable)?,
        started_at: time("started_at")?,
        ended_at: time("ended_at")?,
        outcome: row.try_get("outcome")?,
        error: row.try_get("error")?,
    })
}

fn read_id(row: &PgRow) -> Result<JobId, Failure> {
    let id: &[u8] = row.try_get("id")?;
    id.try_into().map(JobId::from_bytes).map_err(|_| unreadable())
}

fn unreadable() -> Failure {
    Failure::Answer(StoreError::new("the row of a job cannot be read"))
}
