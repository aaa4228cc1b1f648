//! Generation counters against the race of a look-up with a change.
//!
//! This file knows no cache and no store, so that `tests/loom` can run it with the atomics of loom.

use super::sync::{AtomicU64, Ordering};

/// Counts invalidations, in stripes over the hashes of ids.
///
/// A load takes a stamp before it asks the store, and its answer is valid while the stamp is current. A change
/// writes to the store first and invalidates then. So a valid answer was asked for after the last change,
/// however late it arrives.
///
/// Two ids in one stripe share their invalidations, which costs a load and nothing else.
#[derive(Debug)]
pub(super) struct Generations(Box<[AtomicU64]>);

/// The generation of a stripe when a load began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    stripe: usize,
    generation: u64,
}

impl Generations {
    pub(super) fn new(stripes: usize) -> Self {
        Self((0..stripes.max(1)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Call it before the store is asked.
    pub(super) fn stamp(&self, hash: u64) -> Stamp {
        let stripe = self.stripe(hash);
        Stamp { stripe, generation: self.load(stripe) }
    }

    /// Whether nothing was invalidated since the stamp was made.
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        self.load(stamp.stripe) == stamp.generation
    }

    /// Call it after the change was made.
    pub(super) fn invalidate(&self, hash: u64) {
        if let Some(generation) = self.0.get(self.stripe(hash)) {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn invalidate_all(&self) {
        for generation in &self.0 {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn stripe(&self, hash: u64) -> usize {
        // A remainder of a length is below it.
        (hash % self.0.len() as u64) as usize
    }

    /// Acquires what came before the invalidation that it sees: the change itself.
    fn load(&self, stripe: usize) -> u64 {
        self.0.get(stripe).map_or(0, |generation| generation.load(Ordering::Acquire))
    }
}
