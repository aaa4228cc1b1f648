//! Ratios of cases that are measured side by side.
//!
//! Every case of a [`Table`] is visited for some milliseconds in turn, in shuffled order, many times over, so
//! that a slow phase of the machine falls on all of them. What is compared are the visits of one round, and the
//! median of these comparisons counts. The first case of a table is measured twice: if it differs from itself,
//! the machine is too busy to judge by.

mod case;
mod chart;
mod machine;
mod options;
mod quartiles;
mod ratio;
mod report;
mod table;

pub use self::case::Case;
pub use self::machine::{processor_time, resident_bytes};
pub use self::options::Options;
pub use self::quartiles::Quartiles;
pub use self::ratio::{Cost, Ratio};
pub use self::report::{Fact, Report};
pub use self::table::Table;
