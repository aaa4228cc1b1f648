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
//! or a pepper of its own sets them in [`open`], where the `KeyManager` is made.
//!
//! Read on in the order in which a call meets the modules: `arguments`, `store`, `commands` and `tables`. What
//! goes wrong in any of them is a `failure`.

mod arguments;
mod commands;
mod failure;
mod store;
mod tables;
#[cfg(test)]
mod tests;

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use tower_webhook::key::KeyManager;
use tower_webhook::store::UsageSource;

use crate::arguments::{Arguments, HELP, required};
use crate::commands::Command;
use crate::failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let streams =
        Streams { input: &mut io::stdin(), output: &mut io::stdout(), remarks: &mut io::stderr() };
    ExitCode::from(run(env::args_os().skip(1), open, streams).await)
}

/// The keys of a store, and when they were last used, if it knows.
type Managed = (KeyManager, Option<Box<dyn UsageSource>>);

/// Opens the store that is named by the arguments or else by the environment.
async fn open(store: Option<&str>, init: bool) -> Result<Managed, Failure> {
    let store = store.map(str::to_owned).or_else(|| env::var("KEYS_STORE").ok());
    let (store, usage) = store::open(required("store", store.as_deref())?, init).await?;
    Ok((KeyManager::new(store), usage))
}

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

/// Where input comes from, and where answers and remarks go.
struct Streams<'a> {
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
    remarks: &'a mut dyn Write,
}
