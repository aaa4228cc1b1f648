//! The store in Redis, on servers that the tests start themselves, and behind a proxy that misbehaves.
//!
//! `TOWER_WEBHOOK_ROUNDS` sets how often a key is revoked in one process and refused in another (20). The
//! times that this takes are printed: `cargo test --all-features --test redis revocation -- --nocapture`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod proxy;
#[cfg(feature = "cache")]
#[path = "../shared/revocation.rs"]
mod revocation_times;
mod server;
mod support;
#[path = "../shared/usage.rs"]
mod usage_rules;

#[cfg(feature = "cache")]
mod cached;
mod conformance;
mod connection;
mod contract;
mod errors;
mod http;
mod invalidations;
mod life;
mod load;
mod outage;
#[cfg(feature = "cache")]
mod revocation;
mod setup;
mod usage;
