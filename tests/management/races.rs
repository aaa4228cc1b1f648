//! Races during a change over HTTP: the key of the caller ends, or the key to change is replaced by another one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt};
use tower_webhook::Clock;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, KeyManager, KeyRecord, KeyUpdate, NewKey, Scopes};
use tower_webhook::management::ManagementApi;

use crate::support::{Mode, NOW, TestStore, owner};

fn scopes(texts: &[&str]) -> Scopes {
    Scopes::parse(texts.iter().copied()).unwrap()
}

/// Keys on a clock that can be set forward, with a caller who has the scopes `keys` and `a`.
struct App {
    keys: KeyManager,
    seconds: Arc<AtomicI64>,
    caller: KeyId,
    text: String,
}

impl App {
    async fn new(store: impl tower_webhook::key::KeyStore) -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&seconds);
        let keys = KeyManager::new(store).with_clock(Clock::from_fn(move || {
            NOW + time::Duration::seconds(clock.load(Ordering::SeqCst))
        }));
        let new = NewKey::new("caller")
            .with_scopes(scopes(&["keys", "a"]))
            .with_expires_in(time::Duration::HOUR);
        let issued = keys.generate(&owner("ann"), new).await.unwrap();
        let text = issued.secret().expose_secret().to_owned();
        Self { keys, seconds, caller: issued.record().id().clone(), text }
    }

    async fn key(&self, granted: Scopes) -> KeyId {
        let new = NewKey::new("other").with_scopes(granted).with_expires_in(time::Duration::DAY);
        let issued = self.keys.generate(&owner("ann"), new.with_disabled(true)).await.unwrap();
        issued.record().id().clone()
    }

    async fn record(&self, id: &KeyId) -> KeyRecord {
        self.keys.get(&owner("ann"), id).await.unwrap()
    }

    /// Every key of ann but that of the caller, as texts.
    async fn others(&self) -> Vec<String> {
        let page = self.keys.list(&owner("ann"), None, 1000).await.unwrap();
        let others = page.keys().iter().filter(|record| *record.id() != self.caller);
        others.map(KeyRecord::encode).collect()
    }

    /// A call whose body comes after something else has happened.
    async fn call(
        &self,
        method: &Method,
        path: &str,
        body: &str,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> http::response::Parts {
        let header = ("x-api-key", self.text.clone());
        let placement = Placement::header("x-api-key").unwrap();
        self.call_with(placement, header, method, path, body, meanwhile).await.0
    }

    async fn call_with(
        &self,
        placement: Placement,
        (name, value): (&str, String),
        method: &Method,
        path: &str,
        body: &str,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> (http::response::Parts, Bytes) {
        let scope = "keys".parse().unwrap();
        let auth = AuthLayer::token(&self.keys, [placement]).unwrap().with_scope(scope).unwrap();
        let api = ManagementApi::new(self.keys.clone(), "/keys").unwrap();
        let body = Bytes::from(body.to_owned());
        let frames = futures_util::stream::once(async move {
            meanwhile.await;
            Ok::<_, Infallible>(Frame::data(body))
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(name, value)
            .header("content-type", "application/json")
            .body(StreamBody::new(Box::pin(frames) as Pin<Box<_>>))
            .unwrap();
        let api = api.with_store_deadline(Duration::from_millis(200));
        let (parts, body) = auth.layer(api).oneshot(request).await.unwrap().into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        assert!(parts.status.is_success() || !text.windows(4).any(|bytes| bytes == b"whk_"));
        (parts, text)
    }
}

/// Every call that changes something and has a body.
fn calls(id: &KeyId) -> [(Method, String, String); 7] {
    let path = format!("/keys/{id}");
    let delete = format!(r#"{{"ids":["{id}"]}}"#);
    [
        (Method::POST, "/keys".to_owned(), r#"{"name":"new","scopes":["a"]}"#.to_owned()),
        (Method::PATCH, path.clone(), r#"{"name":"new"}"#.to_owned()),
        (Method::PATCH, path.clone(), r#"{"disabled":false}"#.to_owned()),
        (Method::POST, format!("{path}/extend"), r#"{"by":60}"#.to_owned()),
        (Method::POST, format!("{path}/rotate"), "{}".to_owned()),
        (Method::POST, format!("{path}/revoke"), "{}".to_owned()),
        (Method::POST, "/keys/delete".to_owned(), delete),
    ]
}

#[tokio::test]
async fn a_key_that_ends_while_the_body_comes_changes_nothing() {
    for end in ["revoke", "disable", "expire", "delete", "move", "rotate"] {
        for call in 0..calls(&KeyId::new("x").unwrap()).len() {
            let store = TestStore::default();
            let app = App::new(store.clone()).await;
            let id = app.key(scopes(&["a"])).await;
            let before = app.others().await;
            let (method, path, body) = calls(&id)[call].clone();

            let (keys, seconds) = (app.keys.clone(), Arc::clone(&app.seconds));
            let caller = app.caller.clone();
            let ann = owner("ann");
            let ended = async move {
                match end {
                    "revoke" => drop(keys.revoke(&ann, &caller).await.unwrap()),
                    "rotate" => {
                        drop(keys.rotate(&ann, &caller, time::Duration::ZERO).await.unwrap())
                    }
                    "disable" => drop(keys.disable(&ann, &caller).await.unwrap()),
                    "expire" => seconds.store(3600, Ordering::SeqCst),
                    "delete" => keys.delete(&ann, &[caller]).await.unwrap(),
                    _ => {
                        use tower_webhook::key::KeyStore as _;
                        let record = store.find(&caller).await.unwrap().unwrap();
                        let version = record.version();
                        let text = record.encode().replace(r#""owner":"ann""#, r#""owner":"bob""#);
                        let moved = KeyRecord::decode(text).unwrap().with_version(version + 1);
                        let _ = store.replace(moved, version).await.unwrap();
                    }
                }
            };
            let answer = app.call(&method, &path, &body, ended).await;

            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{end}: {method} {path}");
            assert!(answer.headers.contains_key("www-authenticate"));
            assert_eq!(app.others().await, before, "{end}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn the_refusal_of_an_ended_key_is_that_of_the_layer() {
    use base64::Engine as _;

    let app = App::new(TestStore::default()).await;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("ann:{}", app.text));
    for (placement, name, value) in [
        (Placement::header("x-api-key").unwrap(), "x-api-key", app.text.clone()),
        (Placement::bearer(), "authorization", format!("Bearer {}", app.text)),
        (Placement::basic(), "authorization", format!("Basic {basic}")),
        (Placement::cookie("key").unwrap(), "cookie", format!("key={}", app.text)),
        (
            Placement::authorization("Token").unwrap(),
            "authorization",
            format!("Token {}", app.text),
        ),
    ] {
        let (keys, caller) = (app.keys.clone(), app.caller.clone());
        let disabled = async move {
            let _ = keys.disable(&owner("ann"), &caller).await.unwrap();
        };
        let body = r#"{"name":"new"}"#;
        let header = (name, value);
        let post = Method::POST;
        let call = |happening: Pin<Box<dyn Future<Output = ()> + Send>>| {
            app.call_with(placement.clone(), header.clone(), &post, "/keys", body, happening)
        };
        let (late, late_text) = call(Box::pin(disabled)).await;
        let (early, early_text) = call(Box::pin(async {})).await;
        let _ = app.keys.enable(&owner("ann"), &app.caller).await.unwrap();

        assert_eq!((late.status, &late.headers), (early.status, &early.headers), "{header:?}");
        assert_eq!((late.status, late_text), (StatusCode::UNAUTHORIZED, early_text));
    }
    assert!(app.others().await.is_empty());
}

#[tokio::test]
async fn scopes_that_are_taken_away_while_the_body_comes_count() {
    for left in [&["keys"][..], &["a"], &[]] {
        for call in 0..calls(&KeyId::new("x").unwrap()).len() {
            let app = App::new(TestStore::default()).await;
            let id = app.key(scopes(&["a"])).await;
            let before = app.others().await;
            let (method, path, body) = calls(&id)[call].clone();

            let (keys, caller) = (app.keys.clone(), app.caller.clone());
            let update = KeyUpdate::new().with_scopes(scopes(left));
            let narrowed = async move {
                let _ = keys.update(&owner("ann"), &caller, update).await.unwrap();
            };
            let answer = app.call(&method, &path, &body, narrowed).await;

            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{left:?}: {method} {path}");
            assert_eq!(app.others().await, before, "{left:?}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_after_the_body_is_503() {
    for mode in [Mode::Error, Mode::Hang, Mode::Panic] {
        let store = TestStore::default();
        let app = App::new(store.clone()).await;
        let id = app.key(scopes(&["a"])).await;
        let before = app.others().await;
        for (method, path, body) in calls(&id) {
            let broken = store.clone();
            let away = async move { broken.set_mode(mode) };
            let answer = app.call(&method, &path, &body, away).await;

            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{mode:?} {method} {path}");
            store.set_mode(Mode::Ready);
            assert_eq!(app.others().await, before, "{mode:?} {method} {path}");
        }
    }
}

#[tokio::test]
async fn a_key_that_stays_as_it_is_makes_its_change() {
    for call in 0..calls(&KeyId::new("x").unwrap()).len() {
        let app = App::new(TestStore::default()).await;
        let id = app.key(scopes(&["a"])).await;
        let (method, path, body) = calls(&id)[call].clone();
        // A change of the caller's key that takes nothing away is no end of it.
        let (keys, caller) = (app.keys.clone(), app.caller.clone());
        let widened = async move {
            let update = KeyUpdate::new().with_name("renamed").with_scopes(Scopes::ALL);
            let _ = keys.update(&owner("ann"), &caller, update).await.unwrap();
        };
        let answer = app.call(&method, &path, &body, widened).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.status);
    }
}

/// The owner gives a key all scopes, after the call has looked at it and before it changes it.
async fn given_all_scopes(app: &App, store: &TestStore, id: &KeyId) {
    let (others, id) = (KeyManager::new(store.memory.clone()), id.clone());
    store.before_replace(async move {
        let update = KeyUpdate::new().with_scopes(Scopes::ALL);
        let _ = others.update(&owner("ann"), &id, update).await.unwrap();
    });
    assert!(!app.record(&app.caller).await.scopes().is_all());
}

#[tokio::test]
async fn the_scopes_that_count_are_those_of_the_replaced_key() {
    for call in 2..5 {
        let store = TestStore::default();
        let app = App::new(store.clone()).await;
        let id = app.key(scopes(&["a"])).await;
        let before = app.record(&id).await;
        let (method, path, body) = calls(&id)[call].clone();
        given_all_scopes(&app, &store, &id).await;

        let answer = app.call(&method, &path, &body, async {}).await;

        assert!(store.is_over());
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let after = app.record(&id).await;
        assert!(after.scopes().is_all());
        // That change of the owner is the only one.
        assert_eq!(after.version(), before.version() + 1, "{method} {path}");
        assert_eq!(after.expires_at(), before.expires_at());
        assert!(after.disabled());
    }
}
