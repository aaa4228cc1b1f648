//! The same check, written by hand with axum's `from_fn`: what this crate has to beat.
//!
//! ```text
//! cargo run --example from_fn
//! ```
//!
//! prints a `curl` line that answers `hello alice`.
//!
//! It is correct as far as it goes: repeated headers, the scheme in any case, digests at rest, comparison
//! in constant time with the same work for an unknown key, a challenge, 503 for a dead store, and the
//! credential removed. What it still misses: keys in the query, path or body; expiry, revocation and
//! rotation; scopes and owners; removal from `OriginalUri`; a deadline for the store; problem documents;
//! readiness of the inner service; a difference between a missing layer and an anonymous caller.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

/// Key id to the digest of the whole key and its owner. A real one is a database, and can be down.
pub(crate) struct Keys(pub(crate) HashMap<String, ([u8; 32], String)>);

impl Keys {
    async fn find(&self, id: &str) -> Result<Option<([u8; 32], String)>, std::io::Error> {
        Ok(self.0.get(id).cloned())
    }
}

#[derive(Clone)]
struct Caller(String);

// The middleware begins here.

pub(crate) async fn require_key(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id_and_digest = match bearer(request.headers()) {
        Ok(Some(key)) => parse(key),
        Ok(None) => return unauthorized(),
        Err(()) => return refuse(StatusCode::BAD_REQUEST),
    };
    let Some((id, digest)) = id_and_digest else { return unauthorized() };
    let Ok(found) = keys.find(&id).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE);
    };
    let (expected, owner) = found.unwrap_or_default();
    if !bool::from(digest.ct_eq(&expected)) || owner.is_empty() {
        return unauthorized();
    }
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(Caller(owner));
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    let Some((scheme, key)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Ok(None);
    };
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start_matches(' ')))
}

fn parse(key: &str) -> Option<(String, [u8; 32])> {
    let (id, _secret) = key.split_once('_').filter(|_| key.len() <= 128)?;
    Some((id.to_owned(), Sha256::digest(key).into()))
}

fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer"), (CACHE_CONTROL, "no-store")])
        .into_response()
}

fn refuse(status: StatusCode) -> Response {
    (status, [(CACHE_CONTROL, "no-store")]).into_response()
}

// The middleware ends here.

async fn deploy(Extension(Caller(owner)): Extension<Caller>) -> String {
    format!("hello {owner}")
}

fn app(key: &str) -> Router {
    let id = key.split('_').next().unwrap_or_default().to_owned();
    let keys = HashMap::from([(id, (Sha256::digest(key).into(), "alice".to_owned()))]);
    Router::new()
        .route("/deploy", post(deploy))
        .route_layer(from_fn_with_state(Arc::new(Keys(keys)), require_key))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = tower_webhook::key::random_base62(43)?;
    let key = format!("k1_{}", secret.expose_secret());
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("curl -s -X POST -H 'Authorization: Bearer {key}' http://{address}/deploy");
    axum::serve(listener, app(&key)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;

    async fn status(headers: &[&str]) -> StatusCode {
        let mut request = http::Request::post("/deploy");
        for value in headers {
            request = request.header(AUTHORIZATION, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        app("k1_secret").oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn the_middleware_is_correct_as_far_as_it_goes() {
        assert_eq!(status(&["Bearer k1_secret"]).await, StatusCode::OK);
        assert_eq!(status(&["bearer  k1_secret"]).await, StatusCode::OK);
        assert_eq!(status(&[]).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&["Bearer k1_secreT"]).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&["Bearer k2_secret"]).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&["Bearer k1_secret"; 2]).await, StatusCode::BAD_REQUEST);
    }
}
