//! The limiter: its rules, what it sends and stores, and what it does with values and answers that are wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::Value;
use tower_webhook::BoxError;
use tower_webhook::rate_limit::{
    Decision, Limit, Quota, RateLimiter, RedisRateLimiter, conformance,
};
use tower_webhook::store::{RedisStoreError, RedisStoreErrorKind};

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::{DEADLINE, fresh};
use crate::support::SLACK;
use crate::support::port::Port;

pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn quota(burst: u32, period: Duration) -> Quota {
    Quota::new(burst, period).unwrap()
}

pub(super) async fn call(
    limiter: &RedisRateLimiter,
    limits: &[(&str, Quota)],
) -> Result<Decision, BoxError> {
    let limits: Vec<_> = limits.iter().map(|(bucket, quota)| Limit::new(bucket, *quota)).collect();
    limiter.check(&limits).await
}

#[track_caller]
fn cause(result: Result<Decision, BoxError>) -> RedisStoreError {
    *result.unwrap_err().downcast().unwrap()
}

async fn limiter() -> (Server, RedisRateLimiter) {
    let server = Server::start_with(&[]);
    let limiter = RedisRateLimiter::connect(&server.url()).await.unwrap();
    (server, limiter)
}

/// The name of a bucket in the default namespace.
fn name(bucket: &str) -> String {
    format!("{{tower-webhook}}:rate:{bucket}")
}

fn number(answer: Value) -> u64 {
    redis::from_redis_value(answer).unwrap()
}

/// How often each command was run since `CONFIG RESETSTAT`, but for those of this function and that one.
fn commands(server: &Server) -> BTreeMap<String, u64> {
    let text: String = redis::from_redis_value(server.command(&["INFO", "commandstats"])).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    let stats = lines.map(|line| {
        let (name, rest) = line.split_once(":calls=").unwrap();
        (name.to_owned(), rest.split_once(',').unwrap().0.parse().unwrap())
    });
    let own = |name: &str| name == "info" || name.starts_with("config") || name.contains("setinfo");
    stats.filter(|(name, _)| !own(name)).collect()
}

#[tokio::test]
async fn the_limiter_keeps_the_rules() {
    let (server, limiter) = limiter().await;
    conformance::check(limiter).await;

    let proxy = Proxy::start(server.port()).await;
    proxy.set(Mode::Throttle(7));
    let slow = RedisRateLimiter::connect_lazy(&proxy.url()).unwrap();
    conformance::check(slow.with_namespace("slow").unwrap()).await;
}

#[tokio::test]
async fn a_check_of_several_limits_is_one_command() {
    let (server, limiter) = limiter().await;
    let limits = [("a", quota(5, HOUR)), ("b", quota(9, HOUR))];
    server.command(&["CONFIG", "RESETSTAT"]);
    for number in 1..=10 {
        assert_eq!(call(&limiter, &limits).await.unwrap().is_allowed(), number <= 5);
    }
    // What is counted is in both buckets, and a refused call writes nothing.
    let expected = [("evalsha", 10), ("get", 20), ("set", 10), ("time", 10)];
    assert_eq!(commands(&server), expected.map(|(name, calls)| (name.to_owned(), calls)).into());
}

#[tokio::test]
async fn a_server_that_does_not_know_the_script_gets_it() {
    let (server, limiter) = limiter().await;
    server.command(&["SCRIPT", "FLUSH"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    for remaining in [1, 0] {
        let decision = call(&limiter, &[("a", quota(2, HOUR))]).await.unwrap();
        assert_eq!(decision.states()[0].remaining(), remaining);
    }
    let commands = commands(&server);
    assert_eq!((commands["evalsha"], commands["eval"]), (2, 1));
}

#[tokio::test]
async fn a_bucket_is_a_time_that_vanishes() {
    let (server, limiter) = limiter().await;
    // Not a whole number of milliseconds.
    let odd = quota(1000, Duration::from_micros(8_571_429));
    let mut times = Vec::new();
    for _ in 0..3 {
        call(&limiter, &[("odd", odd)]).await.unwrap();
        let text = server.command(&["GET", &name("odd")]);
        times.push(number(text));
    }
    assert_eq!([times[1] - times[0], times[2] - times[1]], [8_571_429; 2]);
    let left = number(server.command(&["PTTL", &name("odd")]));
    assert!(left > 20_000 && left <= 3 * 8_572, "{left}");

    // The longest window, and a moment that is over.
    let longest = call(&limiter, &[("long", quota(1, Quota::MAX_WINDOW))]).await.unwrap();
    assert_eq!(longest.states()[0].reset_after(), Quota::MAX_WINDOW);
    call(&limiter, &[("short", quota(1, Duration::from_micros(1)))]).await.unwrap();
    let started = Instant::now();
    while number(server.command(&["EXISTS", &name("short")])) == 1 {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_time_that_is_too_far_ahead_is_an_empty_bucket() {
    let (server, limiter) = limiter().await;
    let period = Duration::from_millis(200);
    // A year ahead, and more than a number can be.
    for full_at in ["2000000000000000", &"9".repeat(400)] {
        server.command(&["SET", &name("a"), full_at]);
        let refused = call(&limiter, &[("a", quota(3, period))]).await.unwrap();
        assert!(!refused.is_allowed());
        assert_eq!(refused.retry_after(), period);
        tokio::time::sleep(period).await;
        assert!(call(&limiter, &[("a", quota(3, period))]).await.unwrap().is_allowed());
    }
}

#[tokio::test]
async fn a_value_that_is_no_time_is_an_error_and_counts_nothing() {
    let (server, limiter) = limiter().await;
    let limits = [("good", quota(5, HOUR)), ("bad", quota(5, HOUR))];
    for text in ["", "x", "-1", "1.5", "1e15", "0x10", "nan", "inf", " 1", "1\n"] {
        server.command(&["SET", &name("bad"), text]);
        let error = cause(call(&limiter, &limits).await);
        assert_eq!(error.kind(), RedisStoreErrorKind::InvalidRecord, "{text:?}");
    }
    server.command(&["DEL", &name("bad")]);
    server.command(&["RPUSH", &name("bad"), "x"]);
    assert_eq!(cause(call(&limiter, &limits).await).code(), Some("WRONGTYPE"));
    assert_eq!(number(server.command(&["EXISTS", &name("good")])), 0);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_an_error() {
    let (server, limiter) = limiter().await;
    let limit = [("a", quota(5, HOUR))];
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(cause(call(&limiter, &limit).await).code(), Some("OOM"));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    server.command(&["REPLICAOF", "127.0.0.1", &Port::reserve().number().to_string()]);
    assert_eq!(cause(call(&limiter, &limit).await).code(), Some("READONLY"));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let decision = call(&limiter, &limit).await.unwrap();
    assert_eq!(decision.states()[0].remaining(), 4);
}

#[tokio::test]
async fn an_answer_that_is_none_of_the_script_is_an_error() {
    let (server, _) = limiter().await;
    let proxy = Proxy::start(server.port()).await;
    let limiter = RedisRateLimiter::connect(&proxy.url()).await.unwrap().with_deadline(DEADLINE);
    let limit = [("a", quota(5, HOUR))];
    call(&limiter, &limit).await.unwrap();
    for answer in [
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*3\r\n:1\r\n:0\r\n:0\r\n",
        "*2\r\n:2\r\n:0\r\n",
        "*2\r\n:1\r\n:-1\r\n",
        "*2\r\n$1\r\n1\r\n:0\r\n",
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
    ] {
        proxy.set(Mode::Replace { pieces: 0, with: answer.into() });
        let error = cause(call(&limiter, &limit).await);
        assert_eq!(error.kind(), RedisStoreErrorKind::UnexpectedReply, "{answer:?}");
        assert!(proxy.is_passing());
    }
    proxy.set(Mode::Replace { pieces: 0, with: b"-ERR no hunter2\r\n".into() });
    let error = cause(call(&limiter, &limit).await);
    assert_eq!((error.kind(), error.code()), (RedisStoreErrorKind::Server, Some("ERR")));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_and_counts_at_least_once() {
    let (server, _) = limiter().await;
    let proxy = Proxy::start(server.port()).await;
    let limiter = RedisRateLimiter::connect(&proxy.url()).await.unwrap();
    let limit = [("a", quota(1000, HOUR))];
    let mut remaining = 1000;
    for bytes in 0..15 {
        proxy.set(Mode::Cut { pieces: 0, bytes });
        let decision = call(&limiter, &limit).await.unwrap();
        assert!(proxy.is_passing());
        let left = decision.states()[0].remaining();
        assert!(left < remaining && left + 3 >= remaining, "{bytes}: {left} of {remaining}");
        remaining = left;
    }
}

#[tokio::test]
async fn the_commands_that_are_documented_are_enough_for_a_limiter() {
    let (server, _) = limiter().await;
    let rules = "on >pa55word resetkeys ~{tower-webhook}:rate:* resetchannels -@all +eval +evalsha \
                 +time +get +set";
    let words: Vec<&str> = ["ACL", "SETUSER", "app"].into_iter().chain(rules.split(' ')).collect();
    server.command(&words);
    server.command(&["SCRIPT", "FLUSH"]);
    let url = format!("redis://app:pa55word@127.0.0.1:{}/", server.port());
    let limiter = RedisRateLimiter::connect(&url).await.unwrap();
    assert!(call(&limiter, &[("a", quota(1, HOUR))]).await.unwrap().is_allowed());
    assert!(!call(&limiter, &[("a", quota(1, HOUR))]).await.unwrap().is_allowed());

    server.command(&["ACL", "SETUSER", "app", "-eval", "-evalsha"]);
    let error = RedisRateLimiter::connect(&url).await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"));
}

#[tokio::test]
async fn all_buckets_of_a_call_are_in_one_slot_of_a_cluster() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]);
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let limiter = RedisRateLimiter::connect(&server.url()).await.unwrap();
    let limits = [("{a}", quota(2, HOUR)), ("{b}", quota(2, HOUR))];
    let started = Instant::now();
    while let Err(error) = call(&limiter, &limits).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(call(&limiter, &limits).await.unwrap().states()[1].remaining(), 0);
}

#[tokio::test]
async fn the_limiter_of_a_store_has_its_namespace() {
    let (server, store) = fresh().await;
    let limit = [("a", quota(1, HOUR))];
    assert!(call(&store.rate_limiter(), &limit).await.unwrap().is_allowed());
    assert_eq!(number(server.command(&["EXISTS", &name("a")])), 1);
    let other = store.with_namespace("other").unwrap().rate_limiter();
    assert!(call(&other, &limit).await.unwrap().is_allowed());
    assert!(!call(&other, &limit).await.unwrap().is_allowed());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_of_the_limiter() {
    let url = format!("redis://user:hunter2@127.0.0.1:{}/", Port::reserve().number());
    let error = RedisRateLimiter::connect(&url).await.unwrap_err();
    let limiter = RedisRateLimiter::connect_lazy(&url).unwrap().with_deadline(DEADLINE);
    let started = Instant::now();
    let later = call(&limiter, &[("a", quota(1, HOUR))]).await.unwrap_err();
    assert!(started.elapsed() < DEADLINE + SLACK);
    let texts = format!("{error} {error:?} {later} {later:?} {limiter:?}");
    assert!(!texts.contains("hunter2") && !texts.contains("127.0.0.1"), "{texts}");
    let invalid = RedisRateLimiter::connect_lazy("hunter2://").unwrap_err();
    assert_eq!(invalid.kind(), RedisStoreErrorKind::InvalidUrl);
    assert!(limiter.with_namespace("{a}").is_err());
}
