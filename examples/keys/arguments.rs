//! The arguments: which there are, and what they say.

use std::ffi::OsString;

use lexopt::{Arg, Parser};
use time::Duration;
use tower_webhook::key::{KeyId, NewKey, Owner, Scopes};
use tower_webhook::rate_limit::Quota;

use crate::commands::{Command, One};
use crate::failure::Failure;

pub(crate) const HELP: &str = "\
Manages keys in a store.

  tower-webhook-keys --store STORE [--json] COMMAND

  init                               sets up a new store: a file, or the tables in a database
  generate --owner OWNER --name NAME [--scope SCOPE[,SCOPE]..].. [--all-scopes] [--expires-in 60d]
           [--rate-limit 60/m] [--create]
                                     with --create, does what init does before; calls per s, m or h
  list     --owner OWNER | --all [--unused-for 90d]
                                     with --unused-for, keys that are not revoked and have had no use since
  find     [ID]                      the key of an id or of a leaked text; the text is read from standard input
  show     [--owner OWNER] ID
  extend   [--owner OWNER] --by 30d ID
  rotate   [--owner OWNER] [--overlap 1h] ID
  disable  [--owner OWNER] ID
  enable   [--owner OWNER] ID
  revoke   [--owner OWNER] ID
  delete   --owner OWNER ID..        all of them or none
  verify                             reads the text of a key from standard input

STORE is sqlite:FILE, file:FILE (JSON), postgres://.., redis://.. or memory. Without --store it is taken from the
environment variable KEYS_STORE, which is a better place for a password. An interval is an integer and s, m, h, d or w.
With --owner, the key of another owner is not found.

Ends with 0, or with 1 (the key is refused, not found or revoked), 2 (wrong arguments, or no such file) or 3
(the store does not answer).";

/// Every command, the options that it takes beside `--store` and `--json`, and the least and most ids.
const COMMANDS: [(&str, &[&str], usize, usize); 12] = [
    (
        "generate",
        &["owner", "name", "scope", "all-scopes", "expires-in", "rate-limit", "create"],
        0,
        0,
    ),
    ("list", &["owner", "all", "unused-for"], 0, 0),
    ("find", &[], 0, 1),
    ("show", &["owner"], 1, 1),
    ("extend", &["owner", "by"], 1, 1),
    ("rotate", &["owner", "overlap"], 1, 1),
    ("disable", &["owner"], 1, 1),
    ("enable", &["owner"], 1, 1),
    ("revoke", &["owner"], 1, 1),
    ("delete", &["owner"], 1, usize::MAX),
    ("verify", &[], 0, 0),
    ("init", &[], 0, 0),
];

/// The options that every command takes.
const COMMON: [&str; 2] = ["store", "json"];

/// The arguments. Each may occur once, except for `scopes` and `ids`.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    pub(crate) json: bool,
    pub(crate) store: Option<String>,
    command: Option<String>,
    owner: Option<String>,
    name: Option<String>,
    scopes: Vec<String>,
    all_scopes: bool,
    all: bool,
    create: bool,
    unused_for: Option<String>,
    expires_in: Option<String>,
    rate_limit: Option<String>,
    by: Option<String>,
    overlap: Option<String>,
    ids: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut given = Vec::new();
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(value) => {
                    let value = utf8(value)?;
                    match parsed.command {
                        None => parsed.command = Some(value),
                        Some(_) => parsed.ids.push(value),
                    }
                }
                Arg::Short('h') => parsed.help = true,
                Arg::Short(_) => return Err(Failure::usage("options have two dashes")),
                Arg::Long(name) => {
                    let name = name.to_owned();
                    parsed.take_option(&name, || utf8(parser.value()?))?;
                    given.push(name);
                }
            }
        }
        if !parsed.help {
            parsed.check(&given)?;
        }
        Ok(parsed)
    }

    /// Keeps what an option says. `value` reads what comes after it.
    fn take_option(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        let once = |place: &mut Option<String>, value| match place.replace(value) {
            Some(_) => Err(Failure::usage(format!("--{name} is there more than once"))),
            None => Ok(()),
        };
        match name {
            "help" => self.help = true,
            "json" => self.json = true,
            "all-scopes" => self.all_scopes = true,
            "all" => self.all = true,
            "create" => self.create = true,
            "scope" => self.scopes.extend(value()?.split(',').map(str::to_owned)),
            "store" => once(&mut self.store, value()?)?,
            "owner" => once(&mut self.owner, value()?)?,
            "name" => once(&mut self.name, value()?)?,
            "expires-in" => once(&mut self.expires_in, value()?)?,
            "rate-limit" => once(&mut self.rate_limit, value()?)?,
            "unused-for" => once(&mut self.unused_for, value()?)?,
            "by" => once(&mut self.by, value()?)?,
            "overlap" => once(&mut self.overlap, value()?)?,
            _ => return Err(Failure::usage("there is an option that is not known")),
        }
        Ok(())
    }

    /// Whether the command takes what was given.
    fn check(&self, given: &[String]) -> Result<(), Failure> {
        let Some(command) = &self.command else {
            return Err(Failure::usage("a command is missing"));
        };
        let Some((_, options, least, most)) = COMMANDS.iter().find(|(name, ..)| name == command)
        else {
            return Err(no_such_command());
        };
        let taken = |option: &str| options.contains(&option) || COMMON.contains(&option);
        if let Some(option) = given.iter().find(|option| !taken(option)) {
            return Err(Failure::usage(format!("{command} does not take --{option}")));
        }
        if self.ids.len() < *least {
            return Err(Failure::usage(format!("{command} needs the id of a key")));
        }
        if self.ids.len() > *most {
            let reads = if command == "verify" { ": it reads from standard input" } else { "" };
            return Err(Failure::usage(format!("{command} has an argument too many{reads}")));
        }
        if self.all_scopes && !self.scopes.is_empty() {
            return Err(Failure::usage("--scope and --all-scopes exclude each other"));
        }
        if self.all && self.owner.is_some() {
            return Err(Failure::usage("--owner and --all exclude each other"));
        }
        Ok(())
    }

    fn owner(&self) -> Result<Owner, Failure> {
        let owner = self.optional_owner()?;
        owner.ok_or_else(|| Failure::usage("--owner is missing"))
    }

    fn optional_owner(&self) -> Result<Option<Owner>, Failure> {
        let owner = self.owner.as_deref().map(Owner::new).transpose();
        owner.map_err(|error| Failure::usage(format!("--owner: {error}")))
    }

    fn ids(&self) -> Result<Vec<KeyId>, Failure> {
        // What can be no id is not the id of a key.
        let ids = self.ids.iter().map(KeyId::new).collect::<Result<_, _>>();
        ids.map_err(|_| Failure::refused("the key is not found"))
    }

    fn one(&self) -> Result<One, Failure> {
        let id = self.ids()?.into_iter().next();
        let id = id.ok_or_else(|| Failure::usage("the id of a key is missing"))?;
        Ok(One { owner: self.optional_owner()?, id })
    }

    /// Whether the command sets the store up. Any other one refuses a file that does not exist.
    pub(crate) fn creates_store(&self) -> bool {
        self.create || self.command.as_deref() == Some("init")
    }

    /// What is to be done.
    pub(crate) fn command(&self) -> Result<Command, Failure> {
        Ok(match self.command.as_deref().unwrap_or_default() {
            "generate" => Command::Generate(self.owner()?, self.new_key()?),
            "list" => Command::List {
                owner: if self.all { None } else { Some(self.owner()?) },
                unused_for: optional_interval("unused-for", self.unused_for.as_deref())?,
            },
            "find" => Command::Find(self.ids.first().cloned()),
            "show" => Command::Show(self.one()?),
            "extend" => {
                let by = interval("by", required("by", self.by.as_deref())?)?;
                Command::Extend(self.one()?, by)
            }
            "rotate" => {
                let overlap = optional_interval("overlap", self.overlap.as_deref())?;
                Command::Rotate(self.one()?, overlap.unwrap_or_default())
            }
            "disable" => Command::Disable(self.one()?),
            "enable" => Command::Enable(self.one()?),
            "revoke" => Command::Revoke(self.one()?),
            "delete" => Command::Delete(self.owner()?, self.ids()?),
            "verify" => Command::Verify,
            "init" => Command::Init,
            _ => return Err(no_such_command()),
        })
    }

    fn new_key(&self) -> Result<NewKey, Failure> {
        let mut new = NewKey::new(required("name", self.name.as_deref())?);
        if self.all_scopes {
            new = new.with_all_scopes();
        } else {
            let scopes = Scopes::parse(&self.scopes);
            new = new.with_scopes(scopes.map_err(|e| Failure::usage(format!("--scope: {e}")))?);
        }
        if let Some(expires_in) = optional_interval("expires-in", self.expires_in.as_deref())? {
            new = new.with_expires_in(expires_in);
        }
        if let Some(text) = &self.rate_limit {
            new = new.with_rate_limit(quota(text)?);
        }
        Ok(new)
    }
}

/// `5/s`, `60/m` or `1000/h`.
fn quota(text: &str) -> Result<Quota, Failure> {
    let error = || Failure::usage("--rate-limit is a number of calls per s, m or h, such as 60/m");
    let (calls, unit) = text.split_once('/').ok_or_else(error)?;
    let calls = calls.parse().map_err(|_| error())?;
    let quota = match unit {
        "s" => Quota::per_second(calls),
        "m" => Quota::per_minute(calls),
        "h" => Quota::per_hour(calls),
        _ => return Err(error()),
    };
    quota.map_err(|_| error())
}

fn no_such_command() -> Failure {
    Failure::usage("there is no such command")
}

pub(crate) fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Failure> {
    value.ok_or_else(|| Failure::usage(format!("--{name} is missing")))
}

fn utf8(argument: OsString) -> Result<String, Failure> {
    argument.into_string().map_err(|_| Failure::usage("an argument is not UTF-8"))
}

fn optional_interval(name: &str, text: Option<&str>) -> Result<Option<Duration>, Failure> {
    text.map(|text| interval(name, text)).transpose()
}

/// `90s`, `5m`, `1h`, `60d` or `2w`.
fn interval(name: &str, text: &str) -> Result<Duration, Failure> {
    let parse = || {
        let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            "w" => 7 * 24 * 60 * 60,
            _ => return None,
        };
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let count: i64 = count.parse().ok().filter(|_| digits)?;
        count.checked_mul(seconds).map(Duration::seconds)
    };
    parse().ok_or_else(|| {
        Failure::usage(format!("--{name} is an integer and s, m, h, d or w, such as 60d"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{memory, run_with};

    #[tokio::test]
    async fn wrong_arguments_change_nothing_and_are_not_repeated() {
        let keys = memory();
        for line in [
            "",
            "CANARY",
            "list",
            "list --owner",
            "list --owner alice CANARY",
            "list --owner alice --owner CANARY",
            "list --owner alice --name CANARY",
            "list --owner alice --CANARY",
            "list --owner alice --json=CANARY",
            "list -o alice",
            "list --owner CANARY --all",
            "list --all --unused-for CANARY",
            "find CANARY CANARY",
            "find --owner CANARY",
            "show",
            "show --owner alice",
            "delete CANARY",
            "extend --owner alice CANARY",
            "generate --owner alice",
            "generate --owner alice --name a --scope CANARY\u{e9}",
            "generate --owner alice --name a --scope a --all-scopes",
            "generate --owner alice --name a --scope a,,b",
            "list --owner alice --create",
            "generate --owner alice --name a --expires-in CANARY",
            "generate --owner alice --name a --expires-in 0d",
            "generate --owner alice --name a --expires-in 1.5h",
            "generate --owner alice --name a --expires-in -1h",
            "generate --owner alice --name a --expires-in 9223372036854775807w",
            "generate --owner alice --name a --expires-in 9000000000000h",
            "generate --owner alice --name a\u{7}",
            "rotate --owner alice --overlap 1y CANARY",
            "verify CANARY",
        ] {
            let ended = run_with(&keys, line, "").await;
            assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{line}");
            assert!(ended.remarks.ends_with("; see --help\n"), "{line}");
            assert!(!ended.remarks.contains("CANARY"), "{}", ended.remarks);
        }
        let listed = run_with(&keys, "list --json --owner alice", "").await;
        assert_eq!(listed.output, "[]\n");
    }

    #[tokio::test]
    async fn the_help_is_printed_and_names_every_command() {
        let keys = memory();
        for line in ["--help", "-h", "list --help"] {
            let help = run_with(&keys, line, "").await;
            assert_eq!((help.code, help.output), (0, format!("{HELP}\n")));
        }
        for (name, ..) in COMMANDS {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
