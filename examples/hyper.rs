//! Keys on plain hyper, without axum and without a feature of this crate.
//!
//! ```text
//! cargo run --example hyper
//! ```
//!
//! prints a `curl` line that answers `hello alice`.

use std::convert::Infallible;
use std::env;
use std::error::Error;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, NewKey, Owner};
use tower_webhook::store::MemoryKeyStore;

async fn greet(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = match Identity::of(request.extensions()) {
        Ok(Some(identity)) => format!("hello {}", identity.owner()),
        Ok(None) => "hello stranger".to_owned(),
        Err(not_wired) => not_wired.to_string(),
    };
    Ok(Response::new(text.into()))
}

async fn serve(listener: TcpListener, auth: AuthLayer) -> std::io::Result<()> {
    let service = auth.layer(service_fn(greet));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // An error here is the client's: it went away, or did not speak HTTP.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: hyper [ADDRESS:PORT]");
        return Ok(());
    }
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("example")).await?;
    let auth = AuthLayer::token(&keys, [Placement::header("x-api-key")?])?;

    let listener = TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("curl -s -H 'X-API-Key: {}' http://{address}/", issued.secret().expose_secret());
    serve(listener, auth).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::client::legacy::Client;

    use super::*;

    #[tokio::test]
    async fn a_key_is_asked_for_over_a_real_connection() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let placements = [Placement::header("x-api-key").unwrap()];
        let auth = AuthLayer::token(&keys, placements).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, auth));
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();

        let request = Request::get(&uri).header("x-api-key", issued.secret().expose_secret());
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello alice");

        let response = client.get(uri.parse().unwrap()).await.unwrap();
        assert_eq!(response.status(), 401);
        server.abort();
    }
}
