//! The statements, apart from those of a claim.

use super::row::COLUMNS;
use crate::queue::{JobFilter, JobState};

pub(super) const ENQUEUE: &str = "INSERT INTO jobs
    (id, hook, owner, fingerprint, state, attempts, due_at, created_at, payload)
VALUES (?1, ?2, ?3, ?4, 'queued', 0, ?5, ?5, ?6)
ON CONFLICT (id) DO NOTHING";

pub(super) const HEARTBEAT: &str = "UPDATE jobs SET due_at = ?3 WHERE id = ?1 AND token = ?2";

pub(super) const COMPLETE: &str = "UPDATE jobs
SET state = 'succeeded', token = NULL, ended_at = ?3, outcome = ?4, error = NULL, payload = ''
WHERE id = ?1 AND token = ?2";

pub(super) const RETRY_AFTER: &str = "UPDATE jobs
SET state = 'queued', token = NULL, due_at = ?3, error = ?4
WHERE id = ?1 AND token = ?2";

pub(super) const RELEASE: &str = "UPDATE jobs
SET state = 'queued', token = NULL, due_at = ?3, attempts = max(attempts - 1, 0)
WHERE id = ?1 AND token = ?2";

pub(super) const BURY: &str = "UPDATE jobs
SET state = 'dead', token = NULL, ended_at = ?3, error = ?4, attempts = max(attempts - ?5, 0)
WHERE id = ?1 AND token = ?2";

pub(super) const RETRY: &str = "UPDATE jobs
SET state = 'queued', attempts = 0, due_at = ?2, started_at = NULL, ended_at = NULL, error = NULL
WHERE id = ?1 AND state = 'dead'";

pub(super) const REMOVE: &str = "DELETE FROM jobs WHERE id = ?1 AND state != 'running'";

/// The newest of the jobs that are beyond a count. It reads as many entries of an index as the count.
pub(super) const BEYOND: &str = "SELECT ended_at, id FROM jobs INDEXED BY jobs_ended
WHERE state = ?1 AND ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1 OFFSET ?2";

/// Removes the oldest jobs up to a place in the order of their ends.
pub(super) const PURGE: &str = "DELETE FROM jobs WHERE rowid IN (
    SELECT rowid FROM jobs INDEXED BY jobs_ended
    WHERE state = ?1 AND ended_at IS NOT NULL AND (ended_at, id) <= (?2, ?3)
    ORDER BY ended_at, id LIMIT ?4
)";

pub(super) const BACKLOG: &str = "SELECT count(*) AS queued FROM (
    SELECT 1 FROM jobs INDEXED BY jobs_open
    WHERE ended_at IS NULL AND hook = ?1 AND state = 'queued' LIMIT ?2
)";

pub(super) const STATS: &str = "SELECT hook, sum(state = 'queued') AS queued,
    sum(state = 'running') AS running, sum(state = 'dead') AS dead,
    min(CASE state WHEN 'queued' THEN created_at END) AS oldest
FROM jobs INDEXED BY jobs_unfinished WHERE state != 'succeeded' GROUP BY hook";

pub(super) fn state() -> String {
    format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1")
}

/// Keyset pagination. Its parameters are the hook or `NULL`, the time and id of the cursor, the limit, and the owner
/// if the filter has one. The index is named, because SQLite does not know how few jobs are in it.
pub(super) fn list(filter: &JobFilter) -> String {
    let (index, in_index) = match (&filter.owner, filter.state) {
        (Some(_), _) => ("jobs_by_owner", "owner = ?5"),
        (None, Some(JobState::Succeeded) | None) => ("jobs_by_time", "TRUE"),
        (None, Some(_)) => ("jobs_unfinished", "state != 'succeeded'"),
    };
    let state = match filter.state {
        Some(state) => format!("state = '{}'", state.as_str()),
        None => "TRUE".to_owned(),
    };
    let columns = COLUMNS.replace("outcome", "NULL AS outcome");
    format!(
        "SELECT {columns} FROM jobs INDEXED BY {index}
WHERE {in_index} AND {state} AND (?1 IS NULL OR hook = ?1) AND (created_at, id) < (?2, ?3)
ORDER BY created_at DESC, id DESC LIMIT ?4"
    )
}
