//! A cache in front of a store that does not answer: who waits for whom.

use std::time::Duration;

use tokio::task::JoinHandle;
use tower_webhook::key::{KeyManager, KeyVerifier, NewKey, VerifyErrorKind};
use tower_webhook::store::{CachedKeyStore, MemoryKeyStore};

use crate::support::{Mode, TestStore, owner};

struct World {
    store: TestStore,
    cache: CachedKeyStore<TestStore>,
    verifier: KeyVerifier,
    /// The texts of two keys that exist.
    texts: [String; 2],
}

impl World {
    async fn new() -> Self {
        let store = TestStore::new(Mode::HangIfUnknown);
        let cache = CachedKeyStore::new(store.clone());
        let keys = KeyManager::new(cache.clone());
        let make = async || {
            let issued = keys.generate(&owner("ann"), NewKey::new("key")).await.unwrap();
            issued.secret().expose_secret().to_owned()
        };
        let texts = [make().await, make().await];
        // What a caller has to wait is up to the test.
        let verifier = keys.verifier();
        let verifier = verifier.with_store_deadline(Duration::from_secs(60));
        Self { store, cache, verifier, texts }
    }

    async fn verify(&self, text: &str) -> Result<(), VerifyErrorKind> {
        let verified = self.verifier.verify(text.as_bytes()).await;
        verified.map(drop).map_err(|error| error.kind())
    }

    /// As many guesses as there can be look-ups under way, none of which is answered.
    async fn guess(&self) -> Vec<JoinHandle<VerifyErrorKind>> {
        let elsewhere = KeyManager::new(MemoryKeyStore::new());
        let mut guesses = Vec::new();
        for _ in 0..1024 {
            let issued = elsewhere.generate(&owner("eve"), NewKey::new("guess")).await.unwrap();
            let (verifier, text) = (self.verifier.clone(), issued.into_parts().1);
            guesses.push(tokio::spawn(async move {
                let verified = verifier.verify(text.expose_secret().as_bytes()).await;
                verified.unwrap_err().kind()
            }));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(self.store.running(), 1024);
        guesses
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_has_its_turn_among_guesses_without_an_answer() {
    let world = World::new().await;
    let guesses = world.guess().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(world.verify(&world.texts[0]).await, Ok(()));

    assert_eq!(world.cache.stats().refused, 0);
    for guess in guesses {
        assert_eq!(guess.await.unwrap(), VerifyErrorKind::StoreUnavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_whose_senders_have_left_hold_up_no_key() {
    let world = World::new().await;
    for guess in world.guess().await {
        guess.abort();
    }
    let started = tokio::time::Instant::now();

    assert_eq!(world.verify(&world.texts[0]).await, Ok(()));

    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
    assert_eq!(world.store.running(), 0);
    assert_eq!(world.cache.stats().abandoned, 1024);
}

#[tokio::test(start_paused = true)]
async fn a_cached_key_never_waits_for_guesses() {
    let world = World::new().await;
    assert_eq!(world.verify(&world.texts[0]).await, Ok(()));
    let guesses = world.guess().await;
    let started = tokio::time::Instant::now();

    for _ in 0..100 {
        assert_eq!(world.verify(&world.texts[0]).await, Ok(()));
    }

    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(guesses);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_an_error_after_the_deadline() {
    let world = World::new().await;
    let first = world.guess().await;
    let started = tokio::time::Instant::now();
    // In line before the key: these have the turns of the first ones.
    let second = world.guess().await;

    let refused = world.verify(&world.texts[1]).await;

    assert_eq!(refused, Err(VerifyErrorKind::StoreUnavailable));
    let waited = Duration::from_secs(2)..=Duration::from_millis(2010);
    assert!(waited.contains(&started.elapsed()), "{:?}", started.elapsed());
    drop((first, second));
}
