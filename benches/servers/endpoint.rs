//! One endpoint behind axum, as `benches/servers/run` starts it: `open`, with a `token`, with the same check
//! `by-hand`, or with a token and a process to `spawn` for each call.
//!
//! It prints three lines: its address, a key that opens it, and a key of the same shape that does not.

use std::env;
use std::error::Error;
use std::process::Stdio;

use axum::Router;
use axum::routing::{MethodRouter, get};
use axum::serve::ListenerExt;
use http::StatusCode;
use support::floor::Floor;
use tokio::net::TcpListener;
use tokio::process::Command;
use tower::layer::layer_fn;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyManager, NewKey, Owner};
use tower_webhook::store::MemoryKeyStore;

/// How many keys are in the store. One of them is used.
const KEYS: usize = 1000;

/// What `webhook` answers as well: the output of the command.
async fn spawn() -> Result<Vec<u8>, StatusCode> {
    let output = Command::new("/bin/true").stdin(Stdio::null()).output().await;
    output.map(|output| output.stdout).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// A manager over a store with keys in it, and their texts.
async fn issue(owner: &Owner, count: usize) -> Result<(KeyManager, Vec<String>), Box<dyn Error>> {
    let keys = KeyManager::new(MemoryKeyStore::new());
    let mut texts = Vec::new();
    for _ in 0..count {
        let issued = keys.generate(owner, NewKey::new("bench")).await?;
        texts.push(issued.secret().expose_secret().to_owned());
    }
    Ok((keys, texts))
}

fn app(mode: &str, keys: &KeyManager, texts: Vec<String>) -> Result<Router, Box<dyn Error>> {
    let fixed = || get(async || "hello");
    let guarded = |endpoint: MethodRouter| -> Result<_, Box<dyn Error>> {
        Ok(endpoint.route_layer(AuthLayer::token(keys, [Placement::header("x-api-key")?])?))
    };
    let endpoint = match mode {
        "open" => fixed(),
        "token" => guarded(fixed())?,
        "by-hand" => fixed().route_layer(layer_fn(move |route| Floor::new(&texts, route))),
        "spawn" => guarded(get(spawn))?,
        _ => return Err("usage: endpoint open|token|by-hand|spawn".into()),
    };
    Ok(Router::new().route("/", endpoint))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let owner = Owner::new("alice")?;
    let (keys, texts) = issue(&owner, KEYS).await?;
    let (_, others) = issue(&owner, 1).await?;
    let key = texts.first().cloned().unwrap_or_default();
    let unknown = others.first().cloned().unwrap_or_default();
    let app = app(&env::args().nth(1).unwrap_or_default(), &keys, texts)?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}\n{key}\n{unknown}", listener.local_addr()?);
    // A connection that keeps Nagle's algorithm is slower, and answers the same.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, app).await?;
    Ok(())
}
