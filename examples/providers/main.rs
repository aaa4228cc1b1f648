//! Deliveries of webhook providers, verified by their signatures: `POST /github`, `POST /stripe` and so on.
//!
//! ```text
//! GITHUB_SECRET="It's a Secret to Everybody" cargo run --example providers
//! ```
//!
//! takes GitHub's deliveries. Without a secret in the environment it makes some, and prints `curl` lines with good
//! signatures. Another port: `cargo run --example providers -- 127.0.0.1:0`.
//!
//! | variable | what |
//! |---|---|
//! | `GITHUB_SECRET`, `STANDARD_WEBHOOKS_SECRET`, .. | the secrets of a provider, separated by blanks, each as the provider shows it |
//! | `GITLAB_MODE` | `token` (the default) or `standard`, for GitLab's signing tokens |
//! | `META_VERIFY_TOKEN` | what Meta's handshake has to know |
//! | `PUBLIC_URL` | scheme and authority of the public address, and perhaps the path of a proxy, for the providers that sign it. The default is the address that is listened on |
//!
//! | file | what |
//! |---|---|
//! | `providers.rs` | the providers: schemes, secrets, handshakes |
//! | `app.rs` | the service |
//! | `instructions.rs` | what is printed |

use std::env;
use std::process::ExitCode;

use servers::Terminated;
use tokio::net::TcpListener;

mod app;
mod instructions;
mod providers;
#[cfg(test)]
mod tests;

#[tokio::main]
async fn main() -> ExitCode {
    servers::exit("providers", run().await)
}

async fn run() -> Result<(), servers::Error> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if ["-h", "--help"].contains(&&*address) {
        println!("usage: providers [ADDRESS:PORT]");
        return Ok(());
    }
    let listener =
        TcpListener::bind(&address).await.map_err(|error| format!("{address}: {error}"))?;
    let address = listener.local_addr()?.to_string();
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let public_url = variable("PUBLIC_URL").unwrap_or_else(|| format!("http://{address}"));
    let public_url = public_url.trim_end_matches('/');

    let mut providers = providers::from_environment(&variable)?;
    let is_made_up = providers.is_empty();
    if is_made_up {
        providers = providers::made_up(&variable)?;
    }
    let app = app::app(&providers, public_url)?;
    let terminated = Terminated::watch()?;
    println!("listening on http://{address}");
    if is_made_up {
        print!("{}", instructions::text(&address, public_url, &providers)?);
    }
    servers::serve_on(listener, app, terminated).await
}
