//! mods
mod buffered;
mod error;
mod framing;
mod future;
mod layer;
mod read;
mod replay;
#[cfg(test)]
mod scripted;
mod service;
#[cfg(test)]
mod tests;

pub use self::buffered::BufferedBody;
pub use self::error::{ReadError, ReadErrorKind};
pub use self::future::ResponseFuture;
pub use self::layer::BufferLayer;
pub use self::replay::ReplayBody;
pub use self::service::Buffer;

pub(crate) use self::framing::rewrite;
pub(crate) use self::read::{BodyLimits, Collected, ReadBody};
