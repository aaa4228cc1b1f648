//! A running axum server whose keys are in PostgreSQL.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, KeyVerifier, NewKey};

use super::server::Server;
use super::support::{owner, store};
use crate::support::SLACK;

/// The deadline of the store, as the verifier sees it.
const DEADLINE: Duration = Duration::from_millis(800);

async fn whoami(Extension(identity): Extension<Identity>) -> String {
    identity.owner().to_string()
}

async fn ask(address: SocketAddr, secret: &str) -> (StatusCode, HeaderMap) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let request = http::Request::get(format!("http://{address}/"))
        .header("authorization", format!("Bearer {secret}"))
        .body(Empty::new())
        .unwrap();
    let (parts, _) = client.request(request).await.unwrap().into_parts();
    (parts.status, parts.headers)
}

async fn is_unavailable(address: SocketAddr, secret: &str) {
    let started = Instant::now();
    let (status, headers) = ask(address, secret).await;

    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after") && !headers.contains_key("www-authenticate"));
    assert!(started.elapsed() < DEADLINE + SLACK, "{:?}", started.elapsed());
}

async fn recovers(address: SocketAddr, secret: &str) {
    let started = Instant::now();
    while ask(address, secret).await.0 != StatusCode::OK {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_a_503_on_a_running_server_and_ends_by_itself() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let issued = KeyManager::new(store.clone())
        .generate(&owner("ann"), NewKey::new("laptop"))
        .await
        .unwrap();
    let secret = issued.secret().expose_secret().to_owned();
    let verifier = KeyVerifier::new(store).with_store_deadline(DEADLINE);
    let auth = AuthLayer::token(verifier, [Placement::bearer()]).unwrap();
    let app = Router::new().route("/", get(whoami)).route_layer(auth);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    assert_eq!(ask(address, &secret).await.0, StatusCode::OK);

    server.pause();
    for _ in 0..3 {
        is_unavailable(address, &secret).await;
    }
    server.resume();
    recovers(address, &secret).await;

    server.kill();
    for _ in 0..3 {
        is_unavailable(address, &secret).await;
    }
    server.restart();
    recovers(address, &secret).await;

    let wrong = secret.replace(&secret[secret.len() - 20..], &"0".repeat(20));
    assert_eq!(ask(address, &wrong).await.0, StatusCode::UNAUTHORIZED);
}
