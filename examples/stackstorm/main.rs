//! StackStorm's webhooks, rules and API keys, for senders and clients that are configured for StackStorm.
//!
//! ```text
//! cargo run --example stackstorm
//! ```
//!
//! prints its address and `curl` lines to try. `stackstorm webhook list` and `stackstorm webhook get HOOK` ask a running
//! server. `README.md` beside this file has more lines, the options, and a comparison with the original.
//!
//! The way of a request, and where to read about it:
//!
//! | file | what it decides |
//! |---|---|
//! | `server.rs` | the layers, and their order |
//! | `address.rs` | which address it is, and what a caller needs there |
//! | `accounts.rs` | who is calling: an `Authenticator` over two stores of the library, one of tokens and one of keys |
//! | `scopes.rs` | what a key may do |
//! | `payload.rs` | what the body says, and the payload of the trigger |
//! | `rules.rs`, `schema.rs` | which hooks there are, and which payloads fit |
//! | `api/` | what each address does |
//! | `storage.rs` | what is kept |
//!
//! Rules are evaluated nowhere: what a hook dispatches is stored, and `GET /v1/triggerinstances` shows it.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use servers::{DataFolder, Error, Flags};
use tokio::sync::Mutex;

use crate::accounts::Accounts;
use crate::api::Server;
use crate::config::{Config, check_distinct};
use crate::rules::read_folder;
use crate::storage::Storage;

mod accounts;
mod address;
mod answer;
mod api;
mod client;
mod config;
mod json;
mod payload;
mod query;
mod rules;
mod schema;
mod scopes;
mod server;
mod storage;
#[cfg(test)]
mod tests;

/// The configuration of a server that was given none.
const DEMO: &str = include_str!("demo.json");

/// For the built-in configuration, in every state of the data folder. A server prints no credentials: `curl` reads
/// them from files.
const HINTS: &str = r#"
With the built-in configuration: call a hook, list the hooks, and see what was dispatched last
  curl -s -K {examples}/stackstorm/sender.curl --json '{"ref": "main"}' http://{address}/v1/webhooks/sample
  curl -s -K {examples}/stackstorm/demo.curl http://{address}/v1/webhooks
  curl -s -K {examples}/stackstorm/demo.curl 'http://{address}/v1/triggerinstances?limit=1'
"#;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let result = match arguments.split_first() {
        Some((word, rest)) if word == "webhook" => client::run(rest),
        _ => serve(arguments),
    };
    servers::exit("stackstorm", result)
}

#[tokio::main]
async fn serve(arguments: Vec<OsString>) -> Result<(), Error> {
    let Some(mut flags) = Flags::parse("stackstorm", &["rules"], arguments)? else {
        return Ok(());
    };
    let config = Config::read(&flags.read_config(DEMO)?)?;
    let folder = flags.own.pop().flatten();
    let server = open(&DataFolder::open(&flags.data)?, config, folder).await?;
    servers::serve(flags.listen, server::router(server)?, flags.hints(HINTS)).await
}

/// Opens what is kept, and brings the rule files in.
async fn open(data: &DataFolder, config: Config, rules: Option<PathBuf>) -> Result<Server, Error> {
    let rules = match rules {
        Some(folder) => read_folder(&folder, &config.types)?,
        None => Vec::new(),
    };
    check_distinct("rule name", rules.iter().map(|rule| rule.name.as_str()))?;
    let storage = Storage::open(data.database("stackstorm.db")?).await?;
    let accounts = Accounts::open(data, &storage, &config).await?;
    storage.put_rules(&rules).await?;
    Ok(Server {
        accounts,
        storage,
        types: config.types,
        validate_payload: config.validate_payload,
        key_changes: Mutex::new(()),
    })
}
