//! A layer that conceals its hooks has one answer for every caller without a good credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::key::{KeyId, KeyManager, NewKey, TokenFormat};

use crate::support::{Keys, Mode, Recorder, TestStore, owner, scope};

/// Knows the password `sesame`, fails on `down`, and counts how often it is asked.
#[derive(Clone, Default)]
struct Logins(Arc<AtomicUsize>);

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match candidate.and_then(|candidate| candidate.expose_text()) {
            Some("sesame") => Ok(Authentication::Accepted(User::new(owner("alice")))),
            Some("down") => Err("the directory is down".into()),
            _ => Ok(Authentication::Refused),
        }
    }
}

fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    let policy = match head.uri().path() {
        "/token" => Policy::token(),
        "/scoped" => Policy::token().with_scope(scope("admin")),
        "/user" => Policy::user(),
        "/bob" => Policy::user().with_owner(owner("bob")),
        "/public" => Policy::public(),
        "/any" => Policy::any_of([Policy::token(), Policy::user()]),
        "/both" => Policy::all_of([Policy::token(), Policy::user()]).with_scope(scope("admin")),
        _ => return None,
    };
    Some(policy.with_methods([Method::POST]))
}

const HOOKS: [&str; 7] = ["/token", "/scoped", "/user", "/bob", "/any", "/both", "/none"];

fn layer(keys: &Keys, logins: &Logins) -> AuthLayer {
    let placements = [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::body("api_key").unwrap(),
    ];
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, placements)
        .unwrap()
        .with_authenticator(logins.clone(), [Placement::basic()])
        .unwrap()
        .with_uniform_unauthorized()
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("alice:{password}")))
}

/// Status, headers and body of the answer to a request: by the buffered layer and by a hook.
async fn ask(auth: AuthLayer, request: &Request<Bytes>, by_hooks: bool) -> (u16, HeaderMap, Bytes) {
    let request = request.clone().map(Full::new);
    let response = if by_hooks {
        let run = |_: Invocation| std::future::ready(Outcome::json("done"));
        let response = Hooks::new(auth, run).oneshot(request).await.unwrap();
        response.map(|body| body.boxed())
    } else {
        let service = auth.with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
        service.oneshot(request).await.unwrap().map(|body| body.boxed())
    };
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    headers.remove("connection");
    headers.remove("retry-after");
    (parts.status.as_u16(), headers, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn without_a_good_credential_all_hooks_look_the_same() {
    let keys = Keys::new().await;
    let mallory = keys.manager.generate(&owner("mallory"), NewKey::new("m")).await.unwrap();
    let mallory = mallory.secret().expose_secret();
    let key = keys.text.as_str();
    let json = "application/json";
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8]);
    let large = [b' '; 17 * 1024];
    let (right, wrong, down) = (basic("sesame"), basic("guess"), basic("down"));
    let cases: Vec<Case<'_>> = vec![
        ("POST", Vec::new(), b""),
        ("GET", Vec::new(), b""),
        ("HEAD", Vec::new(), b""),
        ("POST", vec![("x-api-key", "junk")], b""),
        ("POST", vec![("x-api-key", "junk"), ("x-api-key", "junk")], b""),
        ("POST", vec![("authorization", "Bearer junk")], b""),
        ("POST", vec![("authorization", &wrong)], b""),
        ("DELETE", vec![("authorization", &wrong)], b""),
        ("POST", vec![("x-api-key", key), ("authorization", &right)], b""),
        ("POST", vec![("x-api-key", key), ("authorization", "Bearer junk")], b""),
        ("POST", vec![("content-type", json)], &large),
        ("POST", vec![("content-type", json)], br#"{"api_key":"junk"}"#),
        ("POST", vec![("content-type", json)], br#"{"a":1,"a":1}"#),
        ("POST", vec![("content-type", json)], b"{"),
        ("POST", vec![("content-type", "a/b/c")], b"{}"),
        ("POST", vec![("content-type", json), ("content-encoding", "gzip")], b"{}"),
        ("POST", vec![("authorization", &down)], b""),
    ];
    let mut answers = Vec::new();
    for (method, headers, body) in cases {
        let logins = Logins::default();
        let mut first = None;
        for path in HOOKS {
            for by_hooks in [false, true] {
                keys.store.take_finds();
                logins.0.store(0, Ordering::SeqCst);
                let mut request = Request::builder().method(method).uri(path);
                for (name, value) in &headers {
                    request = request.header(*name, *value);
                }
                let request = request.body(Bytes::copy_from_slice(body)).unwrap();
                let answer = ask(layer(&keys, &logins), &request, by_hooks).await;
                let work = (keys.store.take_finds(), logins.0.load(Ordering::SeqCst));
                let what = format!("{method} {path} {headers:?}");

                let is_down = headers.iter().any(|(_, value)| *value == down);
                assert_eq!(answer.0, if is_down { 503 } else { 401 }, "{what}: {answer:?}");
                if !is_down && method != "HEAD" {
                    answers.push(answer.clone());
                }
                let (seen, done) = first.get_or_insert_with(|| (answer.clone(), work));
                assert_eq!((&*seen, &*done), (&answer, &work), "{what}");
            }
        }
    }
    // One answer for all of them, with the challenges of keys and of users.
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let challenges: Vec<_> = answers[0].1.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2, "{challenges:?}");

    // A good key without what the hook asks for is no good credential for it.
    let with = |key: &str, path: &str| {
        Request::post(path).header("x-api-key", key).body(Bytes::new()).unwrap()
    };
    for (key, path) in [(key, "/scoped"), (key, "/user"), (key, "/none"), (mallory, "/bob")] {
        let answer = ask(layer(&keys, &Logins::default()), &with(key, path), false).await;
        assert_eq!(answer, answers[0], "{path}");
    }
}

#[tokio::test]
async fn a_good_credential_sees_the_hook_as_it_is() {
    let keys = Keys::new().await;
    let logins = Logins::default();
    let layer = || layer(&keys, &logins);
    let send = |method: &str, path: &str, name: &str, value: &str| {
        Request::builder().method(method).uri(path).header(name, value).body(Bytes::new()).unwrap()
    };
    let right = basic("sesame");
    for (request, expected) in [
        (send("POST", "/token", "x-api-key", &keys.text), 200),
        (send("GET", "/token", "x-api-key", &keys.text), 405),
        (send("POST", "/user", "authorization", &right), 200),
        (send("GET", "/user", "authorization", &right), 405),
        (send("POST", "/public", "x-a", "1"), 200),
        (send("GET", "/public", "x-a", "1"), 405),
    ] {
        for by_hooks in [false, true] {
            assert_eq!(ask(layer(), &request, by_hooks).await.0, expected, "{request:?}");
        }
    }
}

#[tokio::test]
async fn an_outage_of_the_store_says_nothing_about_hooks() {
    let keys = Keys::new().await;
    keys.store.set_mode(Mode::Error);
    for path in HOOKS {
        let request = Request::post(path).header("x-api-key", &keys.text);
        let request = request.body(Bytes::new()).unwrap();
        let answer = ask(layer(&keys, &Logins::default()), &request, false).await;
        assert_eq!(answer.0, 503, "{path}");
    }
}

#[tokio::test]
async fn a_hook_with_its_own_token_looks_like_an_unknown_one() {
    let store = TestStore::default();
    let manager = KeyManager::new(store.clone()).with_format(TokenFormat);
    let issued = manager
        .generate(&owner("alice"), NewKey::new("hook").with_id(KeyId::new("hook").unwrap()))
        .await
        .unwrap();
    let (id, text) = (issued.record().id().clone(), issued.secret().expose_secret().to_owned());
    let layer = AuthLayer::per_request(move |head: RequestHead<'_>| match head.uri().path() {
        "/hook" => Some(Policy::token().with_key(id.clone())),
        _ => None,
    })
    .with_keys(&manager, [Placement::header("x-api-key").unwrap()])
    .unwrap()
    .with_uniform_unauthorized();
    store.take_finds();

    let mut answers = Vec::new();
    for (path, mode) in [
        ("/hook", Mode::Ready),
        ("/none", Mode::Ready),
        ("/hook", Mode::Error),
        ("/none", Mode::Error),
    ] {
        store.set_mode(mode);
        let request =
            Request::post(path).header("x-api-key", "a-guess-that-has-the-form-of-a-token");
        let request = request.body(Bytes::new()).unwrap();
        let (status, headers, body) = ask(layer.clone(), &request, false).await;
        assert_eq!(store.take_finds(), 1, "{path} {mode:?}");
        answers.push((status, headers, body));
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[2].0, 503);
    assert_eq!(answers[2], answers[3]);

    store.set_mode(Mode::Ready);
    let request = Request::post("/hook").header("x-api-key", text).body(Bytes::new()).unwrap();
    assert_eq!(ask(layer, &request, false).await.0, 200);
}

#[tokio::test]
async fn a_decoy_opens_nothing_and_is_another_for_each_path() {
    let store = TestStore::default();
    let manager = KeyManager::new(store.clone()).with_format(TokenFormat);
    let layer = AuthLayer::per_request(|head: RequestHead<'_>| {
        head.uri().path().starts_with("/bobs").then(Policy::token)
    })
    .with_keys(&manager, [Placement::header("x-api-key").unwrap()])
    .unwrap()
    .with_uniform_unauthorized();
    // A record with the id of a decoy opens nothing.
    let ids = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    for path in ["/bobs/1", "/bobs/2", "/none/1", "/none/2"] {
        let request = || {
            let request = Request::post(path).header("x-api-key", "mallorys-token");
            request.body(Bytes::new()).unwrap()
        };
        assert_eq!(ask(layer.clone(), &request(), false).await.0, 401);
        let id = store.last_id().unwrap();
        assert!(ids.lock().unwrap().insert(id.clone()), "{id:?}");
        let new = NewKey::new("x").with_id(id);
        let token = tower_webhook::credential::Secret::new("mallorys-token");
        manager.import(&owner("mallory"), token, new).await.unwrap();
        assert_eq!(ask(layer.clone(), &request(), false).await.0, 401, "{path}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_log_says_what_the_answer_conceals() {
    let keys = Keys::new().await;
    let logs = crate::support::Logs::default();
    let guard = logs.capture();
    for path in ["/none", "/scoped"] {
        let request = Request::post(path).header("x-api-key", &keys.text);
        let request = request.body(Bytes::new()).unwrap();
        ask(layer(&keys, &Logins::default()), &request, false).await;
    }
    drop(guard);
    let text = logs.text();
    assert!(text.contains("auth.reason=\"not_found\""), "{text}");
    assert!(text.contains("auth.reason=\"forbidden\""), "{text}");
    assert!(text.contains("http.response.status_code=401"), "{text}");
}
