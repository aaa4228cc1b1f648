//! What auth, body keys and envelopes cost, as ratios of cases measured side by side.
//!
//! ```text
//! cargo bench --bench ratios
//! cargo bench --bench ratios -- --json ratios.json --svg ratios.svg
//! cargo bench --bench ratios -- placement
//! ```
//!
//! How a ratio is taken is in [`support::measure`]. A text measures only the tables with that text in their title.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod body;
mod envelope;
mod head;
mod many;
#[cfg(feature = "signature")]
mod signature;
mod stores;
mod threads;

use support::measure::{Options, Report};

fn main() {
    // Some stores need a runtime, and only that there is one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let mut report = Report::new(Options::from_args(1_000_000));
    head::placements(&mut report);
    head::refusals(&mut report);
    head::routes(&mut report);
    stores::stores(&mut report);
    many::keys_in_memory(&mut report);
    threads::threads(&mut report);
    body::sizes(&mut report);
    #[cfg(feature = "signature")]
    signature::sizes(&mut report);
    envelope::sizes(&mut report);
    report.finish(&head::CHART);
}
