use async_trait::async_trait;
use time::OffsetDateTime;

use crate::key::{KeyId, StoreError};

/// Where the times of last use are kept.
///
/// The stores in databases are sinks. They keep the times beside the keys: a record and its version do not change.
#[async_trait]
pub trait LastUsedSink: Send + Sync + 'static {
    /// Keeps for each key when it was last used. Every key occurs once.
    ///
    /// The later of two times for a key counts: a time may come twice, and an earlier one after a later one. A key
    /// may have been deleted in the meantime.
    ///
    /// # Errors
    ///
    /// The times may not be kept. They are part of the next batch.
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError>;

    /// Where the written times are read again: the sink itself, if it is a source too. The default is nowhere.
    ///
    /// A [`LastUsedTracker`](super::LastUsedTracker) is the source of what it remembers and of what is found here.
    fn source(&self) -> Option<&dyn LastUsedSource> {
        None
    }
}

/// Where the times of last use are read again, when they were written.
#[async_trait]
pub trait LastUsedSource: Send + Sync + 'static {
    /// When each of these keys was last used, in their order. Nothing where no use was written.
    ///
    /// A [`LastUsedTracker`](super::LastUsedTracker) writes whole seconds, now and then: a use of the last
    /// minute may be missing.
    ///
    /// # Errors
    ///
    /// The times cannot be read.
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError>;
}
