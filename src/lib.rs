//! Tower middleware for API keys and webhooks.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod credential;
pub mod key;

mod clock;
mod config;
mod timer;

pub use self::clock::Clock;
pub use self::config::ConfigError;
#[cfg(feature = "tokio")]
pub use self::timer::TokioTimer;
pub use self::timer::{SystemTimer, Timer};
