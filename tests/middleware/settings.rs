//! A restriction is applied or refused, never dropped, in any order of the settings.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use time::Duration;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, NewKey};
use tower_webhook::{Clock, RequestHead};

use crate::support::{Keys, NOW, Recorder, owner, scope};

type Body = Full<bytes::Bytes>;

fn header() -> [Placement; 1] {
    [Placement::header("x-api-key").unwrap()]
}

async fn call(layer: &AuthLayer, key: &str) -> StatusCode {
    let request = Request::post("/").header("x-api-key", key).body(Body::default()).unwrap();
    layer.layer(Recorder::default()).oneshot(request).await.unwrap().status()
}

fn resolved(policy: Policy) -> AuthLayer {
    AuthLayer::per_request(move |_: RequestHead<'_>| Some(policy.clone()))
}

#[tokio::test]
async fn a_scope_of_the_layer_holds_for_every_policy() {
    let keys = Keys::new().await;
    let with_keys = |layer: AuthLayer| layer.with_keys(&keys.manager, header()).unwrap();
    let token = || with_keys(resolved(Policy::token()));

    // The key of alice has the scope `deploy`.
    for (layer, expected) in [
        (token(), StatusCode::OK),
        (token().with_scope(scope("deploy")).unwrap(), StatusCode::OK),
        (token().with_scope(scope("admin")).unwrap(), StatusCode::FORBIDDEN),
        (token().with_owner(owner("alice")).unwrap(), StatusCode::OK),
        (token().with_owner(owner("root")).unwrap(), StatusCode::UNAUTHORIZED),
        // The order of the calls does not matter.
        (
            with_keys(resolved(Policy::token()).with_scope(scope("admin")).unwrap()),
            StatusCode::FORBIDDEN,
        ),
        // What the policy asks for by itself is asked for as well.
        (
            with_keys(resolved(Policy::token().with_scope(scope("admin"))))
                .with_scope(scope("deploy"))
                .unwrap(),
            StatusCode::FORBIDDEN,
        ),
        // A requirement that cannot be met is a fault of ours, and not an open door.
        (
            with_keys(resolved(Policy::public())).with_scope(scope("deploy")).unwrap(),
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        (
            with_keys(resolved(Policy::public())).with_owner(owner("alice")).unwrap(),
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
        (
            with_keys(resolved(Policy::token().with_owner(owner("bob"))))
                .with_owner(owner("alice"))
                .unwrap(),
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
    ] {
        assert_eq!(call(&layer, &keys.text).await, expected, "{layer:?}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn a_public_policy_under_a_scope_is_logged() {
    let keys = Keys::new().await;
    let layer = resolved(Policy::public())
        .with_keys(&keys.manager, header())
        .unwrap()
        .with_scope(scope("deploy"))
        .unwrap();
    let logs = crate::support::Logs::default();
    let guard = logs.capture();

    assert_eq!(call(&layer, &keys.text).await, StatusCode::INTERNAL_SERVER_ERROR);

    drop(guard);
    let text = logs.text();
    assert!(text.contains("ERROR") && text.contains("a public policy asks for"), "{text}");
}

#[tokio::test]
async fn contradictions_of_a_configuration_are_errors() {
    let keys = Keys::new().await;
    let id = || keys.id.clone();
    let other = KeyId::new("other").unwrap();
    let public = AuthLayer::public;
    let token = || AuthLayer::token(&keys.manager, header()).unwrap();

    assert!(public().with_scope(scope("a")).is_err());
    assert!(public().with_owner(owner("a")).is_err());
    assert!(token().with_owner(owner("a")).unwrap().with_owner(owner("b")).is_err());
    assert!(token().with_owner(owner("a")).unwrap().with_owner(owner("a")).is_ok());
    assert!(token().with_keys(&keys.manager, [Placement::bearer()]).is_err());

    for policy in [
        Policy::public().with_scope(scope("a")),
        Policy::public().with_owner(owner("a")),
        Policy::public().with_key(id()),
        Policy::user().with_key(id()),
        Policy::token().with_key(id()).with_key(other),
        Policy::token().with_owner(owner("a")).with_owner(owner("b")),
        Policy::token().with_methods([Method::GET]).with_methods([Method::POST]),
        Policy::token().with_methods([]),
    ] {
        assert!(AuthLayer::new(policy.clone()).is_err(), "{policy:?}");
        // From a resolver, the same is a 500.
        let layer = resolved(policy).with_keys(&keys.manager, header()).unwrap();
        assert_eq!(call(&layer, &keys.text).await, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_policy_keeps_what_it_asks_for_beside_the_layer() {
    let keys = Keys::new().await;
    let policy = || Policy::token().with_methods([Method::POST]).with_scope(scope("deploy"));
    let layer = || AuthLayer::new(policy()).unwrap().with_keys(&keys.manager, header()).unwrap();

    assert_eq!(call(&layer(), &keys.text).await, StatusCode::OK);
    let admin = layer().with_scope(scope("admin")).unwrap();
    assert_eq!(call(&admin, &keys.text).await, StatusCode::FORBIDDEN);
    // Without keys, nothing is open.
    let unwired = AuthLayer::new(policy()).unwrap();
    assert_eq!(call(&unwired, &keys.text).await, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_clock_counts_before_and_after_the_keys() {
    let keys = Keys::new().await;
    let new = NewKey::new("short").with_expires_in(Duration::HOUR);
    let issued = keys.manager.generate(&owner("alice"), new).await.unwrap();
    let key = issued.secret().expose_secret();
    let late = || Clock::from_fn(|| NOW + Duration::days(1));
    let per_request = || resolved(Policy::token());

    let before = per_request().with_clock(late()).with_keys(&keys.manager, header()).unwrap();
    let after = per_request().with_keys(&keys.manager, header()).unwrap().with_clock(late());
    let without = per_request().with_keys(&keys.manager, header()).unwrap();

    assert_eq!(call(&without, key).await, StatusCode::OK);
    assert_eq!(call(&before, key).await, StatusCode::UNAUTHORIZED);
    assert_eq!(call(&after, key).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_list_of_stripped_places_counts() {
    let layer = AuthLayer::public()
        .with_removed([Placement::header("x-a").unwrap()])
        .unwrap()
        .with_removed([Placement::header("x-b").unwrap()])
        .unwrap();
    let inner = Recorder::default();
    let request = Request::post("/").header("x-a", "1").header("x-b", "2").header("x-c", "3");
    let request = request.body(Body::default()).unwrap();

    layer.layer(inner.clone()).oneshot(request).await.unwrap();

    let [request] = <[_; 1]>::try_from(inner.take()).unwrap();
    assert_eq!(request.headers().keys().collect::<Vec<_>>(), ["x-c"]);
}

#[tokio::test]
async fn a_refusal_is_in_the_extensions_of_its_response() {
    use tower_webhook::rejection::{Rejection, RejectionKind};

    let keys = Keys::new().await;
    let layer = AuthLayer::header("x-api-key", &keys.manager).unwrap();
    for (layer, key, kind) in [
        (layer.clone(), "junk", RejectionKind::Malformed),
        (layer.clone().with_scope(scope("admin")).unwrap(), &keys.text, RejectionKind::Forbidden),
        (
            layer.with_scope(scope("admin")).unwrap().with_uniform_unauthorized(),
            &keys.text,
            RejectionKind::Forbidden,
        ),
    ] {
        let request = Request::post("/").header("x-api-key", key).body(Body::default()).unwrap();
        let response = layer.layer(Recorder::default()).oneshot(request).await.unwrap();
        let rejection: &Rejection = response.extensions().get().unwrap();
        assert_eq!((rejection.kind(), rejection.status()), (kind, response.status()));
    }
}

#[tokio::test]
async fn the_text_of_a_public_error_reaches_the_caller_and_the_log() {
    use http_body_util::BodyExt;
    use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};

    let run = |_: Invocation| async {
        let error = ExecutorError::public("the \"queue\" is full").with_source("disk on fire");
        Err::<Outcome, _>(error)
    };
    #[cfg(feature = "tracing")]
    let (logs, guard) = {
        let logs = crate::support::Logs::default();
        let guard = logs.capture();
        (logs, guard)
    };
    let hooks = Hooks::new(AuthLayer::public(), run).with_response_format(ResponseFormat::http());
    let request = Request::post("/").body(Body::default()).unwrap();
    let response = hooks.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["detail"], "the \"queue\" is full");
    assert_eq!(problem["code"], "executor_failed");
    #[cfg(feature = "tracing")]
    {
        drop(guard);
        let text = logs.text();
        assert!(text.contains("queue") && text.contains("disk on fire"), "{text}");
    }
}

#[test]
fn members_of_an_envelope_do_not_collide() {
    use tower_webhook::envelope::EnvelopeBuilder;
    use tower_webhook::hook::{Hooks, Invocation, Outcome};

    let hooks = || {
        let run = |_: Invocation| std::future::ready(Outcome::json("done"));
        Hooks::new(AuthLayer::public(), run)
    };
    assert!(hooks().with_identity_member("CALLER").is_ok());
    assert!(hooks().with_identity_member("JSON").is_err());
    let envelope = || EnvelopeBuilder::new();
    let named = hooks().with_identity_member("CALLER").unwrap();
    assert!(named.with_envelope(envelope()).is_ok());
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn an_outage_is_logged_with_its_causes() {
    let keys = Keys::new().await;
    keys.store.set_mode(crate::support::Mode::Error);
    let logs = crate::support::Logs::default();
    let guard = logs.capture();
    let layer = AuthLayer::header("x-api-key", &keys.manager).unwrap();
    assert_eq!(call(&layer, &keys.text).await, StatusCode::SERVICE_UNAVAILABLE);
    drop(guard);
    assert!(logs.text().contains("connection to 10.0.0.1 refused"), "{}", logs.text());
}
