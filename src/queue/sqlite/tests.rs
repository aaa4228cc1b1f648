//! What SQLite makes of the statements, and rows that cannot be read.

use std::path::PathBuf;

use sqlx::{query_scalar, raw_sql};

use super::*;
use crate::key::Owner;
use crate::queue::QueueErrorKind;

struct Opened {
    queue: SqliteQueue,
    folder: PathBuf,
}

impl Opened {
    async fn new(name: &str) -> Self {
        let name = format!("tower-webhook-queue-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let queue = SqliteQueue::open(folder.join("queue.db")).await.unwrap();
        Self { queue, folder }
    }

    /// What another program does with the file.
    async fn run(&self, sql: &str) {
        let run = raw_sql(AssertSqlSafe(sql));
        run.execute(&mut *self.queue.writer.acquire().await.unwrap()).await.unwrap();
    }

    /// The steps of a statement that touch the jobs.
    async fn plan(&self, sql: &str) -> Vec<String> {
        let plan = query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let rows = plan.fetch_all(&mut *self.queue.writer.acquire().await.unwrap()).await.unwrap();
        let steps = rows.iter().map(|row| row.get::<String, _>("detail"));
        steps.filter(|step| step.contains("jobs") || step.contains("ORDER BY")).collect()
    }

    async fn enqueue(&self, hook: &str) -> JobId {
        let id = JobId::random().unwrap();
        let new = self.queue.enqueue(NewJob::new(id, "{}").with_hook(hook)).await.unwrap();
        assert_eq!(new, Enqueued::New);
        id
    }

    async fn claim(&self, max: usize) -> Vec<JobId> {
        let claim = self.queue.claim(max, Duration::from_secs(60), Duration::ZERO);
        claim.await.unwrap().iter().map(|job| job.lease.job()).collect()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[tokio::test]
async fn the_payload_of_a_job_that_has_succeeded_is_deleted() {
    let opened = Opened::new("payloads").await;
    for _ in 0..2 {
        opened.enqueue("a").await;
    }
    let jobs = opened.queue.claim(2, Duration::from_secs(60), Duration::ZERO).await.unwrap();
    let _ = opened.queue.complete(&jobs[0].lease, "done").await.unwrap();
    let _ = opened.queue.bury(&jobs[1].lease, "failed", true).await.unwrap();
    let payloads = query_scalar::<_, String>("SELECT payload FROM jobs ORDER BY payload");
    assert_eq!(payloads.fetch_all(&opened.queue.readers).await.unwrap(), ["", "{}"]);
}

/// So many jobs of a hook that have succeeded, or wait.
fn many(hook: &str, state: &str, count: u32) -> String {
    let ended_at = if state == "queued" { "NULL" } else { "n" };
    format!(
        "INSERT INTO jobs
            (id, hook, fingerprint, state, attempts, due_at, created_at, ended_at, payload)
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
        SELECT randomblob(16), '{hook}', zeroblob(32), '{state}', 1, n, n, {ended_at}, '{{}}' FROM numbers"
    )
}

async fn check_plans(opened: &Opened) {
    // A loose index scan: each step is one search.
    let heads = opened.plan(claim::HEADS).await;
    let open = "SEARCH jobs USING COVERING INDEX jobs_open";
    let running = "SEARCH jobs USING COVERING INDEX jobs_running (hook=? AND due_at>?)";
    let expected = [open, &format!("{open} (hook>?)"), &format!("{open} (hook=?)"), running];
    let heads: Vec<_> = heads.iter().filter(|step| step.contains("jobs")).collect();
    assert_eq!(heads, expected);

    let held = opened.plan(claim::HELD).await;
    let by_id = "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)";
    assert_eq!(held, [by_id, &running.replace("jobs USING", "other USING")]);

    let due = opened.plan(claim::DUE).await;
    assert_eq!(due, [format!("{open} (hook=? AND due_at<?)")]);
    assert_eq!(opened.plan(statements::BACKLOG).await, [format!("{open} (hook=?)")]);
    let stats = "SCAN jobs USING COVERING INDEX jobs_unfinished";
    assert_eq!(opened.plan(statements::STATS).await, [stats]);
    let by_id = "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)";
    for sql in [
        &*statements::state(),
        statements::HEARTBEAT,
        statements::COMPLETE,
        statements::RETRY_AFTER,
        statements::RELEASE,
        statements::BURY,
        statements::RETRY,
        statements::REMOVE,
    ] {
        assert_eq!(opened.plan(sql).await, [by_id], "{sql}");
    }
    let ended = "SEARCH jobs USING COVERING INDEX jobs_ended (state=? AND ended_at";
    assert_eq!(opened.plan(statements::BEYOND).await, [format!("{ended}>?)")]);
    let purge = opened.plan(statements::PURGE).await;
    let by_row = "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)";
    let oldest = format!("{ended}>? AND (ended_at,id)<(?,?))");
    assert_eq!(purge, [by_row, &oldest]);

    let all = JobFilter::all;
    let after = "(created_at,id)<(?,?)";
    let owner = Owner::new("ann").unwrap();
    for (filter, expected) in [
        (all(), format!("SEARCH jobs USING INDEX jobs_by_time ({after})")),
        (all().with_hook("a"), format!("SEARCH jobs USING INDEX jobs_by_time ({after})")),
        (
            all().with_state(JobState::Dead).with_owner(owner),
            format!("SEARCH jobs USING INDEX jobs_by_owner (owner=? AND {after})"),
        ),
    ] {
        assert_eq!(opened.plan(&statements::list(&filter)).await, [expected]);
    }
    for state in [JobState::Queued, JobState::Running, JobState::Dead] {
        let plan = opened.plan(&statements::list(&all().with_state(state))).await;
        assert_eq!(plan, [format!("SEARCH jobs USING INDEX jobs_unfinished ({after})")]);
    }
}

#[tokio::test]
async fn finished_jobs_are_read_by_no_claim() {
    let opened = Opened::new("plans").await;
    check_plans(&opened).await;
    opened.run(&many("a", "succeeded", 100_000)).await;
    check_plans(&opened).await;
    // With the numbers of rows that SQLite can choose by.
    opened.run("ANALYZE").await;
    check_plans(&opened).await;
}

#[tokio::test]
async fn a_full_hook_does_not_hide_the_others() {
    let opened = Opened::new("full").await;
    let limits = HookLimits::new().with("full", 1).unwrap();
    let limited = Opened {
        queue: opened.queue.clone().with_hook_limits(limits),
        folder: opened.folder.clone(),
    };
    opened.run(&many("full", "queued", 1000)).await;
    assert_eq!(limited.claim(8).await.len(), 1);
    assert_eq!(limited.claim(8).await, []);
    let other = opened.enqueue("other").await;
    assert_eq!(limited.claim(8).await, [other]);
    std::mem::forget(limited);
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_dead_and_stops_no_other() {
    // Whether it can be shown nevertheless.
    let damages = [
        ("hook = CAST(x'ff' AS TEXT)", false),
        ("payload = CAST(x'ff' AS TEXT)", true),
        ("attempts = -2", false),
    ];
    for (number, (damage, is_shown)) in damages.into_iter().enumerate() {
        let opened = Opened::new(&format!("unreadable-{number}")).await;
        let (bad, good) = (opened.enqueue("a").await, opened.enqueue("a").await);
        opened.run(&format!("UPDATE jobs SET {damage} WHERE id = x'{bad}'")).await;
        assert_eq!(opened.claim(8).await, [good], "{damage}");

        let state = opened.queue.state(&bad).await;
        match state {
            Ok(job) => assert!(is_shown && job.unwrap().state == JobState::Dead),
            Err(error) => {
                assert!(!is_shown && std::error::Error::source(&error).is_some());
                assert!(format!("{error:?}").contains(&bad.to_string()));
                assert!(opened.queue.list(&JobFilter::all(), None, 8).await.is_err());
            }
        }
        assert_eq!(opened.queue.remove(&bad).await.unwrap(), JobChange::Changed, "{damage}");
        assert_eq!(opened.queue.list(&JobFilter::all(), None, 8).await.unwrap().len(), 1);
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_job_that_cannot_be_read_is_logged_as_dead() {
    use std::io::{Read, Seek};

    let opened = Opened::new("logged").await;
    let id = opened.enqueue("a").await;
    opened.run("UPDATE jobs SET payload = CAST(x'ff' AS TEXT)").await;
    let path = opened.folder.join("log");
    let mut file =
        std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let writer = file.try_clone().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(writer)).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    assert_eq!(opened.claim(8).await, []);
    drop(guard);
    let mut log = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut log).unwrap();
    assert!(log.contains("job_dead") && log.contains(&id.to_string()), "{log}");
}

#[tokio::test]
async fn what_sqlite_cannot_hold_is_too_large() {
    let opened = Opened::new("large").await;
    let large = query_scalar::<_, i64>("SELECT length(zeroblob(1000000001))");
    let error = large.fetch_one(&opened.queue.readers).await.unwrap_err();
    assert_eq!(fault(StoreError::new(error)).kind(), QueueErrorKind::TooLarge);
    let missing = query("SELECT * FROM missing").execute(&opened.queue.readers).await.unwrap_err();
    assert_eq!(fault(StoreError::new(missing)).kind(), QueueErrorKind::Unavailable);
}

#[tokio::test]
async fn a_hook_can_have_any_name() {
    let opened = Opened::new("names").await;
    let names = ["", "a", "a\0", "a\0b", &"x".repeat(10_000)];
    let mut limits = HookLimits::new();
    for name in names {
        limits = limits.with(name, 1).unwrap();
        opened.enqueue(name).await;
        opened.enqueue(name).await;
    }
    let queue = opened.queue.clone().with_hook_limits(limits);
    let lease = Duration::from_secs(60);
    let claimed = queue.claim(100, lease, Duration::ZERO).await.unwrap();
    let mut hooks: Vec<_> = claimed.iter().map(|job| &*job.hook).collect();
    hooks.sort_unstable();
    assert_eq!(hooks, names);
    for job in &claimed {
        assert_eq!(queue.heartbeat(&job.lease, lease).await.unwrap(), LeaseState::Held);
    }
    for name in names {
        assert_eq!(queue.backlog(name, 10).await.unwrap(), 1);
        let listed = queue.list(&JobFilter::all().with_hook(name), None, 10).await.unwrap();
        assert_eq!(listed.len(), 2);
    }
    let stats = queue.stats().await.unwrap();
    assert!(stats.len() == 5 && stats.iter().all(|hook| (hook.queued, hook.running) == (1, 1)));
}
