//! Tower middleware for API keys and webhooks.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod content;
pub mod credential;
pub mod envelope;

mod clock;
mod config;

pub use self::clock::Clock;
pub use self::config::ConfigError;
