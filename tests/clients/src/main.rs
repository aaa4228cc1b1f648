//! Real clients against the library, over loopback sockets.
//!
//! 1. Uploads of 20 MiB that are refused: what share of the clients sees the response, without the drain layer and
//!    with it, directly and with 20 ms of delay in each direction.
//! 2. gRPC over HTTP/2 and gRPC-web over HTTP/1.1: the codes of refusals.
//! 3. A page in a browser that calls an API of another origin.
//!
//! `CLIENT_TRIES` is the number of uploads for each row (100), `CLIENT_PART` one of `uploads`, `grpc` and `browser`.

mod browser;
mod grpc;
mod proxy;
mod server;
mod uploads;

use std::env;
use std::process::ExitCode;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let tries = env::var("CLIENT_TRIES").map_or(Ok(100), |tries| tries.parse())?;
    let part = env::var("CLIENT_PART").unwrap_or_default();
    let is_wanted = |name: &str| part.is_empty() || part == name;
    let server = server::start().await?;
    if is_wanted("grpc") {
        grpc::check(&server).await?;
    }
    if is_wanted("uploads") {
        uploads::check(&server, tries).await?;
    }
    if is_wanted("browser") {
        browser::check(&server).await?;
    }
    Ok(())
}
