//! `PostgresKeyStore` on a server of its own: with restarts, pauses, broken connections and poolers.
//!
//! Needs the programs of a PostgreSQL server, `apt-get install postgresql`.
//!
//! `TOWER_WEBHOOK_CANCELS` sets how many calls are cancelled (2000; a full run has 10000) and
//! `TOWER_WEBHOOK_KEYS` the size of the big table (50000; a full run has 1000000).
//!
//! `TOWER_WEBHOOK_ROUNDS` sets how often a key is revoked in one process and refused in another (20). The
//! times that this takes are printed: `cargo test --all-features --test postgres revocation -- --nocapture`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod pooler;
mod proxy;
#[cfg(feature = "cache")]
#[path = "../shared/revocation.rs"]
mod revocation_times;
mod server;
mod support;
#[path = "../shared/usage.rs"]
mod usage_rules;

mod behaviour;
#[cfg(feature = "cache")]
mod cached;
mod cancel;
mod contention;
mod hostile;
mod http;
mod invalidations;
mod lending;
mod migration;
mod outage;
mod pooling;
mod refusals;
#[cfg(feature = "cache")]
mod revocation;
mod scale;
mod usage;
