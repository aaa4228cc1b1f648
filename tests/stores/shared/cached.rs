//! A cache that follows the changes of another process.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyManager, KeyStore, KeyVerifier, NewKey, VerifyErrorKind};
use tower_webhook::store::{CachedKeyStore, InvalidationStream};

use super::owner;

/// Two processes: one that changes keys, and one that verifies them out of a cache.
pub(crate) struct Two<S> {
    pub(crate) there: KeyManager,
    pub(crate) cache: CachedKeyStore<S>,
    pub(crate) here: KeyVerifier,
}

impl<S: KeyStore + Clone> Two<S> {
    /// Both have a store of the same records. The cache follows from now on.
    pub(crate) fn new(there: S, here: S, changes: impl InvalidationStream) -> Self {
        let cache = CachedKeyStore::new(here).with_ttl(Duration::from_secs(60)).unwrap();
        tokio::spawn(cache.follow(changes));
        let here = KeyManager::new(cache.clone()).verifier();
        Self { there: KeyManager::new(there), cache, here }
    }

    pub(crate) async fn revoked_keys_are_refused_after_the_message(&self) {
        let ann = owner("ann");
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let issued = self.there.generate(&ann, NewKey::new("laptop")).await.unwrap();
            let secret = issued.secret().expose_secret().as_bytes();
            for _ in 0..3 {
                self.here.verify(secret).await.unwrap();
            }
            self.there.revoke(&ann, issued.record().id()).await.unwrap();
            slowest = slowest.max(refusal(&self.here, secret).await);
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        assert!(self.cache.stats().hits > 20);
    }

    /// A key that is revoked while the subscription is lost is refused within `limit`.
    pub(crate) async fn a_lost_subscription_is_noticed(
        &self,
        lose: impl FnOnce(),
        limit: Duration,
        mend: impl FnOnce(),
    ) {
        let ann = owner("ann");
        let issued = self.there.generate(&ann, NewKey::new("laptop")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        self.here.verify(secret).await.unwrap();
        lose();
        self.there.revoke(&ann, issued.record().id()).await.unwrap();
        // By the error, long before the time of the record is over.
        assert!(refusal(&self.here, secret).await < limit);
        let started = Instant::now();
        while self.cache.stats().subscription_errors == 0 {
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        // Records that were kept without a listener are forgotten when there is one again.
        let issued = self.there.generate(&ann, NewKey::new("next")).await.unwrap();
        let secret = issued.secret().expose_secret().as_bytes();
        self.here.verify(secret).await.unwrap();
        self.there.revoke(&ann, issued.record().id()).await.unwrap();
        mend();
        assert!(refusal(&self.here, secret).await < Duration::from_secs(13));
        let issued = self.there.generate(&ann, NewKey::new("last")).await.unwrap();
        self.here.verify(issued.secret().expose_secret().as_bytes()).await.unwrap();
    }
}

/// How long it takes until the key is refused as revoked.
pub(crate) async fn refusal(verifier: &KeyVerifier, secret: &[u8]) -> Duration {
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
