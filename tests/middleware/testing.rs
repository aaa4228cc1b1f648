//! Made-up identities: handlers take them, and layers only those of a `TestIdentityLayer`.

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::{Extension, Router, routing::post};
use http::{Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy};
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::identity::{Identity, TestIdentityLayer};
use tower_webhook::key::{KeyId, Scopes};
use tower_webhook::{BoxError, RequestHead};

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

/// Is never asked.
struct Unasked;

#[async_trait]
impl Authenticator for Unasked {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        _candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        Err("the authenticator is asked".into())
    }
}

fn user(names: &[&str]) -> Identity {
    Identity::for_test(owner("ann"), scopes(names))
}

/// A layer with keys and users, in header fields or wherever the authenticator looks.
fn layer(keys: &Keys, policy: Policy, user_placements: &[&str]) -> AuthLayer {
    let placements = user_placements.iter().map(|name| Placement::header(*name).unwrap());
    AuthLayer::new(policy)
        .unwrap()
        .with_keys(&keys.manager, [Placement::header("x-api-key").unwrap()])
        .unwrap()
        .with_authenticator(Unasked, placements)
        .unwrap()
}

#[tokio::test]
async fn layers_check_what_a_caller_of_a_test_may_do() {
    let keys = Keys::new().await;
    let (token, any) = (Policy::token, || Policy::any_of([Policy::token(), Policy::user()]));
    let deploys = |policy: Policy| policy.with_scope(scope("deploy"));
    let id = |text| KeyId::new(text).unwrap();
    let made = TestIdentityLayer::new;
    let both = || made(user(&["deploy"])).with_key(key(&["deploy"]));
    let cases = [
        (deploys(token()), made(key(&["deploy"])), 200),
        (deploys(token()), made(key(&["other"])), 403),
        (deploys(token()), made(user(&["deploy"])), 401),
        (token().with_owner(owner("ann")), made(key(&["deploy"])), 200),
        (token().with_owner(owner("bob")), made(key(&["deploy"])), 401),
        (token().with_key(id("k1")), made(key(&["deploy"])), 200),
        (token().with_key(id("k2")), made(key(&["deploy"])), 401),
        (token().with_methods([http::Method::GET]), made(key(&["deploy"])), 405),
        (deploys(Policy::user()), made(user(&["deploy"])), 200),
        (deploys(Policy::user()), made(user(&["other"])), 403),
        (Policy::user(), made(key(&["deploy"])), 401),
        (Policy::user().with_owner(owner("bob")), made(user(&["deploy"])), 403),
        (deploys(any()), made(user(&["deploy"])), 200),
        (deploys(any()), made(key(&["deploy"])), 200),
        (deploys(any()), made(key(&[])), 403),
        (Policy::all_of([token(), Policy::user()]), both(), 200),
        (Policy::all_of([token(), Policy::user()]), made(user(&["deploy"])), 401),
        (Policy::public(), made(key(&["deploy"])), 200),
    ];
    for (policy, made_up, expected) in cases {
        for conceals in [false, true] {
            let mut auth = layer(&keys, policy.clone(), &["x-user"]);
            if conceals {
                auth = auth.with_uniform_unauthorized();
            }
            let app = Router::new().route("/deploy", post(deploy)).route_layer(auth);
            let seen = status(app.layer(made_up.clone())).await;
            assert!(seen == expected || conceals, "{policy:?} {made_up:?} {seen}");
            assert!(seen.is_success() == (expected == 200), "{policy:?} {made_up:?} {seen}");
        }
    }
    assert_eq!(keys.store.take_finds(), 0);
}

#[tokio::test]
async fn an_authenticator_is_not_asked_about_a_caller_of_a_test() {
    let app = |identity| {
        let auth = AuthLayer::user(Unasked, None::<Placement>).unwrap();
        let auth = auth.with_scope(scope("deploy")).unwrap();
        let app = Router::new().route("/deploy", post(deploy)).route_layer(auth);
        app.layer(TestIdentityLayer::new(identity))
    };
    assert_eq!(status(app(user(&["deploy"]))).await, StatusCode::OK);
    assert_eq!(status(app(user(&[]))).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_credential_decides_also_beside_a_caller_of_a_test() {
    let keys = Keys::new().await;
    let app = Router::new()
        .route("/deploy", post(deploy))
        .route_layer(layer(&keys, Policy::token(), &["x-user"]))
        .layer(TestIdentityLayer::new(key(&["deploy"])));
    let answer = async |text: &str| {
        let request = Request::post("/deploy").header("x-api-key", text).body(Body::empty());
        let response = app.clone().oneshot(request.unwrap()).await.unwrap();
        (response.status(), to_bytes(response.into_body(), 1000).await.unwrap())
    };
    assert_eq!(answer("guess").await.0, StatusCode::UNAUTHORIZED);
    let (status, body) = answer(&keys.text).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with(b"alice "));
}

#[tokio::test]
async fn an_executor_gets_the_caller_of_a_test() {
    let keys = Keys::new().await;
    let hooks = Hooks::new(layer(&keys, Policy::token(), &["x-user"]), async |call: Invocation| {
        Outcome::json(&call.identity().map(|identity| identity.owner().as_str()))
    });
    let service = TestIdentityLayer::new(key(&[])).layer(hooks);
    let response = service.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(Body::new(response.into_body()), 1000).await.unwrap();
    assert_eq!(body, r#""ann""#);
}
