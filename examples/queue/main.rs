//! Hooks whose work is stored first and done afterwards: it outlives the process, and other processes share it.
//!
//! ```text
//! cargo run --example queue
//! ```
//!
//! prints its address, and `curl` lines with the answers to expect. Its jobs are in `.data/queue`. Any number of
//! processes may use the same folder or engine, with these options:
//!
//! | option | default | what |
//! |---|---|---|
//! | `--data DIR` | `.data/queue` | the folder of the SQLite file |
//! | `--engine ENGINE` | a file in DIR | `sqlite:PATH`, `postgres:URL` or `nats:URL` |
//! | `--listen ADDRESS:PORT` | `127.0.0.1:3000` | where it listens; port 0 lets the system choose |
//! | `--worker` | | it works and does not listen |
//! | `--workers N` | 1 | how many workers it has, of 16 slots each; with 0 it listens and does not work |
//! | `--exec-log FILE` | | a line of JSON is appended when an attempt begins, and when it ends |
//!
//! | file | what |
//! |---|---|
//! | `flags.rs` | the command line |
//! | `app.rs` | the hooks, and the executions |
//! | `work.rs` | what a job does, and the worker |
//! | `instructions.rs` | what is printed |

use std::env;
use std::error::Error as _;
use std::process::ExitCode;
use std::sync::Arc;

use servers::{DataFolder, Error, ExecLog, Terminated};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_webhook::queue::{JobQueue, NatsQueue, PostgresQueue, QueueError, SqliteQueue};
use tracing_subscriber::filter::LevelFilter;

use crate::flags::{Engine, Flags};

mod app;
mod flags;
mod instructions;
#[cfg(test)]
mod tests;
mod work;

#[tokio::main]
async fn main() -> ExitCode {
    servers::exit("queue", run().await)
}

async fn run() -> Result<(), Error> {
    let Some(flags) = Flags::parse(env::args_os().skip(1))? else {
        println!("{}", flags::USAGE);
        return Ok(());
    };
    // Failures and outages, a line each.
    tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::stderr).init();
    let listener = match flags.listen {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|error| format!("{address}: {error}"))?)
        }
        None => None,
    };
    let log = ExecLog::open(flags.exec_log.as_deref())?;
    let queue = open(&flags).await?;
    let terminated = Terminated::watch()?;
    let mut workers = JoinSet::new();
    for _ in 0..flags.workers {
        let worker = work::worker(Arc::clone(&queue), log.clone())?;
        workers.spawn(worker.run_until(terminated.clone().wait()));
    }
    match listener {
        Some(listener) => {
            let app = app::app(queue)?;
            println!("{}", instructions::text(&listener.local_addr()?.to_string())?);
            servers::serve_on(listener, app, terminated).await?;
        }
        None => println!("working"),
    }
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}

async fn open(flags: &Flags) -> Result<Arc<dyn JobQueue>, Error> {
    match &flags.engine {
        None => {
            let folder = DataFolder::open(&flags.data)?;
            Ok(Arc::new(SqliteQueue::open(folder.file("queue.db")).await?))
        }
        Some(Engine::Sqlite(path)) => Ok(Arc::new(SqliteQueue::open(path).await?)),
        Some(Engine::Postgres(address)) => {
            let queue =
                PostgresQueue::connect(address).await.map_err(|error| with_cause(&error))?;
            queue.migrate().await.map_err(|error| with_cause(&error))?;
            Ok(Arc::new(queue))
        }
        Some(Engine::Nats(address)) => {
            let queue = NatsQueue::connect(address).await.map_err(|error| with_cause(&error))?;
            queue.setup().await.map_err(|error| with_cause(&error))?;
            Ok(Arc::new(queue))
        }
    }
}

/// An error of the start, on one line.
fn with_cause(error: &QueueError) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}
