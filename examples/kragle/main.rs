//! Stacks of blocks that are run by webhooks, with the wire protocol of Kragle.io.
//!
//! ```text
//! cargo run --example kragle
//! ```
//!
//! prints its address and `curl` lines to try. `README.md` beside this file has more of them, the options, and a
//! comparison with the original.
//!
//! | file | what it holds |
//! |---|---|
//! | `main.rs` | the start, and the way of a request |
//! | `rules.rs` | addresses, who may call them, refusals |
//! | `api.rs` | the answers at every address but those of hooks |
//! | `envelope.rs` | what a stack is given |
//! | `run.rs` | running a stack |
//! | `stacks.rs` | stacks, and their definitions in JSON |
//! | `views.rs` | what is shown of stacks |
//! | `storage.rs` | stacks in SQLite |
//! | `tokens.rs` | a token for each stack |
//! | `users.rs` | passwords and logins |
//! | `config.rs` | the configuration |
//!
//! The library decides who is let in, makes envelopes, runs hooks and keeps tokens.

mod api;
mod config;
mod envelope;
mod rules;
mod run;
mod stacks;
mod storage;
#[cfg(test)]
mod tests;
mod tokens;
mod users;
mod views;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use servers::{DataFolder, Error, ExecLog, Flags};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::content::ContentLimits;
use tower_webhook::credential::{Credentials, Placement};
use tower_webhook::hook::{Failure, Hooks, Invocation, Outcome, ResponseFormat};

use crate::config::Config;
use crate::rules::{Address, Fault, JSON_LIMITS, MAX_BODY_BYTES, Target, refusal};
use crate::run::Runner;
use crate::storage::{Storage, StorageError};
use crate::tokens::Tokens;
use crate::users::{COOKIE, Users};

/// Only its size limits what a body may hold.
const CONTENT_LIMITS: ContentLimits =
    ContentLimits::new().with_json(JSON_LIMITS).with_fields(usize::MAX).with_parts(usize::MAX);

/// For the built-in configuration, in every state of the data folder. A server prints no credentials: `curl` reads
/// them from files and from answers.
const HINTS: &str = r#"
With the built-in configuration: a public hook, a hook with the token that alice sees, and her stacks
  curl -s --json '{"hello": "world"}' 'http://{address}/api/v1/blockstacks/hook/1?a=1'
  curl -s -H "X-Webhook-Token: $(curl -s -K {examples}/kragle/alice.curl http://{address}/api/v1/blockstacks/byid/2 | sed 's/.*"webhook_token":"\([^"]*\)".*/\1/')" http://{address}/api/v1/blockstacks/hook/2
  curl -s -K {examples}/kragle/alice.curl http://{address}/api/v1/blockstacks
"#;

/// Everything that requests have in common.
struct App {
    storage: Storage,
    tokens: Tokens,
    users: Arc<Users>,
    /// Who may call which address.
    auth: AuthLayer,
    /// Runs stacks for the callers of their webhooks.
    hooks: Hooks,
    /// Runs stacks for their owners.
    exec: Hooks,
    /// Reads the bodies of all other requests.
    buffer: BodyBufferLayer,
}

impl App {
    async fn open(config: &Config, data: &Path, log: Option<&Path>) -> Result<Self, Error> {
        let folder = DataFolder::open(data)?;
        let storage = Storage::open(folder.database("stacks.db")?).await?;
        let tokens = Tokens::open(&folder).await?;
        import(config, &storage, &tokens).await.map_err(StorageError::into_error)?;

        let users = Arc::new(Users::new(&config.users)?);
        let auth = auth(&tokens, &users)?;
        let runner = Arc::new(Runner::new(ExecLog::open(log)?));
        let hooks = {
            let runner = Arc::clone(&runner);
            let run = move |invocation: Invocation| {
                let run = runner.run(&invocation);
                async move { Outcome::json(&run?.output) }
            };
            limited(Hooks::new(auth.clone(), run))?
                .with_response_format(ResponseFormat::status_json())
        };
        let exec = {
            let run = move |invocation: Invocation| {
                let run = runner.run(&invocation);
                async move { Outcome::json(&run?.blocks) }
            };
            limited(Hooks::new(for_owners()?, run))?
                .with_response_format(ResponseFormat::custom(exec_answer))
        };
        let buffer =
            BodyBufferLayer::new().with_max_bytes(MAX_BODY_BYTES).with_rejection_response(refusal);
        Ok(Self { storage, tokens, users, auth, hooks, exec, buffer })
    }

    /// The way of a request: its address, the stacks it names, and then the library, which asks
    /// [`Target::policy`] who may call.
    async fn serve(self: Arc<Self>, mut request: Request) -> Result<Response, Fault> {
        let address = Address::parse(request.uri().path()).ok_or(Fault::NotFound)?;
        let is_hook = matches!(address, Address::Hook(_));
        if matches!(address, Address::Hook(_) | Address::Exec(_)) {
            envelope::prepare(&mut request)?;
        }
        request.extensions_mut().insert(self.target(address).await?);
        if is_hook {
            let Ok(response) = self.hooks.clone().oneshot(request).await;
            return Ok(response.map(Body::new));
        }
        let auth = self.auth.clone();
        let service = service_fn(move |request| api::answer(Arc::clone(&self), request));
        let Ok(response) = auth.layer(service).oneshot(request).await;
        Ok(response.map(Body::new))
    }

    async fn target(&self, address: Address) -> Result<Target, Fault> {
        let stacks = match &address {
            Address::Hook(id)
            | Address::Exec(id)
            | Address::TokenRefresh(id)
            | Address::ById(id)
            | Address::Stack(id) => match id {
                Some(id) => self.storage.by_id(*id).await?.into_iter().collect(),
                None => Vec::new(),
            },
            Address::ByName(name) => self.storage.by_name(name).await?,
            Address::Stacks | Address::Authenticate => Vec::new(),
        };
        Ok(Target { address, stacks: stacks.into() })
    }
}

/// Takes over the stacks and tokens of the configuration when the folder is new. The stacks come last and all at
/// once: without them, the next start begins again.
async fn import(config: &Config, storage: &Storage, tokens: &Tokens) -> Result<(), StorageError> {
    if storage.is_imported().await? {
        return Ok(());
    }
    for (stack, token) in &config.stacks {
        if let Some(token) = token {
            tokens.import(stack, token).await?;
        }
    }
    storage.import(config.stacks.iter().map(|(stack, _)| stack)).await
}

/// Who may call, and where credentials are looked for.
fn auth(tokens: &Tokens, users: &Arc<Users>) -> Result<AuthLayer, Error> {
    // In this protocol, a value with commas is one value.
    let users_presented = Credentials::new([Placement::basic(), Placement::cookie(COOKIE)?])?
        .with_insecure_unsplit_values();
    let presented = users_presented.clone();
    let policy = move |head: RequestHead<'_>| -> Option<Policy> {
        let presents_user = || !matches!(presented.find(head), Ok(None));
        head.extensions().get::<Target>()?.policy(head.method(), presents_user)
    };
    let carriers = Credentials::new(carriers()?)?
        .with_content_limits(CONTENT_LIMITS)
        .with_insecure_unsplit_values();
    Ok(AuthLayer::per_request(policy)
        .with_keys(tokens.verifier(), carriers)?
        .with_authenticator(Arc::clone(users), users_presented)?
        // The protocol looks at the credential of the mode that the hook is in, and ignores the others.
        .with_insecure_mixed_credentials()
        .with_rejection_response(refusal))
}

/// For the stacks that their owners run, after `auth` has let them in. A token is no credential there and is removed
/// too.
fn for_owners() -> Result<AuthLayer, Error> {
    Ok(AuthLayer::per_request(|head: RequestHead<'_>| {
        let stack = head.extensions().get::<Target>()?.stack()?;
        Some(Policy::public().with_methods([head.method().clone()]).with_hook(stack.id.to_string()))
    })
    .with_removed(carriers()?)?
    .with_rejection_response(refusal))
}

/// The places for the token of a hook.
fn carriers() -> Result<[Placement; 3], Error> {
    Ok([Placement::header("x-webhook-token")?, Placement::bearer(), Placement::query("token")?])
}

/// The envelope of the protocol, under limits that leave room for every body.
fn limited(hooks: Hooks) -> Result<Hooks, Error> {
    Ok(hooks
        .with_envelope(envelope::builder()?)?
        .with_max_body_bytes(MAX_BODY_BYTES)
        // A byte of a form can become six in the envelope.
        .with_max_response_bytes(8 * MAX_BODY_BYTES)
        .with_encoded_bodies()
        .with_max_executions(1024)?)
}

fn exec_answer(end: Result<&Outcome, &Failure>) -> Response<Bytes> {
    let text = match end {
        Ok(outcome) => format!(r#"{{"success":{}}}"#, outcome.as_json().unwrap_or("[]")),
        Err(failure) => serde_json::json!({"error": failure.text()}).to_string(),
    };
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn router(app: App) -> Router {
    let serve = |State(app): State<Arc<App>>, request: Request| async move {
        app.serve(request).await.unwrap_or_else(|fault| fault.into_response())
    };
    servers::with_guarded_refusals(Router::new().fallback(serve).with_state(Arc::new(app)))
}

async fn run() -> Result<(), Error> {
    let Some(flags) = Flags::parse("kragle", &["exec-log"], env::args_os().skip(1))? else {
        return Ok(());
    };
    let config = Config::parse(&flags.read_config(include_str!("demo.json"))?)?;
    let log = flags.own.first().and_then(Option::as_deref);
    let app = App::open(&config, &flags.data, log).await?;
    servers::serve(flags.listen, router(app), flags.hints(HINTS)).await
}

#[tokio::main]
async fn main() -> ExitCode {
    servers::exit("kragle", run().await)
}
