//! Keys of another system with `/`, `=` and `+` in them.

use bytes::Bytes;
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Placement, Secret};
use tower_webhook::key::{
    Formats, KeyFormat, KeyId, KeyManager, NewKey, OpaqueFormat, PrefixedFormat, Sha256Format,
    TokenFormat,
};
use tower_webhook::{BoxError, RequestHead};

use crate::support::{Mode, Recorder, TestStore, owner};

const KEYS: [&str; 3] = ["q83v+EjR/Zs0NA==", "/+=+/=", "+a+"];

struct App {
    keys: KeyManager,
    policy: Policy,
    conceals: bool,
}

impl App {
    async fn new(format: impl KeyFormat, text: &str, mode: Mode) -> Self {
        let store = TestStore::default();
        let keys = KeyManager::new(store.clone()).with_format(format);
        let id = KeyId::new("hook-1").unwrap();
        let (plain, named) = (NewKey::new("n"), NewKey::new("n").with_id(id.clone()));
        let policy = match keys.import(&owner("ann"), Secret::new(text), plain).await {
            Ok(_) => Policy::token(),
            Err(_) => {
                keys.import(&owner("ann"), Secret::new(text), named).await.unwrap();
                Policy::token().with_key(id)
            }
        };
        store.set_mode(mode);
        Self { keys, policy, conceals: false }
    }

    async fn status(&self, request: Builder, body: String) -> Result<StatusCode, BoxError> {
        let policy = self.policy.clone();
        let placements = [
            Placement::header("x-api-key")?,
            Placement::bearer(),
            Placement::cookie("key")?,
            Placement::query("key")?,
            Placement::body("key")?,
        ];
        let layer = AuthLayer::per_request(move |_: RequestHead<'_>| Some(policy.clone()))
            .with_keys(&self.keys, placements)?;
        let layer = if self.conceals { layer.with_uniform_unauthorized() } else { layer };
        let layer = layer.with_buffer(BodyBufferLayer::new());
        let request = request.body(Full::new(Bytes::from(body)))?;
        Ok(layer.layer(Recorder::default()).oneshot(request).await?.status())
    }

    /// The status for a key in each place, as it is written there.
    async fn header(&self, key: &str) -> StatusCode {
        self.status(Request::post("/").header("x-api-key", key), String::new()).await.unwrap()
    }

    async fn query(&self, key: &str) -> StatusCode {
        self.status(Request::post(format!("/?a=1&key={key}")), String::new()).await.unwrap()
    }

    async fn form(&self, key: &str) -> StatusCode {
        let request = Request::post("/").header("content-type", FORM);
        self.status(request, format!("a=1&key={key}")).await.unwrap()
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// What a form encoder makes of a text.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn assert_found_in_every_place(format: impl KeyFormat + Clone) {
    for text in KEYS {
        let app = App::new(format.clone(), text, Mode::Ready).await;
        let bearer = Request::post("/").header("authorization", format!("Bearer {text}"));
        let cookie = Request::post("/").header("cookie", format!("a=1; key={text}"));
        let json = Request::post("/").header("content-type", "application/json");
        let in_json = serde_json::json!({ "key": text }).to_string();

        assert_eq!(app.header(text).await, StatusCode::OK, "{text}");
        for (request, body) in [(bearer, ""), (cookie, ""), (json, in_json.as_str())] {
            let status = app.status(request, body.to_owned()).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{text} {body}");
        }
        let spellings = [encoded(text), text.replace('+', "%2B"), text.replace('+', "%2b")];
        for spelling in &spellings {
            assert_eq!(app.query(spelling).await, StatusCode::OK, "{spelling}");
            assert_eq!(app.form(spelling).await, StatusCode::OK, "{spelling}");
        }
        for other in [text, &text.replace('+', "%20"), &encoded(text).replace('%', "%25")] {
            assert_eq!(app.query(other).await, StatusCode::UNAUTHORIZED, "{other}");
            assert_eq!(app.form(other).await, StatusCode::UNAUTHORIZED, "{other}");
        }
    }
}

#[tokio::test]
async fn a_key_with_signs_is_found_in_every_place() {
    assert_found_in_every_place(OpaqueFormat::new()).await;
    assert_found_in_every_place(Sha256Format::new()).await;
    assert_found_in_every_place(TokenFormat).await;
    let both = Formats::new(PrefixedFormat::default()).with_previous(Sha256Format::new());
    assert_found_in_every_place(both).await;
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_log_says_that_a_plus_was_sent_raw() {
    const HINT: &str = "a `+` is sent as %2B";
    let text = "q83v+EjR/Zs0NA==";
    let opaque = App::new(OpaqueFormat::new(), text, Mode::Ready).await;
    let token = App::new(TokenFormat, text, Mode::Later).await;
    let concealing = App { conceals: true, ..App::new(TokenFormat, text, Mode::Later).await };
    for app in [opaque, token, concealing] {
        let logs = crate::support::Logs::default();
        let guard = logs.capture();
        let refused = [app.query(text).await, app.form(text).await];
        assert_eq!(refused, [StatusCode::UNAUTHORIZED; 2]);
        drop(guard);
        let logged = logs.text();
        assert_eq!(logged.matches(HINT).count(), 2, "{logged}");
        assert!(!logged.contains("q83v") && !logged.contains("EjR"), "{logged}");

        let logs = crate::support::Logs::default();
        let guard = logs.capture();
        // A blank elsewhere, no blank, and a good key.
        let json = Request::post("/").header("content-type", "application/json");
        let json = app.status(json, r#"{"key":"q83v EjR/Zs0NA=="}"#.to_owned()).await.unwrap();
        let refused = [app.header("q83v EjR/Zs0NA==").await, json, app.query("q83v").await];
        assert_eq!(refused, [StatusCode::UNAUTHORIZED; 3]);
        assert_eq!(app.query(&encoded(text)).await, StatusCode::OK);
        drop(guard);
        assert!(!logs.text().contains(HINT), "{}", logs.text());
    }
}
