//! What keys cost: your store, your server.
//!
//! ```text
//! cargo run --release --example measure
//! cargo run --release --example measure -- --keys 100000 --requests 200000
//! ```
//!
//! Put your own store into [`store`] and run it. It issues `--keys` keys (1000) of the owner `measure`, sends
//! `--requests` requests (40000) each way, and deletes the keys again. The requests use a hundred of the keys
//! in turn. The first table is the layer alone, in this process. The second is the same handler on loopback
//! with the layer and without, under a client with 16 connections. How to read them:
//!
//! * `the layer adds`: what a request takes longer than without the layer, look-up in the store included.
//!   Batches with and without it take turns, so that a slow phase of the machine falls on both.
//! * `allocations`: how many more there are than without the layer. Those on threads of the store are not seen.
//! * `CPU per request`: what every thread of this process but the client's has used, divided by the requests:
//!   the server and the threads of the store, not a database in a process of its own. Linux only.
//! * `requests per second`: as many as the server and this client reach together. The client is light, but it
//!   takes its share of the machine, so compare the two columns and not two machines.
//! * `ratio`: the median of the pairs, with keys divided by open. Read a range that includes 1.00 as "less
//!   than this machine can tell".
//!
//! [`measure_layer`] and [`measure_server`] can be copied: they take keys of any store, and need the crates
//! `allocation-counter`, `axum`, `tokio` and `tower` beside this one.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum::serve::ListenerExt;
use http::{Request, Response, StatusCode};
use lexopt::{Arg, Parser, ValueExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, KeyManager, KeyStore, MemoryKeyStore, NewKey, Owner};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// Your store begins here. Replace the line in this function by what opens yours, empty or not.

async fn store() -> Result<impl KeyStore> {
    Ok(MemoryKeyStore::new())
}

// Your store ends here.

/// How many keys the requests use in turn.
const USED_KEYS: usize = 100;
/// How many requests are timed at once. Few, so that they stay in the caches as a single one would.
const BATCH: usize = 64;
/// How many requests a server gets before it is the other one's turn.
const RUN: usize = 1024;
const CONNECTIONS: usize = 16;
const HEADER: &str = "x-api-key";

/// What is to be measured.
#[derive(Debug)]
struct Options {
    keys: usize,
    requests: usize,
}

impl Options {
    fn parse(mut arguments: Parser) -> std::result::Result<Self, lexopt::Error> {
        let mut options = Self { keys: 1000, requests: 40_000 };
        while let Some(argument) = arguments.next()? {
            let number = match argument {
                Arg::Long("keys") => &mut options.keys,
                Arg::Long("requests") => &mut options.requests,
                _ => return Err(argument.unexpected()),
            };
            *number = arguments.value()?.parse()?;
            if *number == 0 {
                return Err("there has to be one key and one request".into());
            }
        }
        Ok(options)
    }
}

/// Keys in a store, and the texts of those that the requests use.
struct Keys {
    manager: KeyManager,
    owner: Owner,
    ids: Vec<KeyId>,
    texts: Vec<String>,
}

impl Keys {
    async fn issue(store: impl KeyStore, count: usize) -> Result<Self> {
        let manager = KeyManager::new(store);
        let owner = Owner::new("measure")?;
        let (mut ids, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let issued = manager.generate(&owner, NewKey::new("measure")).await?;
            ids.push(issued.record().id().clone());
            if texts.len() < USED_KEYS {
                texts.push(issued.secret().expose_secret().to_owned());
            }
        }
        Ok(Self { manager, owner, ids, texts })
    }

    async fn delete(self) -> Result<()> {
        for ids in self.ids.chunks(100) {
            self.manager.delete(&self.owner, ids).await?;
        }
        Ok(())
    }

    fn layer(&self) -> Result<AuthLayer> {
        Ok(AuthLayer::token(&self.manager, [Placement::header(HEADER)?])?)
    }

    /// The next requests, with one key after the other.
    fn requests(&self, count: usize) -> Result<Vec<Request<Body>>> {
        let request = |key: &String| {
            Request::get("/")
                .header("host", "localhost")
                .header("user-agent", "measure")
                .header("accept", "*/*")
                .header(HEADER, key)
                .body(Body::empty())
        };
        Ok(self.texts.iter().cycle().take(count).map(request).collect::<http::Result<_>>()?)
    }
}

/// The median of some figures, and the quartiles around it.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures = Vec::from_iter(figures);
        figures.sort_by(f64::total_cmp);
        let at = |quarter| figures.get(figures.len() * quarter / 4).copied().unwrap_or_default();
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// What the layer adds to a service that answers at once.
#[derive(Debug)]
struct LayerCost {
    pairs: usize,
    /// Nanoseconds per request, without the layer.
    bare: Spread,
    /// Nanoseconds per request that the layer adds.
    added: Spread,
    allocations: i64,
    allocated_bytes: i64,
}

/// Measures the layer in front of a service that answers at once, with `requests` requests each way.
fn measure_layer(runtime: &Runtime, keys: &Keys, requests: usize) -> Result<LayerCost> {
    let answer = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
    let mut bare = service_fn(answer);
    let mut guarded = keys.layer()?.layer(bare);

    // What runs first opens connections and fills caches.
    runtime.block_on(batch(&mut bare, keys))?;
    runtime.block_on(batch(&mut guarded, keys))?;

    let mut pairs = Vec::new();
    for pair in 0..requests.div_ceil(BATCH) {
        pairs.push(runtime.block_on(async {
            if pair % 2 == 0 {
                Ok::<_, Box<dyn Error>>((
                    batch(&mut bare, keys).await?,
                    batch(&mut guarded, keys).await?,
                ))
            } else {
                let guarded = batch(&mut guarded, keys).await?;
                Ok((batch(&mut bare, keys).await?, guarded))
            }
        })?);
    }
    let (own_count, own_bytes) = allocations(runtime, &mut bare, keys)?;
    let (count, bytes) = allocations(runtime, &mut guarded, keys)?;
    Ok(LayerCost {
        pairs: pairs.len(),
        bare: Spread::of(pairs.iter().map(|(bare, _)| *bare)),
        added: Spread::of(pairs.iter().map(|(bare, guarded)| guarded - bare)),
        allocations: count - own_count,
        allocated_bytes: bytes - own_bytes,
    })
}

/// Nanoseconds per request of one batch. Making the requests and dropping the responses is not in it.
async fn batch<S, B>(service: &mut S, keys: &Keys) -> Result<f64>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let requests = keys.requests(BATCH)?;
    let mut responses = Vec::with_capacity(BATCH);
    let start = Instant::now();
    for request in requests {
        responses.push(service.ready().await?.call(request).await?);
    }
    let elapsed = start.elapsed();
    match responses.iter().find(|response| response.status() != StatusCode::OK) {
        Some(response) => Err(format!("a request was answered by {}", response.status()).into()),
        None => Ok(per(elapsed, BATCH)),
    }
}

/// How often one request allocates on this thread, and how many bytes.
fn allocations<S>(runtime: &Runtime, service: &mut S, keys: &Keys) -> Result<(i64, i64)>
where
    S: Service<Request<Body>, Error = Infallible>,
{
    let request = keys.requests(1)?.pop().unwrap_or_default();
    let mut response = None;
    let counted = allocation_counter::measure(|| {
        response = Some(runtime.block_on(async { service.ready().await?.call(request).await }));
    });
    drop(response);
    Ok((counted.count_total.try_into()?, counted.bytes_total.try_into()?))
}

/// One endpoint, open and with keys. Ratios are with keys divided by open.
#[derive(Debug)]
struct ServerCost {
    pairs: usize,
    open: Side,
    guarded: Side,
    cpu_ratio: Spread,
    rate_ratio: Spread,
}

/// The medians of one of the two.
#[derive(Debug)]
struct Side {
    /// Nanoseconds per request.
    cpu: f64,
    /// Requests per second.
    rate: f64,
}

/// What one run of the client has seen.
#[derive(Clone, Copy, Debug)]
struct Run {
    cpu: f64,
    rate: f64,
}

/// Measures one handler on loopback, with the layer and without, with about `requests` requests each way.
/// The runs come in the order open, keys, keys, open, so that a drift of the machine falls on both.
fn measure_server(runtime: &Runtime, keys: &Keys, requests: usize) -> Result<ServerCost> {
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

/// What all threads of this process but this one have run for. `None` where the system does not tell.
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

fn per(duration: Duration, count: usize) -> f64 {
    duration.as_nanos() as f64 / count as f64
}

impl fmt::Display for LayerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, bare, added, allocations, allocated_bytes } = self;
        writeln!(f, "the layer alone, {pairs} pairs of {BATCH} requests")?;
        writeln!(f, "{:<28}{:>10}   {:<18}", "", "median", "quartiles")?;
        for (name, Spread { low, median, high }) in
            [("a service alone, ns", bare), ("the layer adds, ns", added)]
        {
            writeln!(f, "{name:<28}{median:>10.0}   {low:.0} to {high:.0}")?;
        }
        writeln!(f, "{:<28}{allocations:>10}   {allocated_bytes} bytes", "allocations it adds")
    }
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

fn measure(options: &Options) -> Result<(LayerCost, ServerCost)> {
    // One thread for the servers and for what the store does by itself. The client has this one.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let keys = runtime.block_on(async { Keys::issue(store().await?, options.keys).await })?;
    let layer = measure_layer(&runtime, &keys, options.requests);
    let server = measure_server(&runtime, &keys, options.requests);
    runtime.block_on(keys.delete())?;
    Ok((layer?, server?))
}

fn main() -> Result<()> {
    let options = Options::parse(Parser::from_env())?;
    if cfg!(debug_assertions) {
        println!("built without --release: the figures are many times too high\n");
    }
    println!(
        "{} keys in the store, {} of them in use\n",
        options.keys,
        options.keys.min(USED_KEYS)
    );
    let (layer, server) = measure(&options)?;
    println!("{layer}\n{server}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_measurement_has_a_figure_in_every_place() {
        let (layer, server) = measure(&Options { keys: 3, requests: 200 }).unwrap();

        assert_eq!(layer.pairs, 4);
        assert!(layer.bare.low > 0.0 && layer.bare.low <= layer.bare.high, "{layer:?}");
        assert!(layer.added.median > 0.0, "{layer:?}");
        assert!(layer.allocations >= 1 && layer.allocated_bytes > 0, "{layer:?}");
        assert_eq!(server.pairs, 2);
        assert!(server.open.rate > 0.0 && server.guarded.rate > 0.0, "{server:?}");
        assert!(server.rate_ratio.low <= server.rate_ratio.high, "{server:?}");
        if cfg!(target_os = "linux") {
            assert!(server.open.cpu > 0.0 && server.cpu_ratio.median > 0.0, "{server:?}");
        }
        assert_eq!(layer.to_string().lines().count(), 5);
        assert_eq!(server.to_string().lines().count(), 5);
    }

    #[test]
    fn the_median_and_the_quartiles_are_figures_in_order() {
        let Spread { low, median, high } = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((low, median, high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of([]).median, 0.0);
    }

    #[test]
    fn the_keys_are_gone_afterwards() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let store = std::sync::Arc::new(MemoryKeyStore::new());
        let keys = runtime.block_on(Keys::issue(store.clone(), 250)).unwrap();
        let owner = keys.owner.clone();
        assert_eq!((keys.ids.len(), keys.texts.len()), (250, USED_KEYS));

        runtime.block_on(keys.delete()).unwrap();
        let left = runtime.block_on(store.list(&owner, None, 10)).unwrap();
        assert!(left.is_empty());
    }

    #[test]
    fn a_layer_that_refuses_is_an_error_and_no_figure() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut keys = runtime.block_on(Keys::issue(MemoryKeyStore::new(), 1)).unwrap();
        keys.texts = vec!["wrong".to_owned()];

        let layer = measure_layer(&runtime, &keys, 1).unwrap_err();
        assert!(layer.to_string().contains("401"), "{layer}");
        let server = measure_server(&runtime, &keys, 1).unwrap_err();
        assert!(server.to_string().contains("401"), "{server}");
    }

    #[test]
    fn arguments_are_two_numbers() {
        let parse = |arguments: &[&str]| Options::parse(Parser::from_args(arguments));
        let options = parse(&["--keys", "7", "--requests=9"]).unwrap();
        assert_eq!((options.keys, options.requests), (7, 9));
        for wrong in
            [&["--keys", "0"][..], &["--keys"], &["--keys", "x"], &["more"], &["--key", "1"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
