//! A file that is locked, full or damaged: an error, and no job that was acknowledged is lost.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection, raw_sql};
use tower_webhook::queue::{
    Enqueued, JobFilter, JobId, JobQueue, NewJob, QueueErrorKind, SqliteQueue,
};
use tower_webhook::store::SqliteOpenErrorKind;

use super::{LEASE, claim, enqueue, file, open, open_damaged};
use crate::support::folder::Folder;
use crate::support::process::{Running, child, given_file};

async fn connect(folder: &Folder) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file(folder)).connect().await.unwrap()
}

#[tokio::test]
async fn a_locked_file_fails_changes_and_answers_look_ups() {
    let folder = Folder::new();
    let queue = open(&folder).await.with_deadline(Duration::from_millis(100));
    let known = enqueue(&queue, "a").await;
    let held = claim(&queue, 1).await;
    let due = enqueue(&queue, "a").await;
    let mut other = connect(&folder).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let new = NewJob::new(JobId::random().unwrap(), "{}");
    let error = queue.enqueue(new.clone()).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::Unavailable);
    assert!(error.source().is_some());
    assert!(queue.claim(1, LEASE, Duration::MAX).await.is_err());
    assert!(queue.complete(&held[0].lease, "done").await.is_err());
    assert!(queue.heartbeat(&held[0].lease, LEASE).await.is_err());
    assert!(queue.state(&known).await.unwrap().is_some());
    assert_eq!(queue.backlog("a", 5).await.unwrap(), 1);

    // What has failed does no harm when it is done again, and no job was claimed.
    raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let queue = queue.with_deadline(LEASE);
    let _ = queue.complete(&held[0].lease, "done").await.unwrap();
    let job = queue.state(&known).await.unwrap().unwrap();
    assert_eq!(job.outcome.as_deref(), Some("done"));
    let _ = queue.enqueue(new).await.unwrap();
    assert_eq!(claim(&queue, 5).await.len(), 2);
    assert_eq!(queue.state(&due).await.unwrap().unwrap().attempts, 1);
}

#[tokio::test]
async fn a_claim_without_a_wait_reads_a_locked_file() {
    let folder = Folder::new();
    let queue = open(&folder).await;
    let mut other = connect(&folder).await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // Nothing is due, so that it needs no lock.
    assert!(queue.claim(1, LEASE, Duration::from_millis(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_page_is_an_error() {
    let folder = Folder::new();
    let queue = open_damaged(&folder).await;
    assert_eq!(queue.check().await.unwrap_err().kind(), SqliteOpenErrorKind::Damaged);
    // `conformance` makes every other call.
    let error = queue.state(&JobId::random().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::Unavailable);
}

#[tokio::test]
async fn a_producer_that_runs_out_of_space() {
    let Some(file) = given_file() else { return };
    let queue = SqliteQueue::open(file).await.unwrap();
    let (mut count, mut failures) = (0, 0);
    // The log can start again at its beginning after a first failure.
    while failures < 5 {
        let id = JobId::random().unwrap();
        match queue.enqueue(NewJob::new(id, "x".repeat(20_000))).await {
            Ok(new) => {
                assert_eq!(new, Enqueued::New);
                (count, failures) = (count + 1, 0);
                println!("\nenqueued {id}");
            }
            Err(error) => {
                assert_eq!(error.kind(), QueueErrorKind::Unavailable);
                failures += 1;
            }
        }
        assert!(count < 1000, "there is no limit");
    }
    println!("full");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    println!("enqueued {}", enqueue(&queue, "a").await);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_ends_when_there_is_space_again() {
    let folder = Folder::new();
    let program = child("sqlite::faults::a_producer_that_runs_out_of_space", &file(&folder));
    // A limit on the size of files, which the shell sets, without a signal.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 2000; exec \"$0\" \"$@\""]);
    command.arg(program.get_program()).args(program.get_args());
    command.env("TOWER_WEBHOOK_FILE", file(&folder));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut producer = Running(command.spawn().unwrap());
    let mut output = BufReader::new(producer.0.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.ends_with("full\n") {
        assert_ne!(output.read_line(&mut lines).unwrap(), 0, "the producer failed");
    }

    let pid = producer.0.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(lifted.expect("`prlimit` is in Debian's util-linux").success());
    writeln!(producer.0.stdin.take().unwrap()).unwrap();
    output.read_to_string(&mut lines).unwrap();
    assert!(producer.0.wait().unwrap().success(), "{lines}");

    let queue = open(&folder).await;
    queue.check().await.unwrap();
    let acknowledged: Vec<_> =
        lines.lines().filter_map(|line| line.strip_prefix("enqueued ")).collect();
    assert!(acknowledged.len() > 5);
    let listed = queue.list(&JobFilter::all(), None, 2000).await.unwrap();
    let mut listed: Vec<_> = listed.iter().map(|job| job.id.to_string()).collect();
    listed.reverse();
    assert_eq!(listed, acknowledged);
}
