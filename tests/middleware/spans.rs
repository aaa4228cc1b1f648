//! Spans around the layer contain no key, in any format and any spelling.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_http::trace::TraceLayer;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, Placement, Secret};
use tower_webhook::key::{
    KeyFormat, KeyId, KeyManager, NewKey, OpaqueFormat, PrefixedFormat, TokenFormat,
};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::trace::{Places, request_span};

use crate::support::{Logs, owner};

/// A manager, the text of a key of its format, and the policy that the key fulfils.
async fn keys(format: impl KeyFormat) -> (KeyManager, String, Policy) {
    let keys = KeyManager::new(MemoryKeyStore::new()).with_format(format);
    let id = KeyId::new("aaaaaaaaaaaaaaaa").unwrap();
    let named = NewKey::new("a").with_id(id.clone());
    let (issued, policy) = match keys.generate(&owner("ann"), NewKey::new("a")).await {
        Ok(issued) => (issued, Policy::token()),
        Err(_) => {
            (keys.generate(&owner("ann"), named).await.unwrap(), Policy::token().with_key(id))
        }
    };
    let text = issued.secret().expose_secret().to_owned();
    (keys, text, policy)
}

/// An app whose spans are made by the function as it is, in a router.
fn app(auth: AuthLayer, places: Places) -> Router {
    let hooks = Router::new()
        .route("/h/{key}", get(|| async { "ok" }))
        .route("/h/{key}/run", get(|| async { "ok" }))
        .route_layer(auth);
    Router::new()
        .nest("/api/v1", hooks.clone())
        .merge(hooks)
        .layer(TraceLayer::new_for_http().make_span_with(request_span(places)))
}

/// As each character with its number.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn assert_hidden(format: impl KeyFormat) {
    let (keys, key, policy) = keys(format).await;
    let places = ["/h/{key}", "/h/{key}/run"].map(|path| Placement::path(path).unwrap());
    let auth =
        AuthLayer::per_request(move |_: tower_webhook::RequestHead<'_>| Some(policy.clone()))
            .with_keys(&keys, places)
            .unwrap();
    let app = app(auth.clone(), (&auth).into());
    let mistyped = format!("{}-", &key[..key.len() - 1]);
    let logs = Logs::default();
    {
        let _guard = logs.capture();
        for (path, status) in [
            (format!("/h/{key}"), StatusCode::OK),
            (format!("/h/{key}/run?a={key}"), StatusCode::OK),
            (format!("/h/{}", encoded(&key)), StatusCode::OK),
            (format!("/api/v1/h/{key}"), StatusCode::OK),
            (format!("/api/v1/h/{}/run", encoded(&key)), StatusCode::OK),
            (format!("/h/{mistyped}"), StatusCode::UNAUTHORIZED),
            (format!("/api/v1/h/{}", encoded(&mistyped)), StatusCode::UNAUTHORIZED),
            (format!("/h/{key}/"), StatusCode::NOT_FOUND),
            (format!("//h//{key}"), StatusCode::NOT_FOUND),
            (format!("/elsewhere/h/{mistyped}"), StatusCode::NOT_FOUND),
        ] {
            let request = Request::get(&path).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
        }
    }
    let logs = logs.text();
    let core = &key[4..key.len() - 1];
    for text in [core, &encoded(core)] {
        assert!(!logs.contains(text), "{text} is in {logs}");
    }
    for path in ["/h/redacted", "/h/redacted/run", "/api/v1/h/redacted", "/elsewhere/h/redacted"] {
        assert!(logs.contains(&format!("url.path=\"{path}\"")), "no {path} in {logs}");
    }
}

#[tokio::test]
async fn a_path_parameter_is_hidden_for_every_format() {
    assert_hidden(PrefixedFormat::new("whk").unwrap()).await;
    assert_hidden(OpaqueFormat::new()).await;
    assert_hidden(TokenFormat).await;
}

#[tokio::test]
async fn places_are_added_up_and_need_no_layer() {
    let (keys, key, _) = keys(PrefixedFormat::new("whk").unwrap()).await;
    let auth = AuthLayer::token(&keys, [Placement::header("x-api-key").unwrap()]).unwrap();
    let other = Credentials::new([Placement::path("/reset/{token}").unwrap()]).unwrap();
    let app = app(auth.clone(), Places::from(&auth).and(&other));
    let logs = Logs::default();
    {
        let _guard = logs.capture();
        for path in
            ["/reset/s3cret".to_owned(), format!("/h/{key}"), format!("/x/{}", encoded(&key))]
        {
            let request = Request::get(path).header("x-api-key", &key).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap();
        }
    }
    let logs = logs.text();
    assert!(!logs.contains("s3cret") && !logs.contains(&key), "{logs}");
    assert!(logs.contains("url.path=\"/reset/redacted\""), "{logs}");
    // A key in a place where no layer looks, which its format recognises.
    assert!(logs.contains("url.path=\"/h/whk_[redacted]\""), "{logs}");
    assert!(logs.contains("url.path=\"/x/whk_[redacted]\""), "{logs}");
}

#[tokio::test]
async fn a_mistyped_token_is_no_id_in_an_event() {
    // The id of a key may be logged. A text that is not a whole key has none.
    let (keys, key, _) = keys(PrefixedFormat::new("whk").unwrap()).await;
    let auth = AuthLayer::token(&keys, [Placement::bearer()]).unwrap();
    let app = app(auth.clone(), (&auth).into());
    let logs = Logs::default();
    {
        let _guard = logs.capture();
        for text in [&key[..key.len() - 1], &key[1..], &format!("{key}x"), &key.to_lowercase()] {
            let request = Request::get("/h/a").header("authorization", format!("Bearer {text}"));
            app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        }
    }
    let logs = logs.text();
    assert_eq!(logs.matches("authn_login_fail").count(), 4, "{logs}");
    assert!(!logs.contains("auth.key_id"), "{logs}");
    let secret = Secret::new(key);
    assert!(!logs.contains(&secret.expose_secret()[21..50]), "{logs}");
}
