//! Requests that are accepted or refused by their head.

use async_trait::async_trait;
use http::HeaderName;
use tower::Layer;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{
    KeyId, KeyManager, KeyRecord, KeyStore, KeyVerifier, NewKey, Owner, PageCursor, StoreError,
    WriteOutcome,
};
use tower_webhook::store::MemoryKeyStore;

use crate::pending::Pending;
use crate::support::{
    Inner, bare_request, cost, guarded, keys, layer, no_more_than, request, wait,
};

/// The headers of a response that had none: `Cache-Control`, where the key was not in `Authorization`.
const RESPONSE: u64 = 2;

#[test]
fn an_accepted_request_allocates_for_its_identity_alone() {
    let (manager, text) = keys(MemoryKeyStore::new());

    let count = cost(&mut guarded(&manager), || request(Some(&text)), 200).count_total;

    assert!(count <= 1 + RESPONSE, "{count}");
}

#[cfg(feature = "metrics")]
#[test]
fn a_measured_request_allocates_no_more_than_another() {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower_webhook::metrics::Metrics;

    let (manager, text) = keys(MemoryKeyStore::new());
    let recorder = PrometheusBuilder::new().build_recorder();
    let register = || Metrics::register().with_hooks(["deploy"]);
    let metrics = metrics::with_local_recorder(&recorder, register);
    let mut measured = layer(&manager).with_metrics(metrics).layer(Inner);
    for (key, status) in [(Some(&*text), 200), (Some("junk"), 401)] {
        let allocations = cost(&mut measured, || request(key), status).count_total;
        let unmeasured = cost(&mut guarded(&manager), || request(key), status).count_total;
        assert_eq!(allocations, unmeasured, "{status}");
    }
    assert!(
        recorder.handle().render().contains("reason=\"malformed\",placement=\"none\",hook=\"\"} 2")
    );
}

#[test]
fn the_map_of_extensions_is_made_where_there_was_none() {
    let (manager, text) = keys(MemoryKeyStore::new());

    let count = cost(&mut guarded(&manager), || bare_request(Some(&text)), 200).count_total;

    assert!(count <= 3 + RESPONSE, "{count}");
}

/// Where a key is taken out of a cookie or of the target, those are made anew.
#[test]
fn other_placements_allocate_no_more_than_before() {
    let (manager, text) = keys(MemoryKeyStore::new());
    let count = |placement: Placement, target: &str, header: Option<(&str, &str)>| {
        let mut service = AuthLayer::token(&manager, [placement]).unwrap().layer(Inner);
        let make = || {
            let mut request = request(None);
            *request.uri_mut() = target.replace("KEY", &text).parse().unwrap();
            if let Some((name, value)) = header {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                request.headers_mut().insert(name, value.replace("KEY", &text).parse().unwrap());
            }
            request
        };
        cost(&mut service, make, 200).count_total
    };
    let counts = [
        count(Placement::bearer(), "/", Some(("authorization", "Bearer KEY"))),
        count(Placement::cookie("key").unwrap(), "/", Some(("cookie", "theme=dark; key=KEY"))),
        count(Placement::query("key").unwrap(), "/?a=1&b=2&key=KEY", None),
        count(Placement::path("/hook/{id}/{key}").unwrap(), "/hook/7/KEY", None),
    ];

    no_more_than([1, 6 + RESPONSE, 8, 7], counts);
}

#[test]
fn a_public_route_allocates_nothing() {
    let mut service = AuthLayer::public().layer(Inner);

    assert_eq!(cost(&mut service, || request(Some("k")), 200).count_total, 0);
}

/// What a refusal allocates for a missing, a junk, an unknown and a wrong key.
fn refusals(auth: impl Fn(&KeyManager) -> AuthLayer) -> [u64; 4] {
    let (manager, text) = keys(MemoryKeyStore::new());
    let (_, unknown) = keys(MemoryKeyStore::new());
    let junk = format!("{}000000", &text[..text.len() - 6]);
    let wrong = wrong_secret(&text);
    [None, Some(&junk), Some(&unknown), Some(&wrong)].map(|key| {
        let mut service = auth(&manager).layer(Inner);
        cost(&mut service, || request(key.map(String::as_str)), 401).count_total
    })
}

/// Another key under the same id.
fn wrong_secret(text: &str) -> String {
    let id = KeyId::new(text.split('_').nth(1).unwrap()).unwrap();
    let manager = KeyManager::new(MemoryKeyStore::new());
    let new = NewKey::new("test").with_id(id);
    let issued = wait(manager.generate(&Owner::new("bob").unwrap(), new)).unwrap();
    issued.secret().expose_secret().to_owned()
}

/// Two for the headers that every refusal has, and three for the rejection in the extensions.
#[test]
fn a_refusal_copies_the_headers_that_were_made_beforehand() {
    no_more_than([5, 5, 5, 5], refusals(|manager| layer(manager)));
}

/// As above, and the copy of the head that the closure is shown.
#[test]
fn only_a_closure_for_bodies_costs_a_copy_of_the_head() {
    let empty = |manager: &KeyManager| {
        layer(manager).with_rejection_response(|_, _| http::Response::default())
    };

    no_more_than([14, 16, 16, 16], refusals(empty));
}

/// Three, the future of the store, and the headers of the response.
#[test]
fn an_answer_that_has_to_be_waited_for_is_boxed() {
    let (manager, text) = keys(Pending::default());

    let info = cost(&mut guarded(&manager), || request(Some(&text)), 200);

    assert!(info.count_total <= 4 + RESPONSE, "{}", info.count_total);
    // All of them together.
    assert!(info.bytes_total <= 1480, "{}", info.bytes_total);
}

#[test]
fn a_malformed_key_never_reaches_the_store() {
    let (_, text) = keys(MemoryKeyStore::new());
    let mut service = layer(KeyVerifier::new(Forbidden)).layer(Inner);
    let cut = text[..text.len() - 1].to_owned();
    let long = text.repeat(100);
    let other_check = format!("{}000000", &text[..text.len() - 6]);
    for junk in ["x", "whk_", &cut, &long, &other_check] {
        cost(&mut service, || request(Some(junk)), 401);
    }
}

/// A store that must not be asked.
struct Forbidden;

#[async_trait]
impl KeyStore for Forbidden {
    async fn find(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        panic!("the store was asked")
    }

    async fn insert(&self, _: KeyRecord) -> Result<WriteOutcome, StoreError> {
        panic!("the store was asked")
    }

    async fn replace(&self, _: KeyRecord, _: u64) -> Result<WriteOutcome, StoreError> {
        panic!("the store was asked")
    }

    async fn remove(&self, _: &Owner, _: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        panic!("the store was asked")
    }

    async fn list(
        &self,
        _: &Owner,
        _: Option<&PageCursor>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        panic!("the store was asked")
    }
}
