use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Look-ups in the store.
    pub loads: u64,
    /// Callers who joined a load that was under way.
    pub coalesced: u64,
    /// Loads without a good answer: errors, panics, missed deadlines, records of another id and records of an
    /// older version than one that is kept.
    pub failed: u64,
    /// Look-ups that got no permit within the deadline, because too many were under way.
    pub refused: u64,
    /// Look-ups whose callers have all left before there was an answer.
    pub abandoned: u64,
    /// Answers that were not kept because something was invalidated during the load.
    pub discarded: u64,
    /// Ids that were invalidated one by one.
    pub invalidations: u64,
    /// How often everything was invalidated at once.
    pub invalidate_all: u64,
    /// Errors of subscriptions.
    pub subscription_errors: u64,
    /// About how many records are kept, those whose time is over included.
    pub entries: u64,
    /// About how many ids without a record are kept.
    pub negative_entries: u64,
    /// About how many bytes the records take. A record counts for at least its share of the bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) negative_hits: Counter,
    pub(super) misses: Counter,
    pub(super) loads: Counter,
    pub(super) coalesced: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
    pub(super) abandoned: Counter,
    pub(super) discarded: Counter,
    pub(super) invalidations: Counter,
    pub(super) invalidate_all: Counter,
    pub(super) subscription_errors: Counter,
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

impl Counters {
    pub(super) fn snapshot(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.count(),
            negative_hits: self.negative_hits.count(),
            misses: self.misses.count(),
            loads: self.loads.count(),
            coalesced: self.coalesced.count(),
            failed: self.failed.count(),
            refused: self.refused.count(),
            abandoned: self.abandoned.count(),
            discarded: self.discarded.count(),
            invalidations: self.invalidations.count(),
            invalidate_all: self.invalidate_all.count(),
            subscription_errors: self.subscription_errors.count(),
            ..CacheStats::default()
        }
    }
}
