//! What a call costs in allocations and in bytes: numbers that are the same on every machine.
//!
//! In a binary of its own, because the counting allocator is global. It counts for each thread apart.
//!
//! A number must not grow.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/pending.rs"]
#[allow(unreachable_pub, reason = "the benches export it")]
mod pending;
mod support;

mod bodies;
#[cfg(feature = "cache")]
mod cache;
mod memory;
mod requests;
mod sizes;
mod usage;
