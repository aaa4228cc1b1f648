//! The crate from outside: what its services do, on every stack that they run on.

mod support;
mod wire;

mod api;
mod auth;
mod axum;
mod hyper;
mod peers;
mod readiness;
