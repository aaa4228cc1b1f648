use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::chart;
use super::goal::Judged;
use super::{Goal, Options, Quartiles, Table, machine};

/// By how much more often the cases are visited before a goal counts as missed.
const MORE_ROUNDS: usize = 3;

/// Tables that were measured, and what they say about the goals.
#[derive(Debug)]
pub struct Report {
    options: Options,
    tables: Vec<Table>,
    goals: Vec<Judged>,
}

/// A number that was counted and not timed, with its limit.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// What was counted.
    pub name: &'static str,
    /// Where.
    pub about: &'static str,
    /// How much it is.
    pub value: f64,
    /// How much it may be.
    pub limit: f64,
}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, tables: Vec::new(), goals: Vec::new() }
    }

    /// The command line.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Measures a table, and once more for longer if a goal seems to be missed.
    pub fn table(&mut self, mut table: Table, goals: &[Goal]) {
        table.measure(self.options.rounds);
        let judge = |table: &Table| goals.iter().map(|goal| goal.judge(table)).collect::<Vec<_>>();
        let mut judged = judge(&table);
        let is_missed = |goal: &Judged| goal.is_noisy || !goal.is_reached();
        if !self.options.is_test && judged.iter().any(is_missed) {
            table.measure(self.options.rounds * MORE_ROUNDS);
            judged = judge(&table);
        }
        table.print();
        if table.is_noisy() {
            println!("the first case differs from itself by {:.0} %", table.noise() * 100.0);
        }
        self.tables.push(table);
        self.goals.extend(judged);
    }

    /// Adds what was counted.
    pub fn fact(&mut self, fact: Fact) {
        self.goals.push(Judged {
            name: fact.name.to_owned(),
            table: fact.about.to_owned(),
            reached: Quartiles::exactly(fact.value),
            limit: fact.limit,
            is_gate: true,
            is_noisy: false,
        });
    }

    /// Prints the goals and writes the files that were asked for. The chart shows the cases of the first
    /// table that are named.
    #[must_use]
    pub fn finish(self, chart: &[&str]) -> ExitCode {
        println!();
        self.goals.iter().for_each(|goal| println!("{goal}"));
        if let Some(path) = &self.options.json {
            write(path, &format!("{:#}\n", self.json()));
        }
        if let (Some(path), Some(table)) = (&self.options.svg, self.tables.first()) {
            write(path, &chart::draw(table, chart));
        }
        let gates = || self.goals.iter().filter(|goal| goal.is_gate);
        if !self.options.is_check {
            ExitCode::SUCCESS
        } else if gates().any(|goal| !goal.is_noisy && !goal.is_reached()) {
            ExitCode::FAILURE
        } else if gates().any(|goal| goal.is_noisy) {
            println!("the machine is too busy: no verdict");
            ExitCode::from(2)
        } else {
            ExitCode::SUCCESS
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
            "goals": self.goals.iter().map(goal).collect::<Vec<_>>(),
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

fn goal(goal: &Judged) -> Value {
    json!({
        "name": goal.name,
        "table": goal.table,
        "reached": quartiles(goal.reached),
        "limit": goal.limit,
        "gate": goal.is_gate,
        "verdict": goal.verdict(),
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
