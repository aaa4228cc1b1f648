use std::fmt;

use super::Rule;

/// What a run of the suite found.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Report {
    checks: usize,
    violations: Vec<Violation>,
}

impl Report {
    /// How many checks ran.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.checks
    }

    /// Every check that failed, in the order in which they ran.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Whether the store keeps every rule that was checked.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.violations.is_empty()
    }

    /// Passes if the store keeps every rule that was checked.
    ///
    /// # Panics
    ///
    /// With the text of every violation, if there are any.
    #[track_caller]
    pub fn assert_kept(&self) {
        if !self.is_kept() {
            fail(&format!("\n{self}"));
        }
    }

    pub(super) fn add(&mut self, violation: Option<Violation>) {
        self.checks += 1;
        self.violations.extend(violation);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        write!(f, "{} checks, {} failed", self.checks, self.violations.len())
    }
}

/// A rule that a store broke, and how it was seen. `Display` explains it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub(super) rule: Rule,
    pub(super) check: String,
    pub(super) done: Vec<String>,
    pub(super) expected: String,
    pub(super) came: String,
}

impl Violation {
    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The check that saw it: the name of its group and a sentence.
    #[must_use]
    pub fn check(&self) -> &str {
        &self.check
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The key store breaks {}.", self.rule)?;
        writeln!(f, "  check:    {}", self.check)?;
        for (index, line) in self.done.iter().enumerate() {
            writeln!(f, "  {} {line}", if index == 0 { "done:    " } else { "         " })?;
        }
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  came:     {}", self.came)?;
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
