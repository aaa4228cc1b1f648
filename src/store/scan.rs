use async_trait::async_trait;

use crate::key::{KeyRecord, StoreError};

/// A full scan over the keys of all owners, for operators.
///
/// [`KeyStore`](crate::key::KeyStore) lists the keys of one owner. A scan is a trait of its own, because a request never
/// needs it: a store without it is complete. The stores of this crate have it, but for the cache: scan the store behind
/// it.
///
/// # Examples
///
/// The ids of all keys that have every scope:
///
/// ```
/// use std::sync::Arc;
///
/// use tower_webhook::key::{KeyManager, NewKey, Owner};
/// use tower_webhook::store::{KeyScan, MemoryKeyStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(MemoryKeyStore::new());
/// let keys = KeyManager::new(store.clone());
/// keys.generate(&Owner::new("ann")?, NewKey::new("admin").with_all_scopes()).await?;
/// keys.generate(&Owner::new("bob")?, NewKey::new("laptop")).await?;
///
/// let mut found = Vec::new();
/// store
///     .scan(&mut |record| {
///         if record.scopes().is_all() {
///             found.push(record.id().clone());
///         }
///     })
///     .await?;
/// assert_eq!(found.len(), 1);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait KeyScan: Send + Sync + 'static {
    /// Calls `visit` with every record, in no order.
    ///
    /// A record that is there from the start of the call to its end is visited at least once: twice if the store cannot
    /// tell, as with `SCAN` of Redis. One that is inserted or removed meanwhile may be visited or not. Records are read
    /// in pages, and the deadline of the store holds for each page.
    ///
    /// # Errors
    ///
    /// The store is unavailable, or a record cannot be read. What was visited before is not everything.
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError>;
}
