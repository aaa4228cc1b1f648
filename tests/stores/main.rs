//! The key stores: each database with faults of its own, the cache, and stores that break the contract.
//!
//! The tests of the databases need the feature `conformance` too. The heads of `postgres`, `redis` and `sqlite` say
//! what each of them starts, and how to set the size of a run.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(
    feature = "conformance",
    any(feature = "file", feature = "postgres", feature = "redis", feature = "sqlite")
))]
mod shared;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "conformance")]
mod broken_stores;
#[cfg(feature = "cache")]
mod cached;
#[cfg(all(feature = "conformance", feature = "file"))]
mod file;
mod incarnations;
#[cfg(all(feature = "conformance", feature = "postgres"))]
mod postgres;
#[cfg(all(feature = "conformance", feature = "redis"))]
mod redis;
#[cfg(all(feature = "conformance", feature = "sqlite"))]
mod sqlite;
