//! The crate from outside: what its services do, on every stack that they run on.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

mod api;
mod auth;
mod manage;
mod readiness;
