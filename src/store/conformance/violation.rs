use std::fmt;

use super::Rule;

/// A rule that a store broke, and how it was seen. `Display` explains it.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) check: String,
    pub(super) done: Vec<String>,
    pub(super) expected: String,
    pub(super) actual: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The key store breaks {}.", self.rule)?;
        writeln!(f, "  check:    {}", self.check)?;
        for (index, line) in self.done.iter().enumerate() {
            writeln!(f, "  {} {line}", if index == 0 { "done:    " } else { "         " })?;
        }
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  actual:   {}", self.actual)?;
        writeln!(
            f,
            "  see:      number {} under \"Rules\" in the docs of `tower_webhook::key::KeyStore`",
            self.rule.number()
        )
    }
}

/// The one panic of the suite.
#[track_caller]
#[expect(clippy::panic, reason = "a failed check of a test suite is a panic")]
pub(super) fn fail(text: &str) -> ! {
    panic!("{text}")
}
