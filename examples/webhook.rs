//! One webhook with a token, on axum.
//!
//! ```text
//! cargo run --example webhook
//! ```
//!
//! prints `curl` lines with the answers to expect. `hooks` shows all modes and all places for the token.

use std::env;
use std::error::Error;

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore, NewKey, Owner, Placement};

/// The envelope is the request as one JSON text: query, form, JSON and headers, without the token.
async fn deploy(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let body = invocation.envelope().json().unwrap_or_default();
    let push: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(branch) = push.get("ref").and_then(Value::as_str) else {
        return Err(ExecutorError::invalid("the body has no text `ref`"));
    };
    Outcome::json(&format!("deploying {branch}"))
}

/// `Hooks` is a tower service, so that a route can be one.
fn app(keys: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let auth = AuthLayer::token(keys, [Placement::header("x-webhook-token")?])?;
    Ok(Router::new().route_service("/deploy", Hooks::new(auth, deploy)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: webhook [ADDRESS:PORT]");
        return Ok(());
    }
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("example")).await?;
    let token = issued.secret().expose_secret();

    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}/deploy", listener.local_addr()?);
    println!(
        r#"Answer: "deploying main"
  curl -s -H 'X-Webhook-Token: {token}' --json '{{"ref":"main"}}' {url}
Answer: 422 with the detail "the body has no text `ref`"
  curl -si -H 'X-Webhook-Token: {token}' --json '{{}}' {url}
Answer: 401
  curl -si --json '{{"ref":"main"}}' {url}"#
    );
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
    async fn answers_are_as_printed() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let app = app(&keys).unwrap();
        let request = |body: &'static str, token: &str| {
            Request::post("/deploy")
                .header("x-webhook-token", token)
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap()
        };

        let token = issued.secret().expose_secret();
        for (body, status, expected) in [
            (r#"{"ref":"main"}"#, StatusCode::OK, r#""deploying main""#),
            (r#"["main"]"#, StatusCode::UNPROCESSABLE_ENTITY, r#""code":"invalid""#),
            ("{}", StatusCode::UNPROCESSABLE_ENTITY, r#""detail":"the body has no text `ref`""#),
        ] {
            let response = app.clone().oneshot(request(body, token)).await.unwrap();
            assert_eq!(response.status(), status);
            let body = to_bytes(response.into_body(), 1000).await.unwrap();
            assert!(str::from_utf8(&body).unwrap().contains(expected), "{body:?}");
        }
        let response = app.oneshot(request(r#"{"ref":"main"}"#, "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}
