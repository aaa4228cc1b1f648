//! The auth layer from outside: which requests it lets through, what it removes from them, and how it behaves
//! in the stacks that it is used in.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod auth;
mod authorization;
mod axum;
mod caching;
mod concealed;
mod content;
mod credentials;
mod drain;
mod either_or;
mod grpc;
mod head_first;
mod hyper;
mod identities;
#[cfg(feature = "metrics")]
mod metrics;
mod orders;
mod paths;
mod peppers;
mod plus;
mod policy_with_key;
mod preflight;
mod probes;
mod proxies;
mod rate_limit;
mod readiness;
mod redaction;
mod refused_heads;
mod regressions;
mod removal;
mod settings;
#[cfg(feature = "tracing")]
mod span_fields;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(all(feature = "testing", feature = "axum", debug_assertions))]
mod testing;
#[cfg(feature = "tracing")]
mod tracing;
mod waiting;
mod websocket;
mod without_body;
