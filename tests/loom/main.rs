//! Model checking with loom: a look-up races with a change, in every order that the memory model allows.
//!
//! Only `generations.rs` is the code of the library, compiled here with the atomics of loom. `World` is a model of the
//! protocol that the cache follows with it: fill, keep, join and revoke. `mistakes` shows that the checks can fail.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../src/store/cache/generations.rs"]
mod generations;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use self::generations::{Generations, Stamp};

const ID: u64 = 7;
const OLD: u64 = 1;
const REVOKED: u64 = 2;

/// A store with one record, which has a version. Its own synchronization does not help the cache.
struct World {
    store: AtomicU64,
    generations: Generations,
    /// What the cache keeps.
    slot: Mutex<Option<(Stamp, u64)>>,
    /// Single flight: the look-up under way, which others may join, and its answer.
    lookup: Mutex<Option<Stamp>>,
    answer: Mutex<Option<u64>>,
}

impl World {
    fn new(stripes: usize) -> Arc<Self> {
        Arc::new(Self {
            store: AtomicU64::new(OLD),
            generations: Generations::new(stripes),
            slot: Mutex::new(None),
            lookup: Mutex::new(None),
            answer: Mutex::new(None),
        })
    }

    fn ask(&self) -> u64 {
        self.store.load(Ordering::Relaxed)
    }

    fn fill(&self) {
        let stamp = self.generations.stamp(ID);
        let version = self.ask();
        self.keep(stamp, version);
    }

    fn keep(&self, stamp: Stamp, version: u64) {
        let mut slot = self.slot.lock().unwrap();
        if self.generations.is_current(stamp) {
            *slot = Some((stamp, version));
        }
    }

    fn revoke(&self) {
        self.store.store(REVOKED, Ordering::Relaxed);
        self.generations.invalidate(ID);
        *self.slot.lock().unwrap() = None;
    }

    /// What a hit answers.
    fn cached(&self) -> Option<u64> {
        let kept = *self.slot.lock().unwrap();
        kept.filter(|(stamp, _)| self.generations.is_current(*stamp)).map(|(_, version)| version)
    }

    fn assert_revoked(&self) {
        assert!(self.cached().is_none_or(|version| version == REVOKED));
    }
}

#[test]
fn guarantee_9_a_fill_from_before_a_revocation_is_not_served() {
    loom::model(|| {
        let world = World::new(2);
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };

        world.revoke();
        world.assert_revoked();
        filler.join().unwrap();
        world.assert_revoked();
    });
}

#[test]
fn guarantee_1_a_third_thread_sees_the_revocation() {
    loom::model(|| {
        let world = World::new(1);
        let returned = Arc::new(AtomicBool::new(false));
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };
        let revoker = {
            let (world, returned) = (Arc::clone(&world), Arc::clone(&returned));
            thread::spawn(move || {
                world.revoke();
                returned.store(true, Ordering::Release);
            })
        };

        if returned.load(Ordering::Acquire) {
            world.assert_revoked();
        }
        filler.join().unwrap();
        revoker.join().unwrap();
        world.assert_revoked();
    });
}

#[test]
fn guarantee_9_two_fills_and_a_revocation() {
    // All orders with at most two preemptions: without a bound, it takes minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let world = World::new(1);
        let fillers = [(); 2].map(|()| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        });

        world.revoke();
        world.assert_revoked();
        for filler in fillers {
            filler.join().unwrap();
        }
        world.assert_revoked();
    });
}

#[test]
fn guarantee_11_to_forget_everything_is_to_forget_each() {
    loom::model(|| {
        let world = World::new(2);
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fill())
        };

        world.store.store(REVOKED, Ordering::Relaxed);
        world.generations.invalidate_all();
        world.assert_revoked();
        filler.join().unwrap();
        world.assert_revoked();
    });
}

#[test]
fn guarantee_9_a_lookup_after_a_revocation_joins_no_older_one() {
    loom::model(|| {
        let world = World::new(1);
        let leader = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let stamp = {
                    let mut lookup = world.lookup.lock().unwrap();
                    *lookup.insert(world.generations.stamp(ID))
                };
                let version = world.ask();
                world.keep(stamp, version);
                *world.lookup.lock().unwrap() = None;
                *world.answer.lock().unwrap() = Some(version);
            })
        };

        world.revoke();
        let joined = {
            let lookup = world.lookup.lock().unwrap();
            lookup.is_some_and(|stamp| world.generations.is_current(stamp))
        };
        let version = if joined {
            leader.join().unwrap();
            world.answer.lock().unwrap().unwrap()
        } else {
            world.ask()
        };
        assert_eq!(version, REVOKED);
    });
}

#[test]
fn a_fill_that_is_not_interrupted_is_served() {
    loom::model(|| {
        let world = World::new(2);
        world.fill();
        assert_eq!(world.cached(), Some(OLD));
        world.revoke();
        assert_eq!(world.cached(), None);
        world.fill();
        assert_eq!(world.cached(), Some(REVOKED));
    });
}

/// The models find these mistakes.
mod mistakes {
    use super::*;

    #[test]
    #[should_panic(expected = "is_none_or")]
    fn a_stamp_that_is_made_after_the_question_is_found() {
        loom::model(|| {
            let world = World::new(1);
            let filler = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let version = world.ask();
                    let stamp = world.generations.stamp(ID);
                    world.keep(stamp, version);
                })
            };

            world.revoke();
            filler.join().unwrap();
            world.assert_revoked();
        });
    }

    #[test]
    #[should_panic(expected = "is_none_or")]
    fn an_invalidation_before_the_change_is_found() {
        loom::model(|| {
            let world = World::new(1);
            let filler = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.fill())
            };

            world.generations.invalidate(ID);
            world.store.store(REVOKED, Ordering::Relaxed);
            filler.join().unwrap();
            world.assert_revoked();
        });
    }

    #[test]
    #[should_panic(expected = "is_none_or")]
    fn a_cache_that_only_takes_the_entry_out_is_found() {
        loom::model(|| {
            let world = World::new(1);
            let filler = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.fill())
            };

            world.store.store(REVOKED, Ordering::Relaxed);
            *world.slot.lock().unwrap() = None;
            filler.join().unwrap();
            world.assert_revoked();
        });
    }
}
