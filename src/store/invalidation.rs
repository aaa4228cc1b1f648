use async_trait::async_trait;

use crate::key::{KeyId, StoreError};

/// What a cache of records has to forget.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Invalidation {
    /// The record of one key was made, changed or removed.
    Key(KeyId),
    /// Anything may have changed.
    All,
}

/// News about changes of keys, from wherever they are made: a subscription that a cache follows.
///
/// 1. A message comes after the change that it is about: who reads the record then, reads the change.
/// 2. A message may come twice, late or out of order. To forget once too often does no harm.
/// 3. A message may be lost only if something else says so: an error, or [`Invalidation::All`].
/// 4. After a connection was made again, [`Invalidation::All`] comes first.
///
/// # Examples
///
/// A subscription over a queue of texts, where an empty text stands for a gap:
///
/// ```
/// use async_trait::async_trait;
/// use tokio::sync::mpsc::Receiver;
/// use tower_webhook::key::{KeyId, StoreError};
/// use tower_webhook::store::{Invalidation, Invalidations};
///
/// struct Texts(Receiver<String>);
///
/// #[async_trait]
/// impl Invalidations for Texts {
///     async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
///         let Some(text) = self.0.recv().await else {
///             return Ok(None);
///         };
///         // A text that cannot be read may have been about any key.
///         Ok(Some(KeyId::new(&text).map_or(Invalidation::All, Invalidation::Key)))
///     }
/// }
/// ```
#[async_trait]
pub trait Invalidations: Send + 'static {
    /// Waits for the next message. `None`: there will be none any more.
    ///
    /// The first call connects, and so does the first call after an error. The future may be dropped
    /// while it waits, and then no message is lost.
    ///
    /// # Errors
    ///
    /// The connection is lost or cannot be made: messages may be missing. Who asks forgets everything,
    /// waits a little and asks again.
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError>;
}
