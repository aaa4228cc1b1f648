//! A cache that follows notifications of changes.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyManager, KeyVerifier, NewKey, VerifyErrorKind};
use tower_webhook::store::{CachedKeyStore, PostgresInvalidations, PostgresKeyStore};

use super::proxy::{Fault, Proxy};
use super::server::{Server, shared};
use super::support::{new_schema, owner, store_in};

const HEARTBEAT: Duration = Duration::from_millis(300);

/// Two processes: one that changes keys, and one that verifies them out of a cache.
struct Two {
    there: KeyManager,
    cache: CachedKeyStore<PostgresKeyStore>,
    here: KeyVerifier,
}

/// The subscription goes to the server at the second URL.
async fn two(url: &str, subscription: &str) -> Two {
    let schema = new_schema();
    let near = store_in(url, &schema).await;
    let cache = CachedKeyStore::new(near).with_ttl(Duration::from_secs(60)).unwrap();
    let changes = PostgresInvalidations::new(subscription.parse().unwrap());
    let changes = changes.with_schema(&schema).unwrap().with_heartbeat(HEARTBEAT);
    tokio::spawn(cache.follow(changes));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let here = KeyManager::new(cache.clone()).verifier();
    Two { there: KeyManager::new(store_in(url, &schema).await), cache, here }
}

/// How long it takes until the key is refused as revoked.
async fn refusal(verifier: &KeyVerifier, secret: &[u8]) -> Duration {
    let started = Instant::now();
    loop {
        match verifier.verify(secret).await {
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(20), "never refused"),
            Err(error) => {
                assert_eq!(error.kind(), VerifyErrorKind::Revoked);
                return started.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_elsewhere_is_refused_after_the_message() {
    let server = shared();
    let Two { there, cache, here } = two(&server.url(), &server.url()).await;
    let ann = owner("ann");
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let issued = there.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        for _ in 0..3 {
            here.verify(secret).await.unwrap();
        }
        there.revoke(&ann, issued.record().id()).await.unwrap();
        slowest = slowest.max(refusal(&here, secret).await);
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(cache.stats().hits > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_while_the_subscription_was_lost_is_refused() {
    let server = shared();
    for fault in [Fault::Reset, Fault::StallAll] {
        let proxy = Proxy::start(server.port()).await;
        let Two { there, cache, here } = two(&server.url(), &proxy.url()).await;
        let ann = owner("ann");
        let issued = there.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        here.verify(secret).await.unwrap();
        proxy.set(fault);
        there.revoke(&ann, issued.record().id()).await.unwrap();
        // By the error, long before the time of the record is over.
        assert!(refusal(&here, secret).await < HEARTBEAT * 8);
        let started = Instant::now();
        while cache.stats().subscription_errors == 0 {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        // Records that were kept without a listener are forgotten when there is one again.
        let issued = there.generate(&ann, NewKey::new("next")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        here.verify(secret).await.unwrap();
        there.revoke(&ann, issued.record().id()).await.unwrap();
        proxy.set(Fault::None);
        assert!(refusal(&here, secret).await < Duration::from_secs(13));
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
