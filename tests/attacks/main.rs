//! The attack corpus: hostile and odd requests, and what comes of them.
//!
//! A [row](row::Row) is a request, the configuration that it meets, the outcome that it has to have, and how
//! often the store is asked. Rows are named by a letter for their subject and a number. Each runs through
//! `Hooks`, through `AuthLayer` and through `AuthLayer::with_buffer` where the outcome is the same: in
//! process with a store that answers at once and with one that waits, and against one axum server over
//! HTTP/1.1 and HTTP/2 on sockets.
//!
//! On every run of every row, [`rules`] and [`run`] check:
//!
//! 1. Nothing panics, and nothing takes longer than 2 seconds.
//! 2. Status, headers and document are those of the [table of refusals](tower_webhook::rejection).
//! 3. No half of a key's secret is in a response, in the log at TRACE (as text and as JSON), or in `Debug`.
//! 4. The inner service or executor runs once if the row is let through, and otherwise not at all.
//! 5. The store is asked as often as the row says, and never twice.
//! 6. No key is in what comes through: headers, target, original target, body, envelope, invocation. A key
//!    in a place that nobody configured is taken out by `Hooks` and left to the app by the layers.
//! 7. The body is not polled before a verdict that needs only the head, never after its end, and no further
//!    than the limit and one frame.
//! 8. Memory peaks below twice the limit on bodies and 256 KiB; below 16 KiB for a refusal by the head.
//! 9. All refusals of bad credentials are equal, byte for byte.
//! 10. A refusal is one event in the log, and so is the proof of a caller. A request has both only if its
//!     body is refused after that proof.
//! 11. A second run has the same answer and the same envelope, with headers in another order and in capitals.
//! 12. Unrelated headers change nothing.
//!
//! # What is not here
//!
//! * A5, A20, C55 and other numbers that are left out have no text of their own.
//! * A32: the identity travels in the request's extensions, so there is no header to forge. The row checks
//!   that likely names do nothing.
//! * A21, K188: a line break is no part of an `http::HeaderValue`; servers end the line there.
//! * H152, a reset in the middle of a body: to the service it is the error of H153.
//! * H162, K192: a budget for the bodies of all requests is the business of a `ConcurrencyLimit` outside.
//! * I165, I167, I168: nothing is decompressed here.
//! * J: what a server makes of broken framing is the server's. Its effects on this crate are in
//!   [`connection`].
//! * K183, K189 to K194: streams, windows and header tables are the server's. A request that is given up is
//!   in [`executor`].
//! * M213, M214: properties of all envelopes are tested beside the envelope, M218 beside the outcome.
//! * N222: there is no cache that could be cold.
//! * N227: owners have no state.
//! * O: there is no management API over HTTP; the rules are tested beside the manager.
//! * P238 to P241, for layers: see `readiness`. L206, layers in layers: see `auth`.
//! * R: there is no signature layer.
//! * S14, S15: there are no rate limits. S24: see `readiness`. S16: see `auth`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod authorization;
mod body;
mod config;
mod connection;
mod cookie;
mod envelope;
mod executor;
mod fixture;
mod form;
mod header;
mod json;
mod log;
mod media;
mod method;
mod path;
mod query;
mod request;
mod routing;
mod row;
mod rules;
mod run;
mod time;
mod wire;

/// Rows that the crate does not meet, and why. A row in this list has to fail.
const KNOWN_GAPS: &[(&str, &str)] = &[
    ("D93.layer.params", "axum keeps the parameters of a route in a type that is private to it"),
    ("D93.route-layer.params", "as D93.layer.params"),
    ("D93.nested.params", "as D93.layer.params"),
    ("D93.around-nest.params", "as D93.layer.params"),
    ("F131.headers", "what the parser of parts refuses is malformed, whatever its reason"),
    (
        "G141",
        "the document of this refusal says malformed_body: invalid_request is for credentials",
    ),
    ("G141.list", "as G141"),
    ("G141.header", "as G141"),
];
