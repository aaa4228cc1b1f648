//! A running axum server whose keys are in Redis.

use std::time::{Duration, Instant};

use axum::routing::get;
use axum::{Extension, Router};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, KeyVerifier, NewKey};
use tower_webhook::store::RedisKeyStore;

use super::server::Server;
use super::support::{fresh, owner};
use crate::support::SLACK;

/// The deadline of the store, as the verifier sees it.
const DEADLINE: Duration = Duration::from_millis(600);

struct App {
    server: Server,
    store: RedisKeyStore,
    keys: KeyManager,
    address: std::net::SocketAddr,
    secret: String,
}

async fn whoami(Extension(identity): Extension<Identity>) -> String {
    identity.owner().to_string()
}

impl App {
    async fn start() -> Self {
        let (server, store) = fresh().await;
        let keys = KeyManager::new(store.clone());
        let issued = keys.generate(&owner("ann"), NewKey::new("laptop")).await.unwrap();
        let secret = issued.secret().expose_secret().to_owned();
        let verifier = KeyVerifier::new(store.clone()).with_store_deadline(DEADLINE);
        let auth = AuthLayer::token(verifier, [Placement::bearer()]).unwrap();
        let app = Router::new().route("/", get(whoami)).route_layer(auth);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { server, store, keys, address, secret }
    }

    async fn get(&self, secret: &str) -> (StatusCode, http::HeaderMap, String) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let request = http::Request::get(format!("http://{}/", self.address))
            .header("authorization", format!("Bearer {secret}"))
            .body(Empty::new())
            .unwrap();
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn is_good(&self) {
        let (status, _, body) = self.get(&self.secret).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ann"));
    }

    /// A 503 within the deadline, and never a refusal of the key.
    async fn is_unavailable(&self) {
        let started = Instant::now();
        let (status, headers, body) = self.get(&self.secret).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(headers.contains_key("retry-after"));
        assert!(!headers.contains_key("www-authenticate"));
        assert!(!body.contains("redis") && !body.contains("127.0.0.1"), "{body}");
        assert!(started.elapsed() < DEADLINE + SLACK);
    }

    async fn recovers(&self) {
        let started = Instant::now();
        while self.get(&self.secret).await.0 != StatusCode::OK {
            assert!(started.elapsed() < Duration::from_secs(3) + SLACK);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.is_good().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_a_503_and_ends_by_itself() {
    let mut app = App::start().await;
    app.is_good().await;

    app.server.pause();
    for _ in 0..3 {
        app.is_unavailable().await;
    }
    app.server.resume();
    app.recovers().await;

    app.server.kill();
    for _ in 0..3 {
        app.is_unavailable().await;
    }
    app.server.restart();
    app.recovers().await;

    let refused = app.secret.replace(&app.secret[app.secret.len() - 20..], &"0".repeat(20));
    assert_eq!(app.get(&refused).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_server_is_a_503() {
    let mut app = App::start().await;
    app.is_good().await;
    app.server.command(&["FLUSHALL"]);
    app.is_unavailable().await;
    app.server.restart_empty();
    app.is_unavailable().await;
    // Set up again, on purpose: the keys are gone.
    app.store.initialize().await.unwrap();
    assert_eq!(app.get(&app.secret).await.0, StatusCode::UNAUTHORIZED);
    app.keys.generate(&owner("ann"), NewKey::new("new")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_by_the_next_request() {
    let app = App::start().await;
    app.is_good().await;
    let ann = owner("ann");
    let page = app.keys.list(&ann, None, 9).await.unwrap();
    app.keys.revoke(&ann, page.keys()[0].id()).await.unwrap();
    assert_eq!(app.get(&app.secret).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_hang_up_leave_nothing_behind() {
    let app = App::start().await;
    for index in 0..2000_u64 {
        let request = app.get(&app.secret);
        let _ = tokio::time::timeout(Duration::from_micros(index % 900), request).await;
    }
    app.is_good().await;
}
