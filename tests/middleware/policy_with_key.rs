//! Policies that ask for one key.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Placement, Secret};
use tower_webhook::key::{KeyId, KeyManager, KeyVerifier, NewKey, TokenFormat};

use crate::support::{Keys, Mode, Recorder, TestStore, owner};

/// `/<id>` accepts the key with that id.
fn layer(keys: impl Into<KeyVerifier>) -> AuthLayer {
    let resolve = |head: RequestHead<'_>| {
        let id = KeyId::new(head.uri().path().strip_prefix('/')?).ok()?;
        Some(Policy::token().with_key(id))
    };
    let placements =
        [Placement::header("x-hook-token").unwrap(), Placement::query("token").unwrap()];
    AuthLayer::per_request(resolve).with_keys(keys, placements).unwrap()
}

async fn call(layer: &AuthLayer, inner: &Recorder, id: &str, key: &str) -> (StatusCode, Bytes) {
    let request = Request::post(format!("/{id}")).header("x-hook-token", key);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn another_good_key_is_refused_like_an_unknown_one() {
    for mode in [Mode::Ready, Mode::Later] {
        let keys = Keys::new().await;
        let other = keys.manager.generate(&owner("alice"), NewKey::new("other")).await.unwrap();
        keys.store.set_mode(mode);
        let (layer, inner) = (layer(&keys.manager), Recorder::default());
        let (id, text) = (keys.id.as_str(), keys.text.as_str());

        assert_eq!(call(&layer, &inner, id, text).await.0, StatusCode::OK);
        assert_eq!(inner.take().len(), 1);

        let refused = call(&layer, &inner, id, "junk").await;
        assert_eq!(refused.0, StatusCode::UNAUTHORIZED);
        assert_eq!(call(&layer, &inner, id, other.secret().expose_secret()).await, refused);
        assert_eq!(call(&layer, &inner, other.record().id().as_str(), text).await, refused);
        assert!(inner.take().is_empty());
    }
}

#[tokio::test]
async fn a_known_caller_still_needs_the_key_of_the_policy() {
    let keys = Keys::new().await;
    let verifier = keys.manager.verifier();
    let inner = Recorder::default();
    let own = Policy::token().with_key(keys.id.clone());
    let other = Policy::token().with_key(KeyId::new("other").unwrap());
    for (policy, expected) in [(own, StatusCode::OK), (other, StatusCode::UNAUTHORIZED)] {
        let placements = || [Placement::header("x-hook-token").unwrap()];
        let inside = AuthLayer::new(policy).unwrap();
        let inside = inside.with_keys(verifier.clone(), placements()).unwrap();
        let outside = AuthLayer::token(verifier.clone(), placements()).unwrap();
        let request = Request::post("/").header("x-hook-token", &keys.text);
        let request = request.body(Full::<Bytes>::default()).unwrap();

        let response = outside.layer(inside.layer(inner.clone())).oneshot(request).await.unwrap();

        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn equal_tokens_open_each_its_own_hook_with_one_look_up() {
    let store = TestStore::default();
    let keys = KeyManager::new(store.clone()).with_format(TokenFormat);
    for (id, text) in [("hook-1", "same"), ("hook-2", "same"), ("hook-3", "not it")] {
        let new = NewKey::new(id).with_id(KeyId::new(id).unwrap());
        keys.import(&owner("alice"), Secret::new(text), new).await.unwrap();
    }
    let (layer, inner) = (layer(&keys), Recorder::default());
    store.take_finds();

    for (id, expected) in [
        ("hook-1", StatusCode::OK),
        ("hook-2", StatusCode::OK),
        ("hook-3", StatusCode::UNAUTHORIZED),
        ("hook-4", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(call(&layer, &inner, id, "same").await.0, expected, "{id}");
        assert_eq!(store.take_finds(), 1, "{id}");
    }
    // An empty one is none.
    assert_eq!(call(&layer, &inner, "hook-1", "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(store.take_finds(), 0);
}
