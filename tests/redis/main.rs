//! The store in Redis, on servers that the tests start themselves, and behind a proxy that misbehaves.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod proxy;
mod server;
mod support;

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
mod setup;
