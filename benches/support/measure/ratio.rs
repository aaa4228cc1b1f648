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

/// A ratio of two costs in one table.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    name: &'static str,
    cost: Cost,
    yardstick: Cost,
}

impl Ratio {
    /// `cost` divided by `yardstick`.
    #[must_use]
    pub const fn new(name: &'static str, cost: Cost, yardstick: Cost) -> Self {
        Self { name, cost, yardstick }
    }

    pub(super) fn of(&self, table: &Table) -> Measured {
        let (costs, yardsticks) = (self.cost.of(table), self.yardstick.of(table));
        let ratios = costs.iter().zip(&yardsticks).map(|(cost, yardstick)| cost / yardstick);
        Measured {
            name: self.name.to_owned(),
            table: table.title().to_owned(),
            value: Quartiles::of(ratios),
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

/// A ratio, or a number that was counted.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) value: Quartiles,
    pub(super) is_noisy: bool,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quartiles { lower, median, upper } = self.value;
        let noisy = if self.is_noisy { "  (noisy)" } else { "" };
        let (name, table) = (&self.name, &self.table);
        write!(f, "{name:<50} {table:<32} {median:>7.2}  [{lower:.2}, {upper:.2}]{noisy}")
    }
}
