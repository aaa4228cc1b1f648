use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::order::{Order, Place};
use super::id_hasher::{ByHash, IdHasher};
use super::moment::Moment;
use super::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, Write};

mod order;

/// A store in memory, which forgets everything when the process ends.
///
/// Look-ups take no lock and never wait. Changes are made one after the other.
///
/// A key takes 165 to 195 bytes, besides the owner, a set of scopes, and texts of more than 23 bytes.
/// The keys of one owner share its text.
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
    /// By the hash of the id, which is the number that `order` has, too.
    records: ByHash<KeyRecord>,
    /// The order of every owner's keys. Whoever holds it is the only one to change `records`.
    order: Mutex<Order>,
    hasher: IdHasher,
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

    /// Puts a record there, whatever is there already.
    #[cfg(test)]
    pub(super) fn put_now(&self, mut record: KeyRecord) {
        let mut order = self.order();
        let records = self.records.pin();
        let find = |number| records.get(&number);
        let number = self.number(record.id());
        if let Some(stored) = find(number) {
            order.remove(number, stored, find);
        }
        order.insert(number, &mut record, find);
        records.insert(number, record);
    }

    /// What stands for an id in the map and in the order.
    fn number(&self, id: &KeyId) -> u64 {
        self.hasher.hash_one(id)
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
        let mut found = None;
        self.find_ready(id, &mut |record| found = record.cloned());
        Ok(found)
    }

    /// An id counts as taken if another one has the same hash. Of random ids it is one in 2^64 for each
    /// record. Whoever chooses ids does not know the seed, and would gain no more than a refusal.
    async fn insert(&self, mut record: KeyRecord) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let number = self.number(record.id());
        if records.contains_key(&number) {
            return Ok(Write::Conflict);
        }
        order.insert(number, &mut record, |number| records.get(&number));
        records.insert(number, record);
        Ok(Write::Done)
    }

    async fn replace(&self, mut record: KeyRecord, expected: u64) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let find = |number| records.get(&number);
        let number = self.number(record.id());
        let Some(stored) = find(number).filter(|stored| stored.id() == record.id()) else {
            return Ok(Write::Conflict);
        };
        if stored.version() != expected {
            return Ok(Write::Conflict);
        }
        record.share(stored);
        if Place::of(stored) != Place::of(&record) {
            order.remove(number, stored, find);
            order.insert(number, &mut record, find);
        }
        records.insert(number, record);
        Ok(Write::Done)
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<Write, StoreError> {
        let mut order = self.order();
        let records = self.records.pin();
        let find = |number| records.get(&number);
        let is_owned = |id: &KeyId| {
            find(self.number(id)).is_some_and(|found| found.id() == id && found.owner() == owner)
        };
        if !ids.iter().all(is_owned) {
            return Ok(Write::Conflict);
        }
        for number in ids.iter().map(|id| self.number(id)) {
            // An id may be named twice.
            if let Some(record) = find(number) {
                order.remove(number, record, find);
                records.remove(&number);
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
        let find = |number| records.get(&number);
        let after = after.map(|after| (Moment::new(after.created_at()), after.id().clone()));
        let later = order.after(Place::new(owner, after), find).filter_map(find);
        let owned = later.take_while(|record| record.owner() == owner);
        Ok(owned.take(limit).cloned().collect())
    }

    fn find_ready(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let records = self.records.pin();
        visit(records.get(&self.number(id)).filter(|record| record.id() == id));
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

    #[tokio::test]
    async fn an_id_with_the_hash_of_another_one_is_not_mistaken_for_it() {
        let store = MemoryKeyStore::new();
        let (kept, other) = (record(1, 0, 0, 0), record(2, 0, 0, 0));
        store.records.pin().insert(store.number(other.id()), kept.clone());

        assert!(store.find(other.id()).await.unwrap().is_none());
        let mut found = true;
        assert!(store.find_ready(other.id(), &mut |record| found = record.is_some()) && !found);
        let ids = [other.id().clone()];
        assert_eq!(store.remove(other.owner(), &ids).await.unwrap(), Write::Conflict);
        assert_eq!(store.replace(other.clone(), 0).await.unwrap(), Write::Conflict);
        assert_eq!(store.insert(other).await.unwrap(), Write::Conflict);
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
                                Write::Conflict
                            } else {
                                model.insert(record.id().clone(), record.clone());
                                Write::Done
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
                                    Write::Done
                                }
                                _ => Write::Conflict,
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
                                Write::Done
                            } else {
                                Write::Conflict
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
                        let answered = store.find_ready(&id, &mut |record| {
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
