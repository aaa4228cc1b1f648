//! What the cache keeps, and until when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bounded::Item;
use super::generations::{Generations, Stamp};
use crate::Clock;
use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord};

/// A record as the store gave it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: KeyRecord,
    pub(super) lease: Lease,
}

/// The time before the store was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) stamp: Stamp,
    instant: Instant,
    time: Timestamp,
}

/// How long an answer may be used. Two clocks have to agree: the monotonic one does not jump, and the
/// other one goes on while a machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) stamp: Stamp,
    ends: Instant,
    /// Until when the version of the record is remembered.
    forgotten: Instant,
    since: Timestamp,
    until: Timestamp,
}

impl Start {
    pub(super) fn now(stamp: Stamp, clock: &Clock) -> Self {
        Self { stamp, instant: Instant::now(), time: clock.timestamp() }
    }

    /// A lease over an answer, shortened to the next deadline of the record.
    pub(super) fn lease(&self, ttl: Duration, record: Option<&KeyRecord>) -> Lease {
        let since = self.time;
        let until = Timestamp::new(since.time().saturating_add(time_duration(ttl)));
        let deadline = record.and_then(|record| next_deadline(record, since));
        Lease {
            stamp: self.stamp,
            ends: self.instant + ttl,
            forgotten: self.instant + 2 * ttl,
            since,
            until: deadline.map_or(until, |deadline| until.min(deadline)),
        }
    }
}

impl Lease {
    pub(super) fn is_good(&self, generations: &Generations, clock: &Clock) -> bool {
        if !generations.is_current(self.stamp) || Instant::now() >= self.ends {
            return false;
        }
        let now = clock.timestamp();
        self.since <= now && now < self.until
    }

    /// Whether the store cannot have an older version any more. It goes on for one more lease, for the
    /// record that comes after this one. Not longer: a key may be deleted and imported again elsewhere.
    pub(super) fn is_remembered(&self, generations: &Generations) -> bool {
        generations.is_current(self.stamp) && Instant::now() < self.forgotten
    }
}

/// A record in the map of records.
pub(super) struct Present {
    pub(super) entry: Arc<Entry>,
    /// The least that it counts for.
    pub(super) share: u64,
}

/// An id without a record.
pub(super) struct Absent {
    pub(super) id: KeyId,
    pub(super) lease: Lease,
}

impl Item for Present {
    fn id(&self) -> &KeyId {
        self.entry.record.id()
    }

    fn weight(&self) -> u64 {
        self.share.max(bytes(&self.entry.record) as u64)
    }
}

impl Item for Absent {
    fn id(&self) -> &KeyId {
        &self.id
    }

    fn weight(&self) -> u64 {
        1
    }
}

/// About how many bytes an entry takes, with what the map needs to keep it.
fn bytes(record: &KeyRecord) -> usize {
    /// The record, its times, and its places in the map and in the ring.
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
