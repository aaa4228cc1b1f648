//! Two threads that verify keys of one store.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use support::keys::keys;
use support::measure::{Case, Cost, Ratio, Report, Table};
use tower_webhook::key::{KeyVerifier, Verification};

/// So many that to start the threads together is no part of what is measured.
const EACH: usize = 2048;

pub(crate) fn threads(report: &mut Report) {
    let title = "threads";
    if !report.options().wants(title) {
        return;
    }
    let (manager, texts) = keys(100);
    let (first, second) = texts.split_at(50);
    let hot = &texts[..1];
    let verifier = || manager.verifier();
    let table = Table::new(title, || case("one thread", verifier(), &[first]))
        .with(case("two threads, other keys each", verifier(), &[first, second]))
        .with(case("one thread, one key", verifier(), &[hot]))
        .with(case("two threads, one key", verifier(), &[hot, hot]));
    report.table(
        table,
        &[
            Ratio::new(
                "two threads, other keys each",
                Cost::Whole("two threads, other keys each"),
                Cost::Whole("one thread"),
            ),
            Ratio::new(
                "two threads, one key",
                Cost::Whole("two threads, one key"),
                Cost::Whole("one thread, one key"),
            ),
        ],
    );
}

/// A thread for each list of keys. The time is what a thread takes, on average.
fn case(name: &'static str, verifier: KeyVerifier, lists: &[&[String]]) -> Case {
    let lists: Vec<Vec<String>> = lists.iter().map(|list| list.to_vec()).collect();
    Case::timed(name, EACH, move || {
        let together = Barrier::new(lists.len());
        let run = |list: &[String]| {
            together.wait();
            let start = Instant::now();
            for index in 0..EACH {
                let text = &list[index % list.len()];
                let Verification::Ready(verdict) = verifier.begin(black_box(text.as_bytes()))
                else {
                    panic!("the store in memory answers at once");
                };
                black_box(verdict.is_ok());
            }
            start.elapsed()
        };
        let run = &run;
        thread::scope(|scope| {
            let threads: Vec<_> = lists.iter().map(|list| scope.spawn(move || run(list))).collect();
            let times = threads.into_iter().filter_map(|thread| thread.join().ok());
            times.sum::<Duration>() / lists.len() as u32
        })
    })
}
