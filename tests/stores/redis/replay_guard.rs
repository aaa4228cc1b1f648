//! Deliveries in Redis: the rules of guards, one round trip, restarts and outages.

use std::time::{Duration, Instant};

use http::Response;
use tower_webhook::replay::{
    Claim, RedisReplayGuard, ReplayGuard, ReplayKey, StoredResponse, conformance,
};

use super::server::Server;
use super::support::DEADLINE;
use crate::support::SLACK;

const LONG: Duration = Duration::from_secs(60);

async fn guard() -> (Server, RedisReplayGuard) {
    let server = Server::start();
    let guard = RedisReplayGuard::connect(&server.url()).await.unwrap();
    (server, guard)
}

fn key(name: &str) -> ReplayKey {
    ReplayKey::new(&[name.as_bytes()])
}

fn answer() -> StoredResponse {
    StoredResponse::of(&Response::new("done".into()))
}

#[tokio::test]
async fn the_guard_keeps_the_rules() {
    let (_server, guard) = guard().await;
    conformance::check(guard.with_namespace("other").unwrap()).await;
}

#[tokio::test]
async fn two_processes_see_one_claim_and_names_have_an_end() {
    let (server, guard) = guard().await;
    let other = RedisReplayGuard::connect(&server.url()).await.unwrap();
    let Claim::New(id) = guard.claim(&key("a"), LONG).await.unwrap() else { panic!("not new") };

    assert_eq!(other.claim(&key("a"), LONG).await.unwrap(), Claim::InFlight);
    let name = format!("{{tower-webhook}}:replay:{}", key("a"));
    let ends_in = || redis::from_redis_value::<i64>(server.command(&["PTTL", &name])).unwrap();
    assert!((1..=60_000).contains(&ends_in()));
    assert!(guard.commit(&key("a"), id, &answer(), LONG * 2).await.unwrap());
    assert!((60_001..=120_000).contains(&ends_in()));
    assert_eq!(other.claim(&key("a"), LONG).await.unwrap(), Claim::Done(answer()));
}

#[tokio::test]
async fn an_outage_is_an_error_in_time_and_needs_no_restart() {
    let (mut server, guard) = guard().await;
    let guard = guard.with_deadline(DEADLINE);
    guard.claim(&key("before"), LONG).await.unwrap();

    server.pause();
    let started = Instant::now();
    guard.claim(&key("a"), LONG).await.unwrap_err();
    assert!(started.elapsed() < DEADLINE + SLACK, "{:?}", started.elapsed());
    server.resume();
    server.kill();
    guard.claim(&key("a"), LONG).await.unwrap_err();
    server.restart();
    let started = Instant::now();
    while guard.claim(&key("b"), LONG).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(guard.claim(&key("b"), LONG).await.unwrap(), Claim::InFlight);
}

#[tokio::test]
async fn what_is_no_delivery_is_an_error() {
    let (server, guard) = guard().await;
    let name = format!("{{tower-webhook}}:replay:{}", key("a"));
    for value in ["", "X", "D", "D{}", "Dnot json"] {
        server.command(&["SET", &name, value]);
        assert!(guard.claim(&key("a"), LONG).await.is_err(), "{value}");
    }
    server.command(&["DEL", &name]);
    server.command(&["RPUSH", &name, "x"]);
    assert!(guard.claim(&key("a"), LONG).await.is_err());
}
