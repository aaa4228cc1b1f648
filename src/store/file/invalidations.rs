use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch::Receiver;

use crate::key::StoreError;
use crate::store::{Invalidation, InvalidationStream, MemoryKeyStore};

/// Says [`Invalidation::All`] whenever the keys of a [`FileKeyStore`](super::FileKeyStore) are other ones: see
/// [`invalidations`](super::FileKeyStore::invalidations). It ends when all clones of the store are gone.
pub struct FileInvalidations(pub(super) Receiver<Arc<MemoryKeyStore>>);

#[async_trait]
impl InvalidationStream for FileInvalidations {
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
        Ok(self.0.changed().await.ok().map(|()| Invalidation::All))
    }
}

impl fmt::Debug for FileInvalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileInvalidations").finish_non_exhaustive()
    }
}
