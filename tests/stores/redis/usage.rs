//! When keys were last used.

use std::sync::Mutex;

use tower_webhook::store::{LastUsedSink, LastUsedSource, RedisKeyStore, RedisStoreErrorKind};

use super::support::{DEADLINE, done, fresh, id, kind, owner, record};
use crate::shared::usage::{
    is_kept, keeps_the_later_time, keeps_the_later_time_of_many, loses_no_time_in_an_outage,
};

#[tokio::test]
async fn the_later_time_is_kept_beside_the_key() {
    let (_server, store) = fresh().await;
    keeps_the_later_time(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_time_of_many_that_write_at_once_is_kept() {
    let (_server, store) = fresh().await;
    keeps_the_later_time_of_many(&store.with_deadline(std::time::Duration::from_secs(5))).await;
}

#[tokio::test]
async fn no_time_is_lost_while_the_server_is_gone() {
    let (server, store) = fresh().await;
    let server = Mutex::new(server);
    let down = async || server.lock().unwrap().kill();
    let up = async || server.lock().unwrap().restart();
    loses_no_time_in_an_outage(&store.with_deadline(DEADLINE), down, up).await;
    let mut server = server.into_inner().unwrap();
    server.restart();
    is_kept(&RedisKeyStore::connect(&server.url()).await.unwrap()).await;
}

#[tokio::test]
async fn times_of_another_namespace_or_type_are_not_read() {
    use tower_webhook::key::KeyStore;

    let (server, store) = fresh().await;
    let other = store.clone().with_namespace("other").unwrap();
    let time = time::OffsetDateTime::UNIX_EPOCH;
    assert_eq!(kind(other.last_used(&[id("k")]).await), RedisStoreErrorKind::NotInitialized);
    let written = other.write(vec![(id("k"), time)]).await;
    assert_eq!(kind(written), RedisStoreErrorKind::NotInitialized);
    other.initialize().await.unwrap();
    done(store.insert(record("k")).await);
    done(other.insert(record("k")).await);
    store.write(vec![(id("k"), time)]).await.unwrap();
    assert_eq!(other.last_used(&[id("k")]).await.unwrap(), [None]);
    assert_eq!(store.last_used(&[id("k")]).await.unwrap(), [Some(time)]);

    server.command(&["DEL", "{other}:usage"]);
    server.command(&["SET", "{other}:usage", "x"]);
    assert_eq!(kind(other.last_used(&[id("k")]).await), RedisStoreErrorKind::Server);
    assert_eq!(kind(other.write(vec![(id("k"), time)]).await), RedisStoreErrorKind::Server);
    // Nothing is half removed.
    let removed = other.remove(&owner("ann"), &[id("k")]).await;
    assert_eq!(kind(removed), RedisStoreErrorKind::Server);
    assert!(other.find(&id("k")).await.unwrap().is_some());
}
