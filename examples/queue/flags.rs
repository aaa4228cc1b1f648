//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use servers::Error;

/// The answer to `--help`.
pub(crate) const USAGE: &str = "\
usage: queue [--data DIR] [--engine ENGINE] [--listen ADDRESS:PORT] [--worker] [--workers N] [--exec-log FILE]

  --data DIR             the folder of the SQLite file, .data/queue by default
  --engine ENGINE        another engine: sqlite:PATH, postgres:URL (postgres://user@127.0.0.1/database) or
                         nats:URL (nats://127.0.0.1:4222)
  --listen ADDRESS:PORT  where to listen, 127.0.0.1:3000 by default; port 0 lets the system choose
  --worker               work, and do not listen
  --workers N            how many workers this process has, 1 by default, each of 16 slots; 0: listen, and do not work
  --exec-log FILE        append a line of JSON when an attempt begins, and when it ends

Any number of processes may share a folder or an engine.";

const LISTEN: &str = "--listen is ADDRESS:PORT, such as 127.0.0.1:3000 or [::1]:3000";
const WORKERS: &str = "--workers is a number from 0 to 255";

#[derive(Debug)]
pub(crate) struct Flags {
    pub(crate) data: PathBuf,
    /// `None` is a file in the folder.
    pub(crate) engine: Option<Engine>,
    /// `None` for a process that only works.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) workers: u8,
    pub(crate) exec_log: Option<PathBuf>,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    Sqlite(PathBuf),
    Postgres(String),
    Nats(String),
}

impl Flags {
    /// Reads the arguments. `None` means that `--help` was among them.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let mut data = PathBuf::from(".data/queue");
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 3000));
        let (mut engine, mut exec_log) = (None, None);
        let (mut only_works, mut workers) = (false, 1);
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(None),
                Long("data") => data = parser.value()?.into(),
                // Without lexopt's texts, which do not name the option, and have the value in them: an address may have
                // a password.
                Long("engine") => engine = Some(parser.value()?.string()?.parse::<Engine>()?),
                Long("listen") => listen = parser.value()?.parse().map_err(|_| LISTEN)?,
                Long("worker") => only_works = true,
                Long("workers") => workers = parser.value()?.parse().map_err(|_| WORKERS)?,
                Long("exec-log") => exec_log = Some(parser.value()?.into()),
                _ => return Err(argument.unexpected().into()),
            }
        }
        if only_works && workers == 0 {
            return Err("--worker with --workers 0 does nothing".into());
        }
        if data.as_os_str().is_empty() {
            return Err("--data is the name of a folder".into());
        }
        let listen = (!only_works).then_some(listen);
        Ok(Some(Self { data, engine, listen, workers, exec_log }))
    }
}

impl FromStr for Engine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |rest: &str| {
            // `nats://host` is the same as `nats:nats://host`, and so for PostgreSQL.
            if rest.starts_with("//") { text.to_owned() } else { rest.to_owned() }
        };
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres", rest)) if !rest.is_empty() => Ok(Self::Postgres(address(rest))),
            Some(("nats", rest)) if !rest.is_empty() => Ok(Self::Nats(address(rest))),
            _ => Err("--engine is sqlite:PATH, postgres:URL or nats:URL"),
        }
    }
}
