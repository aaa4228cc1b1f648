use std::path::PathBuf;

use lexopt::prelude::*;

/// The command line of a bench that measures ratios.
#[derive(Debug)]
pub struct Options {
    /// Run every case once, to see that it works.
    pub is_test: bool,
    /// How often every case is visited.
    pub rounds: usize,
    /// How many keys a large store has.
    pub keys: usize,
    /// Where the results go.
    pub json: Option<PathBuf>,
    /// Where the chart goes.
    pub svg: Option<PathBuf>,
    /// Measure only tables whose title has this text in it.
    pub filter: Option<String>,
}

impl Options {
    /// Reads the command line, and ends the program with a message if it cannot be read.
    ///
    /// Without `--keys`, a large store has `keys` keys.
    #[must_use]
    pub fn from_args(keys: usize) -> Self {
        Self::parse(keys).unwrap_or_else(|error| {
            println!(
                "{error}\n\n[--rounds N] [--keys N] [--json FILE] [--svg FILE] [PART OF A TITLE]"
            );
            std::process::exit(2);
        })
    }

    fn parse(keys: usize) -> Result<Self, lexopt::Error> {
        let mut options =
            Self { is_test: true, rounds: 60, keys, json: None, svg: None, filter: None };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                // `cargo bench` adds this, and `cargo test --benches` does not.
                Long("bench") => options.is_test = false,
                Long("rounds") => options.rounds = arguments.value()?.parse()?,
                Long("keys") => options.keys = arguments.value()?.parse()?,
                Long("json") => options.json = Some(arguments.value()?.into()),
                Long("svg") => options.svg = Some(arguments.value()?.into()),
                Value(text) => options.filter = Some(text.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        if options.is_test {
            options.rounds = 1;
            options.keys = options.keys.min(1000);
        }
        Ok(options)
    }

    /// Whether a table with this title is asked for.
    #[must_use]
    pub fn wants(&self, title: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| title.contains(filter.as_str()))
    }
}
