//! What the layer costs in a server on loopback.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use crate::Result;
use crate::figures::{Spread, per};
use crate::keys::{HEADER, Keys};

/// How many requests a server gets before it is the other one's turn.
const RUN: usize = 1024;
const CONNECTIONS: usize = 16;

/// One endpoint, open and with keys. Ratios are with keys divided by open.
#[derive(Debug)]
pub(crate) struct ServerCost {
    pub(crate) pairs: usize,
    pub(crate) open: Side,
    pub(crate) guarded: Side,
    pub(crate) cpu_ratio: Spread,
    pub(crate) rate_ratio: Spread,
}

/// The medians of one of the two.
#[derive(Debug)]
pub(crate) struct Side {
    /// Nanoseconds per request.
    pub(crate) cpu: f64,
    /// Requests per second.
    pub(crate) rate: f64,
}

impl fmt::Display for ServerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, open, guarded, cpu_ratio, rate_ratio } = self;
        writeln!(f, "a server on loopback, {pairs} pairs of {RUN} requests")?;
        writeln!(f, "{:<28}{:>10}{:>12}{:>8}   quartiles", "", "open", "with keys", "ratio")?;
        let rows = [
            ("CPU per request, ns", open.cpu, guarded.cpu, cpu_ratio),
            ("requests per second", open.rate, guarded.rate, rate_ratio),
        ];
        for (name, open, guarded, Spread { low, median, high }) in rows {
            writeln!(
                f,
                "{name:<28}{open:>10.0}{guarded:>12.0}{median:>8.2}   {low:.2} to {high:.2}"
            )?;
        }
        let share = 100.0 * (1.0 - 1.0 / cpu_ratio.median);
        writeln!(f, "{:<28}{share:>10.0} %", "share of keys in a request")
    }
}

/// What one run of the client has seen.
#[derive(Clone, Copy, Debug)]
struct Run {
    cpu: f64,
    rate: f64,
}

/// Measures one handler on loopback, with the layer and without, with about `requests` requests each way.
/// The runs come in the order open, keys, keys, open, so that a drift of the machine falls on both.
pub(crate) fn measure_server(
    runtime: &Runtime,
    keys: &Keys,
    requests: usize,
) -> Result<ServerCost> {
    let app = || Router::new().route("/", get(async || "hello"));
    let open = runtime.block_on(serve(app()))?;
    let guarded = runtime.block_on(serve(app().route_layer(keys.layer()?)))?;
    let mut open = Client::connect(open, keys)?;
    let mut guarded = Client::connect(guarded, keys)?;
    open.run(RUN)?;
    guarded.run(RUN)?;

    let mut pairs = Vec::new();
    for _ in 0..requests.div_ceil(2 * RUN) {
        let (first_open, first_guarded) = (open.run(RUN)?, guarded.run(RUN)?);
        let (last_guarded, last_open) = (guarded.run(RUN)?, open.run(RUN)?);
        pairs.extend([(first_open, first_guarded), (last_open, last_guarded)]);
    }
    let side = |runs: &dyn Fn(&(Run, Run)) -> Run| Side {
        cpu: Spread::of(pairs.iter().map(|pair| runs(pair).cpu)).median,
        rate: Spread::of(pairs.iter().map(|pair| runs(pair).rate)).median,
    };
    Ok(ServerCost {
        pairs: pairs.len(),
        open: side(&|pair| pair.0),
        guarded: side(&|pair| pair.1),
        cpu_ratio: Spread::of(pairs.iter().map(|(open, guarded)| guarded.cpu / open.cpu)),
        rate_ratio: Spread::of(pairs.iter().map(|(open, guarded)| guarded.rate / open.rate)),
    })
}

/// A server on a port of its own, until this is dropped.
struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(app: Router) -> io::Result<Server> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // A connection that keeps Nagle's algorithm is slower, and answers the same.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let task = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
    Ok(Server { address, task })
}

/// A client of one server. It keeps its connections, and sends one request on each of them before it reads
/// the answers.
struct Client {
    _server: Server,
    connections: Vec<BufReader<TcpStream>>,
    requests: Vec<Vec<u8>>,
}

impl Client {
    fn connect(server: Server, keys: &Keys) -> Result<Self> {
        let connect = |_| {
            let connection = TcpStream::connect(server.address)?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(BufReader::new(connection))
        };
        let request = |key: &String| {
            let head =
                "GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: measure\r\naccept: */*\r\n";
            format!("{head}{HEADER}: {key}\r\n\r\n").into_bytes()
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<io::Result<_>>()?;
        Ok(Self {
            connections,
            requests: keys.texts.iter().map(request).collect(),
            _server: server,
        })
    }

    fn run(&mut self, requests: usize) -> Result<Run> {
        let (cpu, start) = (cpu_of_other_threads(), Instant::now());
        let mut next = self.requests.iter().cycle();
        for _ in 0..requests / CONNECTIONS {
            for (connection, request) in self.connections.iter_mut().zip(&mut next) {
                connection.get_mut().write_all(request)?;
            }
            for connection in &mut self.connections {
                read_answer(connection)?;
            }
        }
        let rate = requests as f64 / start.elapsed().as_secs_f64();
        let used =
            cpu_of_other_threads().zip(cpu).map(|(after, before)| after.saturating_sub(before));
        Ok(Run { cpu: used.map_or(f64::NAN, |used| per(used, requests)), rate })
    }
}

/// Reads one response with the length of its body in its head.
fn read_answer(connection: &mut impl BufRead) -> Result<()> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(format!("a request was answered by {:?}", line.trim_end()).into());
    }
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err("a connection was closed within a response".into());
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    io::copy(&mut connection.take(length), &mut io::sink())?;
    Ok(())
}

/// The CPU time of all threads of this process but this one. `None` where the system has no such figure.
fn cpu_of_other_threads() -> Option<Duration> {
    let own = fs::read_link("/proc/thread-self").ok()?;
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let thread = thread.ok()?;
        if Some(thread.file_name().as_os_str()) != own.file_name() {
            // A thread that has just ended has no times any more.
            let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            nanoseconds += times.split(' ').next()?.parse::<u64>().unwrap_or_default();
        }
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}
