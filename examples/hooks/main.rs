//! Hooks on axum with the settings that real senders and clients need: a key in every place, JSON under other labels,
//! JSON lines, forms with JSON in them, CORS, probes, limits on calls, refusals that gRPC clients read, and refusals that arrive.
//!
//! Start with `webhook`, which is shorter.
//!
//! ```text
//! cargo run --example hooks
//! ```
//!
//! prints its address, and `curl` lines with the answers to expect. Run them at the top folder: some send
//! `examples/payloads/github-push.json`. Another port: `cargo run --example hooks -- 127.0.0.1:0`.
//!
//! | file | what |
//! |---|---|
//! | `policies.rs` | which hooks there are, and who may call them |
//! | `runs.rs` | what the hooks do |
//! | `logins.rs` | users, who log in with a name and a token |
//! | `app.rs` | the settings |
//! | `instructions.rs` | what is printed |

use std::env;
use std::error::Error;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

mod app;
mod instructions;
mod logins;
mod policies;
mod runs;
#[cfg(test)]
mod tests;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if ["-h", "--help"].contains(&&*address) {
        println!("usage: hooks [ADDRESS:PORT]");
        return Ok(());
    }
    let (app, credentials) = app::app().await?;
    let listener = TcpListener::bind(&address).await?;
    let (stop, begun_to_stop) = (stopped()?, stopped()?);
    println!("{}", instructions::text(&listener.local_addr()?.to_string(), &credentials));
    let server = axum::serve(listener, app).with_graceful_shutdown(stop);
    // Requests in progress may end, but a caller that never finishes does not keep the process.
    let overdue = async {
        begun_to_stop.await;
        sleep(Duration::from_secs(4)).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = overdue => {}
    }
    Ok(())
}

/// Waits for SIGTERM or SIGINT. One that comes after this call counts.
#[cfg(unix)]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
