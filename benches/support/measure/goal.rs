use std::fmt;

use super::{Quartiles, Table};

/// One side of a ratio.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// All that a case takes.
    Whole(&'static str),
    /// What a case takes longer than the first one of its table.
    Added(&'static str),
}

/// A ratio of two costs that is not to be exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    name: &'static str,
    cost: Cost,
    yardstick: Cost,
    limit: f64,
    is_gate: bool,
}

impl Goal {
    /// `cost` is at most `limit` times `yardstick`.
    #[must_use]
    pub const fn new(name: &'static str, cost: Cost, limit: f64, yardstick: Cost) -> Self {
        Self { name, cost, yardstick, limit, is_gate: true }
    }

    /// Reports the ratio, and fails no check: for what depends on more than this program.
    #[must_use]
    pub const fn report_only(mut self) -> Self {
        self.is_gate = false;
        self
    }

    pub(super) fn judge(&self, table: &Table) -> Judged {
        let (costs, yardsticks) = (self.cost.of(table), self.yardstick.of(table));
        let ratios = costs.iter().zip(&yardsticks).map(|(cost, yardstick)| cost / yardstick);
        Judged {
            name: self.name.to_owned(),
            table: table.title().to_owned(),
            reached: Quartiles::of(ratios),
            limit: self.limit,
            is_gate: self.is_gate,
            is_noisy: table.is_noisy(),
        }
    }
}

impl Cost {
    fn of(self, table: &Table) -> Vec<f64> {
        match self {
            Self::Whole(name) => table.visits(name).to_vec(),
            Self::Added(name) => table.added(name),
        }
    }
}

/// A goal and how far it was reached.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) reached: Quartiles,
    pub(super) limit: f64,
    pub(super) is_gate: bool,
    pub(super) is_noisy: bool,
}

impl Judged {
    pub(super) fn is_reached(&self) -> bool {
        self.reached.median <= self.limit
    }

    pub(super) fn verdict(&self) -> &'static str {
        match (self.is_reached(), self.is_noisy) {
            (_, true) => "too noisy to tell",
            (true, false) => "reached",
            (false, false) => "missed",
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quartiles { lower, median, upper } = self.reached;
        let kind = if self.is_gate { "" } else { " (no gate)" };
        write!(
            f,
            "{:<50} {:<32} {median:>7.2} of {:>6.2}  [{lower:.2}, {upper:.2}]  {}{kind}",
            self.name,
            self.table,
            self.limit,
            self.verdict()
        )
    }
}
