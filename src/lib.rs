//! Tower middleware for API keys and webhooks on axum and hyper.
//!
//! # The path of a request
//!
//! Each module is one step, in the order of a request's path:
//!
//! | module | what |
//! |---|---|
//! | [`drain`] | reads what a refused upload has left, so that its client sees the response |
//! | [`auth`] | the layer and service: public, key or user, as a policy says |
//! | [`credential`] | where a credential is, how it is read and removed |
//! | [`body`] | reads a body once, under limits, and replays it |
//! | [`content`] | media types, JSON, forms and multipart, read strictly |
//! | `signature` | signatures of webhook providers (feature `signature`) |
//! | `replay` | each signed delivery once (feature `signature`) |
//! | [`key`] | keys: records, formats, digests, verification, life cycle |
//! | [`store`] | where records are kept |
//! | [`identity`] | the proven caller, in the request's extensions |
//! | [`rate_limit`] | limits on the calls of a caller |
//! | [`envelope`] | a request as one JSON text |
//! | [`hook`] | runs an executor for each request, and answers |
//! | `queue` | stores each execution first, and runs it afterwards (feature `queue`) |
//! | `management` | an HTTP API for keys (feature `management`) |
//! | [`rejection`] | every refusal, as one response |
//! | [`trace`] | events and spans |
//! | `metrics` | counters and histograms (feature `metrics`) |
//!
//! Use as much of it as you need: [`AuthLayer`] in front of existing handlers, [`hook::Hooks`] for hooks, or
//! [`key::KeyVerifier`] and [`envelope::EnvelopeBuilder`] without a server.
//!
//! # Quick start
//!
//! ```
//! use axum::{Extension, Router, routing::post};
//! use tower_webhook::{AuthLayer, Identity, KeyManager, MemoryKeyStore, NewKey, Owner, Placement};
//!
//! async fn deploy(Extension(identity): Extension<Identity>) -> String {
//!     format!("hello {}", identity.owner())
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let issued = keys.generate(&Owner::new("alice")?, NewKey::new("laptop")).await?;
//! println!("keep this, it is shown once: {}", issued.secret().expose_secret());
//!
//! let placements = [Placement::header("x-api-key")?, Placement::bearer()];
//! let app: Router = Router::new()
//!     .route("/deploy", post(deploy))
//!     .route_layer(AuthLayer::token(&keys, placements)?);
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! A webhook is a service: [`Hooks`](hook::Hooks) runs an async function for each request. With the feature
//! `signature`, for deliveries that GitHub has signed:
//!
//! ```
//! # #[cfg(feature = "signature")]
//! # mod example {
//! use std::error::Error;
//!
//! use axum::Router;
//! use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
//! use tower_webhook::signature::{Sender, SignatureVerifier, SigningSecret, presets};
//! use tower_webhook::{AuthLayer, Owner};
//!
//! async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
//!     println!("{}", invocation.envelope().as_str());
//!     Ok(Outcome::empty())
//! }
//!
//! fn app(secret: &str) -> Result<Router, Box<dyn Error>> {
//!     let secret = SigningSecret::raw(secret)?;
//!     let github = Sender::new(Owner::new("github")?, presets::github(), [secret])?;
//!     let auth = AuthLayer::signed(SignatureVerifier::new(github));
//!     Ok(Router::new().route_service("/github", Hooks::new(auth, run)))
//! }
//! # }
//! ```
//!
//! # Features
//!
//! None is on by default. A feature adds API and changes nothing that exists.
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | [`identity::Identity`] and `Option<Identity>` as extractors, and removal of credentials from axum's `OriginalUri` |
//! | `cache` | `CachedKeyStore`, a bounded cache in front of a slow store |
//! | `conformance` | `conformance` in [`store`], [`rate_limit`], `replay` and `queue`: the rules of their traits as tests for your own |
//! | `ecdsa` | signatures of SendGrid |
//! | `ed25519` | signatures of Discord, and version `v1a` of Standard Webhooks |
//! | `file` | `FileKeyStore`, keys in a JSON file that is read again while the server runs (needs Rust 1.89) |
//! | `management` | `management`, an HTTP API through which callers manage their own keys |
//! | `metrics` | counters and histograms of decisions and executions, through the crate `metrics` |
//! | `multipart` | `multipart/form-data` in body placements and in the envelope |
//! | `postgres` | `PostgresKeyStore` (needs Rust 1.94) |
//! | `queue` | `queue`, durable executions: jobs, a worker, and a service that shows them |
//! | `queue-nats` | `NatsQueue` (needs Rust 1.89) |
//! | `queue-postgres` | `PostgresQueue` (needs Rust 1.94) |
//! | `queue-sqlite` | `SqliteQueue` (needs Rust 1.94; compiles SQLite, which is C) |
//! | `recoverable` | `SealingKeys`: keys whose text can be shown again, sealed in the store |
//! | `redis` | `RedisKeyStore` and `RedisRateLimiter` |
//! | `signature` | `signature`, signatures of webhook providers, and `replay`, each delivery once |
//! | `sqlite` | `SqliteKeyStore` (needs Rust 1.94; compiles SQLite, which is C) |
//! | `testing` | `Identity::for_test` and `TestIdentityLayer`, made-up callers for tests; only with debug assertions |
//! | `tracing` | one event per request and per failed execution, see [`trace`] |
//! | `util` | `ServiceBuilderExt`, methods for tower's `ServiceBuilder` |
//! | `full` | all of them but `testing` |
//!
//! # Runtime
//!
//! Deadlines are those of tokio: a call that has to wait needs a tokio runtime with its time driver.
//!
//! # In a stack of layers
//!
//! From the outside in: tracing, CORS, draining, compression, decoding, then [`AuthLayer`], then limits of concurrency.
//! The page [`orders`] says why, and what another order does. The page [`recipes`] has code for other tasks.
//!
//! # Minimum supported Rust version
//!
//! 1.88, 1.89 with the features `file` and `queue-nats`, and 1.94 with `postgres` and `sqlite`. The default features compile no C;
//! `sqlite` compiles SQLite.
//!
//! # Public dependencies
//!
//! Types of these crates are in the public interface: `async-trait`, `bytes`, `http`, `http-body`, `http-body-util`,
//! `serde`, `serde_json`, `time`, `tower-layer`, `tower-service`, and behind their features `async-nats` 0.51,
//! `axum-core`, `metrics` 0.24 (its recorder), `redis` 1, `sqlx` 0.9, `tower` and `tracing`. A new major version of one of them is a new major version of this crate.
//!
//! # Scope
//!
//! This crate does not log users in, keep sessions, issue or check JWTs (an [`Authenticator`](auth::Authenticator)
//! can), limit the rates of clients without a key, terminate TLS, decode compressed bodies, or send
//! webhooks. Executions are queued and retried with the feature `queue` alone.

#![cfg_attr(docsrs, feature(doc_cfg))]

// In the order of a request's path.
pub mod drain;

pub mod auth;
pub mod credential;

pub mod body;
pub mod content;

pub mod key;
pub mod store;

pub mod identity;
pub mod rate_limit;

pub mod envelope;
pub mod hook;

#[cfg(feature = "management")]
#[cfg_attr(docsrs, doc(cfg(feature = "management")))]
pub mod management;

#[cfg(feature = "queue")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
pub mod queue;
pub mod rejection;
#[cfg(feature = "signature")]
#[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
pub mod replay;
#[cfg(feature = "signature")]
#[cfg_attr(docsrs, doc(cfg(feature = "signature")))]
pub mod signature;
pub mod trace;

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;

// Pages of the docs.
#[cfg(any(doc, doctest))]
pub mod orders;
#[cfg(any(doc, doctest))]
pub mod recipes;

#[cfg(feature = "util")]
mod builder;
mod clock;
mod error;
mod request_head;
mod util;

pub use self::auth::AuthLayer;
#[cfg(feature = "util")]
#[cfg_attr(docsrs, doc(cfg(feature = "util")))]
pub use self::builder::ServiceBuilderExt;
pub use self::clock::Clock;
pub use self::credential::Placement;
pub use self::error::{BoxError, ConfigError};
pub use self::identity::Identity;
pub use self::key::{KeyManager, NewKey, Owner, Scope};
pub use self::request_head::RequestHead;
pub use self::store::MemoryKeyStore;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
