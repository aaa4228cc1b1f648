//! What a durable execution costs, against the bare client of its engine.
//!
//! ```text
//! cargo bench -p tower-webhook-benches --features queues --bench queues
//! cargo bench -p tower-webhook-benches --features queues --bench queues -- --rounds 20 --keys 100000 SQLite
//! ```
//!
//! Every engine keeps its data in a temporary folder of its own. What is measured are waits for the disk: jobs and bare
//! rows are equally durable. `--keys` is the number of ended jobs in a large queue.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../tests/queues/nats/server.rs"]
mod nats_server;
#[allow(dead_code)]
#[path = "../../tests/stores/postgres/server.rs"]
mod postgres_server;
/// What the servers of the tests need.
#[allow(dead_code)]
#[path = "../../tests/support"]
mod support {
    pub(crate) mod folder;
    pub(crate) mod port;
}

mod calls;
mod engine;
mod execution;
mod nats;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use ::support::measure::{Cost, Fact, Options, Ratio, Report, Table};
use tokio::runtime::{Builder, Runtime};

use self::engine::Engine;

fn main() {
    let mut report = Report::new(Options::from_args(1_000_000));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    measure::<sqlite::Sqlite>(&mut report, &runtime);
    measure::<postgres::Postgres>(&mut report, &runtime);
    measure::<nats::Nats>(&mut report, &runtime);
    report.finish(&[]);
}

fn measure<E: Engine>(report: &mut Report, runtime: &Arc<Runtime>) {
    let names = E::NAMES;
    if report.options().wants(names.idle) {
        let time = Duration::from_millis(if report.options().is_test { 100 } else { 10_000 });
        let share = execution::idle(runtime, &start::<E>(runtime), time);
        let name = "an idle worker, in percent of a core";
        report.fact(Fact { name, about: names.idle, value: share * 100.0 });
    }
    for (title, producers) in [(names.one_producer, 1), (names.many_producers, 16)] {
        if report.options().wants(title) {
            let engine = start::<E>(runtime);
            let table = Table::new(title, || calls::bare(names.bare, runtime, &engine, producers))
                .with(calls::enqueue("enqueue", runtime, &engine, producers));
            report
                .table(table, &[ratio("enqueue, against the bare client", "enqueue", names.bare)]);
        }
    }
    if report.options().wants(names.end_to_end) {
        let engine = start::<E>(runtime);
        let whole = "a request, to its outcome";
        let table = Table::new(names.end_to_end, || calls::bare(names.bare, runtime, &engine, 1))
            .with(execution::request_to_outcome(whole, runtime, &engine));
        report.table(table, &[ratio("a request, against the bare client", whole, names.bare)]);
    }
    if let Some(title) = names.claims.filter(|title| report.options().wants(title)) {
        let (few, many) = (start::<E>(runtime), start::<E>(runtime));
        runtime.block_on(many.add_ended(report.options().keys));
        let (few_name, many_name) =
            ("claim and complete, few jobs", "claim and complete, many jobs");
        let table = Table::new(title, || calls::claim(few_name, runtime, &few))
            .with(calls::claim(many_name, runtime, &many));
        report.table(table, &[ratio("claims, many ended jobs against few", many_name, few_name)]);
    }
}

fn start<E: Engine>(runtime: &Runtime) -> Arc<E> {
    Arc::new(runtime.block_on(E::start()))
}

fn ratio(name: &'static str, cost: &'static str, of: &'static str) -> Ratio {
    Ratio::new(name, Cost::Whole(cost), Cost::Whole(of))
}
