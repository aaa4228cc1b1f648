//! Issues a key, prints a `curl` line that uses it, and serves.
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! The printed line answers `hello alice`. Without the key the answer is 401. The README shows this file.

use std::{env, error::Error};

use axum::{Extension, Router, routing::post};
use tokio::net::TcpListener;
use tower_webhook::{AuthLayer, Identity, KeyManager, MemoryKeyStore, NewKey, Owner, Placement};

async fn deploy(Extension(identity): Extension<Identity>) -> String {
    format!("hello {}\n", identity.owner())
}

fn app(keys: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let placements = [Placement::header("x-api-key")?, Placement::bearer()];
    let auth = AuthLayer::token(keys, placements)?;
    Ok(Router::new().route("/deploy", post(deploy)).route_layer(auth))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: quickstart [ADDRESS:PORT]");
        return Ok(());
    }
    // Keys in memory end with the process. The stores in databases keep them.
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("laptop")).await?;
    // The store has a digest only: the secret can be shown here and never again.
    let secret = issued.secret().expose_secret();

    let listener = TcpListener::bind(&address).await?;
    println!("curl -X POST -H 'X-API-Key: {secret}' http://{}/deploy", listener.local_addr()?);
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
    async fn the_key_is_required() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let app = app(&keys).unwrap();

        let request = Request::post("/deploy").header("x-api-key", issued.secret().expose_secret());
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "hello alice\n");

        let request = Request::post("/deploy").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn the_readme_shows_this_program() {
        let file = include_str!("quickstart.rs");
        let program = file.split_once("\n\n").unwrap().1;
        let program = program.split_once("\n#[cfg(test)]").unwrap().0;
        let readme = include_str!("../README.md");
        let block = readme.split_once("```rust,no_run\n").unwrap().1;
        let block = block.split_once("```\n").unwrap().0;
        assert_eq!(block, program);
    }
}
