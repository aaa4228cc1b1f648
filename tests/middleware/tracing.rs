//! Subscribers of `tracing` that misbehave.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::KeyVerifier;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{Keys, Recorder};

/// Does something with every event of this crate.
struct Observer<F>(F);

impl<F: Fn() + Send + Sync + 'static> Subscriber for Observer<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "tower_webhook"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        (self.0)();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// How many requests with a good key, a wrong key and none are let in. A panic counts as no answer.
async fn let_in(keys: &Keys) -> Vec<usize> {
    let layer = AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap();
    let inner = Recorder::default();
    let mut counts = Vec::new();
    for key in [keys.text.as_str(), "wrong", ""] {
        let request = Request::post("/").header("x-api-key", key).body(Body::default()).unwrap();
        let call = AssertUnwindSafe(layer.layer(inner.clone()).oneshot(request)).catch_unwind();
        let is_ok = call.await.is_ok_and(|answer| answer.unwrap().status() == StatusCode::OK);
        let count = inner.take().len();
        assert!(count == 1 || !is_ok);
        counts.push(count);
    }
    counts
}

#[tokio::test]
async fn a_subscriber_that_panics_grants_no_access_and_leaks_nothing() {
    let keys = Keys::new().await;
    // Registers the events with a second dispatcher, as every capture does.
    drop(crate::support::Logs::default().capture());
    let observer = Observer(|| panic!("the subscriber panicked"));
    let guard = tracing::subscriber::set_default(observer);
    let counts = let_in(&keys).await;
    assert_eq!(counts[1..], [0, 0]);
    drop(guard);
    assert_eq!(let_in(&keys).await, [1, 0, 0]);
}

#[tokio::test]
async fn a_subscriber_that_verifies_a_key_itself_is_no_deadlock() {
    static EVENTS: AtomicUsize = AtomicUsize::new(0);
    let keys = Keys::new().await;
    drop(crate::support::Logs::default().capture());
    let (verifier, text) = (KeyVerifier::from(&keys.manager), keys.text.clone());
    let observer = Observer(move || {
        EVENTS.fetch_add(1, Ordering::Relaxed);
        verifier.verify(text.as_bytes()).now_or_never().unwrap().unwrap();
    });
    let _guard = tracing::subscriber::set_default(observer);
    assert_eq!(let_in(&keys).await, [1, 0, 0]);
    assert_eq!(EVENTS.load(Ordering::Relaxed), 3);
}
