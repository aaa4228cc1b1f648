//! Revocation in one process and refusal in another, with and without `NOTIFY`.

use std::time::Duration;

use tower_webhook::key::KeyManager;
use tower_webhook::store::{PostgresInvalidations, PostgresKeyStore};

use super::proxy::{Fault, Proxy};
use super::server::shared;
use super::support::{new_schema, store_in};
use crate::shared::revocation::{
    Verifier, given_place, measure, refusal_after_a_pause, rounds, verify_what_is_given,
};

const HEARTBEAT: Duration = Duration::from_millis(200);
const NAME: &str = "postgres::revocation::a_process_that_verifies";

/// The place is the address of the store, the schema, and the address for the subscription, which can
/// be `-`.
#[tokio::test]
async fn a_process_that_verifies() {
    let Some(place) = given_place() else { return };
    let mut parts = place.split(' ');
    let store = PostgresKeyStore::connect(parts.next().unwrap()).await.unwrap();
    let schema = parts.next().unwrap();
    let store = store.with_schema(schema).unwrap();
    let channel = parts.next().filter(|&url| url != "-");
    let changes = channel.map(|url| {
        let changes = PostgresInvalidations::new(url.parse().unwrap());
        changes.with_schema(schema).unwrap().with_heartbeat(HEARTBEAT)
    });
    verify_what_is_given(&place, store, changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_elsewhere_is_accepted_for_the_ttl_at_most() {
    let server = shared();
    let schema = new_schema();
    let keys = KeyManager::new(store_in(&server.url(), &schema).await);
    let (ttl, rounds) = (Duration::from_millis(500), rounds());

    let mut alone = Verifier::start(NAME, &format!("{} {schema} -", server.url()), ttl);
    let without = measure("postgres without channel", &mut alone, &keys, ttl, rounds).await;

    let ttl = Duration::from_secs(5);
    let proxy = Proxy::start(server.port()).await;
    let place = format!("{} {schema} {}", server.url(), proxy.url());
    let mut notified = Verifier::start(NAME, &place, ttl);
    let with = measure("postgres with channel", &mut notified, &keys, ttl, rounds).await;
    assert!(with.most < Duration::from_secs(2) && with.median < without.median);

    for (fault, what) in [(Fault::StallAll, "silent"), (Fault::Reset, "broken")] {
        proxy.set(fault);
        let what = format!("postgres while the channel is {what}");
        measure(&what, &mut notified, &keys, ttl, 3).await;
        proxy.set(Fault::None);
        // The pauses between attempts have grown.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let what = "postgres after the outage";
        let after = measure(what, &mut notified, &keys, ttl, rounds).await;
        assert!(after.most < Duration::from_secs(2), "{:?}", after.most);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_paused_for_longer_than_the_ttl_refuses_at_once() {
    let server = shared();
    let schema = new_schema();
    let keys = KeyManager::new(store_in(&server.url(), &schema).await);
    let ttl = Duration::from_secs(2);
    let mut alone = Verifier::start(NAME, &format!("{} {schema} -", server.url()), ttl);
    let pause = ttl + Duration::from_millis(200);
    let refusal = refusal_after_a_pause(&mut alone, &keys, pause).await;
    println!("postgres after a pause: refused after {refusal:.1?}");
    assert!(refusal < ttl / 2, "{refusal:?}");
}
