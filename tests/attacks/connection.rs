//! H and J: several requests on one connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::hook::{Hooks, Invocation, Outcome};

use super::fixture::Fixture;
use super::request::{key, post};
use super::row::header;
use super::run::boxed;
use super::wire::{Server, bytes_of, read_response};

/// The targets of all executions.
type Executed = Arc<Mutex<Vec<String>>>;

async fn serve(f: &Fixture) -> (Server, Executed) {
    let executed = Executed::default();
    let targets = Arc::clone(&executed);
    let policy = Policy::token().with_methods([Method::GET, Method::POST]);
    let auth = AuthLayer::new(policy).unwrap().with_keys(&f.manager, [header()]).unwrap();
    let hooks = Hooks::new(auth, move |invocation: Invocation| {
        targets.lock().unwrap().push(invocation.uri().to_string());
        std::future::ready(Ok(Outcome::empty()))
    });
    let server = Server::start().await;
    server.serve(boxed(hooks));
    (server, executed)
}

#[tokio::test]
async fn an_unread_body_is_no_request() {
    let f = Fixture::new().await;
    let (server, executed) = serve(&f).await;
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {}\r\n\r\n", f.k);
    let mut second = key(&f.k);
    second.target = "/second".to_owned();
    for first in [key("junk").body(hidden.clone()), post("/").body(hidden.repeat(500))] {
        let mut stream = server.connect().await;
        let _ = stream.write_all(&[bytes_of(&first), bytes_of(&second)].concat()).await;

        let mut read = Vec::new();
        let refused = read_response(&mut stream, &mut read, false).await.unwrap();
        assert_eq!(refused.status(), 401, "H157");
        while read_response(&mut stream, &mut read, false).await.is_some_and(|_| {
            // A drained connection stays open and has answered the second request.
            executed.lock().unwrap().is_empty()
        }) {}
        let executed = std::mem::take(&mut *executed.lock().unwrap());
        assert!(executed.iter().all(|target| target == "/second"), "H157, {executed:?}");
        assert!(executed.len() < 2);
    }
}

#[tokio::test]
async fn half_a_body_executes_nothing() {
    let f = Fixture::new().await;
    let (server, executed) = serve(&f).await;
    for end in ["fin", "close"] {
        let mut stream = server.connect().await;
        let request = key(&f.k).header("content-length", "100").body("half");
        stream.write_all(&bytes_of(&request)).await.unwrap();
        if end == "fin" {
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "H152");
        }
        drop(stream);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(executed.lock().unwrap().is_empty(), "H152, {end}");
    }
}

#[tokio::test]
async fn each_request_of_a_connection_has_a_verdict_of_its_own() {
    let f = Fixture::new().await;
    let (server, executed) = serve(&f).await;
    let good = bytes_of(&key(&f.k));
    let mut stream = server.connect().await;
    let pipelined = [good.clone(), bytes_of(&key("junk")), bytes_of(&post("/"))].concat();
    let (mut reader, mut writer) = (Vec::new(), pipelined.repeat(100));
    writer.extend_from_slice(&good);
    stream.write_all(&writer).await.unwrap();

    for index in 0..301 {
        let response = read_response(&mut stream, &mut reader, false).await.unwrap();
        let expected = if index % 3 == 0 { 200 } else { 401 };
        assert_eq!(response.status(), expected, "J177-178, {index}");
    }
    assert_eq!(executed.lock().unwrap().len(), 101);
}

#[tokio::test]
async fn a_refused_upgrade_switches_nothing() {
    let f = Fixture::new().await;
    let (server, executed) = serve(&f).await;
    for protocol in ["websocket", "h2c"] {
        let request = key("junk").header("connection", "upgrade").header("upgrade", protocol);
        let response = server.over_http_1(&request).await.unwrap();
        assert_eq!(response.status(), 401, "J181");
    }
    assert!(executed.lock().unwrap().is_empty());
}
