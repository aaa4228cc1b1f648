//! Connections that break, stall, lose bytes and answer garbage.

use std::time::{Duration, Instant};

use tower_webhook::key::{KeyId, KeyRecord, KeyStore, StoreError, WriteOutcome};
use tower_webhook::store::RedisKeyStore;

use super::proxy::{Mode, Proxy};
use super::server::Server;
use super::support::{DEADLINE, done, fresh, id, owner, record, recovers};
use crate::support::SLACK;

struct Setup {
    server: Server,
    proxy: Proxy,
    store: RedisKeyStore,
}

/// A store behind a proxy, with the records `a`, `b` and `k`, and a connection in use.
async fn setup() -> Setup {
    let (server, direct) = fresh().await;
    for text in ["a", "b", "k"] {
        done(direct.insert(record(text)).await);
    }
    let proxy = Proxy::start(server.port()).await;
    let store = RedisKeyStore::connect_lazy(&proxy.url()).unwrap().with_deadline(DEADLINE);
    recovers(&store, "k").await;
    Setup { server, proxy, store }
}

/// An error, or the record: never "not there", and never another one.
#[track_caller]
fn never_wrong(found: &Result<Option<KeyRecord>, StoreError>, id: &KeyId) {
    if let Ok(found) = found {
        assert_eq!(found.as_ref().expect("the record is there").id(), id);
    }
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_is_never_a_wrong_answer() {
    let Setup { server: _server, proxy, store } = setup().await;
    let length = record("k").encode().len() + 80;
    for bytes in 0..length {
        proxy.set(Mode::Cut { pieces: 0, bytes });
        let found = store.find(&id("k")).await;
        assert!(proxy.is_passing());
        never_wrong(&found, &id("k"));
        // It was asked again, on another connection.
        found.unwrap();
    }
    assert!(proxy.accepted() > length - 80);
}

#[tokio::test]
async fn a_change_with_a_cut_answer_is_reported_as_unknown() {
    let Setup { server: _server, proxy, store } = setup().await;
    let mut version = 1;
    let mut errors = 0;
    for bytes in 0..40 {
        proxy.set(Mode::Cut { pieces: 1, bytes });
        match store.replace(record("k").with_version(version + 1), version).await {
            Ok(write) => assert_eq!(write, WriteOutcome::Applied),
            Err(_) => errors += 1,
        }
        assert!(proxy.is_passing());
        recovers(&store, "k").await;
        let found = store.find(&id("k")).await.unwrap().unwrap();
        assert!(found.version() == version || found.version() == version + 1);
        version = found.version();
    }
    assert!(errors > 15, "{errors}");
}

#[tokio::test]
async fn garbage_is_an_error_and_the_connection_is_not_used_again() {
    let Setup { server: _server, proxy, store } = setup().await;
    let nested = "*1\r\n".repeat(10_000);
    let garbage: &[&[u8]] = &[
        b"?\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"$99999999999999999999\r\n",
        b"$9223372036854775807\r\n",
        b"$-2\r\n$-2\r\n",
        b"*-2\r\n",
        b"*2147483647\r\n",
        b"*9223372036854775807\r\n",
        b"%9223372036854775807\r\n",
        b"|9223372036854775807\r\n",
        b"%-1\r\n",
        b"!-1\r\n",
        b">-1\r\n",
        b">2\r\n+message\r\n+x\r\n",
        b":1:\r\n",
        b"+OK\r\n",
        b"+OK\r\n+OK\r\n",
        b"$-1\r\n$-1\r\n",
        b":0\r\n:0\r\n",
        b"*0\r\n*0\r\n",
        b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        b"\r\n\r\n",
        b"$3\r\nab",
        nested.as_bytes(),
    ];
    for &bytes in garbage {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).into_owned();
        proxy.set(Mode::Replace { pieces: 0, with: bytes.to_vec() });
        let started = Instant::now();
        let found = store.find(&id("k")).await;
        assert!(started.elapsed() < DEADLINE + SLACK, "{text:?}");
        never_wrong(&found, &id("k"));
        recovers(&store, "k").await;
        assert!(store.find(&id("unknown")).await.unwrap().is_none(), "{text:?}");
    }
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_is_replaced() {
    let Setup { server: _server, proxy, store } = setup().await;
    let before = proxy.accepted();

    proxy.set(Mode::Stall);
    let started = Instant::now();
    store.find(&id("k")).await.unwrap_err();
    let elapsed = started.elapsed();
    assert!(elapsed >= DEADLINE * 8 / 10 && elapsed < DEADLINE + SLACK, "{elapsed:?}");
    for _ in 0..5 {
        store.find(&id("k")).await.unwrap_err();
    }
    assert!(proxy.accepted() > before);
    assert!(proxy.accepted() < before + 10, "{}", proxy.accepted() - before);

    proxy.set(Mode::Pass);
    assert!(recovers(&store, "k").await < DEADLINE * 2);
}

#[tokio::test]
async fn a_server_that_closes_every_connection_is_not_stormed() {
    let Setup { server: _server, proxy, store } = setup().await;
    let before = proxy.accepted();
    proxy.set(Mode::Refuse);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        let calls = (0..20).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.find(&id("k")).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap_err();
        }
    }
    let attempts = proxy.accepted() - before;
    assert!(attempts < 40, "{attempts}");

    proxy.set(Mode::Pass);
    recovers(&store, "k").await;
    assert_eq!(proxy.open(), 1);
}

#[tokio::test]
async fn calls_beyond_the_limit_fail_at_once() {
    let Setup { server: _server, proxy, store } = setup().await;
    let store = store.with_max_calls(3);
    recovers(&store, "k").await;
    proxy.set(Mode::Stall);
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.find(&id("k")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let started = Instant::now();
    for _ in 0..100 {
        store.find(&id("k")).await.unwrap_err();
    }
    assert!(started.elapsed() < 50 * DEADLINE);
    for call in stuck {
        call.await.unwrap().unwrap_err();
    }
    proxy.set(Mode::Pass);
    recovers(&store, "k").await;
}

#[tokio::test]
async fn a_slow_connection_is_slow_and_right() {
    let Setup { server: _server, proxy, store } = setup().await;
    let store = store.with_deadline(Duration::from_secs(5));
    proxy.set(Mode::Throttle(7));
    for text in ["a", "b", "k"] {
        assert_eq!(store.find(&id(text)).await.unwrap().unwrap().id(), &id(text));
    }
    assert_eq!(store.list(&owner("ann"), None, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_answer_of_ten_megabytes_is_an_error_and_nothing_more() {
    let Setup { server, proxy: _proxy, store } = setup().await;
    let store = store.with_deadline(Duration::from_secs(5));
    server.command(&["SET", "{tower-webhook}:record:big", &"x".repeat(10 << 20)]);
    store.find(&id("big")).await.unwrap_err();
    assert!(store.find(&id("k")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_at_the_deadline() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers the greeting and one look-up, then sends without end, and says how much of it.
    let endless = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let _ = socket.read(&mut buffer).await.unwrap();
        socket.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
        let _ = socket.read(&mut buffer).await.unwrap();
        socket.write_all(b"$-1\r\n$20\r\ntower-webhook keys 1\r\n").await.unwrap();
        let _ = socket.read(&mut buffer).await.unwrap();
        socket.write_all(b"$9223372036854775807\r\n").await.unwrap();
        let mut sent = 0_usize;
        let started = Instant::now();
        while socket.write_all(&[b'x'; 4096]).await.is_ok() {
            sent += 4096;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(started.elapsed() < Duration::from_secs(10), "the store does not hang up");
        }
        sent
    });
    let store = RedisKeyStore::connect_lazy(&format!("redis://127.0.0.1:{port}/")).unwrap();
    let store = store.with_deadline(DEADLINE);
    assert!(store.find(&id("k")).await.unwrap().is_none());
    store.find(&id("k")).await.unwrap_err();
    assert!(endless.await.unwrap() < 16 << 20);
}
