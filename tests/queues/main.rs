//! The job queues: each engine with faults of its own.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(unix, any(feature = "queue-sqlite", feature = "queue-postgres")))]
mod races;

#[cfg(all(unix, feature = "queue-sqlite"))]
mod sqlite;

// They start servers, which the two commands of the README do without.
#[cfg(all(unix, feature = "conformance", feature = "queue-postgres"))]
mod postgres;

#[cfg(all(unix, feature = "conformance", feature = "queue-nats"))]
mod nats;
