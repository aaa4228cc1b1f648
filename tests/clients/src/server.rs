//! The server: one route for each stack of layers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::routing::{any_service, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::drain::DrainLayer;
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::key::{
    KeyId, KeyManager, KeyRecord, KeyStore, NewKey, Owner, PageCursor, Scope, StoreError,
    WriteOutcome,
};
use tower_webhook::{MemoryKeyStore, Placement};

use crate::Error;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// A good key, without any scope.
    pub(crate) key: String,
}

pub(crate) async fn start() -> Result<Server, Error> {
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("clients")).await?;
    let key = issued.secret().expose_secret().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app(&keys)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(Server { address, key })
}

fn app(keys: &KeyManager) -> Result<Router, Error> {
    let placements = || Ok::<_, Error>([Placement::header("x-api-key")?, Placement::bearer()]);
    let auth = AuthLayer::token(keys, placements()?)?;
    let drain =
        DrainLayer::new().with_max_bytes(32 * 1024 * 1024).with_deadline(Duration::from_secs(3));
    let small = BodyBufferLayer::new().with_max_bytes(64 * 1024);
    let hooks = Hooks::new(auth.clone(), |_: Invocation| async { Ok(Outcome::empty()) });

    let ok = || post(|| async { "ok" });
    let uploads = Router::new()
        .route("/auth/before", ok().layer(auth.clone()))
        .route("/auth/default", ok().layer((DrainLayer::new(), auth.clone())))
        .route("/auth/after", ok().layer((drain, auth.clone())))
        .route("/size/before", ok().layer(small.clone()))
        .route("/size/after", ok().layer((drain, small)))
        .route("/hooks/before", any_service(hooks.clone().with_drain(drain.with_max_bytes(0))))
        .route("/hooks/after", any_service(hooks.with_drain(drain)));

    let dead = AuthLayer::token(KeyManager::new(Dead), placements()?)?;
    let [auth, dead] = [auth, dead].map(AuthLayer::with_grpc_rejections);
    let admin = auth.clone().with_scope(Scope::new("admin")?)?;
    let tiny = auth.clone().with_buffer(BodyBufferLayer::new().with_max_bytes(16));
    let unserved = AuthLayer::new(Policy::token().with_methods([Method::GET]))?
        .with_keys(keys, placements()?)?
        .with_grpc_rejections();
    let calls = Router::new()
        .route("/echo.Echo/Unary", post(echo).layer(auth.clone()))
        .route("/echo.Echo/Admin", post(echo).layer(admin))
        .route("/echo.Echo/Down", post(echo).layer(dead))
        .route("/echo.Echo/Tiny", post(echo).layer(tiny))
        .route("/echo.Echo/Get", post(echo).layer(unserved));

    // Browsers send no key with a preflight request, so CORS is outside.
    let cors = CorsLayer::very_permissive();
    let api = Router::new().route("/api", ok().layer(auth)).layer(cors);
    Ok(uploads.merge(calls).merge(api))
}

/// Answers a unary call with its own message.
async fn echo(request: Request<Body>) -> Response<Body> {
    let media_type = request.headers().get("content-type").cloned();
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/grpc"));
    let is_web = media_type.as_bytes().starts_with(b"application/grpc-web");
    let message = request.into_body().collect().await.map(|body| body.to_bytes());
    let message = message.unwrap_or_default();
    let status = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let end = match is_web {
        true => Frame::data(Bytes::from_static(b"\x80\0\0\0\x0fgrpc-status:0\r\n")),
        false => Frame::trailers(status),
    };
    let frames = [Frame::data(message), end].map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    response.headers_mut().insert("content-type", media_type);
    response
}

/// A store that cannot answer.
struct Dead;

#[async_trait]
impl KeyStore for Dead {
    async fn find(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Err(StoreError::new("no connection"))
    }

    async fn insert(&self, _: KeyRecord) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::new("no connection"))
    }

    async fn replace(&self, _: KeyRecord, _: u64) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::new("no connection"))
    }

    async fn remove(&self, _: &Owner, _: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        Err(StoreError::new("no connection"))
    }

    async fn list(
        &self,
        _: &Owner,
        _: Option<&PageCursor>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        Err(StoreError::new("no connection"))
    }
}
