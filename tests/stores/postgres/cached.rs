//! A cache that follows notifications of changes.

use std::time::{Duration, Instant};

use tower_webhook::key::{NewKey, VerifyErrorKind};
use tower_webhook::store::{PostgresInvalidations, PostgresKeyStore};

use super::proxy::{Fault, Proxy};
use super::server::{Server, shared};
use super::support::{new_schema, owner, store_in};
use crate::shared::cached::{Two, refusal};
use crate::shared::invalidations::HEARTBEAT;

/// The subscription goes to the server at the second URL.
async fn two(url: &str, subscription: &str) -> Two<PostgresKeyStore> {
    let schema = new_schema();
    let (there, here) = (store_in(url, &schema).await, store_in(url, &schema).await);
    let changes = PostgresInvalidations::new(subscription.parse().unwrap());
    let changes = changes.with_schema(&schema).unwrap().with_heartbeat(HEARTBEAT);
    let two = Two::new(there, here, changes);
    tokio::time::sleep(Duration::from_millis(200)).await;
    two
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_elsewhere_is_refused_after_the_message() {
    let server = shared();
    let two = two(&server.url(), &server.url()).await;
    two.revoked_keys_are_refused_after_the_message().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_while_the_subscription_was_lost_is_refused() {
    let server = shared();
    for fault in [Fault::Reset, Fault::StallAll] {
        let proxy = Proxy::start(server.port()).await;
        let two = two(&server.url(), &proxy.url()).await;
        let (lose, mend) = (|| proxy.set(fault), || proxy.set(Fault::None));
        two.a_lost_subscription_is_noticed(lose, HEARTBEAT * 8, mend).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_follows_its_server_again_after_a_restart() {
    let server = Server::start();
    let Two { there, cache: _cache, here } = two(&server.url(), &server.url()).await;
    let ann = owner("ann");
    let issued = there.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let secret = issued.secret().expose_secret().as_bytes();
    here.verify(secret).await.unwrap();
    server.kill();
    tokio::time::sleep(HEARTBEAT).await;
    // Everything was forgotten: the changes are not known.
    let error = here.verify(secret).await.unwrap_err();
    assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
    server.restart();
    let started = Instant::now();
    while here.verify(secret).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    here.verify(secret).await.unwrap();
    there.revoke(&ann, issued.record().id()).await.unwrap();
    assert!(refusal(&here, secret).await < Duration::from_secs(1));
}
