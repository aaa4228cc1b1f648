//! What is in the table, and which indexes are used.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, raw_sql};
use tokio::time::sleep;
use tower_webhook::queue::{HookLimits, JobQueue, JobState, PostgresQueue, Retention};

use super::server::{self, Server};
use super::{claim, enqueue, fresh_schema, open, queue};
use crate::races::{each_stored_job_goes_once, one_job_runs_under_a_limit_of_one};

#[tokio::test(flavor = "multi_thread")]
async fn migrations_meet_and_a_later_version_is_refused() {
    let server = server::shared();
    let schema = fresh_schema();
    let queues: Vec<PostgresQueue> =
        futures_util::future::join_all((0..8).map(|_| open(&server, &schema, HookLimits::new())))
            .await;
    enqueue(&queues[0], "a").await;
    assert_eq!(claim(&queues[7], 2).await.len(), 1);

    let later = format!("UPDATE \"{schema}\".webhook_jobs_schema SET version = 2");
    raw_sql(AssertSqlSafe(later)).execute(&mut server.connect().await).await.unwrap();
    let error = queues[0].migrate().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the tables of the queue are of another version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_claim_could_read_is_refused() {
    let server = server::shared();
    let schema = fresh_schema();
    let queue = open(&server, &schema, HookLimits::new()).await;
    enqueue(&queue, "a").await;
    let mut connection = server.connect().await;
    for damage in ["attempts = -2", "id = ''", "hook = NULL", "payload = NULL"] {
        let sql = format!("UPDATE \"{schema}\".webhook_jobs SET {damage}");
        assert!(raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.is_err(), "{damage}");
    }
    assert_eq!(claim(&queue, 2).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_of_a_job_that_has_succeeded_is_deleted() {
    let server = server::shared();
    let schema = fresh_schema();
    let queue = open(&server, &schema, HookLimits::new()).await;
    for _ in 0..2 {
        enqueue(&queue, "a").await;
    }
    let jobs = claim(&queue, 2).await;
    let _ = queue.complete(&jobs[0].lease, "done").await.unwrap();
    let _ = queue.bury(&jobs[1].lease, "failed", true).await.unwrap();
    let select = format!("SELECT payload FROM \"{schema}\".webhook_jobs ORDER BY payload");
    let rows = raw_sql(AssertSqlSafe(select)).fetch_all(&mut server.connect().await).await.unwrap();
    let payloads: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(payloads, ["", "{}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_queues() {
    let server = server::shared();
    let schema = fresh_schema();
    let limits = HookLimits::new().with("narrow", 3).unwrap();
    let queues = [
        open(&server, &schema, limits.clone()).await,
        open(&server, &schema, limits.clone()).await,
    ];
    for _ in 0..40 {
        enqueue(&queues[0], "narrow").await;
        enqueue(&queues[0], "wide").await;
    }
    let claims = (0..8).map(|index| {
        let queue = queues[index % 2].clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            for _ in 0..10 {
                claimed.extend(claim(&queue, 2).await);
            }
            claimed
        })
    });
    let mut narrow = Vec::new();
    let mut wide = 0;
    for claims in claims.collect::<Vec<_>>() {
        for job in claims.await.unwrap() {
            if job.hook == "narrow" { narrow.push(job.lease) } else { wide += 1 }
        }
    }
    assert_eq!((narrow.len(), wide), (3, 40));
    // One place is free again.
    let _ = queues[1].complete(&narrow[0], "done").await.unwrap();
    assert_eq!(claim(&queues[0], 5).await.len(), 1);
    assert_eq!(claim(&queues[1], 5).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_and_claims_keep_to_a_limit() {
    let server = server::shared();
    let schema = fresh_schema();
    let limits = HookLimits::new().with("narrow", 1).unwrap();
    let open = async || open(&server, &schema, limits.clone()).await;
    one_job_runs_under_a_limit_of_one([open().await, open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_changed_by_many_at_once_goes_once() {
    let server = server::shared();
    for limits in [HookLimits::new(), HookLimits::new().with("", 2).unwrap()] {
        let schema = fresh_schema();
        let open = async || open(&server, &schema, limits.clone()).await;
        each_stored_job_goes_once([open().await, open().await]).await;
    }
}

/// The plan of a statement after the planner has seen many jobs that have ended.
async fn plan(server: &Server, statement: &str) -> String {
    let mut connection = server.connect().await;
    let explain = AssertSqlSafe(format!("EXPLAIN {statement}"));
    let rows = raw_sql(explain).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_have_ended_are_not_read() {
    let server = Server::start();
    let queue = queue(&server).await;
    enqueue(&queue, "a").await;
    let schema = {
        let sql = "SELECT schemaname::text FROM pg_tables WHERE tablename = 'webhook_jobs'";
        let row = raw_sql(sql).fetch_one(&mut server.connect().await).await.unwrap();
        row.get::<String, _>(0)
    };
    let table = format!("\"{schema}\".webhook_jobs");
    let fill = format!(
        "INSERT INTO {table} (id, hook, fingerprint, state, attempts, due_at, created_at, ended_at, payload)
SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 'a', decode(repeat('00', 32), 'hex'), 'succeeded', 1,
    now(), now() - n * interval '1 second', now() - n * interval '1 second', '{{}}'
FROM generate_series(1, 100000) AS n;
ANALYZE {table}"
    );
    raw_sql(AssertSqlSafe(fill)).execute(&mut server.connect().await).await.unwrap();
    let due = format!(
        "SELECT id FROM {table} WHERE ended_at IS NULL AND due_at <= statement_timestamp()
ORDER BY due_at LIMIT 16 FOR UPDATE SKIP LOCKED"
    );
    let due = plan(&server, &due).await;
    assert!(due.contains("webhook_jobs_due"), "{due}");
    assert!(due.contains("Index Cond: (due_at <= statement_timestamp())"), "{due}");
    let count = format!(
        "SELECT count(*) FROM {table} WHERE ended_at IS NULL AND hook = 'a' AND state = 'running'"
    );
    let count = plan(&server, &count).await;
    assert!(
        ["by_hook", "due", "running"]
            .iter()
            .any(|index| count.contains(&format!("webhook_jobs_{index}"))),
        "{count}"
    );

    assert_eq!(claim(&queue, 5).await.len(), 1);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.len(), stats[0].running, stats[0].dead), (1, 1, 0));
    let keep = Retention::forever().with_max_count(99_990);
    assert_eq!(queue.purge(JobState::Succeeded, &keep, 1000).await.unwrap(), 10);
    assert_eq!(queue.purge(JobState::Succeeded, &keep, 1000).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_queued_again_meanwhile_is_not_purged() {
    let server = server::shared();
    let schema = fresh_schema();
    let queue = open(&server, &schema, HookLimits::new()).await;
    let id = enqueue(&queue, "a").await;
    let lease = claim(&queue, 1).await[0].lease;
    let _ = queue.bury(&lease, "broken", true).await.unwrap();
    // What `retry` does, in a transaction that is not over yet.
    let mut other = server.connect().await;
    let retry = format!(
        "BEGIN; UPDATE \"{schema}\".webhook_jobs SET state = 'queued', attempts = 0, ended_at = NULL, error = NULL"
    );
    raw_sql(AssertSqlSafe(retry)).execute(&mut other).await.unwrap();
    let purging = queue.clone();
    let purge = tokio::spawn(async move {
        let none = Retention::forever().with_max_count(0);
        purging.purge(JobState::Dead, &none, 10).await.unwrap()
    });
    sleep(Duration::from_millis(500)).await;
    raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(purge.await.unwrap(), 0);
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Queued);
}
