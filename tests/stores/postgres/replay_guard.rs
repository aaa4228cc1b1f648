//! Deliveries in PostgreSQL: the rules of guards, processes at the same time, restarts.

use std::time::{Duration, Instant};

use http::Response;
use tower_webhook::replay::{
    Claim, PostgresReplayGuard, ReplayGuard, ReplayKey, StoredResponse, conformance,
};

use super::server::{self, Server};
use super::support::new_schema;

const LONG: Duration = Duration::from_secs(60);

async fn guard_in(url: &str, schema: &str) -> PostgresReplayGuard {
    let guard = PostgresReplayGuard::connect(url).await.unwrap().with_schema(schema).unwrap();
    guard.migrate().await.unwrap();
    guard
}

fn key(name: &str) -> ReplayKey {
    ReplayKey::new(&[name.as_bytes()])
}

fn answer() -> StoredResponse {
    StoredResponse::of(&Response::new("done".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_keeps_the_rules() {
    let server = server::shared();
    conformance::check(guard_in(&server.url(), &new_schema()).await).await;
}

#[tokio::test]
async fn migrations_can_run_again_and_at_the_same_time() {
    let server = server::shared();
    let (url, schema) = (server.url(), new_schema());
    let (first, second) = tokio::join!(guard_in(&url, &schema), guard_in(&url, &schema));
    first.migrate().await.unwrap();

    let Claim::New(id) = first.claim(&key("a"), LONG).await.unwrap() else { panic!("not new") };
    assert_eq!(second.claim(&key("a"), LONG).await.unwrap(), Claim::InFlight);
    assert!(first.commit(&key("a"), id, &answer(), LONG).await.unwrap());
    assert_eq!(second.claim(&key("a"), LONG).await.unwrap(), Claim::Done(answer()));
}

#[tokio::test]
async fn a_purge_deletes_what_has_ended_and_nothing_else() {
    let server = server::shared();
    let guard = guard_in(&server.url(), &new_schema()).await;
    let short = Duration::from_millis(1);
    guard.claim(&key("ended"), short).await.unwrap();
    guard.claim(&key("claimed"), LONG).await.unwrap();
    let Claim::New(id) = guard.claim(&key("done"), LONG).await.unwrap() else { panic!("not new") };
    guard.commit(&key("done"), id, &answer(), LONG).await.unwrap();
    tokio::time::sleep(short * 20).await;

    assert_eq!(guard.purge().await.unwrap(), 1);
    assert_eq!(guard.purge().await.unwrap(), 0);
    assert_eq!(guard.claim(&key("claimed"), LONG).await.unwrap(), Claim::InFlight);
    assert_eq!(guard.claim(&key("done"), LONG).await.unwrap(), Claim::Done(answer()));
}

#[tokio::test]
async fn what_was_stored_outlives_a_crash_of_the_server() {
    let server = Server::start();
    let guard = guard_in(&server.url(), "public").await;
    let Claim::New(id) = guard.claim(&key("a"), LONG).await.unwrap() else { panic!("not new") };
    assert!(guard.commit(&key("a"), id, &answer(), LONG).await.unwrap());

    server.kill();
    assert!(guard.claim(&key("a"), LONG).await.is_err());
    server.restart();
    let started = Instant::now();
    let claim = loop {
        match guard.claim(&key("a"), LONG).await {
            Ok(claim) => break claim,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(claim, Claim::Done(answer()));
}
