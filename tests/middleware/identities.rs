//! Requests with a key and a login, and nested layers.

use async_trait::async_trait;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::key::{KeyHasher, KeyVerifier, Pepper};
use tower_webhook::{Clock, RequestHead};

use crate::support::{Keys, NOW, Recorder, owner, scope};

type Body = Full<bytes::Bytes>;

/// Accepts every credential in its placements, or, without any, a header of its own.
struct Logins;

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        Ok(match candidate.is_some() || head.headers().contains_key("x-session") {
            true => Authentication::Accepted(User::new(owner("alice"))),
            false => Authentication::Missing,
        })
    }
}

fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    match head.uri().path() {
        "/token" => Some(Policy::token()),
        "/user" => Some(Policy::user()),
        _ => Some(Policy::public()),
    }
}

async fn status(layer: &AuthLayer, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::default()).unwrap();
    layer.layer(Recorder::default()).oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_second_kind_of_credential_in_a_header_is_a_400() {
    let keys = Keys::new().await;
    let bearer = format!("Bearer {}", keys.text);
    let (key, login) = (("x-api-key", keys.text.as_str()), ("authorization", "Basic YTpi"));
    let (cookie, as_bearer) = (("cookie", "session=s"), ("authorization", bearer.as_str()));
    let layer = |users: &[Placement]| {
        AuthLayer::per_request(resolve)
            .with_keys(
                &keys.manager,
                [Placement::header("x-api-key").unwrap(), Placement::bearer()],
            )
            .unwrap()
            .with_authenticator(Logins, users.to_vec())
            .unwrap()
    };
    let strict = layer(&[Placement::basic(), Placement::cookie("session").unwrap()]);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, u16);
    let cases: [Case<'_>; 11] = [
        ("/token", &[key], 200, 200),
        ("/token", &[key, login], 400, 200),
        ("/token", &[as_bearer, cookie], 200, 200),
        ("/token", &[key, cookie], 200, 200),
        ("/token", &[login], 401, 401),
        ("/user", &[login], 200, 200),
        ("/user", &[login, key], 400, 200),
        ("/user", &[cookie, key], 400, 200),
        ("/user", &[key], 401, 401),
        ("/user", &[login, cookie], 400, 400),
        ("/public", &[key, login], 200, 200),
    ];
    for (path, headers, expected, loose) in cases {
        assert_eq!(status(&strict, path, headers).await, expected, "{path} {headers:?}");
        let lenient = strict.clone().with_insecure_mixed_credentials();
        assert_eq!(status(&lenient, path, headers).await, loose, "{path} {headers:?}");
    }

    // What counts is where the credential was, and not which places overlap.
    let overlapping = layer(&[Placement::header("authorization").unwrap()]);
    assert_eq!(status(&overlapping, "/token", &[key, login]).await, 400);
    assert_eq!(status(&overlapping, "/token", &[as_bearer]).await, 200);

    // A place that both read is one place.
    let shared = layer(&[Placement::bearer()]);
    assert_eq!(status(&shared, "/token", &[as_bearer]).await, 200);
    assert_eq!(status(&shared, "/user", &[as_bearer]).await, 200);

    // An authenticator that looks at the head itself has found one if it accepts.
    let itself = layer(&[]);
    assert_eq!(status(&itself, "/user", &[("x-session", "s")]).await, 200);
    assert_eq!(status(&itself, "/user", &[("x-session", "s"), key]).await, 400);
}

#[tokio::test]
async fn an_inner_layer_relies_on_clones_of_its_own_verifier_only() {
    let keys = Keys::new().await;
    let header = || [Placement::header("x-api-key").unwrap()];
    let token = |verifier: KeyVerifier| AuthLayer::token(verifier, header()).unwrap();
    let outer = || keys.manager.verifier();
    let pepper =
        || KeyHasher::peppered(Pepper::new("p", *b"0123456789abcdef0123456789abcdef").unwrap());
    let at_now = || Clock::from_fn(|| NOW);

    let verifier = outer();
    let changed = verifier.clone().with_clock(at_now());
    let cases = [
        ("a clone", verifier.clone(), 200),
        ("another verifier of the same manager", keys.manager.verifier(), 200),
        ("a verifier of a clone of the manager", keys.manager.clone().verifier(), 200),
        ("another clock", verifier.clone().with_clock(at_now()), 401),
        ("another hasher", verifier.clone().with_hasher(pepper()), 401),
        ("another deadline", changed, 401),
        (
            "another manager over the same store",
            { tower_webhook::key::KeyManager::new(keys.store.clone()).verifier() },
            401,
        ),
        ("a changed manager", keys.manager.clone().with_clock(at_now()).verifier(), 401),
    ];
    for (what, inner, expected) in cases {
        let service = token(outer()).layer(token(inner).layer(Recorder::default()));
        let request = Request::post("/").header("x-api-key", &keys.text);
        let request = request.body(Body::default()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), expected, "{what}");
    }
}

#[tokio::test]
async fn what_an_outer_layer_asks_for_does_not_widen_an_inner_one() {
    let keys = Keys::new().await;
    let header = || [Placement::header("x-api-key").unwrap()];
    let token = || AuthLayer::token(&keys.manager, header()).unwrap();
    for (inner, expected) in [
        (token().with_scope(scope("deploy")).unwrap(), 200),
        (token().with_scope(scope("admin")).unwrap(), 403),
        (token().with_owner(owner("bob")).unwrap(), 401),
    ] {
        let service = token().layer(inner.layer(Recorder::default()));
        let request = Request::post("/").header("x-api-key", &keys.text);
        let request = request.body(Body::default()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn a_path_that_an_outer_layer_has_read_holds_no_second_key() {
    let keys = Keys::new().await;
    let path = || [Placement::path("/h/{key}").unwrap(), Placement::header("x-api-key").unwrap()];
    let token = || AuthLayer::token(&keys.manager, path()).unwrap();
    let service = token().layer(token().layer(Recorder::default()));
    let request = Request::post(format!("/h/{}", keys.text)).body(Body::default()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_inner_layer_relies_on_a_user_of_a_clone() {
    let auth = AuthLayer::user(Logins, [Placement::basic()]).unwrap();
    let other = AuthLayer::user(Logins, [Placement::basic()]).unwrap();
    for (inner, expected) in [
        (auth.clone(), 200),
        (auth.clone().with_scope(scope("admin")).unwrap(), 200),
        (auth.clone().with_owner(owner("alice")).unwrap(), 200),
        (auth.clone().with_owner(owner("bob")).unwrap(), 403),
        (other, 401),
    ] {
        let service = auth.layer(inner.layer(Recorder::default()));
        let request = Request::post("/").header("authorization", "Basic YTpi");
        let request = request.body(Body::default()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), expected);
    }
}
