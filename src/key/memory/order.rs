//! The order of the keys of every owner, in a few bytes for each key.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::key::moment::Moment;
use crate::key::{KeyId, KeyRecord, Owner};

/// The numbers of all records, ordered by owner, time of creation and id.
///
/// It is a tree of pages. A page is a sorted list of numbers: what they are compared by is in the records,
/// which whoever calls can look up. Only the lowest place of a page is written down. One order for all
/// owners takes the same for each key, whether a million owners have one or one owner has a million.
pub(super) struct Order {
    /// Every page by the lowest place that belongs to it. `None` is below all others and is always there.
    pages: BTreeMap<Option<Place>, Vec<u64>>,
}

/// Where a record stands.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    owner: Arc<Owner>,
    /// `None` is before the first key of the owner.
    key: Option<(Moment, KeyId)>,
}

impl Place {
    pub(super) fn of(record: &KeyRecord) -> Self {
        let key = (record.creation(), record.id().clone());
        Self { owner: record.shared_owner(), key: Some(key) }
    }

    pub(super) fn new(owner: &Owner, key: Option<(Moment, KeyId)>) -> Self {
        Self { owner: Arc::new(owner.clone()), key }
    }

    fn compare(&self, record: &KeyRecord) -> Ordering {
        let owner = self.owner.as_ref().cmp(record.owner());
        owner.then_with(|| match &self.key {
            None => Ordering::Less,
            Some((time, id)) => time.cmp(&record.creation()).then_with(|| id.cmp(record.id())),
        })
    }
}

impl Order {
    /// The most numbers in a page.
    const MAX: usize = 128;
    /// A page with fewer is put together with the one before it.
    const MIN: usize = Self::MAX / 4;
    /// A page grows by so many. To double it would leave a quarter of it empty.
    const STEP: usize = 64;

    /// Adds a record, which from now on shares what it can with its neighbours.
    pub(super) fn insert<'a>(
        &mut self,
        number: u64,
        record: &mut KeyRecord,
        find: impl Fn(u64) -> Option<&'a KeyRecord>,
    ) {
        let place = Some(Place::of(record));
        let Some((_, page)) = self.pages.range_mut(..=&place).next_back() else { return };
        let index = count(page, place.as_ref(), &find, Ordering::is_gt);
        let neighbours = [index.checked_sub(1), Some(index)].into_iter().flatten();
        for neighbour in neighbours.filter_map(|index| find(*page.get(index)?)) {
            record.share(neighbour);
        }
        if page.len() == page.capacity() {
            page.reserve_exact(Self::STEP);
        }
        page.insert(index, number);
        // Where keys are added at the end, pages stay full.
        let middle = if index == Self::MAX { Self::MAX } else { Self::MAX / 2 };
        let rest = split(page, middle);
        self.add(rest, |other| if other == number { Some(&*record) } else { find(other) });
    }

    /// Takes a record out that can still be found by its number.
    pub(super) fn remove<'a>(
        &mut self,
        number: u64,
        record: &KeyRecord,
        find: impl Fn(u64) -> Option<&'a KeyRecord>,
    ) {
        let place = Some(Place::of(record));
        let Some((start, page)) = self.pages.range_mut(..=&place).next_back() else { return };
        let index = count(page, place.as_ref(), &find, Ordering::is_gt);
        if page.get(index) == Some(&number) {
            page.remove(index);
        }
        if page.len() >= Self::MIN || start.is_none() {
            return;
        }
        let start = start.clone();
        let small = self.pages.remove(&start).unwrap_or_default();
        let Some((_, page)) = self.pages.range_mut(..start).next_back() else { return };
        page.extend(small);
        let rest = split(page, page.len() / 2);
        self.add(rest, &find);
    }

    /// The numbers of what stands after a place, in order.
    pub(super) fn after<'a>(
        &self,
        place: Place,
        find: impl Fn(u64) -> Option<&'a KeyRecord>,
    ) -> impl Iterator<Item = u64> {
        let place = Some(place);
        let first = self.pages.range(..=&place).next_back();
        let later = first.map(|(start, page)| {
            let passed = count(page, place.as_ref(), &find, Ordering::is_ge);
            self.pages.range(start..).flat_map(|(_, page)| page).copied().skip(passed)
        });
        later.into_iter().flatten()
    }

    fn add<'a>(&mut self, page: Vec<u64>, find: impl Fn(u64) -> Option<&'a KeyRecord>) {
        if let Some(first) = page.first().copied().and_then(find) {
            self.pages.insert(Some(Place::of(first)), page);
        }
    }
}

impl Default for Order {
    fn default() -> Self {
        Self { pages: BTreeMap::from([(None, Vec::new())]) }
    }
}

/// How many numbers of a page come first for which the place compares with the record in such a way.
fn count<'a>(
    page: &[u64],
    place: Option<&Place>,
    find: impl Fn(u64) -> Option<&'a KeyRecord>,
    compares: impl Fn(Ordering) -> bool,
) -> usize {
    let Some(place) = place else { return 0 };
    page.partition_point(|number| {
        find(*number).is_some_and(|record| compares(place.compare(record)))
    })
}

/// What is too much for a page, from the middle on.
fn split(page: &mut Vec<u64>, middle: usize) -> Vec<u64> {
    if page.len() <= Order::MAX {
        return Vec::new();
    }
    let rest = page.split_off(middle);
    page.shrink_to_fit();
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::key::{KeyHasher, ParsedKey};

    fn record(number: u64, owner: u8, second: u16) -> KeyRecord {
        let id = KeyId::new(number.to_string()).unwrap();
        let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
        let created_at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(second.into());
        KeyRecord::new(id, Owner::new(owner.to_string()).unwrap(), "a", digest, created_at).unwrap()
    }

    #[derive(Default)]
    struct World {
        order: Order,
        records: HashMap<u64, KeyRecord>,
        model: BTreeSet<(Place, u64)>,
    }

    impl World {
        fn insert(&mut self, mut record: KeyRecord) {
            let number = record.id().as_str().parse().unwrap();
            self.order.insert(number, &mut record, |number| self.records.get(&number));
            self.model.insert((Place::of(&record), number));
            self.records.insert(number, record);
        }

        fn remove(&mut self, number: u64) {
            let record = &self.records[&number];
            self.order.remove(number, record, |number| self.records.get(&number));
            self.model.remove(&(Place::of(record), number));
            self.records.remove(&number);
        }

        fn check(&self) {
            let pages: Vec<_> = self.order.pages.values().collect();
            let numbers: Vec<u64> = pages.iter().copied().flatten().copied().collect();
            let expected: Vec<u64> = self.model.iter().map(|(_, number)| *number).collect();
            assert_eq!(numbers, expected);
            for page in &pages {
                assert!(page.len() <= Order::MAX && page.capacity() <= 2 * Order::MAX);
            }
            assert!(pages.len() <= 2 + numbers.len() / Order::MIN);
        }

        fn after(&self, owner: &Owner, key: Option<(Moment, KeyId)>) -> Vec<u64> {
            let place = Place::new(owner, key);
            let after = self.order.after(place, |number| self.records.get(&number));
            after.collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_order_agrees_with_a_sorted_set(
            keys in prop::collection::vec((0..4_u8, 0..900_u16), 1..1200),
            kept in 0..1200_usize,
            seed: u64,
        ) {
            let mut world = World::default();
            for (number, (owner, second)) in keys.iter().enumerate() {
                world.insert(record(number as u64, *owner, *second));
            }
            world.check();

            for record in world.records.values().take(20) {
                let key = Some((record.creation(), record.id().clone()));
                let place = (Place::of(record), u64::MAX);
                let expected: Vec<u64> = world.model.range(&place..).map(|(_, number)| *number).collect();
                prop_assert_eq!(world.after(record.owner(), key), expected);
                let place = (Place::new(record.owner(), None), 0);
                let expected: Vec<u64> = world.model.range(&place..).map(|(_, number)| *number).collect();
                prop_assert_eq!(world.after(record.owner(), None), expected);
            }

            let mut numbers: Vec<u64> = world.records.keys().copied().collect();
            numbers.sort_by_key(|number| (number ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for number in numbers.into_iter().skip(kept) {
                world.remove(number);
            }
            world.check();
        }
    }

    #[test]
    fn keys_that_are_added_in_order_fill_their_pages() {
        let mut world = World::default();
        for number in 0..20 * Order::MAX as u64 {
            world.insert(record(number, 0, number as u16));
        }

        world.check();
        assert_eq!(world.order.pages.len(), 20);
        let owner = world.records[&0].shared_owner();
        assert!(world.records.values().all(|record| std::ptr::eq(record.owner(), &*owner)));
    }
}
