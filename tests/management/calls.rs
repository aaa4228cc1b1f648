//! Each call of the API: its answers, which callers may make it, and what no answer contains.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::Clock;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, User};
use tower_webhook::credential::{Placement, PresentedCredential, Secret};
use tower_webhook::key::{
    GenerateError, KeyDraft, KeyFormat, KeyId, KeyManager, KeyRecord, KeyStore, NewKey,
    OpaqueFormat, Owner, PageCursor, ParsedKey, Scopes, StoreError, WriteOutcome,
};
use tower_webhook::management::ManagementApi;
use tower_webhook::rate_limit::{MemoryRateLimiter, Quota, RateLimits};
use tower_webhook::store::{LastUsedSource, MemoryKeyStore};

#[cfg(feature = "tracing")]
use crate::support::Logs;
use crate::support::{Mode, NOW, TestStore, owner};

type Body = Full<Bytes>;

/// A store whose every method misbehaves on demand.
#[derive(Clone, Default)]
struct Faulty {
    store: TestStore,
    conflict: Arc<AtomicBool>,
    /// Keeps new records, and reports an error.
    loses_answers: Arc<AtomicBool>,
}

impl Faulty {
    async fn disturb(&self) -> Result<(), StoreError> {
        let none = KeyId::new("none").unwrap();
        self.store.find(&none).await.map(|_| ())
    }

    async fn write(&self) -> Result<WriteOutcome, StoreError> {
        self.disturb().await?;
        Ok(if self.conflict.load(Ordering::SeqCst) {
            WriteOutcome::Conflict
        } else {
            WriteOutcome::Applied
        })
    }
}

#[async_trait]
impl KeyStore for Faulty {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store.find(id).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        match self.write().await? {
            WriteOutcome::Applied if self.loses_answers.load(Ordering::SeqCst) => {
                let _ = self.store.insert(record).await?;
                Err(StoreError::new("connection to 10.0.0.1 reset"))
            }
            WriteOutcome::Applied => self.store.insert(record).await,
            WriteOutcome::Conflict => Ok(WriteOutcome::Conflict),
        }
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        match self.write().await? {
            WriteOutcome::Applied => self.store.replace(record, expected).await,
            WriteOutcome::Conflict => Ok(WriteOutcome::Conflict),
        }
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.disturb().await?;
        self.store.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.disturb().await?;
        self.store.list(owner, after, limit).await
    }
}

/// Users are who they say: `name` or `name:scope,scope`.
struct Names;

#[async_trait]
impl Authenticator for Names {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let text = candidate.and_then(PresentedCredential::expose_text).unwrap_or_default();
        let (name, scopes) = match text.split_once(':') {
            Some((name, scopes)) => {
                (name, Scopes::parse(scopes.split(',').filter(|s| !s.is_empty()))?)
            }
            None => (text, Scopes::ALL),
        };
        Ok(Authentication::Accepted(User::new(Owner::new(name)?).with_scopes(scopes)))
    }
}

struct App {
    store: Faulty,
    keys: KeyManager,
    api: ManagementApi,
}

/// An answer, with its body as JSON, or `null` if there is none.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Answer {
    fn id(&self) -> &str {
        self.json["key"]["id"].as_str().unwrap()
    }

    fn places(&self) -> Vec<&str> {
        assert_eq!(self.status, 422, "{}", self.text);
        let kinds = ["pointer", "parameter", "header"];
        let errors = self.json["errors"].as_array().unwrap().iter();
        errors.map(|error| kinds.iter().find_map(|kind| error[kind].as_str()).unwrap()).collect()
    }
}

impl App {
    fn new() -> Self {
        Self::with(|keys| keys)
    }

    fn with(change: impl FnOnce(KeyManager) -> KeyManager) -> Self {
        let store = Faulty::default();
        let keys = KeyManager::new(store.clone()).with_clock(Clock::from_fn(|| NOW));
        let keys = change(keys);
        let api = ManagementApi::new(keys.clone(), "/keys")
            .unwrap()
            .with_store_deadline(Duration::from_millis(50));
        Self { store, keys, api }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let placement = Placement::header("x-user").unwrap();
        let auth = AuthLayer::user(Names, [placement]).unwrap();
        answer(auth.layer(self.api.clone()), request).await
    }

    async fn call(&self, user: &str, method: &str, path: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("x-user", user);
        if matches!(method, "POST" | "PATCH") {
            request = request.header("content-type", "application/json");
        }
        let body = Body::from(body.to_owned());
        self.send(request.body(body).unwrap()).await
    }

    /// A key of this user.
    async fn key(&self, user: &str, scopes: Scopes) -> KeyId {
        let new = NewKey::new("old").with_scopes(scopes).with_expires_in(time::Duration::HOUR);
        self.keys.generate(&owner(user), new).await.unwrap().record().id().clone()
    }

    async fn records(&self, user: &str) -> Vec<String> {
        let page = self.keys.list(&owner(user), None, 1000).await.unwrap();
        page.keys().iter().map(KeyRecord::encode).collect()
    }
}

async fn answer<S, B>(service: S, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    let json = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    assert_eq!(parts.headers["cache-control"], "no-store", "{text}");
    assert_eq!(parts.headers["x-content-type-options"], "nosniff");
    if !text.is_empty() {
        let expected =
            if parts.status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(parts.headers["content-type"], expected);
    }
    Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
}

#[tokio::test]
async fn a_limited_key_makes_keys_with_its_limit_and_cannot_change_it() {
    let app = App::new();
    let quota = Quota::per_minute(7).unwrap();
    let new = NewKey::new("slow").with_all_scopes().with_rate_limit(quota);
    let issued = app.keys.generate(&owner("ann"), new).await.unwrap();
    let limits = RateLimits::new(MemoryRateLimiter::new());
    let auth = AuthLayer::header("x-api-key", &app.keys).unwrap();
    let auth = auth.with_rate_limits(limits).unwrap();
    let call = async |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("x-api-key", issued.secret().expose_secret());
        let request = request.header("content-type", "application/json");
        let request = request.header("idempotency-key", path);
        answer(auth.layer(app.api.clone()), request.body(Body::from(body.to_owned())).unwrap())
            .await
    };

    for status in [201, 200] {
        let made = call("POST", "/keys", r#"{"name":"b"}"#).await;
        assert_eq!(made.status, status);
        assert_eq!(made.json["key"]["rate_limit"], json!({"burst": 7, "period": 8.571429}));
    }
    for (method, path) in
        [("POST", "/keys"), ("PATCH", &*format!("/keys/{}", issued.record().id()))]
    {
        let refused = call(method, path, r#"{"name":"b","rate_limit":null}"#).await;
        assert_eq!(refused.status, 422);
        assert!(
            refused.text.contains("unknown member") && refused.text.contains("name"),
            "{}",
            refused.text
        );
    }
}

#[tokio::test]
async fn a_key_lives_through_all_calls() {
    let app = App::new();

    let body = r#"{"name":"ci","scopes":["deploy"],"expires_in":3600,"metadata":{"cost": 1.10}}"#;
    let made = app.call("ann", "POST", "/keys", body).await;
    assert_eq!(made.status, 201);
    let id = made.id().to_owned();
    let path = format!("/keys/{id}");
    assert_eq!(made.headers["location"], *path);
    assert!(made.text.contains(r#""metadata":{"cost": 1.10}"#));
    let expected = json!({
        "id": id, "name": "ci", "owner": "ann", "scopes": ["deploy"],
        "created_at": "2026-11-24T12:00:00Z", "not_before": null,
        "expires_at": "2026-11-24T13:00:00Z", "disabled": false, "revoked_at": null,
        "state": "active", "rate_limit": null,
        "metadata": serde_json::from_str::<Value>(r#"{"cost": 1.10}"#).unwrap(),
    });
    assert_eq!(made.json["key"], expected);
    let secret = made.json["secret"].as_str().unwrap();
    let verified = app.keys.verifier().verify(secret.as_bytes()).await.unwrap();
    assert_eq!(verified.owner(), &owner("ann"));

    let list = app.call("ann", "GET", "/keys", "").await;
    assert_eq!((list.status, &list.json), (200, &json!({"keys": [expected], "next": null})));
    let one = app.call("ann", "GET", &path, "").await;
    assert_eq!((one.status, &one.json), (200, &expected));

    let body = r#"{"name":"cd","scopes":"all","disabled":true,"metadata":null}"#;
    let updated = app.call("ann", "PATCH", &path, body).await;
    assert_eq!(updated.status, 200);
    assert_eq!(updated.json["name"], "cd");
    assert_eq!(updated.json["scopes"], "all");
    assert_eq!(updated.json["state"], "disabled");
    assert_eq!(updated.json["metadata"], Value::Null);

    let extend = format!("{path}/extend");
    let extended = app.call("ann", "POST", &extend, r#"{"by":{"count":1,"unit":"days"}}"#).await;
    assert_eq!(extended.json["expires_at"], "2026-11-25T13:00:00Z");

    let rotated = app.call("ann", "POST", &format!("{path}/rotate"), r#"{"overlap":60}"#).await;
    assert_eq!((rotated.status, rotated.id()), (200, &*id));
    assert_ne!(rotated.json["secret"], made.json["secret"]);

    let revoke = format!("{path}/revoke");
    for _ in 0..2 {
        let revoked = app.call("ann", "POST", &revoke, "").await;
        assert_eq!((revoked.status, &revoked.json["state"]), (200, &json!("revoked")));
    }
    for (action, body) in [("extend", r#"{"by":1}"#), ("rotate", "{}")] {
        let refused = app.call("ann", "POST", &format!("{path}/{action}"), body).await;
        assert_eq!((refused.status, &refused.json["code"]), (409, &json!("already_revoked")));
    }

    let deleted = app.call("ann", "DELETE", &path, "").await;
    assert_eq!((deleted.status, &*deleted.text), (204, ""));
    assert_eq!(app.call("ann", "DELETE", &path, "").await.status, 404);
    assert!(app.records("ann").await.is_empty());
}

/// Every call that changes something or reads one key, with a body that it accepts.
fn calls_for(id: &str) -> Vec<(&'static str, String, String)> {
    let path = format!("/keys/{id}");
    vec![
        ("GET", path.clone(), String::new()),
        ("HEAD", path.clone(), String::new()),
        ("PATCH", path.clone(), r#"{"name":"new"}"#.to_owned()),
        ("PATCH", path.clone(), r#"{"disabled":false}"#.to_owned()),
        ("POST", format!("{path}/extend"), r#"{"by":60}"#.to_owned()),
        ("POST", format!("{path}/rotate"), r#"{"overlap":60}"#.to_owned()),
        ("POST", format!("{path}/revoke"), "{}".to_owned()),
        ("POST", "/keys/delete".to_owned(), json!({"ids": [id]}).to_string()),
        ("DELETE", path, String::new()),
    ]
}

#[tokio::test]
async fn the_key_of_another_owner_is_answered_like_a_missing_one() {
    let app = App::new();
    let of_bob = app.key("bob", Scopes::NONE).await;
    let before = app.records("bob").await;
    let unknown = "0".repeat(16);

    let calls = calls_for(of_bob.as_str()).into_iter().zip(calls_for(&unknown));
    for ((method, path, body), (_, unknown_path, unknown_body)) in calls {
        let theirs = app.call("ann", method, &path, &body).await;
        let none = app.call("ann", method, &unknown_path, &unknown_body).await;

        assert_eq!(theirs.status, 404, "{method} {path}");
        assert_eq!((theirs.headers, theirs.text), (none.headers, none.text), "{method} {path}");
        assert_eq!(app.records("bob").await, before, "{method} {path}");
    }
    assert_eq!(app.call("ann", "GET", "/keys", "").await.json["keys"], json!([]));
}

#[tokio::test]
async fn a_batch_is_deleted_as_a_whole_or_not_at_all() {
    let app = App::new();
    let of_bob = app.key("bob", Scopes::NONE).await;
    let first = app.key("ann", Scopes::NONE).await;
    let second = app.key("ann", Scopes::NONE).await;

    for other in [of_bob.as_str(), "unknown", "a/b", ""] {
        let body = json!({"ids": [first.as_str(), other]}).to_string();
        assert_eq!(app.call("ann", "POST", "/keys/delete", &body).await.status, 404, "{other}");
        assert_eq!(app.records("ann").await.len(), 2);
        assert_eq!(app.records("bob").await.len(), 1);
    }
    let ids = [first.as_str(), second.as_str(), first.as_str()];
    let deleted = app.call("ann", "POST", "/keys/delete", &json!({ "ids": ids }).to_string()).await;
    assert_eq!(deleted.status, 204);
    assert!(app.records("ann").await.is_empty());
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let app = App::new();
    for _ in 0..5 {
        app.key("ann", Scopes::NONE).await;
    }
    app.key("bob", Scopes::NONE).await;

    let mut seen = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let page = app.call("ann", "GET", &format!("/keys?{query}"), "").await;
        let keys = page.json["keys"].as_array().unwrap();
        seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        match page.json["next"].as_str() {
            Some(next) => query = format!("limit=2&after={next}"),
            None => break,
        }
    }
    let all = app.call("ann", "GET", "/keys/?limit=200", "").await;
    let all: Vec<_> = all.json["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(seen.len(), 5);
    assert_eq!(all, seen.iter().map(|id| id.as_str()).collect::<Vec<_>>());
    assert_eq!(app.call("ann", "GET", "/keys?limit=201", "").await.places(), ["limit"]);
    assert_eq!(app.call("ann", "GET", "/keys?after=x", "").await.places(), ["after"]);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    for path in ["/keys".to_owned(), format!("/keys/{id}"), "/keys/unknown".to_owned()] {
        let get = app.call("ann", "GET", &path, "").await;
        let mut head = app.call("ann", "HEAD", &path, "").await;

        assert_eq!((head.status, &*head.text), (get.status, ""));
        let len = head.headers.remove("content-length").unwrap();
        assert_eq!(len, get.text.len().to_string());
        assert_eq!(head.headers, get.headers);
    }
}

#[tokio::test]
async fn without_a_proven_caller_nothing_is_done() {
    let app = App::new();
    let body = || Full::from(r#"{"name":"x"}"#);
    let request =
        || Request::post("/keys").header("content-type", "application/json").body(body()).unwrap();

    let not_wired = answer(app.api.clone(), request()).await;
    assert_eq!((not_wired.status, &not_wired.json["code"]), (500, &json!("internal")));

    let public = answer(AuthLayer::public().layer(app.api.clone()), request()).await;
    assert_eq!((public.status, &public.json["code"]), (403, &json!("forbidden")));

    assert_eq!(app.store.store.take_finds(), 0);
}

#[tokio::test]
async fn other_methods_are_not_served() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let path = |rest: &str| format!("/keys/{id}{rest}");
    let before = app.records("ann").await;
    for (path, allow) in [
        ("/keys".to_owned(), "GET, HEAD, POST"),
        (path(""), "GET, HEAD, PATCH, DELETE"),
        (path("/extend"), "POST"),
        (path("/rotate"), "POST"),
        (path("/revoke"), "POST"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let refused = app.call("ann", method, &path, "{}").await;
            assert_eq!(refused.status, 405, "{method} {path}");
            assert_eq!(refused.headers["allow"], allow);
        }
    }
    assert_eq!(app.records("ann").await, before);
}

#[tokio::test]
async fn what_a_form_of_another_site_can_send_changes_nothing() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let before = app.records("ann").await;
    let media_types = [
        None,
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=b"),
        Some("text/plain"),
        Some("text/json"),
        Some("application/jsonp"),
    ];
    let calls = calls_for(id.as_str()).into_iter().filter(|(method, ..)| *method == "POST");
    let calls = calls.chain([("POST", "/keys".to_owned(), r#"{"name":"x"}"#.to_owned())]);
    for (method, path, body) in calls {
        for media_type in media_types {
            for body in [&*body, ""] {
                let mut request = Request::builder().method(method).uri(&path);
                if let Some(media_type) = media_type {
                    request = request.header("content-type", media_type);
                }
                let request = request.header("x-user", "ann").body(Body::from(body.to_owned()));
                let refused = app.send(request.unwrap()).await;
                assert_eq!(refused.status, 415, "{path} {media_type:?}");
                assert_eq!(refused.headers["accept"], "application/json");
            }
        }
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("x-user", "ann")
            .header("content-type", "application/json")
            .header("content-type", "text/plain");
        let refused = app.send(request.body(Body::from(body.clone())).unwrap()).await;
        assert_eq!(refused.status, 400);
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("x-user", "ann")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip");
        let refused = app.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(
            (refused.status, &refused.headers["accept-encoding"]),
            (415, &"identity".parse().unwrap())
        );
    }
    assert_eq!(app.records("ann").await, before);
}

/// A body that never comes.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_body_is_small_quick_and_json() {
    let app = App::new();
    let of_len = |len: usize| {
        let head = r#"{"name":"x","metadata":""#;
        format!("{head}{}\"}}", "a".repeat(len - head.len() - 2))
    };
    assert_eq!(app.call("ann", "POST", "/keys", &of_len(16 * 1024)).await.status, 201);
    let too_large = app.call("ann", "POST", "/keys", &of_len(16 * 1024 + 1)).await;
    assert_eq!(too_large.status, 413);
    assert_eq!(too_large.headers["connection"], "close");

    for body in
        ["{", r#"{"name":"a","name":"b"}"#, "{}x", "\u{feff}\u{feff}{}", "\u{feff}", " \r\n"]
    {
        let refused = app.call("ann", "POST", "/keys", body).await;
        assert_eq!((refused.status, &refused.json["code"]), (400, &json!("malformed_body")));
    }

    let marked = app.call("ann", "POST", "/keys", "\u{feff}{\"name\":\"marked\"}").await;
    assert!(marked.status == 201 && marked.text.contains(r#""name":"marked""#), "{marked:?}");
    let request = Request::post("/keys").header("x-user", "ann");
    let request = request.header("content-type", "application/json; charset=utf-16");
    let request = request.body(Full::<Bytes>::from(r#"{"name":"a"}"#)).unwrap();
    let in_utf16 = app.send(request).await;
    assert_eq!(
        (in_utf16.status, &in_utf16.headers["accept"]),
        (415, &"application/json".parse().unwrap())
    );

    let api = app.api.clone().with_body_deadline(Duration::from_millis(10));
    let auth = AuthLayer::user(Names, [Placement::header("x-user").unwrap()]).unwrap();
    let request = Request::post("/keys")
        .header("x-user", "ann")
        .header("content-type", "application/json")
        .body(Never)
        .unwrap();
    let response = auth.layer(api).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(app.records("ann").await.len(), 2);
}

#[tokio::test]
async fn callers_grant_only_scopes_they_have() {
    let app = App::new();
    let caller = "ann:deploy,read";
    let strong = app.key("ann", Scopes::parse(["deploy", "admin"]).unwrap()).await;
    let all = app.key("ann", Scopes::ALL).await;
    let equal = app.key("ann", Scopes::parse(["deploy"]).unwrap()).await;
    let before = app.records("ann").await;

    for (scopes, places) in [
        (r#""all""#, &["/scopes"][..]),
        (r#"["admin"]"#, &["/scopes/0"]),
        (r#"["deploy","admin","read","root"]"#, &["/scopes/1", "/scopes/3"]),
    ] {
        let body = format!(r#"{{"name":"x","scopes":{scopes}}}"#);
        assert_eq!(app.call(caller, "POST", "/keys", &body).await.places(), places);
        let body = format!(r#"{{"scopes":{scopes}}}"#);
        let path = format!("/keys/{equal}");
        assert_eq!(app.call(caller, "PATCH", &path, &body).await.places(), places);
    }
    for id in [&strong, &all] {
        for (method, path, body) in [
            ("POST", format!("/keys/{id}/rotate"), "{}"),
            ("POST", format!("/keys/{id}/extend"), r#"{"by":60}"#),
            ("PATCH", format!("/keys/{id}"), r#"{"disabled":false}"#),
        ] {
            let refused = app.call(caller, method, &path, body).await;
            assert_eq!(
                (refused.status, &refused.json["code"]),
                (403, &json!("forbidden")),
                "{path}"
            );
        }
    }
    assert_eq!(app.records("ann").await, before);

    for (method, path, body) in [
        ("POST", "/keys".to_owned(), r#"{"name":"x","scopes":["read"]}"#),
        ("POST", format!("/keys/{equal}/rotate"), "{}"),
        ("POST", format!("/keys/{equal}/extend"), r#"{"by":60}"#),
        ("PATCH", format!("/keys/{equal}"), r#"{"disabled":false,"scopes":["read"]}"#),
        ("PATCH", format!("/keys/{strong}"), r#"{"disabled":true}"#),
        ("PATCH", format!("/keys/{strong}"), r#"{"scopes":["read"]}"#),
        ("POST", format!("/keys/{strong}/rotate"), "{}"),
        ("POST", format!("/keys/{all}/revoke"), "{}"),
        ("DELETE", format!("/keys/{all}"), ""),
    ] {
        let allowed = app.call(caller, method, &path, body).await;
        assert!(allowed.status < 300, "{method} {path} {}", allowed.text);
    }
}

#[tokio::test]
async fn a_refusal_repeats_nothing() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let revoked = app.key("ann", Scopes::NONE).await;
    app.keys.revoke(&owner("ann"), &revoked).await.unwrap();
    let bodies = [
        r#"{"CANARY":1}"#,
        r#"{"name":"CANARY\n"}"#,
        r#"{"name":["CANARY"]}"#,
        r#"{"name":"a","scopes":["CANARY"]}"#,
        r#"{"name":"a","scopes":["CANARY \""]}"#,
        r#"{"name":"a","scopes":"CANARY"}"#,
        r#"{"name":"a","scopes":[{"CANARY":"CANARY"}]}"#,
        r#"{"name":"a","expires_in":"CANARY"}"#,
        r#"{"name":"a","expires_in":{"count":"CANARY","unit":"CANARY"}}"#,
        r#"{"name":"a","expires_in":{"CANARY":1}}"#,
        r#"{"name":"a","expires_in":{"count":1,"count":"CANARY"}}"#,
        r#"{"name":"a","not_before":"CANARY"}"#,
        r#"{"name":"a","owner":"CANARY"}"#,
        r#"{"name":"a","id":"CANARY","digest":"CANARY","state":"CANARY"}"#,
        r#"{"name":"a","metadata":{"CANARY":1,"CANARY":2}}"#,
        r#"{"disabled":"CANARY"}"#,
        r#"{"by":"CANARY"}"#,
        r#"{"overlap":"CANARY"}"#,
        r#"{"ids":["CANARY"]}"#,
        r#"{"ids":"CANARY"}"#,
        r#"{"ids":[{"CANARY":1}]}"#,
        r#""CANARY""#,
        r#"["CANARY"]"#,
        "CANARY",
        r#"{"name":"CANARY"#,
    ];
    let paths = [
        "/keys".to_owned(),
        "/keys/delete".to_owned(),
        format!("/keys/{id}"),
        format!("/keys/{id}/extend"),
        format!("/keys/{id}/rotate"),
        format!("/keys/{id}/revoke"),
        format!("/keys/{revoked}/extend"),
        format!("/keys/{id}/CANARY"),
        "/keys/CANARY".to_owned(),
        "/keys/CANARY/rotate".to_owned(),
        "/keys?limit=CANARY&after=CANARY&CANARY=1".to_owned(),
        "/CANARY".to_owned(),
    ];
    let mut refused = 0;
    for path in &paths {
        for method in ["GET", "POST", "PATCH", "DELETE", "PUT", "CANARY"] {
            if method == "DELETE" && *path == format!("/keys/{id}") {
                continue;
            }
            for body in bodies {
                for header in ["idempotency-key", "accept", "x-canary"] {
                    for media_type in ["application/json", "text/CANARY", "application/CANARY+json"]
                    {
                        let request = Request::builder()
                            .method(method)
                            .uri(path)
                            .header("x-user", "ann:read")
                            .header("content-type", media_type)
                            .header(header, "CANARY CANARY");
                        let answer = app.send(request.body(Body::from(body)).unwrap()).await;
                        assert!(answer.status < 500);
                        if answer.status >= 400 {
                            refused += 1;
                            let whole = format!("{:?} {}", answer.headers, answer.text);
                            assert!(
                                !whole.to_lowercase().contains("canary"),
                                "{path} {body} {whole}"
                            );
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 1000);
}

#[tokio::test]
async fn the_text_of_a_key_is_shown_once_and_a_digest_never() {
    let app = App::new();
    let made = app.call("ann", "POST", "/keys", r#"{"name":"x"}"#).await;
    let id = made.id().to_owned();
    let mut secrets = vec![made.json["secret"].as_str().unwrap().to_owned()];
    let mut answers = vec![made];
    let rotated = app.call("ann", "POST", &format!("/keys/{id}/rotate"), r#"{"overlap":60}"#).await;
    secrets.push(rotated.json["secret"].as_str().unwrap().to_owned());
    answers.push(rotated);

    let record = app.keys.get(&owner("ann"), &KeyId::new(&id).unwrap()).await.unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let digests = [record.digest(), record.previous_digest().unwrap()]
        .map(|digest| hex(digest.expose_bytes()));
    for digest in &digests {
        assert!(record.encode().contains(digest));
    }

    answers.push(app.call("ann", "GET", "/keys", "").await);
    for (method, path, body) in calls_for(&id) {
        answers.push(app.call("ann", method, &path, &body).await);
    }
    for secret in &secrets {
        let shown = answers.iter().filter(|answer| answer.text.contains(&secret[21..])).count();
        // The rotation of the calls has shown a third one.
        assert_eq!(shown, 1);
    }
    for answer in &answers {
        assert!(digests.iter().all(|digest| !answer.text.contains(digest)));
        assert!(!answer.text.contains("digest"));
    }
    assert!(!format!("{:?}", app.api).contains(&secrets[0]));
}

#[tokio::test]
async fn an_outage_is_503_for_every_call() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let calls = || {
        let others = [
            ("GET", "/keys".to_owned(), String::new()),
            ("POST", "/keys".to_owned(), r#"{"name":"x"}"#.to_owned()),
        ];
        calls_for(id.as_str()).into_iter().chain(others)
    };
    for mode in [Mode::Error, Mode::Hang, Mode::Panic] {
        app.store.store.set_mode(mode);
        for (method, path, body) in calls() {
            let refused = app.call("ann", method, &path, &body).await;
            assert_eq!(refused.status, 503, "{mode:?} {method} {path}");
            let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=5).contains(&seconds));
            assert!(!refused.text.contains("10.0.0.1"));
        }
    }
    app.store.store.set_mode(Mode::Ready);
    assert_eq!(app.records("ann").await.len(), 1);

    // Another process always changes the record first.
    app.store.conflict.store(true, Ordering::SeqCst);
    for (method, path, body) in [
        ("POST", "/keys".to_owned(), r#"{"name":"x"}"#),
        ("PATCH", format!("/keys/{id}"), r#"{"name":"x"}"#),
        ("POST", format!("/keys/{id}/rotate"), ""),
    ] {
        let refused = app.call("ann", method, &path, body).await;
        assert_eq!((refused.status, &refused.json["code"]), (409, &json!("conflict")), "{path}");
    }
}

/// A format whose random source fails.
struct NoRandom;

impl KeyFormat for NoRandom {
    fn parse<'a>(&self, _text: &'a str) -> Option<ParsedKey<'a>> {
        None
    }

    fn generate(&self, _draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        Err(GenerateError::new("no entropy on 10.0.0.1"))
    }
}

#[tokio::test]
async fn without_randomness_no_key_is_made() {
    let app = App::with(|keys| keys.with_format(NoRandom));

    let refused = app.call("ann", "POST", "/keys", r#"{"name":"x"}"#).await;

    assert_eq!((refused.status, &refused.json["code"]), (503, &json!("temporarily_unavailable")));
    assert!(refused.headers.contains_key("retry-after"));
    assert!(app.records("ann").await.is_empty());
}

async fn once(app: &App, user: &str, field: &str, body: &str) -> Answer {
    let request = Request::post("/keys")
        .header("x-user", user)
        .header("content-type", "application/json")
        .header("idempotency-key", field);
    app.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_key() {
    let app = App::new();
    let body = r#"{"name":"x","scopes":["a"],"expires_in":60,"metadata":{"n": 1}}"#;
    let first = once(&app, "ann", "1", body).await;
    let second = once(&app, "ann", "1", body).await;

    assert_eq!((first.status, second.status), (201, 200));
    assert!(first.json["secret"].is_string() && first.json.get("replayed").is_none());
    let expected = json!({"key": first.json["key"], "replayed": true});
    assert_eq!(second.json, expected);
    assert_eq!(second.headers["location"], first.headers["location"]);

    // Another key of another caller, and another key of this one.
    for (user, field) in [("bob", "1"), ("ann", "2")] {
        let other = once(&app, user, field, body).await;
        assert_eq!(other.status, 201);
        assert_ne!(other.id(), first.id());
    }
    // The same field for another key.
    for body in [r#"{"name":"y"}"#, r#"{"name":"x"}"#, r#"{"name":"x","scopes":["a"]}"#] {
        assert_eq!(once(&app, "ann", "1", body).await.places(), ["Idempotency-Key"]);
    }
    assert_eq!(app.records("ann").await.len(), 2);

    let path = format!("/keys/{}", first.id());
    assert_eq!(app.call("ann", "DELETE", &path, "").await.status, 204);
    assert_eq!(once(&app, "ann", "1", body).await.status, 201);
    assert_eq!(once(&app, "ann", "", body).await.places(), ["Idempotency-Key"]);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_key() {
    let app = App::new();
    app.store.loses_answers.store(true, Ordering::SeqCst);
    assert_eq!(once(&app, "ann", "1", r#"{"name":"x"}"#).await.status, 503);
    app.store.loses_answers.store(false, Ordering::SeqCst);

    let second = once(&app, "ann", "1", r#"{"name":"x"}"#).await;
    assert_eq!((second.status, &second.json["replayed"]), (200, &json!(true)));
    assert_eq!(app.records("ann").await.len(), 1);

    let at_once: Vec<_> = (0..20).map(|_| once(&app, "ann", "2", r#"{"name":"x"}"#)).collect();
    let statuses: Vec<_> =
        futures_util::future::join_all(at_once).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 19);
    assert_eq!(app.records("ann").await.len(), 2);
}

#[tokio::test]
async fn a_format_without_ids_makes_no_key_once() {
    let app = App::with(|keys| keys.with_format(OpaqueFormat::new()));

    let refused = once(&app, "ann", "1", r#"{"name":"x"}"#).await;
    assert_eq!(refused.places(), ["Idempotency-Key"]);
    assert!(app.records("ann").await.is_empty());
    let made = app.call("ann", "POST", "/keys", r#"{"name":"x"}"#).await;
    let rotated = app.call("ann", "POST", &format!("/keys/{}/rotate", made.id()), "").await;
    assert_eq!(rotated.status, 200);
    assert_ne!(rotated.id(), made.id());
}

#[tokio::test]
async fn a_caller_with_a_key_manages_the_keys_of_its_owner() {
    let app = App::new();
    let new = NewKey::new("admin").with_scopes(Scopes::parse(["keys", "deploy"]).unwrap());
    let admin = app.keys.generate(&owner("ann"), new).await.unwrap();
    let placement = Placement::header("x-api-key").unwrap();
    let scope = "keys".parse().unwrap();
    let auth = AuthLayer::token(&app.keys, [placement]).unwrap().with_scope(scope).unwrap();
    let request = |key: &str, body: &str| {
        Request::post("/keys")
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    };

    let service = auth.layer(app.api.clone());
    let body = r#"{"name":"x","scopes":["deploy"]}"#;
    let made = answer(service.clone(), request(admin.secret().expose_secret(), body)).await;
    assert_eq!((made.status, &made.json["key"]["owner"]), (201, &json!("ann")));

    let made = made.json["secret"].as_str().unwrap();
    assert_eq!(answer(service.clone(), request(made, body)).await.status, 403);
    assert_eq!(answer(service, request("guess", body)).await.status, 401);
}

#[tokio::test]
async fn a_closure_sees_what_is_wrong() {
    let app = App::new();
    let api = app.api.clone().with_rejection_response(|rejection, _head| {
        let text = serde_json::to_string(rejection.violations()).unwrap();
        Response::builder()
            .header("content-type", "application/problem+json")
            .body(text.into())
            .unwrap()
    });
    let app = App { api, ..app };

    let refused = app.call("ann", "POST", "/keys", "{}").await;

    assert_eq!(refused.status, 422);
    assert_eq!(refused.json, json!([{"pointer": "/name", "reason": "the member is missing"}]));
}

#[tokio::test]
async fn the_service_is_mounted_on_axum_and_on_hyper() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let auth = AuthLayer::user(Names, [Placement::header("x-user").unwrap()]).unwrap();
    let service = auth.layer(app.api.clone());
    let nested = auth.layer(ManagementApi::nested(app.keys.clone(), "/keys").unwrap());

    let routed = axum::Router::new()
        .route_service("/keys", service.clone())
        .route_service("/keys/", service.clone())
        .route_service("/keys/{*rest}", service.clone());
    let mut location = String::new();
    for router in [axum::Router::new().nest_service("/keys", nested), routed] {
        let status = async |path: &str| {
            let request =
                Request::get(path).header("x-user", "ann").body(axum::body::Body::empty());
            router.clone().oneshot(request.unwrap()).await.unwrap().status()
        };
        for path in ["/keys".to_owned(), "/keys/".to_owned(), format!("/keys/{id}")] {
            assert_eq!(status(&path).await, StatusCode::OK, "{path}");
        }
        // Each call has one address.
        for path in [
            "/keys/keys".to_owned(),
            "/keys/keys/".to_owned(),
            format!("/keys/keys/{id}"),
            format!("/{id}"),
        ] {
            assert_eq!(status(&path).await, StatusCode::NOT_FOUND, "{path}");
        }
        let request = Request::post("/keys")
            .header("x-user", "ann")
            .header("content-type", "application/json")
            .body(axum::body::Body::from(r#"{"name":"x"}"#))
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        location = response.headers()["location"].to_str().unwrap().to_owned();
        assert!(location.starts_with("/keys/"), "{location}");
    }

    // Over a connection, where the length of an answer to HEAD is not that of a body.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let service = hyper_util::service::TowerToHyperService::new(service);
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(server), service);
    let asked = async {
        for (method, close) in [("HEAD", "keep-alive"), ("GET", "close")] {
            let head = format!(
                "{method} {location} HTTP/1.1\r\nhost: a\r\nx-user: ann\r\nconnection: {close}\r\n\r\n"
            );
            client.write_all(head.as_bytes()).await.unwrap();
        }
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    };
    let (served, text) = tokio::join!(served, asked);
    served.unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches(r#""state":"active""#).count(), 1, "{text}");
    let lengths: Vec<_> = text.lines().filter(|line| line.starts_with("content-length")).collect();
    assert_eq!(lengths.len(), 2);
    assert_eq!(lengths[0], lengths[1]);
}

/// Axum keeps the whole path of a request for the service below nested routers.
#[cfg(feature = "axum")]
#[tokio::test]
async fn location_has_the_prefix_of_nested_routers() {
    let auth = AuthLayer::user(Names, [Placement::header("x-user").unwrap()]).unwrap();
    let keys = App::new().keys;
    let whole = auth.layer(ManagementApi::new(keys.clone(), "/keys").unwrap());
    let nested = |base| auth.layer(ManagementApi::nested(keys.clone(), base).unwrap());
    let router = axum::Router::new()
        .nest("/a", axum::Router::new().nest_service("/keys", nested("/keys")))
        .nest("/b/{team}", axum::Router::new().route_service("/keys", whole))
        .nest_service("/c", nested("/"))
        // Behind a proxy that removes `/proxy`.
        .nest_service("/d/keys", nested("/proxy/d/keys"));
    for (path, base) in [
        ("/a/keys", "/a/keys"),
        ("/a/keys/", "/a/keys"),
        ("/b/7/keys", "/b/7/keys"),
        ("/c", "/c"),
        ("/c/", "/c"),
        ("/d/keys", "/proxy/d/keys"),
    ] {
        let request = Request::post(path).header("x-user", "ann");
        let request = request.header("content-type", "application/json");
        let request = request.body(axum::body::Body::from(r#"{"name":"n"}"#)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 201, "{path}");
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(location.rsplit_once('/').unwrap().0, base, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_member_lists_the_members() {
    let app = App::new();
    let id = app.key("ann", Scopes::NONE).await;
    let path = |action: &str| format!("/keys/{id}{action}");
    for (method, path, members) in [
        ("POST", "/keys".to_owned(), "name, scopes, expires_in, not_before, metadata"),
        ("PATCH", path(""), "name, scopes, metadata, disabled"),
        ("POST", path("/extend"), "by"),
        ("POST", path("/rotate"), "overlap"),
        ("POST", path("/revoke"), "none"),
        ("POST", "/keys/delete".to_owned(), "ids"),
    ] {
        let refused = app.call("ann", method, &path, r#"{"canary":1}"#).await;
        assert!(refused.places().contains(&""), "{path}");
        let expected = format!("an unknown member; those of this call: {members}");
        let errors = refused.json["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["reason"] == expected), "{}", refused.text);
        assert!(!refused.text.contains("canary"));
    }
}

/// Answers every question with these times.
struct Times(Result<Vec<Option<time::OffsetDateTime>>, ()>);

#[async_trait]
impl LastUsedSource for Times {
    async fn last_used(
        &self,
        _ids: &[KeyId],
    ) -> Result<Vec<Option<time::OffsetDateTime>>, StoreError> {
        self.0.clone().map_err(|()| StoreError::new("connection to 10.0.0.1 reset"))
    }
}

#[tokio::test]
async fn reads_show_when_a_key_was_last_used() {
    let mut app = App::new();
    let ids = [app.key("ann", Scopes::NONE).await, app.key("ann", Scopes::NONE).await];
    let path = format!("/keys/{}", ids[0]);
    let plain = app.api.clone();
    assert_eq!(app.call("ann", "GET", &path, "").await.json.get("last_used"), None);

    let times = vec![Some(NOW), None];
    app.api = plain.clone().with_last_used(Times(Ok(times.clone())));
    let list = app.call("ann", "GET", "/keys", "").await.json;
    let time = NOW.format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!(list["keys"][0]["last_used"], *time);
    assert_eq!(list["keys"][1]["last_used"], Value::Null);
    assert!(list["keys"][1].as_object().unwrap().contains_key("last_used"));

    app.api = plain.clone().with_last_used(Times(Ok(vec![Some(NOW)])));
    assert_eq!(app.call("ann", "GET", &path, "").await.json["last_used"], *time);

    // A source that fails is an outage for reads, and none of what a change depends on.
    for times in [Err(()), Ok(Vec::new()), Ok([times, vec![None]].concat())] {
        app.api = plain.clone().with_last_used(Times(times));
        for path in ["/keys", &*path] {
            let answer = app.call("ann", "GET", path, "").await;
            assert_eq!(answer.status, 503, "{}", answer.text);
        }
        let changed = app.call("ann", "PATCH", &path, r#"{"name":"n"}"#).await;
        assert_eq!((changed.status, changed.json.get("last_used")), (200, None));
    }
}

#[test]
fn a_base_path_is_a_path() {
    let keys = || KeyManager::new(MemoryKeyStore::new());
    for path in ["/", "/keys", "/keys/", "/api/v1/keys", "/a-b_c.d~e"] {
        assert!(ManagementApi::new(keys(), path).is_ok(), "{path}");
    }
    for path in
        ["", "keys", "//evil.example", "/a b", "/a?b", "/a#b", "/{id}", "/a%2f", "/é", "/\n"]
    {
        assert!(ManagementApi::new(keys(), path).is_err(), "{path}");
    }
}

#[tokio::test]
async fn the_base_path_is_where_it_was_said_to_be() {
    for (base, location) in [("/", "/"), ("/keys/", "/keys/"), ("/a/b", "/a/b/")] {
        let mut app = App::new();
        let whole = ManagementApi::new(app.keys.clone(), base).unwrap();
        let nested = ManagementApi::nested(app.keys.clone(), base).unwrap();
        for (api, root) in [(whole, base), (nested, "/")] {
            app.api = api;
            let made = app.call("ann", "POST", root, r#"{"name":"x"}"#).await;
            assert_eq!(made.status, 201, "{base} {root}");
            assert_eq!(made.headers["location"], format!("{location}{}", made.id()));
            let path = format!("{}/{}", root.trim_end_matches('/'), made.id());
            assert_eq!(app.call("ann", "GET", &path, "").await.status, 200, "{base} {root}");

            let elsewhere = [format!("{path}x/y"), format!("/x{path}"), format!("/{path}")];
            for path in elsewhere {
                assert_eq!(app.call("ann", "GET", &path, "").await.status, 404, "{base} {path}");
            }
        }
    }
    let app = App::new();
    for path in ["/", "/keysx", "/key", "/KEYS", "/%6beys"] {
        assert_eq!(app.call("ann", "GET", path, "").await.status, 404, "{path}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn every_change_is_one_event_without_a_secret() {
    let app = App::new();
    let logs = Logs::default();
    let guard = logs.capture();
    let made = app.call("ann", "POST", "/keys", r#"{"name":"x","expires_in":60}"#).await;
    let id = made.id().to_owned();
    for (method, path, body) in calls_for(&id) {
        app.call("ann", method, &path, &body).await;
    }
    once(&app, "ann", "1", r#"{"name":"x"}"#).await;
    once(&app, "ann", "1", r#"{"name":"x"}"#).await;
    drop(guard);

    let text = logs.text();
    let changes: Vec<_> = text.lines().filter(|line| line.contains("key_changed")).collect();
    // To switch on what is on changes nothing, and neither does an answer to a repeated request.
    let expected = ["generate", "update", "extend", "rotate", "revoke", "delete", "generate"];
    assert_eq!(changes.len(), expected.len(), "{text}");
    for (line, change) in changes.iter().zip(expected) {
        assert!(line.contains(" INFO ") && line.contains(" tower_webhook: "), "{line}");
        assert!(line.contains(&format!("key.change=\"{change}\"")), "{line}");
        assert!(line.contains(r#"auth.owner="ann""#), "{line}");
    }
    assert!(changes[..6].iter().all(|line| line.contains(&format!("key.id={id}"))));
    assert!(!text.contains(&made.json["secret"].as_str().unwrap()[21..]));
}

/// JSON that is made of what the calls know, and of what they do not.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "name",
            "scopes",
            "expires_in",
            "not_before",
            "metadata",
            "disabled",
            "by",
            "overlap",
            "ids",
            "count",
            "unit",
            "owner",
            "id",
        ])
        .prop_map(str::to_owned),
        "[\\PC\"/~]{0,3}",
    ];
    let text = prop_oneof![
        prop::sample::select(vec!["all", "deploy", "days", "seconds", "2027-01-01T00:00:00Z", "x"])
            .prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..100_i64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
        let object = proptest::collection::btree_map(name.clone(), inner, 0..5)
            .prop_map(|members| Value::Object(members.into_iter().collect()));
        prop_oneof![1 => list, 3 => object]
    })
}

proptest! {
    #[test]
    fn no_request_is_answered_with_a_fault_of_ours(
        bodies in proptest::collection::vec(any_json(), 1..4),
        path in prop_oneof![Just(""), Just("/"), Just("/delete"), Just("/ID"), Just("/ID/extend"),
            Just("/ID/rotate"), Just("/ID/revoke"), Just("/unknown/rotate")],
        segment in "[a-z%/.:~-]{0,4}",
        query in "[a-z&=%0-9.-]{0,8}",
        method in prop::sample::select(vec!["GET", "POST", "POST", "POST", "PATCH", "DELETE", "PUT"]),
        field in proptest::option::of("[!-~]{1,3}"),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let app = App::new();
            let id = app.key("ann", Scopes::NONE).await;
            let of_bob = app.key("bob", Scopes::NONE).await;
            let before = app.records("bob").await;
            for body in bodies {
                let path = format!("/keys{}{segment}?{query}", path.replace("ID", id.as_str()));
                let body = body.to_string().replace("deploy", of_bob.as_str());
                let Ok(uri) = path.parse::<http::Uri>() else { return };
                let mut request = Request::builder()
                    .method(Method::from_bytes(method.as_bytes()).unwrap())
                    .uri(uri)
                    .header("x-user", "ann:deploy,x")
                    .header("content-type", "application/json");
                if let Some(field) = &field {
                    request = request.header("idempotency-key", field);
                }
                let answer = app.send(request.body(Body::from(body)).unwrap()).await;
                assert!(answer.status < 500, "{}", answer.text);
            }
            assert_eq!(app.records("bob").await, before);
        });
    }
}
