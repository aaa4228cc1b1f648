//! mods
mod buffered;
mod error;
pub(crate) mod framing;
mod future;
mod layer;
pub(crate) mod read;
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
