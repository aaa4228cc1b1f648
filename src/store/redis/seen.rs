use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::key::{KeyId, KeyRecord};

/// The latest changes that this process has made, to notice a server that has gone back behind them.
#[derive(Default)]
pub(super) struct Seen(Mutex<Changes>);

#[derive(Default)]
struct Changes {
    versions: HashMap<KeyId, Change>,
    oldest_first: VecDeque<KeyId>,
}

/// The latest change of one record that was made before a look-up started.
pub(super) struct Floor(Option<Change>);

impl Floor {
    /// Whether the record is older than that change. A record with the same id and another time of
    /// creation is another record.
    pub(super) fn is_above(&self, record: &KeyRecord) -> bool {
        self.0.is_some_and(|(created_at, version)| {
            created_at == record.creation() && Version::Kept(record.version()) < version
        })
    }
}

/// When the record was made, and what became of it.
type Change = (Timestamp, Version);

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Version {
    Kept(u64),
    Removed,
}

const MAX_CHANGES: usize = 4096;

impl Seen {
    pub(super) fn kept(&self, record: &KeyRecord) {
        self.note(record, Version::Kept(record.version()));
    }

    pub(super) fn removed(&self, record: &KeyRecord) {
        self.note(record, Version::Removed);
    }

    /// What a look-up that starts now has to find at least.
    pub(super) fn floor(&self, id: &KeyId) -> Floor {
        let changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Floor(changes.versions.get(id).copied())
    }

    fn note(&self, record: &KeyRecord, version: Version) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let change = (record.creation(), version);
        // Answers of two changes may arrive in the other order. The lower version is noted then.
        if let Some(noted) = changes.versions.get_mut(record.id()) {
            *noted = change;
            return;
        }
        if changes.oldest_first.len() >= MAX_CHANGES
            && let Some(oldest) = changes.oldest_first.pop_front()
        {
            changes.versions.remove(&oldest);
        }
        changes.oldest_first.push_back(record.id().clone());
        changes.versions.insert(record.id().clone(), change);
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::key::{KeyHasher, Owner, ParsedKey};

    fn record(id: &str, second: i64, version: u64) -> KeyRecord {
        let id = KeyId::new(id).unwrap();
        let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
        let created_at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(second);
        let owner = Owner::new("ann").unwrap();
        KeyRecord::new(id, owner, "a", digest, created_at).unwrap().with_version(version)
    }

    fn is_outdated(seen: &Seen, record: &KeyRecord) -> bool {
        seen.floor(record.id()).is_above(record)
    }

    #[test]
    fn a_lower_version_of_the_same_record_is_outdated() {
        let seen = Seen::default();
        seen.kept(&record("a", 0, 5));

        assert!(is_outdated(&seen, &record("a", 0, 4)));
        assert!(!is_outdated(&seen, &record("a", 0, 5)));
        assert!(!is_outdated(&seen, &record("a", 0, 6)));
        assert!(!is_outdated(&seen, &record("a", 1, 1)));
        assert!(!is_outdated(&seen, &record("b", 0, 1)));
    }

    #[test]
    fn a_removed_record_comes_back_only_if_it_is_inserted_again() {
        let seen = Seen::default();
        seen.removed(&record("a", 0, 5));
        assert!(is_outdated(&seen, &record("a", 0, u64::MAX)));
        assert!(!is_outdated(&seen, &record("a", 1, 1)));

        seen.kept(&record("a", 0, 1));
        assert!(!is_outdated(&seen, &record("a", 0, 1)));
    }

    #[test]
    fn as_many_changes_are_kept_as_allowed() {
        let seen = Seen::default();
        for index in 0..=MAX_CHANGES {
            seen.kept(&record(&index.to_string(), 0, 2));
        }
        assert!(!is_outdated(&seen, &record("0", 0, 1)));
        assert!(is_outdated(&seen, &record("1", 0, 1)));
        assert_eq!(seen.0.lock().unwrap().versions.len(), MAX_CHANGES);
    }
}
