//! The channel of changes.

use std::time::{Duration, Instant};

use tower_webhook::key::KeyStore;
use tower_webhook::store::{Invalidation, InvalidationStream, RedisInvalidations, RedisKeyStore};

use super::proxy::{Mode, Proxy};
use super::support::{done, fresh, id, owner, record};
use crate::shared::invalidations::{HEARTBEAT, is_quiet, key, next, waiting_can_be_given_up};
use crate::support::SLACK;

#[tokio::test]
async fn every_change_reaches_each_listener_of_its_namespace() {
    let (server, store) = fresh().await;
    let other = store.clone().with_namespace("other").unwrap();
    other.initialize().await.unwrap();
    let mut here = store.invalidations().unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut there = RedisInvalidations::new(client).with_namespace("other").unwrap();
    assert_eq!(next(&mut here).await, Some(Invalidation::All));
    assert_eq!(next(&mut there).await, Some(Invalidation::All));

    done(store.insert(record("a")).await);
    done(store.insert(record("b")).await);
    assert_eq!(next(&mut here).await, key("a"));
    assert_eq!(next(&mut here).await, key("b"));
    done(store.replace(record("a").with_version(2), 1).await);
    assert_eq!(next(&mut here).await, key("a"));
    // A look-up from now on finds the change.
    assert_eq!(store.find(&id("a")).await.unwrap().unwrap().version(), 2);
    done(store.remove(&owner("ann"), &[id("a"), id("b")]).await);
    assert_eq!(next(&mut here).await, key("a"));
    assert_eq!(next(&mut here).await, key("b"));

    // Calls that change nothing are not reported, and neither is another namespace.
    done(other.insert(record("c")).await);
    let _ = store.replace(record("a").with_version(3), 2).await.unwrap();
    let _ = store.remove(&owner("ann"), &[id("a")]).await.unwrap();
    assert!(is_quiet(&mut here).await);
    assert_eq!(next(&mut there).await, key("c"));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_about_every_key() {
    let (server, store) = fresh().await;
    let mut changes = store.invalidations().unwrap();
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    for message in ["", "a b", "\u{e9}", &"x".repeat(65)] {
        server.command(&["PUBLISH", "{tower-webhook}:changes", message]);
        assert_eq!(next(&mut changes).await, Some(Invalidation::All), "{message:?}");
    }
}

#[tokio::test]
async fn waiting_can_be_given_up_and_loses_nothing() {
    let (_server, store) = fresh().await;
    let mut changes = store.invalidations().unwrap().with_heartbeat(Duration::from_millis(250));
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    waiting_can_be_given_up(&store, &mut changes).await;
}

#[tokio::test]
async fn more_messages_than_there_is_place_for_become_one() {
    let (server, store) = fresh().await;
    let mut changes = store.invalidations().unwrap();
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut pipeline = redis::pipe();
    for index in 0..3000 {
        pipeline.cmd("PUBLISH").arg("{tower-webhook}:changes").arg(format!("k{index}")).ignore();
    }
    tokio::task::spawn_blocking(move || pipeline.exec(&mut connection).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    for index in 0..1024 {
        assert_eq!(next(&mut changes).await, key(&format!("k{index}")));
    }
    assert!(is_quiet(&mut changes).await);
    done(store.insert(record("last")).await);
    assert_eq!(next(&mut changes).await, key("last"));
}

#[tokio::test]
async fn a_lost_connection_is_an_error_and_clears_the_cache() {
    let (mut server, store) = fresh().await;
    let mut changes = store.invalidations().unwrap().with_heartbeat(HEARTBEAT);
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    server.kill();
    for _ in 0..3 {
        assert_eq!(next(&mut changes).await, None);
    }
    server.restart();
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    done(store.insert(record("a")).await);
    assert_eq!(next(&mut changes).await, key("a"));
}

#[tokio::test]
async fn a_silent_connection_is_lost() {
    let (server, store) = fresh().await;
    let proxy = Proxy::start(server.port()).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let mut changes = RedisInvalidations::new(client).with_heartbeat(HEARTBEAT);
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    // Quiet, and alive.
    let quiet = tokio::time::timeout(HEARTBEAT * 4, changes.next()).await;
    assert!(quiet.is_err());

    proxy.set(Mode::Stall);
    done(store.insert(record("missed")).await);
    let started = Instant::now();
    assert_eq!(next(&mut changes).await, None);
    assert!(started.elapsed() < HEARTBEAT * 3 + SLACK);
    // It does not come up in between.
    assert_eq!(next(&mut changes).await, None);
    proxy.set(Mode::Pass);
    assert_eq!(next(&mut changes).await, Some(Invalidation::All));
    done(store.insert(record("seen")).await);
    assert_eq!(next(&mut changes).await, key("seen"));
}

#[tokio::test]
async fn a_cut_or_broken_message_is_a_lost_connection() {
    let (server, store) = fresh().await;
    let proxy = Proxy::start(server.port()).await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let mut changes = RedisInvalidations::new(client).with_heartbeat(HEARTBEAT);
    let mut version = 1;
    done(store.insert(record("k")).await);
    for mode in [
        Mode::Cut { pieces: 0, bytes: 0 },
        Mode::Cut { pieces: 0, bytes: 20 },
        Mode::Replace { pieces: 0, with: b"?\r\n".to_vec() },
        Mode::Replace { pieces: 0, with: b">3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n".to_vec() },
    ] {
        assert_eq!(next(&mut changes).await, Some(Invalidation::All));
        proxy.set(mode.clone());
        done(store.replace(record("k").with_version(version + 1), version).await);
        version += 1;
        match next(&mut changes).await {
            // A message in another form.
            Some(Invalidation::All) => {
                assert!(matches!(&mode, Mode::Replace { with, .. } if with.len() > 10));
            }
            None => {}
            other => panic!("{mode:?} {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_on_a_connection_of_the_application_has_no_client() {
    let (server, _) = fresh().await;
    let client = redis::Client::open(server.url()).unwrap();
    let store = RedisKeyStore::new(client.get_connection_manager().await.unwrap());
    let error = store.invalidations().unwrap_err();
    assert!(error.to_string().contains("makes its connections itself"));
    let text = format!("{:?}", RedisInvalidations::new(client));
    assert!(!text.contains("127.0.0.1"), "{text}");
}
