//! What the server refuses, and what it should not have.

use std::time::Duration;

use tower_webhook::key::KeyStore;
use tower_webhook::store::{LastUsedSink, LastUsedSource, RedisKeyStore, RedisStoreErrorKind};

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::{
    DEADLINE, cause, code, done, fresh, id, kind, owner, record, record_of, recovers,
};
use crate::support::SLACK;

#[tokio::test]
async fn error_replies_are_errors_with_their_code() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    let proxy = Proxy::start(server.port()).await;
    let store = RedisKeyStore::connect_lazy(&proxy.url()).unwrap().with_deadline(DEADLINE);
    recovers(&store, "k").await;

    for error in [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions to run the 'get' command",
        "MOVED 3999 127.0.0.1:6381",
        "ASK 3999 127.0.0.1:6381",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "CLUSTERDOWN The cluster is down",
        "BUSY Redis is busy running a script.",
        "MASTERDOWN Link with MASTER is down",
        "MISCONF Redis is configured to save RDB snapshots",
        "ERR unknown command 'GET', with args beginning with: hunter2",
    ] {
        let expected = error.split(' ').next().unwrap();
        let reply = format!("-{error}\r\n").repeat(2).into_bytes();
        proxy.set(Mode::Replace { pieces: 0, with: reply });
        let result = store.find(&id("k")).await;
        let text = format!("{result:?}");
        assert_eq!(code(result), expected);
        assert!(!text.contains("hunter2") && !text.contains("6381"), "{text}");
        recovers(&store, "k").await;

        // The look before the change is answered, the change is not made.
        let reply = format!("-{error}\r\n").into_bytes();
        proxy.set(Mode::Replace { pieces: 1, with: reply });
        let change = store.replace(record("k").with_version(1), 1).await;
        assert_eq!(code(change), expected);
        recovers(&store, "k").await;

        let reply = format!("-{error}\r\n").repeat(2).into_bytes();
        proxy.set(Mode::Replace { pieces: 0, with: reply });
        assert_eq!(code(store.list(&owner("ann"), None, 9).await), expected);
        recovers(&store, "k").await;
    }
}

#[tokio::test]
async fn one_error_among_good_replies_is_an_error() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    server.command(&["RPUSH", "{tower-webhook}:record:list", "x"]);
    server.command(&["RPUSH", "{tower-webhook}:owner:bob", "x"]);

    // A look-up of several keys at once would say "not there" here.
    assert_eq!(code(store.find(&id("list")).await), "WRONGTYPE");
    assert_eq!(code(store.insert(record("list")).await), "WRONGTYPE");
    assert_eq!(code(store.replace(record("list"), 1).await), "WRONGTYPE");
    assert_eq!(code(store.remove(&owner("ann"), &[id("k"), id("list")]).await), "WRONGTYPE");
    assert_eq!(code(store.list(&owner("bob"), None, 9).await), "WRONGTYPE");
    // Nothing of a change is made if the last part of it cannot be.
    assert_eq!(code(store.insert(record_of("bob", "b", 0)).await), "WRONGTYPE");
    assert!(store.find(&id("b")).await.unwrap().is_none());
    let moved = record_of("bob", "k", 0).with_version(2);
    assert_eq!(code(store.replace(moved, 1).await), "WRONGTYPE");
    assert_eq!(store.find(&id("k")).await.unwrap().unwrap().version(), 1);
    assert_eq!(store.list(&owner("ann"), None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_everywhere() {
    let (server, store) = fresh().await;
    done(store.insert(record("good")).await);
    done(store.insert(record("bad")).await);
    let text = record("bad").encode();
    let name = "{tower-webhook}:record:bad";
    let short = "ab".repeat(31);
    let digest_start = text.find("\"hex\":\"").unwrap() + 7;
    let short_digest = format!("{}{short}{}", &text[..digest_start], &text[digest_start + 64..]);
    for broken in [
        "",
        "null",
        "{}",
        &text[..text.len() - 1],
        &text.replace("\"schema\":1", "\"schema\":2"),
        &text.replace("sha256", "sha3"),
        &text.replace("\"expires_at\":null,", ""),
        &short_digest,
        &record("other").encode(),
    ] {
        server.command(&["SET", name, broken]);
        assert_eq!(kind(store.find(&id("bad")).await), RedisStoreErrorKind::InvalidRecord);
        let replaced = store.replace(record("bad").with_version(2), 1).await;
        assert_eq!(kind(replaced), RedisStoreErrorKind::InvalidRecord);
        let removed = store.remove(&owner("ann"), &[id("good"), id("bad")]).await;
        assert_eq!(kind(removed), RedisStoreErrorKind::InvalidRecord);
        let listed = store.list(&owner("ann"), None, 9).await;
        assert_eq!(kind(listed), RedisStoreErrorKind::InvalidRecord);
        assert!(store.find(&id("good")).await.unwrap().is_some());
    }
    // Bytes that are no text.
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg(name).arg(&b"\xff\xfe"[..]).exec(&mut connection).unwrap();
    assert_eq!(kind(store.find(&id("bad")).await), RedisStoreErrorKind::InvalidRecord);
    // A record of another owner, and one that is lost, behind a member of the index.
    server.command(&["SET", name, &record_of("bob", "bad", 0).encode()]);
    let listed = store.list(&owner("ann"), None, 9).await;
    assert_eq!(kind(listed), RedisStoreErrorKind::InvalidRecord);
    server.command(&["DEL", name]);
    let listed = store.list(&owner("ann"), None, 9).await;
    assert_eq!(kind(listed), RedisStoreErrorKind::InvalidRecord);
    server.command(&["ZADD", "{tower-webhook}:owner:eve", "0", "x"]);
    let listed = store.list(&owner("eve"), None, 9).await;
    assert_eq!(kind(listed), RedisStoreErrorKind::InvalidRecord);
}

#[tokio::test]
async fn a_replica_refuses_changes_and_answers_look_ups() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    let replica = Server::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
    let store = RedisKeyStore::connect(&replica.url()).await.unwrap();
    let started = std::time::Instant::now();
    while !matches!(store.find(&id("k")).await, Ok(Some(_))) {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(code(store.insert(record("l")).await), "READONLY");
    assert_eq!(code(store.replace(record("k").with_version(2), 1).await), "READONLY");
    assert_eq!(code(store.remove(&owner("ann"), &[id("k")]).await), "READONLY");
    assert_eq!(store.find(&id("k")).await.unwrap().unwrap().version(), 1);
    assert!(store.find(&id("l")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_out_of_memory_changes_nothing_and_answers_look_ups() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);

    assert_eq!(code(store.insert(record("l")).await), "OOM");
    assert_eq!(code(store.replace(record("k").with_version(2), 1).await), "OOM");
    assert_eq!(store.find(&id("k")).await.unwrap().unwrap().version(), 1);
    assert!(store.find(&id("l")).await.unwrap().is_none());
    assert_eq!(store.list(&owner("ann"), None, 9).await.unwrap().len(), 1);

    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    done(store.insert(record("l")).await);
}

#[tokio::test]
async fn a_cluster_without_slots_is_down_and_not_empty() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]);
    let store = RedisKeyStore::connect(&server.url()).await.unwrap();
    assert_eq!(code(store.find(&id("k")).await), "CLUSTERDOWN");
    assert_eq!(store.initialize().await.unwrap_err().code(), Some("CLUSTERDOWN"));
}

#[tokio::test]
async fn a_cluster_finds_all_keys_of_a_namespace_in_one_slot() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]);
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let words: Vec<&str> =
        ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
    server.command(&words);
    let store = RedisKeyStore::connect(&server.url()).await.unwrap();
    let started = std::time::Instant::now();
    while let Err(error) = store.initialize().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    done(store.insert(record("a")).await);
    done(store.insert(record_of("{b}", "b", 0)).await);
    done(store.replace(record_of("{c}", "b", 0).with_version(2), 1).await);
    assert_eq!(store.list(&owner("{c}"), None, 9).await.unwrap().len(), 1);
    let ids = [id("a"), id("b")];
    let times = ids.clone().map(|id| (id, time::OffsetDateTime::UNIX_EPOCH));
    LastUsedSink::write(&store, times.to_vec()).await.unwrap();
    assert!(store.last_used(&ids).await.unwrap().iter().all(Option::is_some));
    done(store.remove(&owner("ann"), &[id("a")]).await);
}

#[tokio::test]
async fn a_busy_server_is_an_error_until_it_is_free() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let url = server.url();
    let busy = tokio::task::spawn_blocking(move || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let _: redis::RedisResult<()> =
            redis::cmd("EVAL").arg("while true do end").arg(0).query(&mut connection);
    });
    let mut codes = Vec::new();
    let started = std::time::Instant::now();
    while !codes.contains(&"BUSY".to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(10));
        if let Err(error) = store.find(&id("k")).await {
            codes.extend(cause(&error).and_then(|error| Some(error.code()?.to_owned())));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.command(&["SCRIPT", "KILL"]);
    busy.await.unwrap();
    recovers(&store, "k").await;
}

#[tokio::test]
async fn a_password_that_is_asked_for_is_an_error() {
    let (mut server, store) = fresh().await;
    done(store.insert(record("k")).await);
    server.command(&["CONFIG", "SET", "requirepass", "pa55word"]);

    let started = std::time::Instant::now();
    let error = RedisKeyStore::connect(&server.url()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1) + SLACK);
    let text = format!("{error:?} {error}");
    assert!(!text.contains("pa55word"), "{text}");
    let wrong = format!("redis://:hunter2@127.0.0.1:{}/", server.port());
    let error = RedisKeyStore::connect(&wrong).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    let right = format!("redis://:pa55word@127.0.0.1:{}/", server.port());
    let store = RedisKeyStore::connect(&right).await.unwrap();
    assert!(store.find(&id("k")).await.unwrap().is_some());
    server.kill();
}
