use std::fmt;

/// A rule of a trait, under the number and the name that its docs have.
pub(crate) trait NumberedRule: Copy {
    /// What implements the trait.
    const SUBJECT: &'static str;
    /// The path of the trait.
    const TRAIT: &'static str;

    fn number(self) -> usize;

    fn name(self) -> &'static str;
}

/// The rules of a trait in the order of its docs: an enum, the sentence with which the docs begin each of them, and a test
/// that they do.
macro_rules! numbered_rules {
    ($subject:literal, $path:literal, $docs:literal, { $($rule:ident: $name:literal),* $(,)? }) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Rule {
            $(#[doc = $name] $rule),*
        }

        impl crate::util::conformance::NumberedRule for Rule {
            const SUBJECT: &'static str = $subject;
            const TRAIT: &'static str = $path;

            fn number(self) -> usize {
                self as usize + 1
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name),*
                }
            }
        }

        #[cfg(test)]
        #[test]
        fn the_docs_of_the_trait_have_every_rule_under_its_number() {
            let docs = include_str!($docs);
            let names = [$($name),*];
            for (index, name) in names.iter().enumerate() {
                let line = format!("/// {}. **{name}.**", index + 1);
                assert!(docs.contains(&line), "{line}");
            }
            assert!(!docs.contains(&format!("/// {}. **", names.len() + 1)));
        }
    };
}

pub(crate) use numbered_rules;

/// A rule that was broken, and how it was seen. `Display` explains it.
#[derive(Clone, Debug)]
pub(crate) struct Violation<R> {
    pub(crate) rule: R,
    pub(crate) check: String,
    pub(crate) done: Vec<String>,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

impl<R: NumberedRule> fmt::Display for Violation<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, name) = (self.rule.number(), self.rule.name());
        writeln!(f, "The {} breaks rule {number} ({name}).", R::SUBJECT)?;
        writeln!(f, "  check:    {}", self.check)?;
        for (index, line) in self.done.iter().enumerate() {
            writeln!(f, "  {} {line}", if index == 0 { "done:    " } else { "         " })?;
        }
        writeln!(f, "  expected: {}", self.expected)?;
        writeln!(f, "  actual:   {}", self.actual)?;
        writeln!(f, "  see:      number {number} under \"Rules\" in the docs of `{}`", R::TRAIT)
    }
}

/// Two values under a name. Long ones are shown from a little before the place where they differ.
pub(crate) fn excerpts(name: &str, one: &str, other: &str) -> (String, String) {
    const AROUND: usize = 20;
    const MOST: usize = 100;
    let differ = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let start = if one.chars().count().max(other.chars().count()) > MOST {
        differ.saturating_sub(AROUND)
    } else {
        0
    };
    let excerpt = |text: &str| {
        let rest: String = text.chars().skip(start).take(MOST).collect();
        let before = if start > 0 { ".." } else { "" };
        let after = if text.chars().count() > start + MOST { ".." } else { "" };
        format!("{name} {before}{rest}{after}")
    };
    (excerpt(one), excerpt(other))
}

/// The one panic of a suite.
#[track_caller]
#[expect(clippy::panic, reason = "a failed check of a test suite is a panic")]
pub(crate) fn fail(text: &str) -> ! {
    panic!("{text}")
}
