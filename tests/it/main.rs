//! The crate from outside: what its services do, on every stack that they run on.

mod support;

mod api;
mod auth;
mod corpus;
mod readiness;
