//! Policies that take a key or a user, or both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyId, NewKey, Scopes};
use tower_webhook::{BoxError, RequestHead};

#[cfg(feature = "tracing")]
use crate::support::Logs;
use crate::support::{Keys, Mode, Recorder, owner, scope};

/// Knows `sesame` as alice and `weak` as alice without scopes, fails on `down`, and keeps what it was asked about.
#[derive(Clone, Default)]
struct Logins(Arc<Mutex<Vec<String>>>);

impl Logins {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let text = candidate.and_then(|candidate| candidate.expose_text()).unwrap_or_default();
        self.0.lock().unwrap().push(text.to_owned());
        match text {
            "sesame" => {
                Ok(Authentication::Accepted(User::new(owner("alice")).with_extension(7_u8)))
            }
            "weak" => {
                Ok(Authentication::Accepted(User::new(owner("alice")).with_scopes(Scopes::NONE)))
            }
            "down" => Err("the directory is down".into()),
            _ => Ok(Authentication::refused("no user has this password")),
        }
    }
}

fn any() -> Policy {
    Policy::any_of([Policy::token(), Policy::user()])
}

fn all() -> Policy {
    Policy::all_of([Policy::user(), Policy::token()])
}

/// Both lists read `Authorization: Bearer`.
fn layer(policy: Policy, keys: &Keys, logins: &Logins) -> AuthLayer {
    let for_keys = [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::query("token").unwrap(),
        Placement::body("api_key").unwrap(),
    ];
    let for_users = [
        Placement::basic(),
        Placement::bearer(),
        Placement::cookie("session").unwrap(),
        Placement::body("password").unwrap(),
    ];
    let layer = AuthLayer::new(policy.with_methods([Method::POST])).unwrap();
    let layer = layer.with_keys(&keys.manager, for_keys).unwrap();
    layer.with_authenticator(logins.clone(), for_users).unwrap()
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("alice:{password}")))
}

type Headers<'a> = Vec<(&'a str, &'a str)>;

fn request(target: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    // Without a buffer there is no body to look into.
    let media = if body.is_empty() { "text/plain" } else { "application/json" };
    let mut request = Request::post(target).header("content-type", media);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

/// Status and headers, and the request that came through.
/// How much is read for a caller who is not known yet.
const PRE_AUTH: usize = 16 * 1024;

async fn ask(
    layer: AuthLayer,
    request: Request<Full<Bytes>>,
) -> (u16, HeaderMap, Option<Request<Bytes>>) {
    let inner = Recorder::default();
    let layer = layer.with_buffer(BodyBufferLayer::new()).with_pre_auth_max_bytes(PRE_AUTH);
    let service = layer.layer(inner.clone());
    let response = service.oneshot(request).await.unwrap();
    (response.status().as_u16(), response.headers().clone(), inner.take().pop())
}

fn challenges(headers: &HeaderMap) -> Vec<&str> {
    let mut schemes: Vec<&str> = headers
        .get_all("www-authenticate")
        .iter()
        .flat_map(|value| value.to_str().unwrap().split(", "))
        .filter_map(|part| part.split_once(" realm=").map(|(scheme, _)| scheme))
        .collect();
    schemes.sort_unstable();
    schemes.dedup();
    schemes
}

/// Who came through, and whether the authenticator has handed something on.
fn caller(request: &Request<Bytes>) -> (bool, bool, bool) {
    let identity = request.extensions().get::<Identity>().unwrap();
    assert_eq!(identity.owner().as_str(), "alice");
    let is_user = identity.key_id().is_none();
    (is_user, identity.also_proven().is_some(), request.extensions().get::<u8>().is_some())
}

#[tokio::test]
async fn any_of_wants_exactly_one_credential() {
    let keys = Keys::new().await;
    let key = keys.text.as_str();
    let (sesame, guess) = (basic("sesame"), basic("guess"));
    let bearer = format!("Bearer {key}");
    let joined = format!("{sesame}, Bearer {key}");
    let in_query = format!("/?token={key}");
    let (key_in_body, user_in_body) =
        (format!(r#"{{"api_key":"{key}"}}"#), r#"{"password":"sesame"}"#);
    let both_in_body = format!(r#"{{"api_key":"{key}","password":"sesame"}}"#);
    // Target, headers, body, status, whether a user came through, and how often store and authenticator were asked.
    type Case<'a> = (&'a str, Headers<'a>, &'a str, u16, bool, (usize, usize));
    let cases: Vec<Case<'_>> = vec![
        ("/", vec![("x-api-key", key)], "{}", 200, false, (1, 0)),
        ("/", vec![("authorization", &bearer)], "{}", 200, false, (1, 0)),
        (&in_query, vec![], "{}", 200, false, (1, 0)),
        ("/", vec![], &key_in_body, 200, false, (1, 0)),
        ("/", vec![("authorization", &sesame)], "{}", 200, true, (0, 1)),
        ("/", vec![("authorization", "Bearer sesame")], "{}", 200, true, (0, 1)),
        ("/", vec![("cookie", "session=sesame")], "{}", 200, true, (0, 1)),
        ("/", vec![], user_in_body, 200, true, (0, 1)),
        // None, and a bad one.
        ("/", vec![], "{}", 401, false, (0, 0)),
        ("/", vec![("x-api-key", "junk")], "{}", 401, false, (0, 0)),
        ("/", vec![("authorization", &guess)], "{}", 401, false, (0, 1)),
        ("/", vec![("authorization", "Bearer junk")], "{}", 401, false, (0, 1)),
        ("/", vec![], r#"{"api_key":"junk"}"#, 401, false, (0, 0)),
        ("/", vec![], r#"{"password":"guess"}"#, 401, false, (0, 1)),
        // Two, in the head.
        ("/", vec![("x-api-key", key), ("authorization", &sesame)], "{}", 400, false, (0, 0)),
        ("/", vec![("x-api-key", "junk"), ("authorization", &sesame)], "{}", 400, false, (0, 0)),
        ("/", vec![("x-api-key", key), ("authorization", &guess)], "{}", 400, false, (0, 0)),
        (
            "/",
            vec![("x-api-key", key), ("authorization", "Bearer sesame")],
            "{}",
            400,
            false,
            (0, 0),
        ),
        ("/", vec![("x-api-key", key), ("cookie", "session=sesame")], "{}", 400, false, (0, 0)),
        (&in_query, vec![("authorization", &sesame)], "{}", 400, false, (0, 0)),
        ("/", vec![("authorization", &joined)], "{}", 400, false, (0, 0)),
        (
            "/",
            vec![("authorization", &sesame), ("cookie", "session=sesame")],
            "{}",
            400,
            false,
            (0, 0),
        ),
        // Two, one of them in the body: the head decides first.
        ("/", vec![("x-api-key", key)], user_in_body, 400, false, (1, 0)),
        ("/", vec![("x-api-key", key)], &key_in_body, 400, false, (1, 0)),
        ("/", vec![("authorization", &sesame)], &key_in_body, 400, false, (0, 1)),
        ("/", vec![("authorization", &guess)], &key_in_body, 401, false, (0, 1)),
        ("/", vec![("x-api-key", "junk")], user_in_body, 401, false, (0, 0)),
        ("/", vec![], &both_in_body, 400, false, (0, 0)),
    ];
    let logins = Logins::default();
    for mixed in [false, true] {
        for (target, headers, body, status, is_user, work) in &cases {
            let what = format!("{mixed} {target} {headers:?} {body}");
            let layer = layer(any(), &keys, &logins);
            let layer = if mixed { layer.with_insecure_mixed_credentials() } else { layer };
            let (answer, fields, through) = ask(layer, request(target, headers, body)).await;
            assert_eq!(answer, *status, "{what}");
            assert_eq!((keys.store.take_finds(), logins.take().len()), *work, "{what}");
            match &through {
                Some(request) => {
                    assert_eq!(caller(request), (*is_user, false, *is_user), "{what}");
                    let parts = format!("{:?} {:?}", request.uri(), request.headers());
                    let shown = format!("{parts} {:?}", request.body());
                    assert!(!shown.contains(key) && !shown.contains("sesame"), "{what}: {shown}");
                }
                None => assert_ne!(answer, 200, "{what}"),
            }
            let expected: &[&str] = if answer == 401 { &["Basic", "Bearer"] } else { &[] };
            assert_eq!(challenges(&fields), expected, "{what}");
        }
    }
}

#[tokio::test]
async fn a_credential_in_the_head_decides_before_the_body() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let (sesame, guess) = (basic("sesame"), basic("guess"));
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000));
    for (headers, expected) in [
        (vec![("x-api-key", keys.text.as_str())], 200),
        (vec![("authorization", sesame.as_str())], 200),
        (vec![("authorization", guess.as_str())], 401),
        (vec![("x-api-key", "junk"), ("authorization", &sesame)], 400),
        (vec![], 413),
    ] {
        let layer = layer(any(), &keys, &logins);
        let (status, ..) = ask(layer, request("/", &headers, &large)).await;
        assert_eq!(status, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn the_most_useful_refusal_is_shown() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let bob = keys.manager.generate(&owner("bob"), NewKey::new("b")).await.unwrap();
    let bob = bob.secret().expose_secret();
    let (sesame, weak, down) = (basic("sesame"), basic("weak"), basic("down"));
    let key = keys.text.as_str();
    let policy = || any().with_scope(scope("deploy")).with_owner(owner("alice"));
    for (mode, name, value, expected) in [
        (Mode::Ready, "x-api-key", key, 200),
        (Mode::Ready, "authorization", &*sesame, 200),
        (Mode::Ready, "authorization", &*weak, 403),
        // As an unknown key.
        (Mode::Ready, "x-api-key", bob, 401),
        (Mode::Ready, "authorization", &*down, 503),
        (Mode::Error, "x-api-key", key, 503),
        (Mode::Error, "authorization", &*sesame, 200),
        (Mode::Later, "x-api-key", key, 200),
    ] {
        keys.store.set_mode(mode);
        let layer = layer(policy(), &keys, &logins);
        let (status, ..) = ask(layer, request("/", &[(name, value)], "{}")).await;
        assert_eq!(status, expected, "{mode:?} {name} {value}");
    }
    keys.store.set_mode(Mode::Ready);
    let admin = layer(any().with_scope(scope("admin")), &keys, &logins);
    assert_eq!(ask(admin, request("/", &[("x-api-key", key)], "{}")).await.0, 403);
}

#[tokio::test]
async fn all_of_wants_one_of_each_kind() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let bob = keys.manager.generate(&owner("bob"), NewKey::new("b")).await.unwrap();
    let bob = bob.secret().expose_secret();
    let key = keys.text.as_str();
    let (sesame, guess, weak, down) =
        (basic("sesame"), basic("guess"), basic("weak"), basic("down"));
    let bearer = format!("Bearer {key}");
    let (key_in_body, user_in_body) =
        (format!(r#"{{"api_key":"{key}"}}"#), r#"{"password":"sesame"}"#);
    let both_in_body = format!(r#"{{"api_key":"{key}","password":"sesame"}}"#);
    let cases: Vec<(Headers<'_>, &str, u16)> = vec![
        (vec![("x-api-key", key), ("authorization", &sesame)], "{}", 200),
        (vec![("x-api-key", key), ("cookie", "session=sesame")], "{}", 200),
        // What is in a shared place is in both lists.
        (vec![("authorization", &bearer), ("cookie", "session=sesame")], "{}", 400),
        (vec![("x-api-key", key)], user_in_body, 200),
        (vec![("authorization", &sesame)], &key_in_body, 200),
        (vec![], &both_in_body, 200),
        (vec![], "{}", 401),
        (vec![("x-api-key", key)], "{}", 401),
        (vec![("authorization", &sesame)], "{}", 401),
        (vec![("authorization", &bearer)], "{}", 401),
        (vec![("x-api-key", "junk"), ("authorization", &sesame)], "{}", 401),
        (vec![("x-api-key", key), ("authorization", &guess)], "{}", 401),
        (vec![("x-api-key", bob), ("authorization", &sesame)], "{}", 401),
        (vec![("x-api-key", key), ("authorization", &weak)], "{}", 403),
        (vec![("x-api-key", key), ("authorization", &down)], "{}", 503),
        (vec![("x-api-key", key), ("x-api-key", key), ("authorization", &sesame)], "{}", 400),
        (vec![("x-api-key", key), ("authorization", &sesame), ("cookie", "session=a")], "{}", 400),
        (vec![("x-api-key", key), ("authorization", &sesame)], &key_in_body, 400),
        (vec![("x-api-key", key), ("authorization", &sesame)], user_in_body, 400),
    ];
    for (headers, body, expected) in cases {
        let policy = all().with_scope(scope("deploy")).with_owner(owner("alice"));
        let layer = layer(policy, &keys, &logins);
        let (status, fields, through) = ask(layer, request("/", &headers, body)).await;
        assert_eq!(status, expected, "{headers:?} {body}");
        if status == 401 {
            assert_eq!(challenges(&fields), ["Basic", "Bearer"], "{headers:?} {body}");
        }
        if let Some(request) = through {
            assert_eq!(caller(&request), (true, true, true), "{headers:?} {body}");
            let identity = request.extensions().get::<Identity>().unwrap();
            let proven = identity.also_proven().unwrap();
            assert_eq!(proven.key_id(), Some(&keys.id));
            let shown = serde_json::to_value(identity).unwrap();
            assert_eq!(shown["key_id"], serde_json::Value::Null);
            assert_eq!(shown["also_proven"]["key_id"], keys.id.as_str());
            let shown = format!("{:?} {:?}", request.headers(), request.body());
            assert!(!shown.contains(key) && !shown.contains("sesame"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_concealed_hook_for_both_looks_like_all_others() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let key = keys.text.as_str();
    let resolve = |head: RequestHead<'_>| match head.uri().path() {
        "/any" => Some(any()),
        "/all" => Some(all()),
        "/token" => Some(Policy::token()),
        _ => None,
    };
    let make = || {
        let placements = [Placement::header("x-api-key").unwrap(), Placement::bearer()];
        AuthLayer::per_request(resolve)
            .with_keys(&keys.manager, placements)
            .unwrap()
            .with_authenticator(logins.clone(), [Placement::basic(), Placement::bearer()])
            .unwrap()
            .with_uniform_unauthorized()
    };
    let (sesame, guess, down) = (basic("sesame"), basic("guess"), basic("down"));
    let bearer = format!("Bearer {key}");
    // The answers for a key or a user, for both, for a key, and for no hook.
    let cases: Vec<(Headers<'_>, [u16; 4])> = vec![
        (vec![], [401; 4]),
        (vec![("x-api-key", key)], [200, 401, 200, 401]),
        (vec![("authorization", &bearer)], [200, 401, 200, 401]),
        (vec![("authorization", &sesame)], [200, 401, 401, 401]),
        (vec![("authorization", "Bearer sesame")], [200, 401, 401, 401]),
        (vec![("x-api-key", key), ("authorization", &sesame)], [401, 200, 401, 401]),
        (vec![("x-api-key", key), ("authorization", &guess)], [401; 4]),
        (vec![("x-api-key", "junk"), ("authorization", &sesame)], [401; 4]),
        (vec![("authorization", &guess)], [401; 4]),
        (vec![("authorization", &down)], [503; 4]),
    ];
    for (headers, expected) in cases {
        let mut refusals = Vec::new();
        for (path, expected) in ["/any", "/all", "/token", "/none"].into_iter().zip(expected) {
            let (status, mut fields, _) = ask(make(), request(path, &headers, "{}")).await;
            assert_eq!(status, expected, "{path} {headers:?}");
            if status == 401 {
                assert_eq!(challenges(&fields), ["Basic", "Bearer"], "{path} {headers:?}");
                fields.remove("date");
                refusals.push(fields);
            }
        }
        assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{headers:?}: {refusals:?}");
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_meanwhile_opens_nothing() {
    for (policy, by_user, is_all) in
        [(any(), false, false), (any(), true, false), (all(), true, true)]
    {
        for revoked in [false, true] {
            let takes_key = !by_user || is_all;
            let keys = Keys::new().await;
            let logins = Logins::default();
            let sesame = basic("sesame");
            let mut headers = Vec::new();
            if takes_key {
                headers.push(("x-api-key", keys.text.as_str()));
            }
            if by_user {
                headers.push(("authorization", sesame.as_str()));
            }
            let ready = Arc::new(tokio::sync::Semaphore::new(1));
            let held = Arc::clone(&ready).try_acquire_owned().unwrap();
            let inner = tower::limit::ConcurrencyLimit::with_semaphore(Recorder::default(), ready);
            let service = layer(policy.clone(), &keys, &logins).layer(inner);
            let response = tokio::spawn(service.oneshot(request("/", &headers, "")));
            tokio::time::sleep(Duration::from_millis(1100)).await;
            if revoked {
                keys.manager.revoke(&owner("alice"), &keys.id).await.unwrap();
            }
            drop(held);
            let response = response.await.unwrap().unwrap();
            let expected = if revoked && takes_key { 401 } else { 200 };
            assert_eq!(response.status(), expected, "{takes_key} {by_user} {revoked}");
            if expected == 401 {
                assert_eq!(challenges(response.headers()), ["Basic", "Bearer"]);
            }
        }
    }
}

#[tokio::test]
async fn layers_inside_take_what_was_proven_outside() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let key = keys.text.as_str();
    let sesame = basic("sesame");
    let by_key = vec![("x-api-key", key)];
    let by_user = vec![("authorization", sesame.as_str())];
    let by_both = [by_key.clone(), by_user.clone()].concat();
    let clone_of = |outer: &AuthLayer, name: &str| outer.clone().with_scope(scope(name)).unwrap();
    for (policy, headers, expected) in
        [(any(), &by_key, 200), (any(), &by_user, 200), (all(), &by_both, 200)]
    {
        let outer = layer(policy, &keys, &logins);
        for (inner, expected) in
            [(clone_of(&outer, "deploy"), expected), (clone_of(&outer, "admin"), 403)]
        {
            keys.store.take_finds();
            logins.take();
            let seen = Recorder::default();
            let service = outer.clone().layer(inner.layer(seen.clone()));
            let response = service.oneshot(request("/", headers, "")).await.unwrap();
            let is_user_alone = headers.len() == 1 && headers[0].0 == "authorization";
            let expected = if is_user_alone { 200 } else { expected };
            assert_eq!(response.status(), expected, "{headers:?}");
            assert!(keys.store.take_finds() <= 1 && logins.take().len() <= 1, "{headers:?}");
            for request in seen.take() {
                let is_user = headers.len() == 2 || is_user_alone;
                assert_eq!(caller(&request), (is_user, headers.len() == 2, is_user));
            }
        }
    }
    // A key alone inside of both, and both inside of a key alone.
    let outer = layer(all(), &keys, &logins);
    let inner = AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap();
    let seen = Recorder::default();
    let service = outer.clone().layer(inner.clone().layer(seen.clone()));
    let response = service.oneshot(request("/", &by_both, "")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(caller(&seen.take()[0]), (false, false, true));
    let service = inner.layer(outer.layer(seen.clone()));
    let response = service.oneshot(request("/", &by_both, "")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(caller(&seen.take()[0]), (true, true, true));
}

#[tokio::test]
async fn hooks_take_either_and_show_no_credential() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let key = keys.text.as_str();
    let in_body = format!(r#"{{"api_key":"{key}","a":1}}"#);
    let sesame = basic("sesame");
    for (headers, body, expected) in [
        (vec![("x-api-key", key)], "{}", 200),
        (vec![("authorization", sesame.as_str())], "{}", 200),
        (vec![], in_body.as_str(), 200),
        (vec![("authorization", &sesame)], &in_body, 400),
        (vec![("x-api-key", key), ("authorization", &sesame)], "{}", 400),
        (vec![], "{}", 401),
    ] {
        let run = |invocation: Invocation| {
            std::future::ready(Outcome::json_text(invocation.into_envelope().into_string()))
        };
        let hooks = Hooks::new(layer(any().with_hook("either"), &keys, &logins), run);
        let response = hooks.oneshot(request("/", &headers, body)).await.unwrap();
        assert_eq!(response.status(), expected, "{headers:?} {body}");
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(key) && !text.contains("sesame"), "{text}");
    }
}

#[tokio::test]
async fn a_list_that_means_nothing_is_a_fault() {
    let (token, user) = (Policy::token, Policy::user);
    let id = || KeyId::new("k1").unwrap();
    type List = fn(Vec<Policy>) -> Policy;
    let lists: [List; 2] = [|list| Policy::any_of(list), |list| Policy::all_of(list)];
    for list in lists {
        for policies in [
            vec![],
            vec![Policy::public()],
            vec![token(), Policy::public()],
            vec![token(), token()],
            vec![user(), user()],
            vec![token(), user(), user()],
            vec![token(), any()],
            vec![all()],
            vec![token().with_scope(scope("a")), user()],
            vec![token(), user().with_owner(owner("alice"))],
            vec![token(), user().with_methods([Method::POST])],
            vec![token().with_hook("a"), user()],
            vec![token().with_key(id()), user()],
            vec![token().without_body(), user()],
        ] {
            assert!(AuthLayer::new(list(policies.clone())).is_err(), "{policies:?}");
        }
        assert!(AuthLayer::new(list(vec![token(), user()]).with_key(id())).is_err());
        assert!(AuthLayer::new(list(vec![token()]).with_key(id())).is_ok());
        assert!(AuthLayer::new(list(vec![user(), token()]).with_scope(scope("a"))).is_ok());
    }
    // Without keys, and without an authenticator.
    let keys = Keys::new().await;
    for policy in [any(), all()] {
        for concealed in [false, true] {
            let layer = AuthLayer::new(policy.clone()).unwrap();
            let header = Placement::header("x-api-key").unwrap();
            let without_users = layer.clone().with_keys(&keys.manager, [header]).unwrap();
            let without_keys =
                layer.with_authenticator(Logins::default(), [Placement::basic()]).unwrap();
            for layer in [without_users, without_keys] {
                let layer = if concealed { layer.with_uniform_unauthorized() } else { layer };
                let headers = [("x-api-key", keys.text.as_str())];
                assert_eq!(ask(layer, request("/", &headers, "{}")).await.0, 500, "{policy:?}");
            }
        }
    }
}

/// Finds a user in the head by itself, as a session layer does.
#[derive(Clone, Default)]
struct Sessions(Arc<AtomicUsize>);

#[async_trait]
impl Authenticator for Sessions {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        assert!(candidate.is_none());
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(match head.headers().get("x-session") {
            Some(value) if value == "good" => Authentication::Accepted(User::new(owner("alice"))),
            Some(_) => Authentication::Refused,
            None => Authentication::Missing,
        })
    }
}

#[tokio::test]
async fn sessions_without_placements_are_asked_without_a_key() {
    let keys = Keys::new().await;
    let key = keys.text.as_str();
    for (headers, expected, asked) in [
        (vec![("x-api-key", key)], 200, 0),
        (vec![("x-session", "good")], 200, 1),
        (vec![("x-session", "bad")], 401, 1),
        (vec![("x-api-key", "junk")], 401, 0),
        (vec![], 401, 1),
    ] {
        let sessions = Sessions::default();
        let layer = AuthLayer::new(any()).unwrap();
        let header = Placement::header("x-api-key").unwrap();
        let layer = layer.with_keys(&keys.manager, [header]).unwrap();
        let layer = layer.with_authenticator(sessions.clone(), Vec::new()).unwrap();
        assert_eq!(ask(layer, request("/", &headers, "")).await.0, expected, "{headers:?}");
        assert_eq!(sessions.0.load(Ordering::SeqCst), asked, "{headers:?}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_reason_of_an_authenticator_is_in_the_log_alone() {
    let keys = Keys::new().await;
    let logs = Logs::default();
    let guard = logs.capture();
    let layer = layer(any(), &keys, &Logins::default());
    let guess = basic("guess");
    let service = layer.layer(Recorder::default());
    let request = request("/", &[("authorization", &guess)], "");
    let response = service.oneshot(request).await.unwrap();
    drop(guard);
    assert_eq!(response.status(), 401);
    let text = format!("{:?}", response.headers());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(!text.contains("no user has") && !body.contains("no user has"), "{text} {body}");
    let log = logs.text();
    assert!(log.contains("error=no user has this password"), "{log}");
    assert!(!log.contains("guess"), "{log}");
}

/// Accepts what ends in the name of the hook and the length of the body.
struct Signatures;

#[async_trait]
impl Authenticator for Signatures {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let Some(signature) = candidate else { return Ok(Authentication::Missing) };
        let body = head.extensions().get::<BufferedBody>().ok_or("no body")?.bytes();
        let expected = format!("{}-{}", head.hook().unwrap_or("none"), body.len());
        Ok(match signature.expose_text() {
            Some(text) if text == expected => Authentication::Accepted(User::new(owner("sender"))),
            _ => Authentication::refused("the signature does not match"),
        })
    }

    fn needs_body(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn an_authenticator_sees_the_body_and_the_hook() {
    let keys = Keys::new().await;
    let large = "x".repeat(20_000);
    let gzip = ("content-encoding", "gzip");
    let signed = |text| vec![("x-signature", text)];
    let cases: Vec<(Policy, Headers<'_>, &str, u16)> = vec![
        (Policy::user(), signed("push-5"), "hello", 200),
        (any(), signed("push-5"), "hello", 200),
        (any(), signed("push-0"), "", 200),
        (any(), signed("push-4"), "hello", 401),
        (any(), signed("pull-5"), "hello", 401),
        (any(), vec![("x-signature", "push-5"), gzip], "hello", 200),
        // A stranger's limit is that of strangers, and a key's that of keys.
        (any(), signed("push-20000"), &large, 413),
        (any(), vec![("x-api-key", &keys.text)], &large, 200),
        (any(), vec![], &large, 401),
        (any(), vec![("x-api-key", "junk")], &large, 401),
        (all(), vec![("x-signature", "push-5"), ("x-api-key", &keys.text)], "hello", 200),
    ];
    for concealed in [false, true] {
        for (policy, headers, body, expected) in &cases {
            let header = |name| [Placement::header(name).unwrap()];
            let layer = AuthLayer::new(policy.clone().with_hook("push")).unwrap();
            let layer = layer.with_keys(&keys.manager, header("x-api-key")).unwrap();
            let layer = layer.with_authenticator(Signatures, header("x-signature")).unwrap();
            let layer = if concealed { layer.with_uniform_unauthorized() } else { layer };
            let mut request = Request::post("/").header("content-type", "text/plain");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::from((*body).to_owned())).unwrap();
            let bare = layer.clone();
            let (status, _, through) = ask(layer.clone(), request.clone()).await;
            let expected = match (expected, concealed) {
                (413, true) => 401,
                (expected, _) => *expected,
            };
            assert_eq!(status, expected, "{concealed} {policy:?} {headers:?}");
            if let Some(request) = through {
                assert_eq!(request.body(), body);
            }
            // A hook reads no codings.
            let run = |_: Invocation| std::future::ready(Outcome::json("done"));
            let hooks = Hooks::new(layer, run).with_pre_auth_max_bytes(PRE_AUTH);
            let status = hooks.oneshot(request.clone()).await.unwrap().status();
            let by_hook = match (headers.contains(&gzip), concealed) {
                (true, false) => 415,
                (true, true) => 401,
                (false, _) => expected,
            };
            // It shows no text.
            let by_hook = if by_hook == 200 && !body.is_empty() { 415 } else { by_hook };
            assert_eq!(status, by_hook, "{concealed} {policy:?} {headers:?}");
            // There is nothing that could read the body.
            if headers.iter().any(|(name, _)| *name == "x-signature") {
                let status =
                    bare.layer(Recorder::default()).oneshot(request).await.unwrap().status();
                assert_eq!(status, 500, "{headers:?}");
            }
        }
    }
}
