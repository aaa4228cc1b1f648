//! The attack corpus: a table of hostile and odd requests with their required outcomes.
//!
//! A [row](row::Row) is a request, a configuration, the required outcome, and the number of look-ups in the store.
//! Each runs through `Hooks`, `AuthLayer` and `AuthLayer::with_buffer` where the outcome is the same: in process with
//! a store that answers at once and with one that waits, and against an axum server over HTTP/1.1 and HTTP/2.
//!
//! `README.md` says what each row is, and which attacks are not here.
//!
//! On every run of every row, [`rules`] and [`run`] check:
//!
//! 1. Nothing panics, and nothing takes longer than 2 seconds.
//! 2. Status, headers and document are those of the [table of refusals](tower_webhook::rejection).
//! 3. No half of a key's secret is in a response, in the log at TRACE (as text and as JSON), or in `Debug`.
//! 4. The inner service or executor runs once if the row is let through, and otherwise not at all.
//! 5. The store is asked as often as the row says, and never twice.
//! 6. No key is in what comes through: headers, target, original target, body, envelope, invocation. A key
//!    in a place that is not configured is removed by `Hooks` and left to the app by the layers.
//! 7. The body is not polled before a verdict that needs only the head, never after its end, and no further
//!    than the limit and one frame.
//! 8. Memory peaks below twice the limit on bodies and 256 KiB; below 16 KiB for a refusal by the head.
//! 9. All refusals of bad credentials are equal, byte for byte.
//! 10. A refusal is one event in the log, and so is each proof of a caller. A request has both only if its
//!     body is refused after that proof.
//! 11. A second run has the same answer and the same envelope, with headers in another order and in capitals.
//! 12. Unrelated headers change nothing.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod authorization;
mod body;
mod config;
mod connection;
mod cookie;
mod either;
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
    ("F131.headers", "all refusals of the parser of parts are malformed bodies"),
    (
        "G141",
        "the document of this refusal says malformed_body: invalid_request is for credentials",
    ),
    ("G141.list", "as G141"),
    ("G141.header", "as G141"),
];
