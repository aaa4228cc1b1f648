//! The crate from outside: what its services do, on every stack that they run on.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;
mod wire;

mod api;
mod auth;
mod axum;
#[cfg(feature = "conformance")]
mod broken_stores;
#[cfg(feature = "cache")]
mod cached;
mod concealed;
mod content;
mod corpus;
mod hooked;
mod hooks;
mod hyper;
mod incarnations;
mod kinds;
#[cfg(feature = "management")]
mod manage;
#[cfg(feature = "management")]
mod manage_races;
#[cfg(feature = "tracing")]
mod observers;
mod peers;
mod pinned;
mod readiness;
mod redaction;
mod removal;
mod secrets;
mod settings;
#[cfg(feature = "tracing")]
mod spans;
mod waiting;
