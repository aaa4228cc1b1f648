//! A cache that follows the channel of changes.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyManager, KeyVerifier, NewKey, VerifyErrorKind};
use tower_webhook::store::{CachedKeyStore, RedisKeyStore};

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::{fresh, owner};

const HEARTBEAT: Duration = Duration::from_millis(300);

/// Two processes: one that changes keys, and one that verifies them out of a cache.
struct Two {
    server: Server,
    proxy: Proxy,
    there: KeyManager,
    cache: CachedKeyStore<RedisKeyStore>,
    here: KeyVerifier,
}

async fn two() -> Two {
    let (server, store) = fresh().await;
    let proxy = Proxy::start(server.port()).await;
    // The subscription goes through the proxy, look-ups do not.
    let behind = RedisKeyStore::connect_lazy(&proxy.url()).unwrap();
    let near = RedisKeyStore::connect(&server.url()).await.unwrap();
    let cache = CachedKeyStore::new(near).with_ttl(Duration::from_secs(60)).unwrap();
    tokio::spawn(cache.follow(behind.invalidations().unwrap().with_heartbeat(HEARTBEAT)));
    while proxy.open() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let here = KeyManager::new(cache.clone()).verifier();
    Two { server, proxy, there: KeyManager::new(store), cache, here }
}

/// How long it takes until the key is refused as revoked.
async fn refusal(verifier: &KeyVerifier, secret: &[u8]) -> Duration {
    let started = Instant::now();
    loop {
        match verifier.verify(secret).await {
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(10), "never refused"),
            Err(error) => {
                assert_eq!(error.kind(), VerifyErrorKind::Revoked);
                return started.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_key_revoked_elsewhere_is_refused_after_the_message() {
    let Two { server: _server, proxy: _proxy, there, cache, here } = two().await;
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

#[tokio::test]
async fn a_key_revoked_while_the_subscription_was_lost_is_refused() {
    for mode in [Mode::Refuse, Mode::Stall] {
        let Two { server: _server, proxy, there, cache: _cache, here } = two().await;
        let ann = owner("ann");
        let issued = there.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        here.verify(secret).await.unwrap();
        proxy.set(mode);
        there.revoke(&ann, issued.record().id()).await.unwrap();
        // By the error, long before the time of the record is over.
        assert!(refusal(&here, secret).await < HEARTBEAT * 6);
        proxy.set(Mode::Pass);
        let issued = there.generate(&ann, NewKey::new("next")).await.unwrap();
        here.verify(issued.secret().expose_secret().as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn an_emptied_server_behind_a_cache_is_an_outage() {
    let Two { mut server, proxy: _proxy, there, cache: _cache, here } = two().await;
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
