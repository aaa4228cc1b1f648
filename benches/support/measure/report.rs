use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::chart;
use super::ratio::Measured;
use super::{Options, Quartiles, Ratio, Table, machine};

/// By how much more often the cases of a noisy table are visited.
const MORE_ROUNDS: usize = 3;

/// Tables that were measured, and their ratios.
#[derive(Debug)]
pub struct Report {
    options: Options,
    tables: Vec<Table>,
    ratios: Vec<Measured>,
}

/// A number that was counted and not timed.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// What was counted.
    pub name: &'static str,
    /// Where.
    pub about: &'static str,
    /// How much it is.
    pub value: f64,
}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, tables: Vec::new(), ratios: Vec::new() }
    }

    /// The command line.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Measures a table, and once more for longer if it is noisy.
    pub fn table(&mut self, mut table: Table, ratios: &[Ratio]) {
        table.measure(self.options.rounds);
        if !self.options.is_test && table.is_noisy() {
            table.measure(self.options.rounds * MORE_ROUNDS);
        }
        table.print();
        if table.is_noisy() {
            println!("the first case differs from itself by {:.0} %", table.noise() * 100.0);
        }
        self.ratios.extend(ratios.iter().map(|ratio| ratio.of(&table)));
        self.tables.push(table);
    }

    /// Adds what was counted.
    pub fn fact(&mut self, fact: Fact) {
        self.ratios.push(Measured {
            name: fact.name.to_owned(),
            table: fact.about.to_owned(),
            value: Quartiles::exactly(fact.value),
            is_noisy: false,
        });
    }

    /// Prints the ratios and writes the files that were asked for. The chart shows the cases of the first
    /// table that are named.
    pub fn finish(self, chart: &[&str]) {
        println!();
        self.ratios.iter().for_each(|ratio| println!("{ratio}"));
        if let Some(path) = &self.options.json {
            write(path, &format!("{:#}\n", self.json()));
        }
        if let (Some(path), Some(table)) = (&self.options.svg, self.tables.first()) {
            write(path, &chart::draw(table, chart));
        }
    }

    fn json(&self) -> Value {
        let machine = machine::describe().into_iter();
        let machine: serde_json::Map<_, _> =
            machine.map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({
            "machine": machine,
            "rounds": self.options.rounds,
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "ratios": self.ratios.iter().map(ratio).collect::<Vec<_>>(),
        })
    }
}

fn table(table: &Table) -> Value {
    let case = |case: &super::Case| {
        let pairs = case.visits().iter().zip(table.cases()[0].visits());
        let times = Quartiles::of(pairs.map(|(own, floor)| own / floor));
        json!({
            "name": case.name(),
            "ns": quartiles(Quartiles::of(case.visits().iter().copied())),
            "over": quartiles(Quartiles::of(table.added(case.name()))),
            "times": quartiles(times),
        })
    };
    json!({
        "title": table.title(),
        "noise": table.noise(),
        "cases": table.cases().iter().map(case).collect::<Vec<_>>(),
    })
}

fn ratio(ratio: &Measured) -> Value {
    json!({
        "name": ratio.name,
        "table": ratio.table,
        "value": quartiles(ratio.value),
        "noisy": ratio.is_noisy,
    })
}

fn quartiles(quartiles: Quartiles) -> Value {
    // Three digits after the point are more than is known.
    let short = |value: f64| (value * 1000.0).round() / 1000.0;
    json!({
        "lower": short(quartiles.lower),
        "median": short(quartiles.median),
        "upper": short(quartiles.upper),
    })
}

fn write(path: &Path, text: &str) {
    match fs::write(path, text) {
        Ok(()) => println!("wrote {}", path.display()),
        Err(error) => panic!("cannot write {}: {error}", path.display()),
    }
}
