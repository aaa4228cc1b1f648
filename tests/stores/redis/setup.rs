//! Namespaces that are set up, servers that are checked, addresses that are wrong.

use std::time::Duration;

use tower_webhook::key::KeyStore;
use tower_webhook::store::{LastUsedSink, LastUsedSource, RedisKeyStore, RedisStoreErrorKind};

use super::server::Server;
use super::support::{done, fresh, id, kind, owner, record};
use crate::support::SLACK;
use crate::support::port::Port;

#[tokio::test]
async fn a_namespace_is_initialized_once() {
    let server = Server::start();
    let store = RedisKeyStore::connect(&server.url()).await.unwrap();

    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::NotInitialized);
    assert!(error.to_string().contains("never initialized"), "{error}");
    assert_eq!(kind(store.find(&id("k")).await), RedisStoreErrorKind::NotInitialized);
    assert_eq!(kind(store.insert(record("k")).await), RedisStoreErrorKind::NotInitialized);
    let removed = store.remove(&owner("ann"), &[id("k")]).await;
    assert_eq!(kind(removed), RedisStoreErrorKind::NotInitialized);
    let listed = store.list(&owner("ann"), None, 9).await;
    assert_eq!(kind(listed), RedisStoreErrorKind::NotInitialized);

    store.initialize().await.unwrap();
    store.check().await.unwrap();
    assert!(store.find(&id("k")).await.unwrap().is_none());
    let again = store.initialize().await.unwrap_err();
    assert_eq!(again.kind(), RedisStoreErrorKind::AlreadyInitialized);
}

#[tokio::test]
async fn records_without_a_sentinel_are_not_taken_over() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    server.command(&["DEL", "{tower-webhook}:sentinel"]);
    for index in 0..3000 {
        server.command(&["SET", &format!("other:{index}"), "x"]);
    }

    let error = store.initialize().await.unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::RecordsWithoutSentinel);
    assert!(error.to_string().contains("restore the sentinel"), "{error}");
    assert_eq!(kind(store.find(&id("k")).await), RedisStoreErrorKind::NotInitialized);

    // Another namespace has nothing to do with it.
    store.clone().with_namespace("tower-webhoo").unwrap().initialize().await.unwrap();
}

#[tokio::test]
async fn a_sentinel_of_another_version_or_type_is_refused() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);

    server.command(&["SET", "{tower-webhook}:sentinel", "tower-webhook keys 2"]);
    assert_eq!(kind(store.find(&id("k")).await), RedisStoreErrorKind::UnsupportedLayout);
    assert_eq!(kind(store.insert(record("l")).await), RedisStoreErrorKind::UnsupportedLayout);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::UnsupportedLayout);

    server.command(&["DEL", "{tower-webhook}:sentinel"]);
    server.command(&["LPUSH", "{tower-webhook}:sentinel", "x"]);
    assert_eq!(kind(store.find(&id("k")).await), RedisStoreErrorKind::Server);
    assert_eq!(store.initialize().await.unwrap_err().code(), Some("WRONGTYPE"));
}

#[tokio::test]
async fn a_server_that_evicts_records_is_refused() {
    let (server, store) = fresh().await;
    for (policy, fits) in [
        ("allkeys-lru", false),
        ("allkeys-random", false),
        ("volatile-lru", true),
        ("volatile-ttl", true),
        ("noeviction", true),
    ] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        assert_eq!(store.check().await.is_ok(), fits, "{policy}");
        let connected = RedisKeyStore::connect(&server.url()).await;
        assert_eq!(connected.is_ok(), fits, "{policy}");
        if let Err(error) = connected {
            assert_eq!(error.kind(), RedisStoreErrorKind::Eviction);
            assert!(error.to_string().contains("maxmemory-policy"));
        }
    }
}

#[tokio::test]
async fn a_policy_that_is_not_shown_is_trusted_and_info_does_as_well() {
    let (server, _) = fresh().await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let user = |name: &str, rules: &[&str]| {
        let words = ["ACL", "SETUSER", name, "on", ">pa55word", "~*", "&*", "+@all"];
        server.command(&[words.as_slice(), rules].concat());
        format!("redis://{name}:pa55word@127.0.0.1:{}/", server.port())
    };

    let blind = user("blind", &["-config", "-info"]);
    RedisKeyStore::connect(&blind).await.unwrap().check().await.unwrap();
    let modest = user("modest", &["-config"]);
    let error = RedisKeyStore::connect(&modest).await.unwrap_err();
    assert_eq!(error.kind(), RedisStoreErrorKind::Eviction);
}

#[tokio::test]
async fn the_commands_that_are_documented_are_enough() {
    let (server, store) = fresh().await;
    done(store.insert(record("old")).await);
    let rules = "on >pa55word resetkeys ~{tower-webhook}:* resetchannels &{tower-webhook}:changes \
                 -@all +get +set +del +exists +zadd +zrem +zcard +zrange +zmscore +publish +eval \
                 +evalsha";
    let words: Vec<&str> = ["ACL", "SETUSER", "app"].into_iter().chain(rules.split(' ')).collect();
    server.command(&words);
    server.command(&["SCRIPT", "FLUSH"]);

    let url = format!("redis://app:pa55word@127.0.0.1:{}/", server.port());
    let store = RedisKeyStore::connect(&url).await.unwrap();
    store.check().await.unwrap();
    done(store.insert(record("k")).await);
    done(store.replace(record("k").with_version(2), 1).await);
    assert_eq!(store.list(&owner("ann"), None, 9).await.unwrap().len(), 2);
    store.write(vec![(id("k"), time::OffsetDateTime::UNIX_EPOCH)]).await.unwrap();
    assert!(store.last_used(&[id("k")]).await.unwrap()[0].is_some());
    done(store.remove(&owner("ann"), &[id("k")]).await);

    // Without the channel a change fails as a whole.
    server.command(&["ACL", "SETUSER", "app", "resetchannels"]);
    assert_eq!(kind(store.insert(record("l")).await), RedisStoreErrorKind::Server);
    assert!(store.find(&id("l")).await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_shows_an_address_or_a_password() {
    let (server, _) = fresh().await;
    let port = Port::reserve().number();
    let mut texts = Vec::new();
    for url in [
        "hunter2://hunter2".to_owned(),
        "redis://hunter2 hunter2".to_owned(),
        "rediss://user:hunter2@127.0.0.1/".to_owned(),
        format!("redis://user:hunter2@127.0.0.1:{port}/"),
        format!("redis://user:hunter2@127.0.0.1:{}/", server.port()),
        "redis://user:hunter2@hunter2.invalid/".to_owned(),
    ] {
        let error = RedisKeyStore::connect(&url).await.unwrap_err();
        texts.push(format!("{error} {error:?} {error:#?}"));
        let Ok(store) = RedisKeyStore::connect_lazy(&url) else {
            assert_eq!(error.kind(), RedisStoreErrorKind::InvalidUrl);
            continue;
        };
        let store = store.with_deadline(Duration::from_millis(300));
        texts.push(format!("{store:?} {store:#?}"));
        let error = store.find(&id("k")).await.unwrap_err();
        texts.push(format!("{error} {error:?} {error:#?}"));
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            texts.push(format!("{error} {error:?}"));
            source = error.source();
        }
    }
    for text in texts {
        assert!(!text.contains("hunter2") && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_start_or_later() {
    let port = Port::reserve().number();
    let url = format!("redis://127.0.0.1:{port}/");
    let started = std::time::Instant::now();
    let error = RedisKeyStore::connect(&url).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
    assert!(matches!(
        error.kind(),
        RedisStoreErrorKind::Unreachable | RedisStoreErrorKind::TooSlow
    ));

    let store = RedisKeyStore::connect_lazy(&url).unwrap();
    store.find(&id("k")).await.unwrap_err();
    let unknown = RedisKeyStore::connect("redis://unknown.invalid/").await.unwrap_err();
    assert!(matches!(
        unknown.kind(),
        RedisStoreErrorKind::Unreachable | RedisStoreErrorKind::TooSlow
    ));
}
