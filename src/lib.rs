//! Tower middleware for API keys and webhooks: what stands between an HTTP request from a machine and
//! the code that acts on it.
//!
//! # The path of a request
//!
//! A request gains meaning step by step. Each module is one step, in this order:
//!
//! | module | takes | gives |
//! |---|---|---|
//! | [`credential`] | the head of a request (and its buffered body, if a placement is in it) | a [`PresentedCredential`](credential::PresentedCredential): a secret, and where it stood |
//! | [`body`] | a body | the same bytes, read once under limits and replayed exactly |
//! | [`content`] | those bytes and their media type | fields and JSON, strictly read |
//! | [`key`] | a candidate, a record and the time | a [`VerifiedKey`](key::VerifiedKey) |
//! | [`auth`] | all of the above | the tower layer and service |
//! | [`identity`] | the proof | [`Identity`](identity::Identity), in the request's extensions |
//! | [`envelope`] | the request | an [`Envelope`](envelope::Envelope): the request as one JSON text |
//! | [`executor`] | the envelope | an [`Outcome`](executor::Outcome), and the response |
//! | [`manage`] | a request about keys | keys that are made, changed and ended by their owner |
//! | [`rejection`] | what went wrong in any of them | one response |
//!
//! Use as much of it as you need: [`auth::AuthLayer`] in front of existing handlers, [`executor::Hooks`]
//! for hooks, or [`key::KeyVerifier`] and [`envelope::EnvelopeBuilder`] without a server.
//!
//! # Quick start
//!
//! ```
//! use axum::{Extension, Router, routing::post};
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::credential::Placement;
//! use tower_webhook::identity::Identity;
//! use tower_webhook::key::{KeyManager, NewKey, Owner};
//! use tower_webhook::store::MemoryKeyStore;
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
//! # Features
//!
//! None is on by default. A feature adds API and changes nothing that exists.
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | [`Identity`](identity::Identity) and `Option<Identity>` as extractors, and removal of credentials from axum's `OriginalUri` |
//! | `cache` | `CachedKeyStore`, a bounded cache in front of a slow store |
//! | `multipart` | `multipart/form-data` in body placements and in the envelope |
//! | `postgres` | `PostgresKeyStore` (needs Rust 1.94) |
//! | `recoverable` | `SealingKeys`: keys whose text can be shown again, sealed in the store |
//! | `redis` | `RedisKeyStore` |
//! | `sqlite` | `SqliteKeyStore` (needs Rust 1.94; compiles SQLite, which is C) |
//! | `tracing` | one event per request and per failed execution, see [`trace`] |
//! | `util` | `ServiceBuilderExt`, methods for tower's `ServiceBuilder` |
//! | `full` | all of them |
//!
//! # Scope
//!
//! This crate does not log users in, keep sessions, issue or check JWTs, limit rates, terminate TLS, decode
//! compressed bodies, retry or queue executions, or send webhooks.

#![cfg_attr(docsrs, feature(doc_cfg))]

// In the order of a request's path.
pub mod auth;
pub mod credential;

pub mod body;
pub mod content;

pub mod key;
pub mod store;

pub mod identity;

pub mod envelope;
pub mod hook;

#[cfg(feature = "management")]
#[cfg_attr(docsrs, doc(cfg(feature = "management")))]
pub mod management;

pub mod rejection;
pub mod trace;

#[cfg(feature = "util")]
mod builder;
mod clock;
mod error;
mod request_head;
mod timer;
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
pub use self::timer::TokioTimer;
pub use self::timer::{SystemTimer, Timer};

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
