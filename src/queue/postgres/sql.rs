//! The statements, with the names of the tables in them. All times are those of the server.

use crate::queue::{JobCursor, JobFilter, JobState, Retention};
use crate::store::postgres::tables::Tables;

/// Statements that are made once.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    table: String,
    pub(super) enqueue: String,
    pub(super) claim: String,
    pub(super) claim_limited: String,
    pub(super) claimed: String,
    pub(super) next_due: String,
    pub(super) heartbeat: String,
    pub(super) heartbeat_limited: String,
    pub(super) complete: String,
    pub(super) retry_after: String,
    pub(super) release: String,
    pub(super) bury: String,
    pub(super) has_token: String,
    pub(super) state: String,
    pub(super) retry: String,
    pub(super) remove: String,
    pub(super) exists: String,
    pub(super) backlog: String,
    pub(super) stats: String,
}

/// What a job is read from. Times are microseconds since 1970.
const COLUMNS: &str = "id, hook, owner, fingerprint, state, attempts, outcome, error,
    (extract(epoch FROM created_at) * 1000000)::bigint AS created_at,
    (extract(epoch FROM started_at) * 1000000)::bigint AS started_at,
    (extract(epoch FROM ended_at) * 1000000)::bigint AS ended_at";

/// What a claim does to a job.
const TAKE: &str =
    "state = 'running', token = $1, attempts = attempts + 1, started_at = clock_timestamp(),
    due_at = clock_timestamp() + $2 * interval '1 microsecond'";

/// What a heartbeat does to a job.
const EXTEND: &str = "due_at = clock_timestamp() + $3 * interval '1 microsecond'";

const CLAIMED: &str = "job.id, job.hook, job.payload, job.attempts";

impl Sql {
    pub(super) fn new(tables: &Tables) -> Self {
        let jobs = tables.named("jobs");
        let under = |change: &str| {
            format!(
                "UPDATE {jobs} AS job SET {change} WHERE id = $1 AND token = $2 AND state = 'running'"
            )
        };
        Self {
            enqueue: format!(
                "INSERT INTO {jobs}
    (id, hook, owner, fingerprint, state, attempts, due_at, created_at, payload)
SELECT $1, $2, $3, $4, 'queued', 0, now, now, $5 FROM clock_timestamp() AS now
ON CONFLICT (id) DO NOTHING"
            ),
            // `statement_timestamp` does not change while the statement runs, so that the index is used.
            claim: format!(
                "WITH due AS (
    SELECT id FROM {jobs} WHERE ended_at IS NULL AND due_at <= statement_timestamp()
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE {jobs} AS job SET {TAKE} FROM due WHERE job.id = due.id RETURNING {CLAIMED}"
            ),
            // Loose index scan over the hooks that have jobs which have not ended. `room` is how many of a hook may be
            // taken, so that a hook which is full is not read. Rows are compared, because the planner would take the
            // index without the hook otherwise, and read the jobs of all hooks.
            claim_limited: format!(
                "WITH RECURSIVE hooks (hook) AS (
    (SELECT hook FROM {jobs} WHERE ended_at IS NULL ORDER BY hook LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.hook FROM {jobs} AS job
        WHERE job.ended_at IS NULL AND job.hook > hooks.hook ORDER BY job.hook LIMIT 1
    ) FROM hooks WHERE hooks.hook IS NOT NULL
), rooms AS (
    SELECT hooks.hook, CASE WHEN limits.most IS NULL THEN $3 ELSE least($3, limits.most - (
        SELECT count(*) FROM {jobs} AS job WHERE job.ended_at IS NULL AND job.hook = hooks.hook
            AND job.state = 'running' AND job.due_at > statement_timestamp()
    )) END AS room
    FROM hooks LEFT JOIN unnest($4::text[], $5::bigint[]) AS limits (hook, most) ON limits.hook = hooks.hook
    WHERE hooks.hook IS NOT NULL
), candidates AS (
    SELECT candidate.id, candidate.due_at FROM rooms CROSS JOIN LATERAL (
        SELECT id, due_at FROM {jobs} AS job
        WHERE job.ended_at IS NULL AND (job.hook, job.due_at) >= (rooms.hook, timestamptz '-infinity')
            AND (job.hook, job.due_at) <= (rooms.hook, statement_timestamp())
        ORDER BY job.hook, job.due_at LIMIT greatest(rooms.room, 0) FOR UPDATE SKIP LOCKED
    ) AS candidate
), due AS (
    SELECT id FROM candidates ORDER BY due_at LIMIT $3
)
UPDATE {jobs} AS job SET {TAKE} FROM due WHERE job.id = due.id RETURNING {CLAIMED}"
            ),
            claimed: format!(
                "SELECT {CLAIMED} FROM {jobs} AS job
WHERE job.ended_at IS NULL AND job.state = 'running' AND job.token = $1"
            ),
            // A job that has become due since the claim is one that is due next.
            next_due: format!(
                "SELECT (extract(epoch FROM due_at - statement_timestamp()) * 1000000)::bigint AS next
FROM {jobs} WHERE ended_at IS NULL AND due_at > statement_timestamp() - interval '100 milliseconds'
ORDER BY due_at LIMIT 1"
            ),
            heartbeat: under(EXTEND) + " AND hook <> ALL ($4::text[])",
            heartbeat_limited: under(EXTEND)
                + &format!(
                    " AND (due_at > clock_timestamp() OR (
    SELECT count(*) FROM {jobs} AS other WHERE other.ended_at IS NULL AND other.hook = job.hook
        AND other.state = 'running' AND other.due_at > statement_timestamp()
) < (
    SELECT most FROM unnest($4::text[], $5::bigint[]) AS limits (hook, most) WHERE limits.hook = job.hook
))"
                ),
            complete: under(
                "state = 'succeeded', ended_at = clock_timestamp(), outcome = $3, error = NULL, payload = ''",
            ),
            retry_after: under(
                "state = 'queued', due_at = clock_timestamp() + $3 * interval '1 microsecond', error = $4",
            ),
            release: under(
                "state = 'queued', due_at = clock_timestamp() + $3 * interval '1 microsecond', attempts = greatest(attempts - 1, 0)",
            ),
            bury: under(
                "state = 'dead', ended_at = clock_timestamp(), error = $3, attempts = greatest(attempts - $4, 0)",
            ),
            has_token: format!("SELECT 1 FROM {jobs} WHERE id = $1 AND token = $2"),
            state: format!("SELECT {COLUMNS} FROM {jobs} WHERE id = $1"),
            retry: format!(
                "UPDATE {jobs} SET state = 'queued', attempts = 0, token = NULL, due_at = clock_timestamp(),
    started_at = NULL, ended_at = NULL, error = NULL
WHERE id = $1 AND state = 'dead'"
            ),
            remove: format!("DELETE FROM {jobs} WHERE id = $1 AND state <> 'running'"),
            exists: format!("SELECT state FROM {jobs} WHERE id = $1"),
            backlog: format!(
                "SELECT count(*) AS queued FROM (
    SELECT 1 FROM {jobs} WHERE ended_at IS NULL AND hook = $1 AND state = 'queued' LIMIT $2
) AS waiting"
            ),
            stats: format!(
                "SELECT hook, sum(queued)::bigint AS queued, sum(running)::bigint AS running,
    sum(dead)::bigint AS dead,
    (extract(epoch FROM statement_timestamp() - min(oldest)) * 1000000)::bigint AS oldest
FROM (
    SELECT hook, count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running') AS running, 0 AS dead,
        min(created_at) FILTER (WHERE state = 'queued') AS oldest
    FROM {jobs} WHERE ended_at IS NULL GROUP BY hook
    UNION ALL
    SELECT hook, 0, 0, count(*), NULL FROM {jobs} WHERE state = 'dead' GROUP BY hook
) AS numbers GROUP BY hook"
            ),
            table: jobs,
        }
    }

    /// Keyset pagination. Its parameters are those that the filter has, in the order of its fields, then the time and id
    /// of the cursor, if there is one, and the limit.
    pub(super) fn list(&self, filter: &JobFilter, after: Option<&JobCursor>) -> String {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        let mut conditions = Vec::new();
        if let Some(state) = filter.state {
            // As a literal, so that partial indexes are used.
            conditions.push(format!("state = '{}'", state.as_str()));
            if !state.is_ended() {
                conditions.push("ended_at IS NULL".to_owned());
            }
        }
        if filter.hook.is_some() {
            conditions.push(format!("hook = ${}", next()));
        }
        if filter.owner.is_some() {
            conditions.push(format!("owner = ${}", next()));
        }
        if after.is_some() {
            conditions.push(format!(
                "(created_at, id) < (timestamptz 'epoch' + ${} * interval '1 microsecond', ${})",
                next(),
                next()
            ));
        }
        let conditions =
            if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        format!(
            "SELECT {} FROM {} AS job WHERE {conditions}
ORDER BY job.created_at DESC, job.id DESC LIMIT ${}",
            COLUMNS.replace("outcome", "NULL AS outcome"),
            self.table,
            next()
        )
    }

    /// The oldest of those that are too old, or beyond the count: one place in the order of their ends bounds both. Its
    /// parameters are the age in microseconds, the count, and the limit.
    pub(super) fn purge(&self, state: JobState, retention: &Retention) -> String {
        let (jobs, state) = (&self.table, state.as_str());
        let mut bounds = Vec::new();
        if retention.max_age.is_some() {
            bounds.push(
                "(SELECT statement_timestamp() - $1 * interval '1 microsecond' AS ended_at, ''::bytea AS id)"
                    .to_owned(),
            );
        }
        if retention.max_count.is_some() {
            bounds.push(format!(
                "(SELECT ended_at, id FROM {jobs} WHERE state = '{state}' AND ended_at IS NOT NULL
            ORDER BY ended_at DESC, id DESC LIMIT 1 OFFSET $2)"
            ));
        }
        let is_beyond = if bounds.is_empty() {
            "FALSE".to_owned()
        } else {
            format!(
                "(ended_at, id) <= (
        SELECT ended_at, id FROM ({}) AS bounds ORDER BY ended_at DESC, id DESC LIMIT 1
    )",
                bounds.join(" UNION ALL ")
            )
        };
        // An array, because the planner cannot know how few jobs the limit leaves, and would read the table otherwise. The
        // state is looked at once more when the row is locked: a dead job may have been queued again.
        format!(
            "DELETE FROM {jobs} WHERE state = '{state}' AND id = ANY (ARRAY(
    SELECT id FROM {jobs} WHERE state = '{state}' AND ended_at IS NOT NULL AND {is_beyond}
    ORDER BY ended_at, id LIMIT $3
))"
        )
    }
}
