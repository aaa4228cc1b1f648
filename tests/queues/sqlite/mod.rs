//! `SqliteQueue` on real files: with other processes, kills, faults of the disk, and files of the wrong kind.
//!
//! `TOWER_WEBHOOK_KILLS` sets how often a process is killed (10).

mod access;
#[cfg(feature = "conformance")]
mod conformance;
mod crash;
mod faults;
mod processes;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, raw_sql};
use time::OffsetDateTime;
use tower_webhook::Clock;
use tower_webhook::queue::{ClaimedJob, Enqueued, JobId, JobQueue, NewJob, SqliteQueue};

use crate::support::folder::Folder;

const LEASE: Duration = Duration::from_secs(60);

fn file(folder: &Folder) -> PathBuf {
    folder.path().join("queue.db")
}

async fn open(folder: &Folder) -> SqliteQueue {
    SqliteQueue::open(file(folder)).await.unwrap()
}

/// A queue whose file has its first page, with the schema, and garbage after it.
async fn open_damaged(folder: &Folder) -> SqliteQueue {
    let queue = open(folder).await;
    for _ in 0..100 {
        enqueue(&queue, "a").await;
    }
    drop(queue);
    let mut other = SqliteConnectOptions::new().filename(file(folder)).connect().await.unwrap();
    raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut other).await.unwrap();
    drop(other);
    let damaged = OpenOptions::new().write(true).open(file(folder)).unwrap();
    let len = damaged.metadata().unwrap().len();
    damaged.write_all_at(&vec![0xff; usize::try_from(len).unwrap() - 4096], 4096).unwrap();
    open(folder).await
}

/// A clock an hour after the system's: all leases and delays have ended.
fn in_an_hour() -> Clock {
    Clock::from_fn(|| OffsetDateTime::now_utc() + time::Duration::HOUR)
}

async fn enqueue(queue: &SqliteQueue, hook: &str) -> JobId {
    let id = JobId::random().unwrap();
    assert_eq!(queue.enqueue(NewJob::new(id, "{}").with_hook(hook)).await.unwrap(), Enqueued::New);
    id
}

/// What is due now.
async fn claim(queue: &SqliteQueue, max: usize) -> Vec<ClaimedJob> {
    queue.claim(max, LEASE, Duration::ZERO).await.unwrap()
}
