//! The limiter under load: two processes, and a server that is killed, paused and emptied.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, io};

use tower_webhook::rate_limit::{Quota, RedisRateLimiter};

use super::rate_limit::{HOUR, call, quota};
use super::server::Server;
use super::support::DEADLINE;
use crate::shared::setting;

const URL: &str = "TOWER_WEBHOOK_URL";
const PERIOD: Duration = Duration::from_millis(10);
const BURST: u32 = 500;

/// A bucket that takes five seconds to fill up, so that it stays below its burst when a process is held up.
fn shared_quota() -> Quota {
    quota(BURST, PERIOD)
}

/// Makes many calls when it is let go, and says how many were allowed.
#[tokio::test]
async fn a_process_that_makes_calls() {
    let Ok(url) = env::var(URL) else { return };
    let limiter = RedisRateLimiter::connect(&url).await.unwrap();
    let limiter = limiter.with_deadline(Duration::from_secs(10));
    let calls = setting("TOWER_WEBHOOK_CALLS", 2000) / 8;
    println!("\nready");
    io::stdin().read_line(&mut String::new()).unwrap();
    let tasks = (0..8).map(|_| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let mut allowed = 0;
            for _ in 0..calls {
                let decision = call(&limiter, &[("one", shared_quota())]).await.unwrap();
                allowed += u64::from(decision.is_allowed());
            }
            allowed
        })
    });
    let allowed = futures_util::future::join_all(tasks).await;
    println!("\nallowed {}", allowed.into_iter().map(Result::unwrap).sum::<u64>());
}

/// A process that is another one of this program, with a single test.
struct Caller {
    child: Child,
    output: io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Caller {
    fn start(url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let name = "redis::rate_limit_load::a_process_that_makes_calls";
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(URL, url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut caller = Self { child, output };
        caller.wait_for("ready");
        caller
    }

    fn let_go(&mut self) {
        writeln!(self.child.stdin.take().unwrap()).unwrap();
    }

    /// What follows on the next line that begins with this word.
    fn wait_for(&mut self, word: &str) -> String {
        let lines = self.output.by_ref().map(Result::unwrap);
        let mut found = lines.filter_map(|line| line.strip_prefix(word).map(str::to_owned));
        found.next().expect("the process has ended")
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn two_processes_share_one_rate() {
    let server = Server::start_with(&[]);
    let limiter = RedisRateLimiter::connect(&server.url()).await.unwrap();
    let mut callers = [Caller::start(&server.url()), Caller::start(&server.url())];

    let limit = [("one", shared_quota())];
    let before_first = Instant::now();
    assert!(call(&limiter, &limit).await.unwrap().is_allowed());
    let after_first = Instant::now();
    let mut allowed = 1;
    for caller in &mut callers {
        caller.let_go();
    }
    for caller in &mut callers {
        allowed += caller.wait_for("allowed ").parse::<u64>().unwrap();
    }
    // Until the bucket is empty: what was allowed is then all that the rate allows.
    let (least, most) = loop {
        let least = after_first.elapsed();
        let is_allowed = call(&limiter, &limit).await.unwrap().is_allowed();
        if !is_allowed {
            break (least, before_first.elapsed());
        }
        allowed += 1;
    };
    let of_rate = |time: Duration| {
        u64::from(BURST) + u64::try_from(time.as_micros() / PERIOD.as_micros()).unwrap()
    };
    let (least, most) = (of_rate(least) - 1, of_rate(most) + 1);
    println!("{allowed} calls were allowed; between {least} and {most} were expected");
    assert!((least..=most).contains(&allowed), "{allowed}: {least} to {most}");
    assert!(allowed > u64::from(BURST), "the run was too short to see the rate");
}

/// Calls until the end is set, and counts what is allowed, refused and an error.
#[derive(Default)]
struct Counts {
    end: AtomicBool,
    allowed: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    async fn run(self: Arc<Self>, limiter: RedisRateLimiter) {
        while !self.end.load(Ordering::Relaxed) {
            let started = Instant::now();
            let count = match call(&limiter, &[("one", shared_quota())]).await {
                Ok(decision) if decision.is_allowed() => &self.allowed,
                Ok(_) => &self.refused,
                Err(_) => &self.errors,
            };
            count.fetch_add(1, Ordering::Relaxed);
            let elapsed = started.elapsed();
            assert!(elapsed < DEADLINE + Duration::from_millis(300), "{elapsed:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many more answers of a kind have come.
    async fn more(&self, counter: &AtomicU64, more: u64) {
        let (before, started) = (counter.load(Ordering::Relaxed), Instant::now());
        while counter.load(Ordering::Relaxed) < before + more {
            assert!(started.elapsed() < Duration::from_secs(20), "the calls hang");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_during_a_run_is_an_error_and_then_goes_on() {
    // Every count is on the disk before it is answered.
    let mut server = Server::start();
    let limiter = RedisRateLimiter::connect(&server.url()).await.unwrap().with_deadline(DEADLINE);
    let counts = Arc::new(Counts::default());
    let started = Instant::now();
    let tasks: Vec<_> =
        (0..8).map(|_| tokio::spawn(Arc::clone(&counts).run(limiter.clone()))).collect();
    for _ in 0..3 {
        counts.more(&counts.refused, 50).await;
        server.kill();
        counts.more(&counts.errors, 20).await;
        server.restart();
        counts.more(&counts.allowed, 20).await;
        server.pause();
        counts.more(&counts.errors, 8).await;
        server.resume();
        counts.more(&counts.allowed, 20).await;
    }
    counts.end.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let most = u128::from(BURST) + started.elapsed().as_micros() / PERIOD.as_micros() + 1;
    let allowed = u128::from(counts.allowed.load(Ordering::Relaxed));
    assert!(allowed <= most, "{allowed} calls were allowed, and at most {most} are");
}

#[tokio::test]
async fn a_bucket_outlives_the_server_as_its_data_does() {
    let mut server = Server::start();
    let limiter = RedisRateLimiter::connect(&server.url()).await.unwrap();
    let limit = [("a", quota(1, HOUR))];
    assert!(call(&limiter, &limit).await.unwrap().is_allowed());
    server.restart();
    assert!(!answered(&limiter, &limit).await);
    // Without its data, all buckets are full.
    server.restart_empty();
    assert!(answered(&limiter, &limit).await);
}

/// Whether the first call that is answered is allowed.
async fn answered(limiter: &RedisRateLimiter, limits: &[(&str, Quota)]) -> bool {
    let started = Instant::now();
    loop {
        match call(limiter, limits).await {
            Ok(decision) => return decision.is_allowed(),
            Err(error) => assert!(started.elapsed() < Duration::from_secs(5), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
