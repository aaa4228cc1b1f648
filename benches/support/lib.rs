//! What the benches have in common: one request, one inner service, the ways to guard it, and how
//! ratios are taken.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot be set up ends"
)]

pub mod envelope;
pub mod floor;
pub mod guards;
pub mod keys;
pub mod measure;
pub mod payload;
#[path = "../../tests/support/pending.rs"]
mod pending;
pub mod requests;
