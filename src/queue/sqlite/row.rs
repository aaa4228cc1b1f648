//! Rows as jobs, and times as integers.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use time::OffsetDateTime;

use crate::key::{Owner, StoreError};
use crate::queue::{ClaimedJob, Job, JobId, JobState, Lease};

/// The columns of [`read_job`].
pub(super) const COLUMNS: &str = "id, hook, owner, fingerprint, state, attempts, created_at, started_at, ended_at, outcome, error";

/// Microseconds since 1970.
pub(super) fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX)
}

/// So long after that time, in microseconds. The end of time is the latest.
pub(super) fn after(now: i64, delay: Duration) -> i64 {
    now.saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))
}

/// So long before that time, in microseconds.
pub(super) fn before(now: i64, age: Duration) -> i64 {
    now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

fn time(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

/// A row that another program or a fault of the disk has changed is an error of its job. The error names the job, so
/// that it can be removed.
pub(super) fn read_job(row: &SqliteRow) -> Result<Job, StoreError> {
    let id = read_id(row).ok_or_else(|| StoreError::new("the row of a job has no id"))?;
    let job = try_read_job(row, id);
    job.ok_or_else(|| StoreError::new(format!("the row of the job {id} cannot be read")))
}

fn try_read_job(row: &SqliteRow, id: JobId) -> Option<Job> {
    let optional_time = |column| match row.try_get::<Option<i64>, _>(column).ok()? {
        Some(micros) => time(micros).map(Some),
        None => Some(None),
    };
    let owner = row.try_get::<Option<&str>, _>("owner").ok()?;
    Some(Job {
        id,
        hook: row.try_get("hook").ok()?,
        owner: owner.map(Owner::new).transpose().ok()?,
        fingerprint: row.try_get::<&[u8], _>("fingerprint").ok()?.try_into().ok()?,
        state: JobState::from_name(row.try_get("state").ok()?)?,
        attempts: row.try_get("attempts").ok()?,
        created_at: time(row.try_get("created_at").ok()?)?,
        started_at: optional_time("started_at")?,
        ended_at: optional_time("ended_at")?,
        outcome: row.try_get("outcome").ok()?,
        error: row.try_get("error").ok()?,
    })
}

/// `None` is a row that cannot be read. It has the columns `id`, `hook`, `payload` and `attempts`.
pub(super) fn read_claimed(row: &SqliteRow, token: u128) -> Option<ClaimedJob> {
    let lease = Lease::new(read_id(row)?, token);
    let (hook, payload) = (row.try_get("hook").ok()?, row.try_get("payload").ok()?);
    Some(ClaimedJob::new(lease, hook, payload, row.try_get("attempts").ok()?))
}

pub(super) fn read_id(row: &SqliteRow) -> Option<JobId> {
    row.try_get::<&[u8], _>("id").ok()?.try_into().ok().map(JobId::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_microsecond() {
        let now = OffsetDateTime::now_utc();
        let now = now - time::Duration::nanoseconds((now.nanosecond() % 1000).into());
        for kept in [now, OffsetDateTime::UNIX_EPOCH, now - time::Duration::days(100 * 365)] {
            assert_eq!(time(micros(kept)), Some(kept));
        }
    }

    #[test]
    fn a_delay_without_end_ends_at_the_last_time() {
        assert_eq!(after(5, Duration::from_micros(7)), 12);
        assert_eq!(before(5, Duration::from_micros(7)), -2);
        assert_eq!(after(5, Duration::MAX), i64::MAX);
        assert_eq!(before(-5, Duration::MAX), i64::MIN);
    }
}
