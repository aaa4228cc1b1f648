//! `PostgresKeyStore` on a server of its own: with restarts, pauses, broken connections and poolers.
//!
//! Needs the programs of a PostgreSQL server, `apt-get install postgresql`.
//!
//! `TOWER_WEBHOOK_CANCELS` sets how many calls are cancelled (2000; a full run has 10000) and
//! `TOWER_WEBHOOK_KEYS` the size of the big table (50000; a full run has 1000000).
//!
//! `TOWER_WEBHOOK_ROUNDS` sets how often a key is revoked in one process and refused in another (20). The
//! times that this takes are printed: `cargo test --all-features --test stores postgres::revocation -- --nocapture`.

mod pooler;
mod proxy;
mod server;
mod support;

#[cfg(feature = "cache")]
mod cached;
mod cancelled_calls;
mod contention;
mod errors;
mod http;
mod invalidations;
mod malformed_answers;
mod migration;
mod outage;
mod pooling;
mod records;
#[cfg(feature = "signature")]
mod replay_guard;
#[cfg(feature = "cache")]
mod revocation;
mod scale;
mod shared_pool;
mod usage;
