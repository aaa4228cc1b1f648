//! The store and the limiter in Redis, on servers that the tests start themselves, and behind a proxy that misbehaves.
//!
//! `TOWER_WEBHOOK_ROUNDS` sets how often a key is revoked in one process and refused in another (20). The
//! times that this takes are printed: `cargo test --all-features --test stores redis::revocation -- --nocapture`.
//! `TOWER_WEBHOOK_CALLS` sets how many calls each of two processes makes of one limit (2000).

mod proxy;
mod server;
mod support;

#[cfg(feature = "cache")]
mod cached;
mod cancelled_calls;
mod concurrent_changes;
mod conformance;
mod connection;
mod errors;
mod http;
mod invalidations;
mod outage;
mod rate_limit;
mod rate_limit_load;
mod records;
#[cfg(feature = "signature")]
mod replay_guard;
#[cfg(feature = "cache")]
mod revocation;
mod setup;
mod usage;
