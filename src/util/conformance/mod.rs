//! What the suites that check a trait have in common.

mod drive;
mod violation;

pub(crate) use self::drive::{
    Call, contained, dropped_after, interleaved, pause, together, within,
};
pub(crate) use self::violation::{NumberedRule, Violation, excerpts, fail, numbered_rules};
