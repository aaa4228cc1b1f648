//! Helpers of several modules.

#[cfg(any(feature = "postgres", feature = "queue", feature = "redis", feature = "signature"))]
mod after;
#[cfg(any(feature = "management", feature = "queue"))]
mod base_path;
mod catch_panic;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod conformance;
#[cfg(any(test, feature = "conformance", feature = "tracing"))]
mod error_chain;
pub(crate) mod hex;
mod timeout;
mod unique_id;

#[cfg(any(feature = "postgres", feature = "queue", feature = "redis", feature = "signature"))]
pub(crate) use self::after::after;
#[cfg(any(feature = "management", feature = "queue"))]
pub(crate) use self::base_path::{base_path, below};
pub(crate) use self::catch_panic::{CatchPanic, Panicked, catch_panic};
#[cfg(any(test, feature = "conformance", feature = "tracing"))]
pub(crate) use self::error_chain::ErrorChain;
pub(crate) use self::timeout::timeout;
pub(crate) use self::unique_id::UniqueId;
