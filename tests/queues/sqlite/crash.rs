//! A process that is killed while it enqueues and works.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use tower_webhook::queue::{JobFilter, JobId, JobQueue, JobState, LeaseState, SqliteQueue};

use super::{LEASE, claim, enqueue, file, in_an_hour, open};
use crate::support::folder::Folder;
use crate::support::process::{Running, child, given_file};

/// Says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_to_be_killed() {
    let Some(file) = given_file() else { return };
    let queue = SqliteQueue::open(file).await.unwrap();
    let worker = queue.clone();
    tokio::spawn(async move {
        loop {
            for job in worker.claim(2, LEASE, LEASE).await.unwrap() {
                let id = job.lease.job();
                assert_eq!(
                    worker.complete(&job.lease, &id.to_string()).await.unwrap(),
                    LeaseState::Held
                );
                println!("\nended {id}");
            }
        }
    });
    loop {
        println!("\nenqueued {}", enqueue(&queue, "a").await);
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let folder = Folder::new();
    let kills = env::var("TOWER_WEBHOOK_KILLS").ok().and_then(|kills| kills.parse().ok());
    let (mut enqueued, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..kills.unwrap_or(10_u64) {
        let mut command = child("sqlite::crash::a_process_that_is_to_be_killed", &file(&folder));
        let mut process = Running(command.spawn().unwrap());
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("ended") {
            assert_ne!(output.read_line(&mut lines).unwrap(), 0, "the process did not start");
        }
        let reader = thread::spawn(move || {
            output.read_to_string(&mut lines).unwrap();
            lines
        });
        thread::sleep(Duration::from_micros(round * 7919 % 30_000));
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        // The last line may be cut short.
        let lines = reader.join().unwrap();
        let ids = |word| {
            let lines = lines.split_inclusive('\n').filter_map(move |line| line.strip_prefix(word));
            lines.filter_map(|id| id.strip_suffix('\n')?.parse::<JobId>().ok())
        };
        enqueued.extend(ids("enqueued "));
        ended.extend(ids("ended "));

        let queue = open(&folder).await;
        queue.check().await.unwrap();
        let jobs = queue.list(&JobFilter::all(), None, usize::MAX).await.unwrap();
        let stored = BTreeSet::from_iter(jobs.iter().map(|job| job.id));
        assert!(enqueued.is_subset(&stored));
        let succeeded = jobs.iter().filter(|job| job.state == JobState::Succeeded);
        let succeeded: BTreeSet<_> = succeeded.map(|job| job.id).collect();
        assert!(ended.is_subset(&succeeded));
        for id in succeeded {
            let outcome = queue.state(&id).await.unwrap().unwrap().outcome;
            assert_eq!(outcome, Some(id.to_string()));
        }
    }

    // Those that were running, and those that still wait.
    let queue = open(&folder).await.with_clock(in_an_hour());
    let rest = claim(&queue, usize::MAX).await;
    let unfinished = queue.list(&JobFilter::all(), None, usize::MAX).await.unwrap();
    let unfinished = unfinished.iter().filter(|job| job.state != JobState::Succeeded);
    assert_eq!(
        BTreeSet::from_iter(rest.iter().map(|job| job.lease.job())),
        BTreeSet::from_iter(unfinished.map(|job| job.id))
    );
}
