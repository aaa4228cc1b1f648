//! What auth costs with another allocator: middleware that allocates more gains more from a faster one.
//!
//! ```text
//! cargo bench -p tower-webhook-benches --features mimalloc --bench ratios_mimalloc
//! ```

#![allow(clippy::expect_used, clippy::indexing_slicing)]

#[path = "ratios/head.rs"]
mod head;

use support::measure::{Options, Report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut report = Report::new(Options::from_args(0));
    head::placements(&mut report);
    head::refusals(&mut report);
    head::routes(&mut report);
    report.finish(&head::CHART);
}
