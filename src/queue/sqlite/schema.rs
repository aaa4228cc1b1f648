//! The schema of a queue file.

use crate::store::sqlite::open::FileKind;

/// `twhq`: a file of jobs.
pub(super) const QUEUE_FILE: FileKind =
    FileKind { name: "queue file", application_id: 0x7477_6871, version: 1, schema: &SCHEMA };

/// Times are microseconds since 1970. `due_at` is when a job can be claimed: for one that waits the end of its delay,
/// for one that runs the end of its lease. `token` is that of the lease. `payload` is the last column, so that the others
/// are read without it.
///
/// Most jobs of a large file have succeeded. Three indexes have none of them: `jobs_open` for claims and backlog,
/// `jobs_running` to count the leases of a hook, and `jobs_unfinished` for lists and numbers. Each has the column of its
/// own condition too: SQLite reads the row otherwise.
const SCHEMA: [(i64, &str, &str); 7] = [
    (
        1,
        "jobs",
        "CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    hook TEXT NOT NULL,
    owner TEXT,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'dead')),
    attempts INTEGER NOT NULL,
    token BLOB,
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    outcome TEXT,
    error TEXT,
    payload TEXT NOT NULL,
    CHECK ((state = 'running') = (token IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'dead')) = (ended_at IS NOT NULL))
) STRICT",
    ),
    (
        1,
        "jobs_open",
        "CREATE INDEX jobs_open ON jobs (hook, due_at, state, ended_at) WHERE ended_at IS NULL",
    ),
    (
        1,
        "jobs_running",
        "CREATE INDEX jobs_running ON jobs (hook, due_at, state) WHERE state = 'running'",
    ),
    (
        1,
        "jobs_unfinished",
        "CREATE INDEX jobs_unfinished ON jobs (created_at, id, hook, state) WHERE state != 'succeeded'",
    ),
    (
        1,
        "jobs_ended",
        "CREATE INDEX jobs_ended ON jobs (state, ended_at, id) WHERE ended_at IS NOT NULL",
    ),
    (1, "jobs_by_time", "CREATE INDEX jobs_by_time ON jobs (created_at, id, hook)"),
    (
        1,
        "jobs_by_owner",
        "CREATE INDEX jobs_by_owner ON jobs (owner, created_at, id) WHERE owner IS NOT NULL",
    ),
];
