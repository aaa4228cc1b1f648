//! What the cache keeps, and until when.

use std::time::Duration;

use quick_cache::Weighter;
use tokio::time::Instant;

use super::generations::{Generations, Stamp};
use crate::Clock;
use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord};

/// A record as the store gave it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: KeyRecord,
    pub(super) validity: Validity,
}

/// The time before the store was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchStart {
    pub(super) stamp: Stamp,
    instant: Instant,
    time: Timestamp,
}

/// Time to live. Two clocks have to agree: the monotonic one does not jump, and the other one goes on while a
/// machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    stamp: Stamp,
    ends: Instant,
    /// Until when the version of the record is compared with later answers.
    compared_until: Instant,
    since: Timestamp,
    until: Timestamp,
}

impl FetchStart {
    pub(super) fn now(stamp: Stamp, clock: &Clock) -> Self {
        Self { stamp, instant: Instant::now(), time: clock.timestamp() }
    }

    /// How long an answer is valid: until the time to live ends or the next deadline of the record comes.
    pub(super) fn validity(&self, ttl: Duration, record: Option<&KeyRecord>) -> Validity {
        let since = self.time;
        let until = Timestamp::new(since.time().saturating_add(time_duration(ttl)));
        let deadline = record.and_then(|record| next_deadline(record, since));
        Validity {
            stamp: self.stamp,
            ends: self.instant + ttl,
            compared_until: self.instant + 2 * ttl,
            since,
            until: deadline.map_or(until, |deadline| until.min(deadline)),
        }
    }
}

impl Validity {
    /// Whether the answer may be used now.
    pub(super) fn holds(&self, generations: &Generations, clock: &Clock) -> bool {
        if !generations.is_current(self.stamp) || Instant::now() >= self.ends {
            return false;
        }
        let now = clock.timestamp();
        self.since <= now && now < self.until
    }

    /// Whether a later answer with an older version is an error. This ends after twice the time to live: a key
    /// may be deleted and imported again elsewhere.
    pub(super) fn is_compared(&self, generations: &Generations) -> bool {
        generations.is_current(self.stamp) && Instant::now() < self.compared_until
    }
}

/// Weighs records by their bytes. Each counts for at least its share, so one bound limits bytes and number.
#[derive(Clone, Debug)]
pub(super) struct ByBytes {
    pub(super) share: u64,
}

impl<T: AsRef<Entry>> Weighter<KeyId, T> for ByBytes {
    fn weight(&self, _id: &KeyId, entry: &T) -> u64 {
        self.share.max(bytes(&entry.as_ref().record) as u64)
    }
}

/// About how many bytes an entry takes, with what the map needs to keep it.
fn bytes(record: &KeyRecord) -> usize {
    /// The record, its times, and its place in the map.
    const FIXED: usize = 512;
    let scopes = record.scopes().iter().map(|scope| scope.as_str().len() + 32).sum::<usize>();
    let texts =
        2 * record.id().as_str().len() + record.owner().as_str().len() + record.name().len();
    FIXED + texts + scopes + record.metadata().map_or(0, str::len)
}

/// The next time at which the state of the record, or what it compares with, changes by itself.
fn next_deadline(record: &KeyRecord, now: Timestamp) -> Option<Timestamp> {
    let previous = record.previous().map(|(_, until)| *until);
    let deadlines = [record.expiry(), record.start(), previous];
    deadlines.into_iter().flatten().filter(|deadline| *deadline > now).min()
}

fn time_duration(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}
