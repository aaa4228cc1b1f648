//! A cache that follows the channel of changes.

use std::time::{Duration, Instant};

use tower_webhook::key::{NewKey, VerifyErrorKind};
use tower_webhook::store::RedisKeyStore;

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::{fresh, owner};
use crate::shared::cached::Two;
use crate::shared::invalidations::HEARTBEAT;

async fn two() -> (Server, Proxy, Two<RedisKeyStore>) {
    let (server, store) = fresh().await;
    let proxy = Proxy::start(server.port()).await;
    // The subscription goes through the proxy, look-ups do not.
    let behind = RedisKeyStore::connect_lazy(&proxy.url()).unwrap();
    let near = RedisKeyStore::connect(&server.url()).await.unwrap();
    let changes = behind.invalidations().unwrap().with_heartbeat(HEARTBEAT);
    let two = Two::new(store, near, changes);
    while proxy.open() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    (server, proxy, two)
}

#[tokio::test]
async fn a_key_revoked_elsewhere_is_refused_after_the_message() {
    let (_server, _proxy, two) = two().await;
    two.revoked_keys_are_refused_after_the_message().await;
}

#[tokio::test]
async fn a_key_revoked_while_the_subscription_was_lost_is_refused() {
    for mode in [Mode::Refuse, Mode::Stall] {
        let (_server, proxy, two) = two().await;
        let (lose, mend) = (|| proxy.set(mode), || proxy.set(Mode::Pass));
        two.a_lost_subscription_is_noticed(lose, HEARTBEAT * 6, mend).await;
    }
}

#[tokio::test]
async fn an_emptied_server_behind_a_cache_is_an_outage() {
    let (mut server, _proxy, Two { there, here, .. }) = two().await;
    let issued = there.generate(&owner("ann"), NewKey::new("laptop")).await.unwrap();
    let secret = issued.secret().expose_secret().as_bytes();
    here.verify(secret).await.unwrap();
    server.restart_empty();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        // Out of the cache, or not at all.
        if let Err(error) = here.verify(secret).await {
            assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = here.verify(secret).await.unwrap_err();
    assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
}
