//! The contract of every store.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_webhook::store::{RedisKeyStore, conformance};

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::DEADLINE;
use crate::support::port::Port;

/// Every check has a namespace of its own. The server need not wait for its disk.
async fn fresh(url: &str) -> RedisKeyStore {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let namespace = format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let store = RedisKeyStore::connect(url).await.unwrap().with_namespace(&namespace).unwrap();
    store.initialize().await.unwrap();
    store.with_deadline(Duration::from_secs(8))
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let server = Server::start_with(&[]);
    conformance::check(async || fresh(&server.url()).await).await;
}

#[tokio::test]
async fn the_store_keeps_the_contract_in_small_pieces() {
    let server = Server::start_with(&[]);
    let proxy = Proxy::start(server.port()).await;
    proxy.set(Mode::Throttle(16 * 1024));
    conformance::check(async || fresh(&proxy.url()).await).await;
}

#[tokio::test]
async fn what_is_done_outlives_the_store() {
    let server = Server::start_with(&[]);
    RedisKeyStore::connect(&server.url()).await.unwrap().initialize().await.unwrap();
    conformance::check_durable(async || RedisKeyStore::connect(&server.url()).await.unwrap()).await;
}

#[tokio::test]
async fn what_is_done_outlives_the_server() {
    let server = std::sync::Mutex::new(Server::start());
    let url = server.lock().unwrap().url();
    RedisKeyStore::connect(&url).await.unwrap().initialize().await.unwrap();
    conformance::check_durable(async || {
        server.lock().unwrap().restart();
        RedisKeyStore::connect(&url).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_store_without_its_server_says_so() {
    let url = format!("redis://127.0.0.1:{}/", Port::reserve().number());
    conformance::check_outage(async || {
        RedisKeyStore::connect_lazy(&url).unwrap().with_deadline(DEADLINE)
    })
    .await;

    let server = Server::start();
    let store = RedisKeyStore::connect(&server.url()).await.unwrap().with_deadline(DEADLINE);
    // Not initialized.
    conformance::check_outage(async || store.clone()).await;
    server.pause();
    conformance::check_outage(async || store.clone()).await;
    server.resume();
}
