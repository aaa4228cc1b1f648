//! Keys on some routes of an axum app, with `Identity` as an extractor.
//!
//! ```text
//! cargo run --example axum --features axum
//! ```
//!
//! prints a `curl` line that answers `hello alice`. Without the key the answer is a 401; `/health` needs none.

use std::env;
use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, NewKey, Owner};
use tower_webhook::store::MemoryKeyStore;

async fn deploy(identity: Identity) -> String {
    format!("hello {}", identity.owner())
}

fn app(keys: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let placements = [Placement::header("x-api-key")?, Placement::bearer()];
    Ok(Router::new()
        .route("/deploy", post(deploy))
        .route_layer(AuthLayer::token(keys, placements)?)
        .route("/health", get(|| async { "ok" })))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: axum [ADDRESS:PORT]");
        return Ok(());
    }
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("example")).await?;

    let listener = TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    let key = issued.secret().expose_secret();
    println!("listening on http://{address}");
    println!("curl -s -X POST -H 'X-API-Key: {key}' http://{address}/deploy");
    axum::serve(listener, app(&keys)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_key_is_asked_for_where_the_layer_is() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let app = app(&keys).unwrap();

        let request = Request::post("/deploy").header("x-api-key", issued.secret().expose_secret());
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "hello alice");

        let request = Request::post("/deploy").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

        let request = Request::get("/health").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
