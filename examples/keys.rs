//! Manages keys in a store, on the command line.
//!
//! ```text
//! cargo build --example keys --features sqlite,postgres,redis
//! alias keys='target/debug/examples/keys --store sqlite:keys.db'
//!
//! keys generate --owner alice --name laptop --scope deploy --expires-in 60d
//! keys list --owner alice
//! ```
//!
//! The first call prints the text of the key, alone and only this once, on standard output, and what it is on
//! standard error. The second one prints
//!
//! ```text
//! ID                NAME    SCOPES  STATE   EXPIRES               LAST USED
//! 2tYcgbPGLcpYIiz5  laptop  deploy  active  2027-01-23T12:00:00Z  2026-11-24T11:58:00Z
//! ```
//!
//! When a key was last used is known if the app writes it into the same store, with a `UsageTracker`.
//!
//! A key is checked from standard input, because what is an argument can be seen by every process:
//!
//! ```text
//! KEY=$(keys generate --owner alice --name ci)
//! printf %s "$KEY" | keys verify
//! ```
//!
//! prints whose key it is, and exits with 1 if it is not good. `keys --help` prints all commands, which end
//! with 0 if all is well, 1 if the key is refused, not found or was revoked, 2 if the arguments are wrong, and
//! 3 if the store does not answer. With `--json` answers are JSON.
//!
//! Without features, the only store is `memory`, which forgets everything at the end. An app with a key format
//! or a pepper of its own sets them in `main`, where the `KeyManager` is made.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use lexopt::{Arg, Parser};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tower_webhook::key::{
    IssuedKey, KeyId, KeyManager, KeyRecord, KeyStore, ManageError, ManageErrorKind,
    MemoryKeyStore, NewKey, Owner, Scopes, UsageSource, VerifyErrorKind,
};
use tower_webhook::manage::KeyView;

const HELP: &str = "\
Manages keys in a store.

  keys --store STORE [--json] COMMAND

  generate --owner OWNER --name NAME [--scope SCOPE].. [--all-scopes] [--expires-in 60d]
  list     --owner OWNER
  show     --owner OWNER ID
  extend   --owner OWNER --by 30d ID
  rotate   --owner OWNER [--overlap 1h] ID
  disable  --owner OWNER ID
  enable   --owner OWNER ID
  revoke   --owner OWNER ID
  delete   --owner OWNER ID..        all of them or none
  verify                             reads the text of a key from standard input
  init                               sets up a new store, where that is a step of its own

STORE is sqlite:FILE, postgres://.., redis://.. or memory; without --store, what the environment variable
KEYS_STORE says, where a password is better kept. An interval is an integer and s, m, h, d or w.

Ends with 0, or with 1 (the key is refused, not found or revoked), 2 (wrong arguments) or 3 (the store does
not answer).";

/// Every command, the options that it takes beside `--store` and `--json`, and the least and most ids.
const COMMANDS: [(&str, &[&str], usize, usize); 11] = [
    ("generate", &["owner", "name", "scope", "all-scopes", "expires-in"], 0, 0),
    ("list", &["owner"], 0, 0),
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

/// What went wrong, in words for people, and the code that programs see. No text has a secret or the
/// address of a store in it.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn refused(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: format!("{}; see --help", text.into()) }
    }

    /// An error and everything behind it.
    fn fault(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            source = error.source();
        }
        Self { code: 3, text }
    }
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        match error.kind() {
            ManageErrorKind::Invalid => Self::usage(error.to_string()),
            ManageErrorKind::Random | ManageErrorKind::Unavailable => Self::fault(&error),
            _ => Self::refused(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::fault(&error)
    }
}

/// The arguments. Each may occur once, except for `scopes` and `ids`.
#[derive(Debug, Default)]
struct Arguments {
    help: bool,
    json: bool,
    store: Option<String>,
    command: Option<String>,
    owner: Option<String>,
    name: Option<String>,
    scopes: Vec<String>,
    all_scopes: bool,
    expires_in: Option<String>,
    by: Option<String>,
    overlap: Option<String>,
    ids: Vec<String>,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut given = Vec::new();
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|error| of_parser(&error))? {
            let name = match argument {
                Arg::Short('h') => "help".to_owned(),
                Arg::Long(name) => name.to_owned(),
                Arg::Short(_) => return Err(Failure::usage("options have two dashes")),
                Arg::Value(value) => {
                    let value = value.into_string();
                    let value = value.map_err(|_| Failure::usage("an argument is not UTF-8"))?;
                    match &parsed.command {
                        None => parsed.command = Some(value),
                        Some(_) => parsed.ids.push(value),
                    }
                    continue;
                }
            };
            let mut value = || {
                let value = parser.value().map_err(|error| of_parser(&error))?.into_string();
                value.map_err(|_| Failure::usage("an argument is not UTF-8"))
            };
            let single = match &*name {
                "help" => {
                    parsed.help = true;
                    continue;
                }
                "json" => {
                    parsed.json = true;
                    continue;
                }
                "scope" => {
                    parsed.scopes.push(value()?);
                    given.push(name);
                    continue;
                }
                "all-scopes" => {
                    parsed.all_scopes = true;
                    given.push(name);
                    continue;
                }
                "store" => &mut parsed.store,
                "owner" => &mut parsed.owner,
                "name" => &mut parsed.name,
                "expires-in" => &mut parsed.expires_in,
                "by" => &mut parsed.by,
                "overlap" => &mut parsed.overlap,
                _ => return Err(Failure::usage("there is an option that is not known")),
            };
            if single.replace(value()?).is_some() {
                return Err(Failure::usage(format!("--{name} is there more than once")));
            }
            if name != "store" {
                given.push(name);
            }
        }
        if !parsed.help {
            parsed.check(&given)?;
        }
        Ok(parsed)
    }

    /// Whether the command takes what was given.
    fn check(&self, given: &[String]) -> Result<(), Failure> {
        let Some(command) = &self.command else {
            return Err(Failure::usage("a command is missing"));
        };
        let Some((_, options, least, most)) = COMMANDS.iter().find(|(name, ..)| name == command)
        else {
            return Err(Failure::usage("there is no such command"));
        };
        if let Some(option) = given.iter().find(|option| !options.contains(&option.as_str())) {
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
        Ok(())
    }

    fn owner(&self) -> Result<Owner, Failure> {
        let text = required("owner", self.owner.as_deref())?;
        Owner::new(text).map_err(|error| Failure::usage(format!("--owner: {error}")))
    }

    fn ids(&self) -> Result<Vec<KeyId>, Failure> {
        // What can be no id is not the id of a key.
        let ids = self.ids.iter().map(KeyId::new).collect::<Result<_, _>>();
        ids.map_err(|_| Failure::refused("the key is not found"))
    }

    fn id(&self) -> Result<KeyId, Failure> {
        self.ids()?.into_iter().next().ok_or_else(|| Failure::usage("the id of a key is missing"))
    }

    fn command(&self) -> Result<Command, Failure> {
        Ok(match self.command.as_deref().unwrap_or_default() {
            "generate" => Command::Generate(self.owner()?, self.new_key()?),
            "list" => Command::List(self.owner()?),
            "show" => Command::Show(self.owner()?, self.id()?),
            "extend" => {
                let by = interval("by", required("by", self.by.as_deref())?)?;
                Command::Extend(self.owner()?, self.id()?, by)
            }
            "rotate" => {
                let overlap = interval("overlap", self.overlap.as_deref().unwrap_or("0s"))?;
                Command::Rotate(self.owner()?, self.id()?, overlap)
            }
            "disable" => Command::Disable(self.owner()?, self.id()?),
            "enable" => Command::Enable(self.owner()?, self.id()?),
            "revoke" => Command::Revoke(self.owner()?, self.id()?),
            "delete" => Command::Delete(self.owner()?, self.ids()?),
            "verify" => Command::Verify,
            _ => Command::Init,
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
        if let Some(text) = &self.expires_in {
            new = new.with_expires_in(interval("expires-in", text)?);
        }
        Ok(new)
    }
}

/// The texts of the parser repeat arguments, one of which may be a key in the wrong place.
fn of_parser(error: &lexopt::Error) -> Failure {
    Failure::usage(match error {
        lexopt::Error::MissingValue { .. } => "an option has no value",
        lexopt::Error::UnexpectedValue { .. } => "an option has a value and takes none",
        _ => "the arguments cannot be read",
    })
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Failure> {
    value.ok_or_else(|| Failure::usage(format!("--{name} is missing")))
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

/// A store, and when its keys were last used, if it knows.
type Opened = (Box<dyn KeyStore>, Option<Box<dyn UsageSource>>);

/// Opens the store that a text names, after having set it up if `init`.
async fn open(text: &str, init: bool) -> Result<Opened, Failure> {
    let scheme = text.split(':').next().unwrap_or_default();
    match scheme {
        "memory" if text == "memory" => Ok((Box::new(MemoryKeyStore::new()), None)),
        "sqlite" if text.len() > "sqlite:".len() => sqlite(text).await,
        "postgres" | "postgresql" => postgres(text, init).await,
        "redis" | "rediss" => redis(text, init).await,
        _ => Err(Failure::usage("the store is sqlite:FILE, postgres://.., redis://.. or memory")),
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(text: &str) -> Result<Opened, Failure> {
    let file = text.strip_prefix("sqlite:").unwrap_or_default();
    let store = tower_webhook::key::SqliteKeyStore::open(file).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    Ok((Box::new(store.clone()), Some(Box::new(store))))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_text: &str) -> Result<Opened, Failure> {
    Err(without("SQLite", "sqlite"))
}

#[cfg(feature = "postgres")]
async fn postgres(text: &str, init: bool) -> Result<Opened, Failure> {
    let store = tower_webhook::key::PostgresKeyStore::connect(text).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    if init {
        store.migrate().await.map_err(|error| Failure::fault(&error))?;
    }
    Ok((Box::new(store.clone()), Some(Box::new(store))))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_text: &str, _init: bool) -> Result<Opened, Failure> {
    Err(without("PostgreSQL", "postgres"))
}

#[cfg(feature = "redis")]
async fn redis(text: &str, init: bool) -> Result<Opened, Failure> {
    let store = tower_webhook::key::RedisKeyStore::connect(text).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    if init {
        store.initialize().await.map_err(|error| Failure::fault(&error))?;
    }
    Ok((Box::new(store.clone()), Some(Box::new(store))))
}

#[cfg(not(feature = "redis"))]
async fn redis(_text: &str, _init: bool) -> Result<Opened, Failure> {
    Err(without("Redis", "redis"))
}

/// A store that was left out of this build.
#[allow(dead_code, reason = "with every feature nothing is left out")]
fn without(name: &str, feature: &str) -> Failure {
    Failure::usage(format!("this build has no {name}: build it with `--features {feature}`"))
}

/// Where input comes from, and where answers and remarks go.
struct Streams<'a> {
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
    remarks: &'a mut dyn Write,
}

/// What is to be done.
enum Command {
    Generate(Owner, NewKey),
    List(Owner),
    Show(Owner, KeyId),
    Extend(Owner, KeyId, Duration),
    Rotate(Owner, KeyId, Duration),
    Disable(Owner, KeyId),
    Enable(Owner, KeyId),
    Revoke(Owner, KeyId),
    Delete(Owner, Vec<KeyId>),
    Verify,
    Init,
}

impl Command {
    async fn execute(
        self,
        keys: &KeyManager,
        usage: Option<&dyn UsageSource>,
        json: bool,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let now = || keys.clock().now();
        let shown = match self {
            Self::Generate(owner, new) => {
                return show_once(&keys.generate(&owner, new).await?, json, now(), streams);
            }
            Self::Rotate(owner, id, overlap) => {
                return show_once(&keys.rotate(&owner, &id, overlap).await?, json, now(), streams);
            }
            Self::List(owner) => return list(keys, usage, &owner, json, streams).await,
            Self::Delete(owner, ids) => return Ok(keys.delete(&owner, &ids).await?),
            Self::Verify => return verify(keys, json, streams).await,
            // The store was set up when it was opened.
            Self::Init => return Ok(()),
            Self::Show(owner, id) => keys.get(&owner, &id).await,
            Self::Extend(owner, id, by) => keys.extend(&owner, &id, by).await,
            Self::Disable(owner, id) => keys.disable(&owner, &id).await,
            Self::Enable(owner, id) => keys.enable(&owner, &id).await,
            Self::Revoke(owner, id) => keys.revoke(&owner, &id).await,
        };
        let record = shown?;
        let view = KeyView::new(&record, now());
        if json {
            writeln!(streams.output, "{}", view.to_json())?;
        } else {
            write!(streams.output, "{}", details(&view))?;
        }
        Ok(())
    }
}

/// The one place that writes a secret.
fn show_once(
    issued: &IssuedKey,
    json: bool,
    now: OffsetDateTime,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let view = KeyView::new(issued.record(), now);
    let secret = issued.secret().expose_secret();
    let written = if json {
        let secret = json!(secret);
        writeln!(streams.output, r#"{{"key":{},"secret":{secret}}}"#, view.to_json())
    } else {
        writeln!(streams.output, "{secret}")
    };
    let written = written.and_then(|()| streams.output.flush());
    if let Err(error) = written {
        let id = issued.record().id();
        let text = format!("the key {id} is made and its text could not be written: {error}");
        return Err(Failure { code: 3, text });
    }
    if !json {
        write!(streams.remarks, "{}", details(&view))?;
        writeln!(streams.remarks, "Keep the text of the key: it is not shown again.")?;
    }
    Ok(())
}

async fn list(
    keys: &KeyManager,
    usage: Option<&dyn UsageSource>,
    owner: &Owner,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let mut records: Vec<KeyRecord> = Vec::new();
    let mut after = None;
    loop {
        let page = keys.list(owner, after, KeyManager::MAX_PAGE_LEN).await?;
        after = page.next().cloned();
        records.extend(page.into_keys());
        if after.is_none() {
            break;
        }
    }
    let used = match usage {
        Some(usage) => {
            let ids: Vec<KeyId> = records.iter().map(|record| record.id().clone()).collect();
            usage.last_used(&ids).await.map_err(|error| Failure::fault(&error))?
        }
        None => vec![None; records.len()],
    };
    let now = keys.clock().now();
    let views = records.iter().map(|record| KeyView::new(record, now)).zip(used);
    if json {
        let views: Vec<_> = views.map(|(view, used)| with_last_used(&view, used)).collect();
        writeln!(streams.output, "[{}]", views.join(","))?;
        return Ok(());
    }
    let head = ["ID", "NAME", "SCOPES", "STATE", "EXPIRES", "LAST USED"].map(str::to_owned);
    let rows = views.map(|(view, used)| {
        let record = view.record();
        [
            record.id().to_string(),
            record.name().to_owned(),
            scopes(record),
            view.state().as_str().to_owned(),
            moment(record.expires_at(), "never"),
            moment(used, "-"),
        ]
    });
    write!(streams.output, "{}", table(&[head].into_iter().chain(rows).collect::<Vec<_>>()))?;
    Ok(())
}

/// The view as an object with one member more. Metadata in it stays as it is, digit by digit.
fn with_last_used(view: &KeyView<'_>, used: Option<OffsetDateTime>) -> String {
    let object = view.to_json();
    let used = json!(used.map(|used| moment(Some(used), "")));
    format!(r#"{},"last_used":{used}}}"#, object.strip_suffix('}').unwrap_or_default())
}

async fn verify(keys: &KeyManager, json: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    // More than any key has.
    let mut text = Vec::with_capacity(1024);
    streams.input.take(1024).read_to_end(&mut text)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let verified = keys.verifier().verify(text).await.map_err(|error| match error.kind() {
        VerifyErrorKind::StoreUnavailable => Failure::fault(&error),
        _ => Failure::refused(error.to_string()),
    })?;
    if json {
        let answer = json!({
            "id": verified.id(),
            "name": verified.name(),
            "owner": verified.owner(),
            "scopes": verified.scopes(),
        });
        writeln!(streams.output, "{answer}")?;
        return Ok(());
    }
    let record = keys.get(verified.owner(), verified.id()).await?;
    write!(streams.output, "{}", details(&KeyView::new(&record, keys.clock().now())))?;
    Ok(())
}

fn details(view: &KeyView<'_>) -> String {
    let record = view.record();
    let row = |name: &str, value: String| [name.to_owned(), value];
    table(&[
        row("id", record.id().to_string()),
        row("name", record.name().to_owned()),
        row("owner", record.owner().to_string()),
        row("scopes", scopes(record)),
        row("state", view.state().as_str().to_owned()),
        row("created", moment(Some(record.created_at()), "")),
        row("works from", moment(record.not_before(), "at once")),
        row("expires", moment(record.expires_at(), "never")),
        row("revoked", moment(record.revoked_at(), "no")),
    ])
}

fn scopes(record: &KeyRecord) -> String {
    match record.scopes() {
        scopes if scopes.is_all() => "all scopes".to_owned(),
        scopes if scopes.is_none() => "none".to_owned(),
        scopes => scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn moment(time: Option<OffsetDateTime>, none: &str) -> String {
    time.and_then(|time| time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok())
        .unwrap_or_else(|| none.to_owned())
}

/// Columns as wide as their widest text, two blanks apart.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            format!("{cell:width$}", width = width(column).unwrap_or_default())
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The keys of a store, and when they were last used.
type Managed = (KeyManager, Option<Box<dyn UsageSource>>);

/// The whole program: reads the arguments, opens the store, does it, and says what went wrong.
async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    open: impl AsyncFn(Option<&str>, bool) -> Result<Managed, Failure>,
    mut streams: Streams<'_>,
) -> u8 {
    let ended = async {
        let arguments = Arguments::parse(arguments)?;
        if arguments.help {
            writeln!(streams.output, "{HELP}")?;
            return Ok(());
        }
        let command = arguments.command()?;
        let init = matches!(command, Command::Init);
        let (keys, usage) = open(arguments.store.as_deref(), init).await?;
        command.execute(&keys, usage.as_deref(), arguments.json, &mut streams).await?;
        streams.output.flush()?;
        Ok(())
    };
    match ended.await {
        Ok(()) => 0,
        Err(Failure { code, text }) => {
            // There is nobody else to be told.
            let _ = writeln!(streams.remarks, "keys: {text}");
            code
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let open = async |store: Option<&str>, init: bool| {
        let store = store.map(str::to_owned).or_else(|| env::var("KEYS_STORE").ok());
        let store = required("store", store.as_deref())?.to_owned();
        let (store, usage) = open(&store, init).await?;
        Ok((KeyManager::new(store), usage))
    };
    let streams =
        Streams { input: &mut io::stdin(), output: &mut io::stdout(), remarks: &mut io::stderr() };
    ExitCode::from(run(env::args_os().skip(1), open, streams).await)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use tower_webhook::Clock;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    /// What a run wrote, and how it ended.
    struct Ended {
        code: u8,
        output: String,
        remarks: String,
    }

    async fn run_with(keys: &KeyManager, line: &str, input: &str) -> Ended {
        let (mut output, mut remarks) = (Vec::new(), Vec::new());
        let streams =
            Streams { input: &mut input.as_bytes(), output: &mut output, remarks: &mut remarks };
        let open = async |_: Option<&str>, _: bool| Ok((keys.clone(), None));
        let code = run(line.split(' ').map(OsString::from), open, streams).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code, output: text(output), remarks: text(remarks) }
    }

    fn memory() -> KeyManager {
        KeyManager::new(MemoryKeyStore::new()).with_clock(Clock::from_fn(|| NOW))
    }

    async fn id_of(keys: &KeyManager) -> String {
        let page = keys.list(&Owner::new("alice").unwrap(), None, 1).await.unwrap();
        page.keys()[0].id().to_string()
    }

    #[tokio::test]
    async fn a_key_lives_through_all_commands() {
        let keys = memory();
        let line = "generate --owner alice --name laptop --scope deploy --scope a --expires-in 60d";
        let made = run_with(&keys, line, "").await;
        assert_eq!(made.code, 0);
        let secret = made.output.strip_suffix('\n').unwrap().to_owned();
        assert!(!secret.contains(char::is_whitespace) && !made.remarks.contains(&secret));
        let id = id_of(&keys).await;

        let listed = run_with(&keys, "list --owner alice", "").await;
        let expected = format!(
            "ID                NAME    SCOPES    STATE   EXPIRES               LAST USED\n\
             {id}  laptop  a,deploy  active  2027-01-23T12:00:00Z  -\n"
        );
        assert_eq!((listed.code, listed.output), (0, expected));

        let verified = run_with(&keys, "verify", &format!("{secret}\n")).await;
        assert_eq!((verified.code, verified.remarks.as_str()), (0, ""));
        assert!(verified.output.contains("owner       alice\n"), "{}", verified.output);

        for (line, expected) in [
            ("disable", "disabled"),
            ("enable", "active"),
            ("extend --by 1w", "2027-01-30T12:00:00Z"),
            ("show", "works from  at once"),
        ] {
            let shown = run_with(&keys, &format!("{line} --owner alice {id}"), "").await;
            assert_eq!(shown.code, 0, "{line} {}", shown.remarks);
            assert!(shown.output.contains(expected), "{line} {}", shown.output);
            assert!(!shown.output.contains(&secret));
        }

        let rotated = run_with(&keys, &format!("rotate --overlap 1h --owner alice {id}"), "").await;
        assert_ne!(rotated.output.trim_end(), secret);
        for text in [rotated.output.trim_end(), &secret] {
            assert_eq!(run_with(&keys, "verify", text).await.code, 0);
        }

        let revoked = run_with(&keys, &format!("revoke --owner alice {id}"), "").await;
        assert_eq!(revoked.code, 0);
        let refused = run_with(&keys, "verify", rotated.output.trim_end()).await;
        assert_eq!((refused.code, refused.output.as_str()), (1, ""));
        assert_eq!(refused.remarks, "keys: the key was revoked\n");
        let refused = run_with(&keys, &format!("rotate --owner alice {id}"), "").await;
        assert_eq!((refused.code, refused.output.as_str()), (1, ""));

        let gone = run_with(&keys, &format!("delete --owner alice {id} {id}"), "").await;
        assert_eq!((gone.code, gone.output.as_str()), (0, ""));
        let gone = run_with(&keys, &format!("show --owner alice {id}"), "").await;
        assert_eq!((gone.code, gone.remarks.as_str()), (1, "keys: the key is not found\n"));
    }

    #[tokio::test]
    async fn programs_read_json() {
        let keys = memory();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let line = "--json generate --owner alice --name ci --all-scopes";
        let made = run_with(&keys, line, "").await;
        assert_eq!(made.remarks, "");
        let made = json(&made.output);
        assert_eq!(made["key"]["scopes"], "all");
        let secret = made["secret"].as_str().unwrap();

        let listed = run_with(&keys, "list --json --owner alice", "").await;
        let mut expected = made["key"].clone();
        expected["last_used"] = json!(null);
        assert_eq!(json(&listed.output), json!([expected]));
        assert!(!listed.output.contains(secret));
        let verified = run_with(&keys, "verify --json", secret).await;
        assert_eq!(json(&verified.output)["owner"], "alice");
        let none = run_with(&keys, "list --json --owner bob", "").await;
        assert_eq!(none.output, "[]\n");
    }

    struct Noon;

    #[async_trait::async_trait]
    impl UsageSource for Noon {
        async fn last_used(
            &self,
            ids: &[KeyId],
        ) -> Result<Vec<Option<OffsetDateTime>>, tower_webhook::key::StoreError> {
            Ok(vec![Some(NOW); ids.len()])
        }
    }

    #[tokio::test]
    async fn a_list_tells_when_keys_were_last_used() {
        let keys = memory();
        run_with(&keys, "generate --owner alice --name ci", "").await;
        for (json, expected) in [
            (false, "  never    2026-11-24T12:00:00Z\n"),
            (true, ",\"last_used\":\"2026-11-24T12:00:00Z\"}]\n"),
        ] {
            let mut output = Vec::new();
            let mut streams =
                Streams { input: &mut io::empty(), output: &mut output, remarks: &mut io::sink() };
            let alice = Owner::new("alice").unwrap();
            list(&keys, Some(&Noon), &alice, json, &mut streams).await.unwrap();
            let output = String::from_utf8(output).unwrap();
            assert!(output.ends_with(expected), "{output}");
        }
    }

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
            "show --owner alice",
            "extend --owner alice CANARY",
            "generate --owner alice",
            "generate --owner alice --name a --scope CANARY\u{e9}",
            "generate --owner alice --name a --scope a --all-scopes",
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
        for line in ["--help", "-h", "list --help"] {
            let help = run_with(&keys, line, "").await;
            assert_eq!((help.code, help.output), (0, format!("{HELP}\n")));
        }
        for (name, ..) in COMMANDS {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }

    #[tokio::test]
    async fn another_owners_key_is_not_found() {
        let keys = memory();
        assert_eq!(run_with(&keys, "generate --owner alice --name a", "").await.code, 0);
        let id = id_of(&keys).await;
        for command in ["show", "extend --by 1h", "rotate", "disable", "enable", "revoke", "delete"]
        {
            let refused = run_with(&keys, &format!("{command} --owner bob {id}"), "").await;
            assert_eq!((refused.code, refused.output.as_str()), (1, ""), "{command}");
            assert_eq!(refused.remarks, "keys: the key is not found\n");
        }
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_written_is_told() {
        let keys = memory();
        let (mut none, mut remarks) = ([0_u8; 0], Vec::new());
        let streams = Streams {
            input: &mut io::empty(),
            output: &mut none.as_mut_slice(),
            remarks: &mut remarks,
        };
        let line = "generate --owner alice --name a".split(' ').map(OsString::from);
        let open = async |_: Option<&str>, _: bool| Ok((keys.clone(), None));
        assert_eq!(run(line, open, streams).await, 3);
        let remarks = String::from_utf8(remarks).unwrap();
        assert!(remarks.contains(&id_of(&keys).await), "{remarks}");
    }

    #[tokio::test]
    async fn a_store_is_named_by_its_scheme() {
        assert!(open("memory", false).await.is_ok());
        for text in ["", "memory:", "sqlite:", "sqlite", "mysql://secret@host/", "keys.db"] {
            let failure = open(text, false).await.map(|_| ()).unwrap_err();
            assert_eq!(failure.code, 2, "{text}");
            assert!(!failure.text.contains("secret"));
        }
    }

    #[cfg(not(feature = "sqlite"))]
    #[tokio::test]
    async fn a_store_that_was_left_out_names_its_feature() {
        let failure = open("sqlite:keys.db", false).await.map(|_| ()).unwrap_err();
        assert!(failure.text.contains("`--features sqlite`"));
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn keys_in_a_file_outlive_the_process() {
        let folder = env::temp_dir().join(format!("tower-webhook-keys-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let text = format!("sqlite:{}", folder.join("keys.db").display());
        let manager = async || KeyManager::new(open(&text, false).await.unwrap().0);

        let made = run_with(&manager().await, "generate --owner alice --name a", "").await;
        let verified = run_with(&manager().await, "verify", &made.output).await;
        std::fs::remove_dir_all(&folder).unwrap();

        assert_eq!((made.code, verified.code), (0, 0));
        let nowhere = open("sqlite:/nowhere/keys.db", false).await.map(|_| ()).unwrap_err();
        assert_eq!(nowhere.code, 3);
    }
}
