use std::fmt;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::key::StoreError;
use crate::store::{Invalidation, InvalidationStream};

/// Broadcast of invalidations within one process, from the store that changes keys to every cache.
///
/// A subscription that falls behind by more than 1024 messages gets [`Invalidation::All`] in their
/// place. Clones share everything.
///
/// # Examples
///
/// Two caches over one database:
///
/// ```
/// use tower_webhook::store::{CachedKeyStore, InvalidationChannel, MemoryKeyStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let (database, same_database) = (MemoryKeyStore::new(), MemoryKeyStore::new());
/// let channel = InvalidationChannel::new();
/// let admin = CachedKeyStore::new(database).with_invalidation_channel(&channel);
/// let public = CachedKeyStore::new(same_database);
/// tokio::spawn(public.follow(channel.subscribe()));
/// # let _ = admin;
/// # }
/// ```
#[derive(Clone)]
pub struct InvalidationChannel(broadcast::Sender<Invalidation>);

/// A subscription to an [`InvalidationChannel`]. It ends when every clone of the channel is gone.
pub struct InvalidationReceiver(broadcast::Receiver<Invalidation>);

impl InvalidationChannel {
    /// A channel without subscriptions.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(1024).0)
    }

    /// Sends to every subscription. Does not wait.
    pub fn send(&self, invalidation: Invalidation) {
        // An error means that there is no subscription.
        let _ = self.0.send(invalidation);
    }

    /// What is sent from now on.
    #[must_use]
    pub fn subscribe(&self) -> InvalidationReceiver {
        InvalidationReceiver(self.0.subscribe())
    }
}

impl Default for InvalidationChannel {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl InvalidationStream for InvalidationReceiver {
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
        match self.0.recv().await {
            Ok(invalidation) => Ok(Some(invalidation)),
            Err(RecvError::Lagged(_)) => Ok(Some(Invalidation::All)),
            Err(RecvError::Closed) => Ok(None),
        }
    }
}

impl fmt::Debug for InvalidationChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidationChannel").finish_non_exhaustive()
    }
}

impl fmt::Debug for InvalidationReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidationReceiver").finish_non_exhaustive()
    }
}
