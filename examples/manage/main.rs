//! Callers manage their own keys over HTTP, on axum, or on a page that shows the calls and makes them.
//!
//! ```text
//! cargo run --example manage
//! ```
//!
//! prints its address, a first key, and `curl` lines with the answers to expect. Another port:
//! `cargo run --example manage -- 127.0.0.1:0`.

use std::env;
use std::error::Error;

use axum::routing::post;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tower::Layer;
use tower_webhook::auth::AuthLayer;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, NewKey, Owner, Scope, Scopes};
use tower_webhook::management::ManagementApi;
use tower_webhook::store::{LastUsedTracker, SqliteKeyStore};
use utoipa_swagger_ui::{Config, SwaggerUi};

async fn deploy(Extension(identity): Extension<Identity>) -> String {
    format!("hello {}", identity.owner())
}

/// Who has the scope `keys` manages keys, and can give others what they have themselves. Who has the scope
/// `deploy` deploys.
fn app(keys: &KeyManager, usage: &LastUsedTracker) -> Result<Router, Box<dyn Error>> {
    let auth = AuthLayer::bearer(keys.verifier().with_last_used(usage.clone()))?;
    let management = auth.clone().with_scope(Scope::new("keys")?)?;
    let api = ManagementApi::nested(keys.clone(), "/keys")?.with_last_used(usage.clone());
    // Who may see the calls is the app's to say. Here everyone may: they have no secret.
    let document = api.openapi(&management.openapi()?);
    let page = SwaggerUi::new("/docs")
        .config(Config::default().use_base_layout())
        .external_url_unchecked("/openapi.json", document);
    Ok(Router::new()
        .route("/deploy", post(deploy))
        .route_layer(auth.with_scope(Scope::new("deploy")?)?)
        .nest_service("/keys", management.layer(api))
        .merge(page))
}

/// A store that ends with the process, and when its keys were last used. A server has a file: `SqliteKeyStore::open`.
async fn keys() -> Result<(KeyManager, LastUsedTracker), Box<dyn Error>> {
    let store = SqliteKeyStore::in_memory().await?;
    Ok((KeyManager::new(store.clone()), LastUsedTracker::new(store)))
}

/// The key that makes the others. In a server that outlives its keys, the example `tower-webhook-keys` makes it.
async fn first_key(keys: &KeyManager) -> Result<String, Box<dyn Error>> {
    let new = NewKey::new("first").with_scopes(Scopes::parse(["keys", "deploy"])?);
    let issued = keys.generate(&Owner::new("alice")?, new).await?;
    Ok(issued.secret().expose_secret().to_owned())
}

fn instructions(address: &str, first: &str) -> String {
    let new = r#"{"name":"ci","scopes":["deploy"],"expires_in":{"count":60,"unit":"days"}}"#;
    format!(
        r#"listening on http://{address}

In a browser, with the key {first}:
  http://{address}/docs

  FIRST='Authorization: Bearer {first}'

A new key. Answer: 201, its record and its text
  curl -si -H "$FIRST" --json '{new}' http://{address}/keys
Another one, made once, whose text is kept in a variable, and used. Answer: hello alice
  MADE=$(curl -s -H "$FIRST" -H 'Idempotency-Key: 1' --json '{new}' http://{address}/keys)
  KEY=$(echo "$MADE" | sed 's/.*"secret":"\([^"]*\)".*/\1/')
  ID=$(echo "$MADE" | sed 's/.*"id":"\([^"]*\)".*/\1/')
  curl -s -X POST -H "Authorization: Bearer $KEY" http://{address}/deploy
The same request again. Answer: the same key, "replayed":true, and no text
  curl -s -H "$FIRST" -H 'Idempotency-Key: 1' --json '{new}' http://{address}/keys
All keys, two at a time, and one of them, with the time of its last use
  curl -s -H "$FIRST" 'http://{address}/keys?limit=2'
  curl -s -H "$FIRST" http://{address}/keys/$ID
Changes: a name, 30 more days, a new text while the old one works for another hour, the end
  curl -s -H "$FIRST" -X PATCH --json '{{"name":"cd"}}' http://{address}/keys/$ID
  curl -s -H "$FIRST" --json '{{"by":{{"count":30,"unit":"days"}}}}' http://{address}/keys/$ID/extend
  curl -s -H "$FIRST" --json '{{"overlap":3600}}' http://{address}/keys/$ID/rotate
  curl -s -H "$FIRST" --json '{{}}' http://{address}/keys/$ID/revoke
  curl -si -H "$FIRST" -X DELETE http://{address}/keys/$ID

Refused: no key (401), a key without the scope (403 before, 401 after its end), a scope that the caller does
not have (422), a form (415), a change by GET (405), no such key (404)
  curl -si http://{address}/keys
  curl -si -H "Authorization: Bearer $KEY" http://{address}/keys
  curl -si -H "$FIRST" --json '{{"name":"x","scopes":["admin"]}}' http://{address}/keys
  curl -si -H "$FIRST" -d 'name=x' http://{address}/keys
  curl -si -H "$FIRST" http://{address}/keys/$ID/revoke
  curl -si -H "$FIRST" http://{address}/keys/$ID"#
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: manage [ADDRESS:PORT]");
        return Ok(());
    }
    let (keys, usage) = keys().await?;
    tokio::spawn(usage.run());
    let first = first_key(&keys).await?;
    let listener = TcpListener::bind(&address).await?;
    println!("{}", instructions(&listener.local_addr()?.to_string(), &first));
    axum::serve(listener, app(&keys, &usage)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn call(app: &Router, key: &str, line: &str, body: &str) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.into()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    #[tokio::test]
    async fn the_document_and_the_page_are_for_everyone() {
        let (keys, usage) = keys().await.unwrap();
        let app = app(&keys, &usage).unwrap();

        let (status, document) = call(&app, "", "GET /openapi.json", "").await;
        assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
        assert_eq!(document["security"], serde_json::json!([{"bearer": ["keys"]}]));
        let (status, page) = call(&app, "", "GET /docs/", "").await;
        assert_eq!(status, 200);
        assert!(page.as_str().unwrap().contains("swagger-ui"));
        assert_eq!(call(&app, "", "GET /keys/openapi.json", "").await.0, 401);
    }

    #[tokio::test]
    async fn a_key_is_made_used_and_ended() {
        let (keys, usage) = keys().await.unwrap();
        let first = first_key(&keys).await.unwrap();
        let app = app(&keys, &usage).unwrap();

        let body = r#"{"name":"ci","scopes":["deploy"],"expires_in":{"count":60,"unit":"days"}}"#;
        let (status, made) = call(&app, &first, "POST /keys", body).await;
        assert_eq!(status, 201);
        let key = made["secret"].as_str().unwrap();
        let id = made["key"]["id"].as_str().unwrap();
        assert_eq!(call(&app, key, "POST /deploy", "").await, (200, "hello alice".into()));
        assert_eq!(call(&app, key, "GET /keys", "").await.0, 403);

        let (status, list) = call(&app, &first, "GET /keys?limit=2", "").await;
        assert_eq!((status, list["keys"].as_array().unwrap().len()), (200, 2));
        assert!(list["keys"].as_array().unwrap().iter().all(|key| key["last_used"].is_string()));
        let (status, _) =
            call(&app, &first, &format!("PATCH /keys/{id}"), r#"{"name":"cd"}"#).await;
        assert_eq!(status, 200);
        let extend = format!("POST /keys/{id}/extend");
        assert_eq!(call(&app, &first, &extend, r#"{"by":3600}"#).await.0, 200);
        let rotate = format!("POST /keys/{id}/rotate");
        let (status, rotated) = call(&app, &first, &rotate, r#"{"overlap":3600}"#).await;
        assert_eq!(status, 200);
        for key in [key, rotated["secret"].as_str().unwrap()] {
            assert_eq!(call(&app, key, "POST /deploy", "").await.0, 200);
        }

        let (status, _) = call(&app, &first, &format!("POST /keys/{id}/revoke"), "{}").await;
        assert_eq!(status, 200);
        assert_eq!(call(&app, key, "POST /deploy", "").await.0, 401);
        assert_eq!(call(&app, &first, &format!("DELETE /keys/{id}"), "").await.0, 204);
        assert_eq!(call(&app, &first, &format!("GET /keys/{id}"), "").await.0, 404);
    }

    #[tokio::test]
    async fn refusals_are_as_printed() {
        let (keys, usage) = keys().await.unwrap();
        let first = first_key(&keys).await.unwrap();
        let app = app(&keys, &usage).unwrap();

        assert_eq!(call(&app, "", "GET /keys", "").await.0, 401);
        let body = r#"{"name":"x","scopes":["admin"]}"#;
        assert_eq!(call(&app, &first, "POST /keys", body).await.0, 422);
        assert_eq!(call(&app, &first, "POST /keys", "").await.0, 415);
        assert_eq!(call(&app, &first, "GET /keys/0/revoke", "").await.0, 405);
    }
}
