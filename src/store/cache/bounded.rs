//! A map with a bound. To read it takes no lock, and what was not read lately makes room.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::KeyId;
use crate::store::id_hasher::ByHash;

/// What is kept for an id.
pub(super) trait Item {
    fn id(&self) -> &KeyId;

    /// Its part of the bound.
    fn weight(&self) -> u64;
}

/// Items by the hash of their id. Of two ids with one hash, the later one is kept.
///
/// They stand in a ring, over which a hand goes round when there has to be room: it takes out what was not read
/// since it last came by. So what is read now and then outlasts any number of items that are read once.
pub(super) struct Bounded<T, H> {
    kept: ByHash<Kept<T>>,
    /// Whoever holds it is the only one to change `kept`.
    ring: Mutex<Ring>,
    limit: u64,
    hasher: H,
}

struct Kept<T> {
    item: T,
    weight: u64,
    place: usize,
    is_used: AtomicBool,
}

#[derive(Default)]
struct Ring {
    /// The hashes of what is kept, and places that are free.
    places: Vec<Option<u64>>,
    free: Vec<usize>,
    weight: u64,
    /// Where room is made next.
    hand: usize,
    /// Where is looked next for what is over.
    broom: usize,
}

impl<T: Item, H: BuildHasher + Default> Bounded<T, H> {
    pub(super) fn new(limit: u64) -> Self {
        Self { kept: ByHash::default(), ring: Mutex::default(), limit, hasher: H::default() }
    }

    /// Looks at an item. It may not be copied, so it may not be taken along.
    pub(super) fn look<R>(&self, id: &KeyId, look: impl FnOnce(&T) -> R) -> Option<R> {
        let kept = self.kept.pin();
        let found = kept.get(&self.hash(id)).filter(|found| found.item.id() == id)?;
        // Read first: a cache line that is only read is shared by all threads.
        if !found.is_used.load(Ordering::Relaxed) {
            found.is_used.store(true, Ordering::Relaxed);
        }
        Some(look(&found.item))
    }

    /// Keeps what is made of the item that is kept, or leaves things as they are. Nobody else changes
    /// anything in the meantime. What is over is useless to everybody.
    pub(super) fn update(
        &self,
        id: &KeyId,
        is_over: impl Fn(&T) -> bool,
        update: impl FnOnce(Option<&T>) -> Option<T>,
    ) {
        let mut ring = self.ring();
        let kept = self.kept.pin();
        let hash = self.hash(id);
        let old = kept.get(&hash);
        let same = old.map(|old| &old.item).filter(|item| item.id() == id);
        let Some(item) = update(same) else { return };
        let weight = item.weight();
        let mut is_used = false;
        if let Some(old) = old {
            // It stays where it can be read until the new one is there.
            is_used = old.is_used.load(Ordering::Relaxed);
            ring.leave(old.place, old.weight);
        }
        self.sweep(&mut ring, &is_over);
        if weight > self.limit {
            kept.remove(&hash);
            return;
        }
        self.make_room(&mut ring, self.limit - weight, &is_over);
        let place = ring.enter(hash, weight);
        kept.insert(hash, Kept { item, weight, place, is_used: AtomicBool::new(is_used) });
    }

    pub(super) fn remove(&self, id: &KeyId) {
        let mut ring = self.ring();
        let kept = self.kept.pin();
        let hash = self.hash(id);
        if kept.get(&hash).is_some_and(|found| found.item.id() == id)
            && let Some(found) = kept.remove(&hash)
        {
            ring.leave(found.place, found.weight);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The weight of all items.
    pub(super) fn weight(&self) -> u64 {
        self.ring().weight
    }

    fn hash(&self, id: &KeyId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Takes items out until no more than so much is left.
    fn make_room(&self, ring: &mut Ring, left: u64, is_over: impl Fn(&T) -> bool) {
        let kept = self.kept.pin();
        // Who was passed over once is not passed over again, however fast others read it.
        let mut spared = ring.places.len();
        while ring.weight > left {
            let (place, hash) = ring.next(|ring| &mut ring.hand);
            let Some((hash, found)) = hash.and_then(|hash| Some((hash, kept.get(&hash)?))) else {
                continue;
            };
            let is_used = found.is_used.swap(false, Ordering::Relaxed);
            if is_used && spared > 0 && !is_over(&found.item) {
                spared -= 1;
            } else {
                ring.leave(place, found.weight);
                kept.remove(&hash);
            }
        }
    }

    /// Gives the memory back of what is over. Two places for each new item, so it keeps up.
    fn sweep(&self, ring: &mut Ring, is_over: impl Fn(&T) -> bool) {
        let kept = self.kept.pin();
        for _ in 0..2 {
            let (place, hash) = ring.next(|ring| &mut ring.broom);
            if let Some(hash) = hash
                && let Some(found) = kept.get(&hash).filter(|found| is_over(&found.item))
            {
                ring.leave(place, found.weight);
                kept.remove(&hash);
            }
        }
    }

    /// Nothing that can panic stands between two changes that belong together.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn enter(&mut self, hash: u64, weight: u64) -> usize {
        self.weight += weight;
        let free = self.free.pop();
        let place = free.unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(place) => *place = Some(hash),
            None => self.places.push(Some(hash)),
        }
        place
    }

    fn leave(&mut self, place: usize, weight: u64) {
        self.weight -= weight;
        if let Some(place) = self.places.get_mut(place) {
            *place = None;
        }
        self.free.push(place);
    }

    /// What stands where a hand points, which moves on.
    fn next(&mut self, hand: impl FnOnce(&mut Self) -> &mut usize) -> (usize, Option<u64>) {
        let len = self.places.len();
        let hand = hand(self);
        let place = *hand;
        *hand = if place + 1 < len { place + 1 } else { 0 };
        (place, self.places.get(place).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::store::id_hasher::IdHasher;

    #[derive(Clone, Debug)]
    struct Thing {
        id: KeyId,
        weight: u64,
        number: usize,
    }

    impl Item for Thing {
        fn id(&self) -> &KeyId {
            &self.id
        }

        fn weight(&self) -> u64 {
            self.weight
        }
    }

    fn id(number: usize) -> KeyId {
        KeyId::new(format!("key{number}")).unwrap()
    }

    fn thing(number: usize, weight: u64) -> Thing {
        Thing { id: id(number), weight, number }
    }

    type Map = Bounded<Thing, IdHasher>;

    impl Map {
        fn put(&self, thing: Thing) {
            self.update(&thing.id.clone(), |_| false, |_| Some(thing));
        }

        fn number(&self, number: usize) -> Option<usize> {
            self.look(&id(number), |thing| thing.number)
        }

        /// What the ring says is what the map has.
        fn check(&self) {
            let ring = self.ring();
            let kept = self.kept.pin();
            let weight: u64 = kept.values().map(|kept| kept.weight).sum();
            assert_eq!(ring.weight, weight);
            assert!(weight <= self.limit, "{weight}");
            for (hash, kept) in &kept {
                assert_eq!(ring.places[kept.place], Some(*hash));
            }
            let taken = ring.places.iter().flatten().count();
            assert_eq!((taken, ring.places.len()), (kept.len(), kept.len() + ring.free.len()));
            let mut free = ring.free.clone();
            free.sort_unstable();
            free.dedup();
            assert_eq!(free.len(), ring.free.len());
        }
    }

    #[test]
    fn what_is_read_now_and_then_outlasts_what_is_read_once() {
        let map = Map::new(100);
        for number in 0..10 {
            map.put(thing(number, 1));
        }

        for number in 10..10_000 {
            map.put(thing(number, 1));
            map.number(number % 10).unwrap();
        }

        map.check();
        assert_eq!(map.len(), 100);
    }

    #[test]
    fn what_is_over_is_taken_out_by_later_changes() {
        let map = Map::new(1000);
        for number in 0..100 {
            map.put(thing(number, 1));
            map.number(number).unwrap();
        }
        let is_over = |thing: &Thing| thing.number < 100;

        for number in 100..150 {
            map.update(&id(number), is_over, |_| Some(thing(number, 1)));
        }

        map.check();
        assert_eq!((map.len(), map.number(7)), (50, None));
    }

    #[test]
    fn an_item_that_is_heavier_than_the_bound_is_not_kept() {
        let map = Map::new(10);
        map.put(thing(1, 4));
        map.put(thing(2, 4));
        map.put(thing(1, 11));
        assert_eq!((map.number(1), map.number(2)), (None, Some(2)));
        map.put(thing(3, 10));
        assert_eq!((map.number(2), map.number(3)), (None, Some(3)));
        map.check();

        let none = Map::new(0);
        none.put(thing(1, 1));
        assert_eq!(none.len(), 0);
    }

    #[test]
    fn an_id_with_the_hash_of_another_one_is_not_mistaken_for_it() {
        let map = Map::new(10);
        map.put(thing(1, 1));
        let other =
            Kept { item: thing(2, 1), weight: 1, place: 0, is_used: AtomicBool::new(false) };
        map.kept.pin().insert(map.hash(&id(1)), other);

        assert_eq!(map.number(1), None);
        map.remove(&id(1));
        assert_eq!(map.len(), 1);
        let update = |kept: Option<&Thing>| kept.is_none().then(|| thing(1, 3));
        map.update(&id(1), |_| false, update);
        assert_eq!((map.number(1), map.len(), map.weight()), (Some(1), 1, 3));
        map.check();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(usize, u64),
        Read(usize),
        Remove(usize),
        /// From now on, what was put before is over.
        End,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let id = || 0..40_usize;
        let step = prop_oneof![
            20 => (id(), 0..8_u64).prop_map(|(id, weight)| Step::Put(id, weight)),
            20 => id().prop_map(Step::Read),
            5 => id().prop_map(Step::Remove),
            1 => Just(Step::End),
        ];
        prop::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_put_last_and_the_bound_holds(steps in steps(), limit in 0..80_u64) {
            let map = Map::new(limit);
            let mut last = HashMap::new();
            let mut end = 0;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(key, weight) => {
                        let thing = Thing { number, ..thing(key, weight) };
                        map.update(&id(key), |thing| thing.number < end, |_| Some(thing));
                        last.insert(key, number);
                        assert_eq!(map.number(key), (weight <= limit).then_some(number));
                    }
                    Step::Read(key) => {
                        let found = map.number(key);
                        assert!(found.is_none() || found == last.get(&key).copied());
                    }
                    Step::Remove(key) => {
                        map.remove(&id(key));
                        last.remove(&key);
                    }
                    Step::End => end = number,
                }
                map.check();
            }
        }
    }

    #[test]
    fn readers_on_other_threads_find_the_right_items() {
        const IDS: usize = 50;
        let map = Arc::new(Map::new(30));
        let running = Arc::new(AtomicUsize::new(2));
        let readers = (0..2).map(|_| {
            let (map, running) = (Arc::clone(&map), Arc::clone(&running));
            thread::spawn(move || {
                while running.load(Ordering::Relaxed) > 0 {
                    for number in 0..IDS {
                        let found = map.number(number);
                        assert!(found.is_none_or(|found| found % IDS == number));
                    }
                }
            })
        });
        let writers = (0..2).map(|writer| {
            let (map, running) = (Arc::clone(&map), Arc::clone(&running));
            thread::spawn(move || {
                for number in 0..5000 {
                    let number = number * (writer + 3);
                    map.put(Thing { id: id(number % IDS), weight: 1, number });
                    map.remove(&id((number + 7) % IDS));
                }
                running.fetch_sub(1, Ordering::Relaxed);
            })
        });
        for thread in readers.chain(writers).collect::<Vec<_>>() {
            thread.join().unwrap();
        }
        map.check();
    }
}
