use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::moment::Moment;
use super::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, Write};

/// A store in memory, which forgets everything when the process ends.
///
/// Look-ups take no lock and never wait. Changes are made one after the other.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyManager, MemoryKeyStore};
///
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// ```
#[derive(Default)]
pub struct MemoryKeyStore {
    records: papaya::HashMap<KeyId, KeyRecord>,
    /// The order of every owner's keys. Whoever holds it is the only one to change `records`.
    order: Mutex<Order>,
}

type Order = HashMap<Owner, BTreeSet<(Moment, KeyId)>>;

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A panic elsewhere while the lock was held cannot have left it half changed: nothing between
    /// two changes that belong together panics.
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.records.pin().get(id).cloned())
    }

    async fn insert(&self, record: KeyRecord) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        if records.contains_key(record.id()) {
            return Ok(Write::Conflict);
        }
        order.entry(record.owner().clone()).or_default().insert(place(&record));
        records.insert(record.id().clone(), record);
        Ok(Write::Done)
    }

    async fn replace(&self, record: KeyRecord, expected_version: u64) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let Some(stored) = records.get(record.id()) else {
            return Ok(Write::Conflict);
        };
        if stored.version() != expected_version {
            return Ok(Write::Conflict);
        }
        forget(&mut order, stored);
        order.entry(record.owner().clone()).or_default().insert(place(&record));
        records.insert(record.id().clone(), record);
        Ok(Write::Done)
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let is_owned = |id| records.get(id).is_some_and(|record| record.owner() == owner);
        if !ids.iter().all(is_owned) {
            return Ok(Write::Conflict);
        }
        for id in ids {
            if let Some(record) = records.remove(id) {
                forget(&mut order, record);
            }
        }
        Ok(Write::Done)
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let order = self.order();
        let records = self.records.pin();
        let Some(places) = order.get(owner) else {
            return Ok(Vec::new());
        };
        let start = match after {
            None => Bound::Unbounded,
            Some(after) => Bound::Excluded((Moment::new(after.created_at()), after.id().clone())),
        };
        let later = places.range((start, Bound::Unbounded));
        Ok(later.filter_map(|(_, id)| records.get(id)).take(limit).cloned().collect())
    }

    fn find_ready(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        visit(self.records.pin().get(id));
        true
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn place(record: &KeyRecord) -> (Moment, KeyId) {
    (record.creation(), record.id().clone())
}

fn forget(order: &mut Order, record: &KeyRecord) {
    if let Some(places) = order.get_mut(record.owner()) {
        places.remove(&place(record));
        if places.is_empty() {
            order.remove(record.owner());
        }
    }
}
