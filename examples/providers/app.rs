//! The service: one hook for each provider.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use http::Method;
use serde_json::json;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::drain::DrainLayer;
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::key::Owner;
use tower_webhook::replay::MemoryReplayGuard;
use tower_webhook::signature::{Sender, Senders, SignatureVerifier, SignedDelivery};

use crate::providers::Provider;

const MIB: usize = 1024 * 1024;

pub(crate) fn app(providers: &[Provider], public_url: &str) -> Result<Router, servers::Error> {
    let mut senders = Senders::new();
    let mut policies = HashMap::new();
    for provider in providers {
        let Provider { slug, scheme, secrets, handshakes, .. } = provider;
        let sender = Sender::new(Owner::new(*slug)?, scheme.clone(), secrets.clone())?;
        let sender = handshakes.iter().cloned().fold(sender, Sender::with_handshake);
        senders = senders.with(slug, sender)?;
        let mut methods = vec![Method::POST];
        methods.extend(handshakes.iter().map(|handshake| handshake.method().clone()));
        policies
            .insert(format!("/{slug}"), Policy::signed().with_hook(*slug).with_methods(methods));
    }
    let verifier = SignatureVerifier::new(senders)
        .with_public_origin(public_url)
        .map_err(|error| format!("PUBLIC_URL: {error}"))?
        .with_hints();
    let auth = AuthLayer::per_request(move |head: RequestHead<'_>| {
        policies.get(head.original_path()).cloned()
    })
    .with_signatures(verifier)?;
    // Bodies of any kind are taken. What is in them is for the code that runs.
    let envelope = EnvelopeBuilder::new()
        .with_unread_body()
        .without_part(EnvelopePart::Get)
        .without_part(EnvelopePart::Headers);
    let hooks = Hooks::new(auth, run)
        .with_envelope(envelope)?
        .with_encoded_bodies()
        // GitHub sends up to 25 MB.
        .with_max_body_bytes(25 * MIB)
        .with_drain(DrainLayer::new().with_max_bytes(32 * MIB))
        .with_replay_guard(MemoryReplayGuard::new(100_000)?, Duration::from_secs(24 * 60 * 60));
    Ok(Router::new().fallback_service(hooks))
}

/// Says what is known of a delivery.
async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let signed = invocation.extensions().get::<SignedDelivery>();
    let signed = signed.ok_or_else(|| ExecutorError::public("the delivery is not signed"))?;
    let delivery = signed.delivery();
    Outcome::json(&json!({
        "covers": signed.verified().covers(),
        "id": delivery.id,
        "event": delivery.event,
        "signed": {"id": delivery.is_id_signed, "event": delivery.is_event_signed},
    }))
}
