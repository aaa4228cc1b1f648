use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use crate::store::KeyScan;

/// A store in memory, which forgets everything when the process ends.
///
/// Look-ups take no lock and never wait. Changes are made one after the other.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::MemoryKeyStore;
///
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// ```
#[derive(Default)]
pub struct MemoryKeyStore {
    records: papaya::HashMap<KeyId, KeyRecord>,
    /// The keys of each owner in the order of a list. Its lock serializes all changes.
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order(BTreeMap<Owner, BTreeSet<(Timestamp, KeyId)>>);

impl Order {
    fn insert(&mut self, record: &KeyRecord) {
        let keys = self.0.entry(record.owner().clone()).or_default();
        keys.insert((record.creation(), record.id().clone()));
    }

    fn remove(&mut self, record: &KeyRecord) {
        if let Some(keys) = self.0.get_mut(record.owner()) {
            keys.remove(&(record.creation(), record.id().clone()));
            if keys.is_empty() {
                self.0.remove(record.owner());
            }
        }
    }

    /// The ids of an owner's keys behind the cursor.
    fn after(&self, owner: &Owner, cursor: Option<&PageCursor>) -> impl Iterator<Item = &KeyId> {
        let start = match cursor {
            None => Bound::Unbounded,
            Some(cursor) => {
                Bound::Excluded((Timestamp::new(cursor.created_at()), cursor.id().clone()))
            }
        };
        let keys = self.0.get(owner).into_iter();
        keys.flat_map(move |keys| keys.range((start.clone(), Bound::Unbounded))).map(|(_, id)| id)
    }
}

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

    /// Inserts, replaces or removes a record.
    #[cfg(test)]
    pub(crate) fn put_now(&self, id: &KeyId, record: Option<KeyRecord>) {
        let mut order = self.order();
        let records = self.records.pin();
        if let Some(stored) = records.remove(id) {
            order.remove(stored);
        }
        if let Some(record) = record {
            order.insert(&record);
            records.insert(id.clone(), record);
        }
    }

    /// The record of any key that suits.
    #[cfg(test)]
    pub(crate) fn find_now(&self, mut suits: impl FnMut(&KeyRecord) -> bool) -> Option<KeyRecord> {
        self.records.pin().values().find(|record| suits(record)).cloned()
    }

    /// A panic elsewhere while the lock was held cannot have left the order half changed: nothing between two
    /// changes that belong together panics.
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of [`KeyStore`], none of which waits.
impl MemoryKeyStore {
    pub(super) fn find_by_id(&self, id: &KeyId) -> Option<KeyRecord> {
        self.records.pin().get(id).cloned()
    }

    pub(super) fn insert_new(&self, record: KeyRecord) -> WriteOutcome {
        let mut order = self.order();
        let records = self.records.pin();
        if records.contains_key(record.id()) {
            return WriteOutcome::Conflict;
        }
        order.insert(&record);
        records.insert(record.id().clone(), record);
        WriteOutcome::Applied
    }

    pub(super) fn replace_version(&self, record: KeyRecord, expected: u64) -> WriteOutcome {
        let mut order = self.order();
        let records = self.records.pin();
        match records.get(record.id()) {
            Some(stored) if stored.version() == expected => order.remove(stored),
            _ => return WriteOutcome::Conflict,
        }
        order.insert(&record);
        records.insert(record.id().clone(), record);
        WriteOutcome::Applied
    }

    pub(super) fn remove_all(&self, owner: &Owner, ids: &[KeyId]) -> WriteOutcome {
        let mut order = self.order();
        let records = self.records.pin();
        let is_owned = |id: &KeyId| records.get(id).is_some_and(|record| record.owner() == owner);
        if !ids.iter().all(is_owned) {
            return WriteOutcome::Conflict;
        }
        // An id may be named twice.
        for record in ids.iter().filter_map(|id| records.remove(id)) {
            order.remove(record);
        }
        WriteOutcome::Applied
    }

    pub(super) fn page(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Vec<KeyRecord> {
        let order = self.order();
        let records = self.records.pin();
        let found = order.after(owner, after).filter_map(|id| records.get(id));
        found.take(limit).cloned().collect()
    }

    /// Visits every record: by owner, and those of one owner in the order of a list.
    #[cfg(feature = "file")]
    pub(super) fn for_each(&self, mut visit: impl FnMut(&KeyRecord)) {
        let order = self.order();
        let records = self.records.pin();
        let ids = order.0.values().flatten().map(|(_, id)| id);
        ids.filter_map(|id| records.get(id)).for_each(&mut visit);
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.find_by_id(id))
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        Ok(self.insert_new(record))
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        Ok(self.replace_version(record, expected))
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        Ok(self.remove_all(owner, ids))
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.page(owner, after, limit))
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        visit(self.records.pin().get(id));
        true
    }
}

#[async_trait]
impl KeyScan for MemoryKeyStore {
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError> {
        self.records.pin().values().cloned().for_each(visit);
        Ok(())
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::{ann, plain};

    #[tokio::test]
    async fn the_length_counts_records() {
        let store = MemoryKeyStore::new();
        assert!(store.is_empty());
        for expected in [WriteOutcome::Applied, WriteOutcome::Conflict] {
            assert_eq!(store.insert(plain()).await.unwrap(), expected);
            assert_eq!((store.len(), store.is_empty()), (1, false));
        }
        assert_eq!(
            store.remove(&ann(), &[plain().id().clone()]).await.unwrap(),
            WriteOutcome::Applied
        );
        assert!(store.is_empty());
    }

    #[tokio::test]
    async fn a_scan_visits_the_keys_of_all_owners() {
        let store = MemoryKeyStore::new();
        let mut inserted = Vec::new();
        for (id, owner) in [("b", "ann"), ("a", "bob"), ("c", "ann")] {
            let (id, owner) = (KeyId::new(id).unwrap(), Owner::new(owner).unwrap());
            let record =
                KeyRecord::new(id, owner, "ci", plain().digest().clone(), plain().created_at());
            let record = record.unwrap();
            assert_eq!(store.insert(record.clone()).await.unwrap(), WriteOutcome::Applied);
            inserted.push(record.encode());
        }
        let mut visited = Vec::new();
        store.scan(&mut |record| visited.push(record.encode())).await.unwrap();
        visited.sort();
        inserted.sort();
        assert_eq!(visited, inserted);
    }
}
