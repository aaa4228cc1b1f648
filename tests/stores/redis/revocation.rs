//! Revocation in one process and refusal in another, with and without the channel of changes.

use std::time::Duration;

use tower_webhook::key::KeyManager;
use tower_webhook::store::{RedisInvalidations, RedisKeyStore};

use super::proxy::{Mode, Proxy};
use super::support::fresh;
use crate::shared::revocation::{
    Verifier, given_place, measure, refusal_after_a_pause, rounds, verify_what_is_given,
};

const HEARTBEAT: Duration = Duration::from_millis(200);
const NAME: &str = "redis::revocation::a_process_that_verifies";

/// The place is the address of the store and that of the channel, which can be `-`.
#[tokio::test]
async fn a_process_that_verifies() {
    let Some(place) = given_place() else { return };
    let mut parts = place.split(' ');
    let store = RedisKeyStore::connect(parts.next().unwrap()).await.unwrap();
    let channel = parts.next().filter(|&url| url != "-");
    let changes = channel.map(|url| {
        let client = redis::Client::open(url).unwrap();
        RedisInvalidations::new(client).with_heartbeat(HEARTBEAT)
    });
    verify_what_is_given(&place, store, changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_elsewhere_is_accepted_for_the_ttl_at_most() {
    let (server, store) = fresh().await;
    let keys = KeyManager::new(store);
    let (ttl, rounds) = (Duration::from_millis(500), rounds());

    let mut alone = Verifier::start(NAME, &format!("{} -", server.url()), ttl);
    let without = measure("redis without channel", &mut alone, &keys, ttl, rounds).await;

    let ttl = Duration::from_secs(5);
    let proxy = Proxy::start(server.port()).await;
    let place = format!("{} {}", server.url(), proxy.url());
    let mut notified = Verifier::start(NAME, &place, ttl);
    let with = measure("redis with channel", &mut notified, &keys, ttl, rounds).await;
    assert!(with.most < Duration::from_secs(2) && with.median < without.median);

    for (mode, what) in [(Mode::Stall, "silent"), (Mode::Refuse, "broken")] {
        proxy.set(mode);
        let what = format!("redis while the channel is {what}");
        measure(&what, &mut notified, &keys, ttl, 3).await;
        proxy.set(Mode::Pass);
        // The pauses between attempts have grown.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let what = "redis after the outage";
        let after = measure(what, &mut notified, &keys, ttl, rounds).await;
        assert!(after.most < Duration::from_secs(2), "{:?}", after.most);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_paused_for_longer_than_the_ttl_refuses_at_once() {
    let (server, store) = fresh().await;
    let keys = KeyManager::new(store);
    let ttl = Duration::from_secs(2);
    let mut alone = Verifier::start(NAME, &format!("{} -", server.url()), ttl);
    let pause = ttl + Duration::from_millis(200);
    let refusal = refusal_after_a_pause(&mut alone, &keys, pause).await;
    println!("redis after a pause: refused after {refusal:.1?}");
    assert!(refusal < ttl / 2, "{refusal:?}");
}
