//! What keys cost: your store, your server.
//!
//! ```text
//! cargo run --release -p tower-webhook-benches --example measure
//! cargo run --release -p tower-webhook-benches --example measure -- --keys 100000 --requests 200000
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
//! * `ratio`: the median of the pairs, with keys divided by open. A range that includes 1.00 is
//!   below the resolution of this machine.
//!
//! [`measure_layer`] and [`measure_server`], in the modules `layer` and `server`, can be copied with `keys` and
//! `figures`: they take keys of any store, and need the crates `allocation-counter`, `axum`, `tokio` and `tower`
//! beside this one.

mod figures;
mod keys;
mod layer;
mod server;

use std::error::Error;

use lexopt::{Arg, Parser, ValueExt};
use tokio::runtime::Builder;
use tower_webhook::key::KeyStore;
use tower_webhook::store::MemoryKeyStore;

use crate::keys::{Keys, USED_KEYS};
use crate::layer::{LayerCost, measure_layer};
use crate::server::{ServerCost, measure_server};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// Your store begins here. Replace the line in this function by what opens yours, empty or not.

async fn store() -> Result<impl KeyStore> {
    Ok(MemoryKeyStore::new())
}

// Your store ends here.

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("usage: measure [--keys N] [--requests N]");
        return Ok(());
    }
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

fn measure(options: &Options) -> Result<(LayerCost, ServerCost)> {
    // One thread for the servers and for what the store does by itself. The client has this one.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let keys = runtime.block_on(async { Keys::issue(store().await?, options.keys).await })?;
    let layer = measure_layer(&runtime, &keys, options.requests);
    let server = measure_server(&runtime, &keys, options.requests);
    runtime.block_on(keys.delete())?;
    Ok((layer?, server?))
}

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
