use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};

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

    /// Inserts or replaces a record.
    #[cfg(test)]
    pub(crate) fn put_now(&self, record: KeyRecord) {
        let mut order = self.order();
        let records = self.records.pin();
        if let Some(stored) = records.get(record.id()) {
            order.remove(stored);
        }
        order.insert(&record);
        records.insert(record.id().clone(), record);
    }

    /// A panic elsewhere while the lock was held cannot have left the order half changed: nothing between two
    /// changes that belong together panics.
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.records.pin().get(id).cloned())
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        if records.contains_key(record.id()) {
            return Ok(WriteOutcome::Conflict);
        }
        order.insert(&record);
        records.insert(record.id().clone(), record);
        Ok(WriteOutcome::Applied)
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        match records.get(record.id()) {
            Some(stored) if stored.version() == expected => order.remove(stored),
            _ => return Ok(WriteOutcome::Conflict),
        }
        order.insert(&record);
        records.insert(record.id().clone(), record);
        Ok(WriteOutcome::Applied)
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let is_owned = |id: &KeyId| records.get(id).is_some_and(|record| record.owner() == owner);
        if !ids.iter().all(is_owned) {
            return Ok(WriteOutcome::Conflict);
        }
        // An id may be named twice.
        for record in ids.iter().filter_map(|id| records.remove(id)) {
            order.remove(record);
        }
        Ok(WriteOutcome::Applied)
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let order = self.order();
        let records = self.records.pin();
        let found = order.after(owner, after).filter_map(|id| records.get(id));
        Ok(found.take(limit).cloned().collect())
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        visit(self.records.pin().get(id));
        true
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::key::{KeyHasher, ParsedKey};

    fn record(id: u8, owner: u8, second: u8, version: u64) -> KeyRecord {
        let id = KeyId::new(id.to_string()).unwrap();
        let owner = Owner::new(owner.to_string()).unwrap();
        let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
        let created_at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(second.into());
        KeyRecord::new(id, owner, "a", digest, created_at).unwrap().with_version(version)
    }

    #[derive(Clone, Debug)]
    enum Call {
        Insert(u8, u8, u8),
        Replace(u8, u64, u64),
        Remove(u8, Vec<u8>),
        List(u8, Option<u8>, usize),
    }

    fn calls() -> impl Strategy<Value = Vec<Call>> {
        let call = prop_oneof![
            3 => (0..6_u8, 0..3_u8, 0..3_u8).prop_map(|(id, owner, at)| Call::Insert(id, owner, at)),
            2 => (0..6_u8, 0..3_u64, 0..3_u64).prop_map(|(id, new, old)| Call::Replace(id, new, old)),
            1 => (0..3_u8, prop::collection::vec(0..6_u8, 0..3))
                .prop_map(|(owner, ids)| Call::Remove(owner, ids)),
            2 => (0..3_u8, prop::option::of(0..6_u8), 0..4_usize)
                .prop_map(|(owner, after, limit)| Call::List(owner, after, limit)),
        ];
        prop::collection::vec(call, 0..60)
    }

    proptest! {
        #[test]
        fn the_store_agrees_with_a_sorted_map(calls in calls()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let store = MemoryKeyStore::new();
                let mut model: BTreeMap<KeyId, KeyRecord> = BTreeMap::new();
                for call in calls {
                    match call {
                        Call::Insert(id, owner, second) => {
                            let record = record(id, owner, second, 0);
                            let expected = if model.contains_key(record.id()) {
                                WriteOutcome::Conflict
                            } else {
                                model.insert(record.id().clone(), record.clone());
                                WriteOutcome::Applied
                            };
                            assert_eq!(store.insert(record).await.unwrap(), expected);
                        }
                        Call::Replace(id, new, old) => {
                            let id = KeyId::new(id.to_string()).unwrap();
                            let stored = model.get(&id).cloned();
                            let record = stored.unwrap_or(record(9, 0, 0, 0)).with_version(new);
                            let expected = match model.get_mut(&id) {
                                Some(stored) if stored.version() == old => {
                                    *stored = record.clone();
                                    WriteOutcome::Applied
                                }
                                _ => WriteOutcome::Conflict,
                            };
                            assert_eq!(store.replace(record, old).await.unwrap(), expected);
                        }
                        Call::Remove(owner, ids) => {
                            let owner = Owner::new(owner.to_string()).unwrap();
                            let id = |id: u8| KeyId::new(id.to_string()).unwrap();
                            let ids: Vec<KeyId> = ids.into_iter().map(id).collect();
                            let owned = |id| model.get(id).is_some_and(|r| *r.owner() == owner);
                            let expected = if ids.iter().all(owned) {
                                model.retain(|id, _| !ids.contains(id));
                                WriteOutcome::Applied
                            } else {
                                WriteOutcome::Conflict
                            };
                            assert_eq!(store.remove(&owner, &ids).await.unwrap(), expected);
                        }
                        Call::List(owner, after, limit) => {
                            let owner = Owner::new(owner.to_string()).unwrap();
                            let after = after.map(|id| PageCursor::of(&record(id, 0, 1, 0)));
                            let mut expected: Vec<_> =
                                model.values().filter(|r| *r.owner() == owner).collect();
                            expected.sort_by_key(|record| PageCursor::of(record));
                            let later = |r: &&KeyRecord| {
                                after.as_ref().is_none_or(|after| PageCursor::of(r) > *after)
                            };
                            let expected: Vec<_> = expected
                                .into_iter()
                                .filter(later)
                                .take(limit)
                                .map(KeyRecord::encode)
                                .collect();
                            let found = store.list(&owner, after.as_ref(), limit).await.unwrap();
                            let found: Vec<_> = found.iter().map(KeyRecord::encode).collect();
                            assert_eq!(found, expected);
                        }
                    }
                    assert_eq!(store.len(), model.len());
                    for id in 0..6_u8 {
                        let id = KeyId::new(id.to_string()).unwrap();
                        let expected = model.get(&id).map(KeyRecord::encode);
                        let found = store.find(&id).await.unwrap();
                        assert_eq!(found.as_ref().map(KeyRecord::encode), expected);
                        let mut visited = None;
                        let answered = store.try_find_now(&id, &mut |record| {
                            visited = Some(record.map(KeyRecord::encode));
                        });
                        assert!(answered);
                        assert_eq!(visited, Some(expected));
                    }
                }
            });
        }
    }
}
