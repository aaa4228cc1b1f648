//! Manages keys in a store, on the command line.
//!
//! ```text
//! cargo install tower-webhook --example tower-webhook-keys --features sqlite
//! export KEYS_STORE=sqlite:keys.db
//!
//! tower-webhook-keys generate --create --owner alice --name laptop --scope deploy,read --expires-in 60d
//! tower-webhook-keys list --owner alice
//! ```
//!
//! `generate` prints the text of the key on standard output, once, and a description on standard error. `list` prints
//!
//! ```text
//! ID                OWNER  NAME    SCOPES       STATE   EXPIRES               LAST USED
//! 2tYcgbPGLcpYIiz5  alice  laptop  deploy read  active  2027-01-23T12:00:00Z  2026-11-24T11:58:00Z
//! ```
//!
//! When a key was last used is known if the app writes it into the same store, with a `LastUsedTracker`.
//!
//! `verify` reads a key from standard input, because every process can see the arguments of another one:
//!
//! ```text
//! KEY=$(tower-webhook-keys generate --owner alice --name ci)
//! printf %s "$KEY" | tower-webhook-keys verify
//! ```
//!
//! prints the record, and ends with 1 if the key is refused. For a key that leaked, `find` does so in every state
//! is, and `revoke ID` needs no owner. `--help` prints all commands and exit codes. With `--json` answers are JSON. Features `file`, `sqlite`, `postgres` and `redis` add the stores. An app with a key format or
//! a pepper of its own sets them in `store`, which makes the `KeyManager`.
//!
//! Read on in the order of a call: `arguments`, `store`, `commands`, `tables`. Errors are in `failure`.

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
use std::sync::Arc;

use tower_webhook::key::KeyManager;
use tower_webhook::store::{KeyScan, LastUsedSource};

use crate::arguments::{Arguments, HELP, required};
use crate::failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let streams =
        Streams { input: &mut io::stdin(), output: &mut io::stdout(), remarks: &mut io::stderr() };
    ExitCode::from(run(env::args_os().skip(1), open, streams).await)
}

/// The keys of a store, and what an operator sees of them.
#[derive(Clone)]
struct Opened {
    keys: KeyManager,
    scan: Arc<dyn KeyScan>,
    /// When keys were last used, if the store keeps it.
    last_used: Option<Arc<dyn LastUsedSource>>,
}

/// Opens the store that is named by the arguments or else by the environment.
async fn open(store: Option<&str>, create: bool) -> Result<Opened, Failure> {
    let store = store.map(str::to_owned).or_else(|| env::var("KEYS_STORE").ok());
    store::open(required("store", store.as_deref())?, create).await
}

/// The whole program: reads the arguments, opens the store, does it, and says what went wrong.
async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    open: impl AsyncFn(Option<&str>, bool) -> Result<Opened, Failure>,
    mut streams: Streams<'_>,
) -> u8 {
    let ended = async {
        let arguments = Arguments::parse(arguments)?;
        if arguments.help {
            writeln!(streams.output, "{HELP}")?;
            return Ok(());
        }
        let command = arguments.command()?;
        let opened = open(arguments.store.as_deref(), arguments.creates_store()).await?;
        command.execute(&opened, arguments.json, &mut streams).await?;
        streams.output.flush()?;
        Ok(())
    };
    match ended.await {
        Ok(()) => 0,
        Err(Failure { code, text }) => {
            // A closed standard error leaves the exit code.
            let _ = writeln!(streams.remarks, "tower-webhook-keys: {text}");
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
