use std::sync::atomic::{AtomicU64, Ordering};

use super::generations::Stamp;

/// What a [`CachedKeyStore`](super::CachedKeyStore) has done since it was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Look-ups that were answered with a record from the cache.
    pub hits: u64,
    /// Look-ups that were answered with "there is none" from the cache.
    pub negative_hits: u64,
    /// Look-ups that the cache could not answer.
    pub misses: u64,
    /// Questions to the store.
    pub lookups: u64,
    /// Callers who got the answer to the question of another one.
    pub joined: u64,
    /// Questions to which the store gave no good answer: errors, panics, missed deadlines, records of
    /// another id and records of an older version than one that is kept.
    pub failed: u64,
    /// Look-ups that had no turn within the deadline, because too many were under way.
    pub refused: u64,
    /// Look-ups whose callers have all left before there was an answer.
    pub abandoned: u64,
    /// Answers that were not kept because something was invalidated after the question.
    pub discarded: u64,
    /// Ids that were forgotten one by one.
    pub invalidations: u64,
    /// How often everything was forgotten at once.
    pub clears: u64,
    /// Errors of subscriptions.
    pub gaps: u64,
    /// About how many records are kept.
    pub entries: u64,
    /// About how many ids without a record are kept.
    pub negative_entries: u64,
    /// About how many bytes the records take. A record counts for at least its share of the bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: Hits,
    pub(super) negative_hits: Counter,
    pub(super) misses: Counter,
    pub(super) lookups: Counter,
    pub(super) joined: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
    pub(super) abandoned: Counter,
    pub(super) discarded: Counter,
    pub(super) invalidations: Counter,
    pub(super) clears: Counter,
    pub(super) gaps: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Hits of different keys are counted on different cache lines.
#[derive(Debug, Default)]
struct Hits([Line; 16]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(Counter);

impl Counters {
    pub(super) fn add_hit(&self, stamp: Stamp) {
        if let Some(line) = self.hits.0.get(stamp.stripe() % self.hits.0.len()) {
            line.0.add_one();
        }
    }

    pub(super) fn snapshot(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.0.iter().map(|line| line.0.count()).sum(),
            negative_hits: self.negative_hits.count(),
            misses: self.misses.count(),
            lookups: self.lookups.count(),
            joined: self.joined.count(),
            failed: self.failed.count(),
            refused: self.refused.count(),
            abandoned: self.abandoned.count(),
            discarded: self.discarded.count(),
            invalidations: self.invalidations.count(),
            clears: self.clears.count(),
            gaps: self.gaps.count(),
            ..CacheStats::default()
        }
    }
}
