//! `PostgresKeyStore` on a server of its own: with restarts, pauses, broken connections and poolers.
//!
//! Needs the programs of a PostgreSQL server, `apt-get install postgresql`.
//!
//! `TOWER_WEBHOOK_CANCELS` sets how many calls are cancelled (2000; a full run has 10000) and
//! `TOWER_WEBHOOK_KEYS` the size of the big table (50000; a full run has 1000000).

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod pooler;
mod proxy;
mod server;
mod support;

mod behaviour;
#[cfg(feature = "cache")]
mod cached;
mod cancel;
mod contention;
mod http;
mod invalidations;
mod migration;
mod outage;
mod pooling;
mod refusals;
mod scale;
