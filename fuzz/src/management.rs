//! Management of keys, by a caller who may do little.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use time::Duration;
use time::macros::datetime;
use tower::{Layer, Service};
use tower_webhook::Clock;
use tower_webhook::auth::{Auth, AuthLayer};
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, KeyManager, KeyRecord, KeyStore, NewKey, Owner, Scopes};
use tower_webhook::management::ManagementApi;
use tower_webhook::store::MemoryKeyStore;

/// An id that no caller of these requests can know the key of.
pub const OTHER_ID: &str = "bobsKey000000000";
/// A key of the caller's owner that may do more than the caller, and is switched off.
pub const STRONG_ID: &str = "aliceAll00000000";
/// A key of the caller's owner that may do less.
pub const WEAK_ID: &str = "aliceWeak0000000";

/// In everything that the other owner wrote.
const CANARY: &str = "canary-of-bob";

/// The most requests of one input.
const MOST_REQUESTS: usize = 8;

/// No key of another owner is shown or changed, and no key gains scopes that the caller lacks.
///
/// Requests are separated by the byte 0. The lines of one are the method, the target, the `Idempotency-Key` (empty for
/// none) and the body.
pub fn check(data: &[u8]) {
    let mut world = World::new();
    for request in data.split(|byte| *byte == 0).take(MOST_REQUESTS) {
        let Some(request) = read_request(request, &world.bearer) else { return };
        world.send(request);
        world.check();
    }
}

fn read_request(data: &[u8], bearer: &HeaderValue) -> Option<Request<Full<Bytes>>> {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let uri = Uri::try_from(lines.next()?).ok()?;
    let once = lines.next().unwrap_or_default();
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, bearer.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !once.is_empty() {
        headers.insert("idempotency-key", HeaderValue::from_bytes(once).ok()?);
    }
    Some(request)
}

/// Two owners, and the API for one of them.
struct World {
    keys: KeyManager,
    store: Arc<MemoryKeyStore>,
    api: Auth<ManagementApi>,
    bearer: HeaderValue,
    scopes: Scopes,
    alice: Owner,
    others: KeyRecord,
    strong: KeyRecord,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryKeyStore::new());
        let now = datetime!(2026-11-24 12:00 UTC);
        let keys = KeyManager::new(Arc::clone(&store)).with_clock(Clock::from_fn(move || now));
        let (alice, bob) = (owner("alice"), owner("bob"));
        let scopes = Scopes::parse(["a", "keys"]).expect("scopes");

        let caller = NewKey::new("caller").with_scopes(scopes.clone());
        let caller = ready(keys.generate(&alice, caller)).expect("a key");
        let weak = Scopes::parse(["a"]).expect("scopes");
        let weak = NewKey::new("weak").with_id(id(WEAK_ID)).with_scopes(weak);
        ready(keys.generate(&alice, weak)).expect("a key");
        let strong = NewKey::new("strong")
            .with_id(id(STRONG_ID))
            .with_all_scopes()
            .with_disabled(true)
            .with_expires_in(Duration::hours(1));
        let strong = ready(keys.generate(&alice, strong)).expect("a key").record().clone();
        let others = NewKey::new(CANARY)
            .with_id(id(OTHER_ID))
            .with_all_scopes()
            .with_metadata(format!("\"{CANARY}\""));
        let others = ready(keys.generate(&bob, others)).expect("a key").record().clone();

        let bearer = format!("Bearer {}", caller.secret().expose_secret());
        let layer = AuthLayer::token(&keys, [Placement::bearer()]).expect("a layer");
        let api = layer.layer(ManagementApi::new(keys.clone(), "/keys").expect("an API"));
        let bearer = HeaderValue::try_from(bearer).expect("a header value");
        Self { keys, store, api, bearer, scopes, alice, others, strong }
    }

    fn send(&mut self, request: Request<Full<Bytes>>) {
        let response = ready(self.api.call(request)).expect("the service has no errors");
        let status = response.status();
        assert!(!status.is_server_error(), "{status}");
        let body = ready(response.into_body().collect()).expect("the body is there").to_bytes();
        assert!(!contains(&body, CANARY.as_bytes()), "a key of another owner was shown");
        assert!(!contains(&body, b"digest"), "a digest was shown");
        if let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&body) {
            let secret = answer.get("secret").and_then(serde_json::Value::as_str);
            secret.into_iter().for_each(|secret| self.check_secret(secret));
        }
    }

    /// The text of a key is shown only for one that may do no more than the caller.
    fn check_secret(&self, secret: &str) {
        let verifier = self.keys.verifier();
        if let Ok(key) = ready(verifier.verify(secret.as_bytes())) {
            assert!(key.owner() == &self.alice && self.scopes.covers(key.scopes()));
        }
    }

    fn check(&self) {
        let others = ready(self.store.find(self.others.id())).expect("a store in memory");
        let others = others.expect("the key of the other owner is there");
        assert_eq!(others.encode(), self.others.encode(), "a key of another owner was changed");

        let page = ready(self.keys.list(&self.alice, None, 200)).expect("a store in memory");
        assert_eq!(page.keys().len() + 1, self.store.len(), "a key was made for another owner");
        for record in page.keys().iter().filter(|key| !self.scopes.covers(key.scopes())) {
            assert_eq!(record.id(), self.strong.id(), "a key has gained scopes");
            assert!(record.disabled(), "a strong key was switched on");
            assert_eq!(record.expires_at(), self.strong.expires_at(), "it was extended");
            assert_eq!(
                record.digest().expose_bytes(),
                self.strong.digest().expose_bytes(),
                "it was rotated"
            );
        }
    }
}

fn owner(name: &str) -> Owner {
    Owner::new(name).expect("an owner")
}

fn id(text: &str) -> KeyId {
    KeyId::new(text).expect("an id")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// What a future yields that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("a store in memory and a body in memory are ready")
}
