//! What the three servers have in common and what has nothing to do with their protocols: flags, the data
//! folder, the execution log, the start and the end of the process.

use std::ffi::OsString;
use std::fmt::Display;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

mod data;
mod exec_log;
mod headers;

pub use self::data::DataFolder;
pub use self::exec_log::ExecLog;
pub use self::headers::{headers_json, joined};

/// An error of the start, shown on standard error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long requests in progress may take after SIGTERM or SIGINT.
const GRACE: Duration = Duration::from_secs(4);

/// The flags of a server.
#[derive(Debug)]
pub struct Flags {
    /// `--listen ADDR`: where the server listens. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// `--config FILE`: the configuration. `None` is the built-in demo.
    pub config: Option<PathBuf>,
    /// `--data DIR`: the folder of the embedded store.
    pub data: PathBuf,
    /// The values of the server's own flags, in the order in which [`Flags::parse`] names them.
    pub own: Vec<Option<PathBuf>>,
}

impl Flags {
    /// Reads the flags of the server `name`, which has these flags of its own, each with a path as its
    /// value. `None` means that `--help` was among them and is printed.
    ///
    /// # Errors
    ///
    /// Refuses an unknown flag, a flag without a value, and an address that is none.
    pub fn parse(
        name: &str,
        own: &[&str],
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, Error> {
        use lexopt::prelude::*;

        let mut flags = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            config: None,
            data: PathBuf::from(".data").join(name),
            own: vec![None; own.len()],
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => {
                    println!("{}", usage(name, own));
                    return Ok(None);
                }
                Long("listen") => flags.listen = parser.value()?.parse()?,
                Long("config") => flags.config = Some(parser.value()?.into()),
                Long("data") => flags.data = parser.value()?.into(),
                Long(flag) => {
                    let own = own.iter().position(|own| *own == flag);
                    match own.and_then(|position| flags.own.get_mut(position)) {
                        Some(value) => *value = Some(parser.value()?.into()),
                        None => return Err(argument.unexpected().into()),
                    }
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(Some(flags))
    }

    /// The `curl` lines for the built-in configuration, or nothing where another one is given.
    #[must_use]
    pub fn hints<'a>(&self, hints: &'a str) -> &'a str {
        if self.config.is_some() { "" } else { hints }
    }

    /// The text of the configuration, or the built-in `demo`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn read_config(&self, demo: &str) -> Result<String, Error> {
        match &self.config {
            None => Ok(demo.to_owned()),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()).into()),
        }
    }
}

/// The answer to `--help`.
fn usage(name: &str, own: &[&str]) -> String {
    let own: String = own.iter().map(|flag| format!(" [--{flag} PATH]")).collect();
    format!(
        "usage: {name} [--listen ADDRESS:PORT] [--config FILE] [--data DIR]{own}\n\n\
         Listens on 127.0.0.1:3000 and keeps its data in .data/{name} by default. Port 0 lets the system \
         choose.\nThe built-in configuration is examples/{name}/demo.json. It is described in \
         examples/{name}/README.md."
    )
}

/// Keeps every refusal of an app out of caches, and browsers from guessing what it is.
pub fn with_guarded_refusals(app: Router) -> Router {
    app.layer(map_response(|mut response: Response| async move {
        if response.status().is_client_error() || response.status().is_server_error() {
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }))
}

/// Serves until SIGTERM or SIGINT, then lets requests in progress finish.
///
/// The first line on standard output is `listening on http://IP:PORT`. `hints` come after it, on standard
/// error, with `{address}` replaced by the address and `{examples}` by the folder of the examples.
///
/// # Errors
///
/// Returns an error if the address cannot be bound.
pub async fn serve(listen: SocketAddr, app: Router, hints: &str) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    let terminated = Terminated::watch()?;
    announce(listener.local_addr()?, hints);
    serve_on(listener, app, terminated).await
}

/// As [`serve`], where the start was announced already.
///
/// # Errors
///
/// Returns an error if the server fails.
pub async fn serve_on(
    listener: TcpListener,
    app: Router,
    terminated: Terminated,
) -> Result<(), Error> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        })
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = terminated.wait() => {}
    }
    let _ = stop.send(());
    // A caller that never finishes its request does not keep the process.
    if let Ok(ended) = timeout(GRACE, server).await {
        ended?;
    }
    Ok(())
}

/// SIGTERM or SIGINT, of which all parts of a process learn.
#[derive(Clone, Debug)]
pub struct Terminated(watch::Receiver<()>);

impl Terminated {
    /// Watches for the signals. One that comes after this call counts: a server does it before it says that it is ready.
    ///
    /// # Errors
    ///
    /// Returns an error if signals cannot be waited for.
    pub fn watch() -> Result<Self, Error> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, receiver) = watch::channel(());
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            drop(sender);
        });
        Ok(Self(receiver))
    }

    /// Waits for the first signal.
    pub async fn wait(mut self) {
        // The end of the sender is the signal.
        let _ = self.0.changed().await;
    }
}

/// The status of the process, and on an error its line on standard error.
#[expect(clippy::print_stderr, reason = "the error of a program")]
pub fn exit(name: &str, result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "what a newcomer may try")]
fn announce(address: SocketAddr, hints: &str) {
    use std::io::Write as _;

    // A closed standard output is no reason to stop.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening on http://{address}");
    let _ = out.flush();
    if hints.is_empty() {
        return;
    }
    let hints = hints.replace("{address}", &address.to_string());
    eprintln!("{}", hints.replace("{examples}", examples_folder()));
}

/// The folder of the examples: seen from the top folder, where a newcomer starts, or from anywhere.
fn examples_folder() -> &'static str {
    const HERE: &str = env!("CARGO_MANIFEST_DIR");
    match HERE.strip_suffix("/servers") {
        Some(folder) if !Path::new("examples/servers").is_dir() => folder,
        _ => "examples",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Flags>, Error> {
        Flags::parse("kragle", &["exec-log"], line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn help_ends_the_program_without_an_error() {
        for line in ["--help", "-h", "--listen 127.0.0.1:0 --help"] {
            assert!(parse(line).unwrap().is_none(), "{line}");
        }
        let usage = usage("kragle", &["exec-log"]);
        for flag in ["--listen", "--config", "--data", "--exec-log"] {
            assert!(usage.contains(flag), "{flag}");
        }
        assert!(parse("--unknown").is_err());
    }

    #[test]
    fn hints_are_for_the_built_in_configuration() {
        assert_eq!(parse("").unwrap().unwrap().hints("lines"), "lines");
        assert_eq!(parse("--config mine.json").unwrap().unwrap().hints("lines"), "");
    }
}
