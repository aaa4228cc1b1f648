use async_trait::async_trait;
use time::OffsetDateTime;

use crate::key::{KeyId, StoreError};

/// Where the times of last use are kept.
///
/// The stores in databases are such places themselves, beside the keys. To keep a time there does not
/// touch the record of the key or its version.
#[async_trait]
pub trait UsageSink: Send + Sync + 'static {
    /// Keeps for each key when it was last used. Every key occurs once.
    ///
    /// Of two times for a key the later one counts, whichever comes first: a time may come twice, and
    /// an earlier one after a later one. A key may have been deleted in the meantime.
    ///
    /// # Errors
    ///
    /// The times may not be kept. They are part of the next batch.
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError>;
}

/// Where the times of last use are read again, when they were written.
#[async_trait]
pub trait UsageSource: Send + Sync + 'static {
    /// When each of these keys was last used, in their order. Nothing where no use was written.
    ///
    /// A [`UsageTracker`](super::UsageTracker) writes whole seconds, now and then: a use of the last
    /// minute may be missing.
    ///
    /// # Errors
    ///
    /// The times cannot be read.
    async fn last_used(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError>;
}
