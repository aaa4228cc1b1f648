//! A server that speaks the protocol of Jac Cloud's webhooks (version 0.2.0): walkers that are called from outside with an
//! API key, and the management of such keys.
//!
//! ```text
//! cargo run --example jac
//! ```
//!
//! prints its address and `curl` lines to try. `README.md` beside this file has the options, and a comparison with the
//! original.
//!
//! Read on in the order in which a request meets the modules: `routes`, then `users` and `keys` for the
//! management of keys, or `hooks`, `body`, `fields` and `walkers` for calls with one.

mod answers;
mod body;
mod config;
mod fields;
mod hooks;
mod json;
mod keys;
mod openapi;
mod routes;
#[cfg(test)]
mod tests;
mod users;
mod validation;
mod walkers;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use servers::{DataFolder, Error, ExecLog, Flags};
use tower_webhook::rate_limit::{MemoryRateLimiter, RateLimits};

use crate::config::Config;
use crate::hooks::Shared;
use crate::keys::Keys;
use crate::users::Users;
use crate::walkers::Graph;

const DEMO: &str = include_str!("demo.json");

/// For the built-in configuration, in every state of the data folder. A server prints no credentials: `curl` reads
/// them from files and from answers.
const HINTS: &str = r#"
With the built-in configuration: make a key, call a walker with the newest key, call one that is open
  curl -s -K {examples}/jac/ann.curl --json "{\"name\":\"key $(date +%s)\"}" http://{address}/webhook/generate-key
  curl -s -H "X-API-KEY: $(curl -s -K {examples}/jac/ann.curl http://{address}/webhook | sed 's/.*"key":"\([^"]*\)".*/\1/')" --json '{"text":"hello"}' http://{address}/webhook/walker/greet
  curl -s -X POST http://{address}/webhook/walker/open
"#;

#[tokio::main]
async fn main() -> ExitCode {
    servers::exit("jac", start(env::args_os().skip(1)).await)
}

async fn start(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let Some(flags) = Flags::parse("jac", &["exec-log"], arguments)? else { return Ok(()) };
    let config = Config::parse(&flags.read_config(DEMO)?)?;
    let log = ExecLog::open(flags.own.first().and_then(Option::as_deref))?;
    let app = app(config, &DataFolder::open(&flags.data)?, log).await?;
    servers::serve(flags.listen, app, flags.hints(HINTS)).await
}

async fn app(config: Config, folder: &DataFolder, log: ExecLog) -> Result<Router, Error> {
    let users = Users::new(&config)?;
    let graph = Arc::new(Graph::new(&config)?);
    let keys = Keys::open(folder).await?.with_rate_limits(config.rate_limits);
    let limits = RateLimits::new(MemoryRateLimiter::new());
    let shared = Shared { keys, graph, limits, log };
    routes::app(config, &users, &shared)
}
