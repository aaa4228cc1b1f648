//! Made-up identities: handlers take them, and layers do not.

use axum::body::{Body, to_bytes};
use axum::{Extension, Router, routing::post};
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyId, Scopes};

use crate::support::{Keys, owner, scope};

/// The handler of an app, as it is without the layer.
async fn deploy(identity: Identity) -> Result<String, StatusCode> {
    match identity.has_scope(&scope("deploy")) {
        true => Ok(format!("{} {:?}", identity.owner(), identity.key_id().map(KeyId::as_str))),
        false => Err(StatusCode::FORBIDDEN),
    }
}

fn scopes(names: &[&str]) -> Scopes {
    Scopes::parse(names).unwrap()
}

fn key(names: &[&str]) -> Identity {
    Identity::for_test_key(owner("ann"), scopes(names), KeyId::new("k1").unwrap())
}

async fn status(app: Router) -> StatusCode {
    let request = Request::post("/deploy").body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_handler_is_called_with_an_identity() {
    let user = |names| Identity::for_test(owner("ann"), scopes(names));

    assert_eq!(deploy(user(&["deploy"])).await.unwrap(), "ann None");
    assert_eq!(deploy(key(&["a", "deploy"])).await.unwrap(), r#"ann Some("k1")"#);
    assert_eq!(deploy(user(&["other"])).await, Err(StatusCode::FORBIDDEN));
    assert_eq!(deploy(user(&[])).await, Err(StatusCode::FORBIDDEN));
    assert_eq!(user(&[]).placement(), None);
    assert!(key(&[]).placement().is_some());
    assert_eq!(key(&["a"]).reverify().await.unwrap().owner(), &owner("ann"));
}

#[tokio::test]
async fn a_route_takes_it_from_the_extensions() {
    let app = |identity| {
        Router::new().route("/deploy", post(deploy)).layer(Extension::<Identity>(identity))
    };
    let request = Request::post("/deploy").body(Body::empty()).unwrap();
    let response = app(key(&["deploy"])).oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), r#"ann Some("k1")"#);
    assert_eq!(status(app(key(&["other"]))).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn no_layer_takes_it_for_proof() {
    let keys = Keys::new().await;
    let placements = || [Placement::header("x-api-key").unwrap()];
    let token = AuthLayer::token(&keys.manager, placements()).unwrap();
    let concealing = AuthLayer::per_request(|_: RequestHead<'_>| Some(Policy::token()))
        .with_keys(&keys.manager, placements())
        .unwrap()
        .with_uniform_unauthorized();
    for layer in [token, concealing] {
        for identity in [key(&["deploy"]), Identity::for_test(owner("ann"), Scopes::ALL)] {
            let app = Router::new().route("/deploy", post(deploy));
            let app = app.layer(layer.clone()).layer(Extension(identity));
            assert_eq!(status(app).await, StatusCode::UNAUTHORIZED);
        }
    }
}
