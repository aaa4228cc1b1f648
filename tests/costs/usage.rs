//! What is remembered about the use of keys.

use time::OffsetDateTime;
use tower_webhook::key::KeyId;
use tower_webhook::store::LastUsedTracker;

use crate::support::{Nowhere, allocating};

#[test]
fn to_record_a_use_of_a_known_key_allocates_nothing() {
    let usage = LastUsedTracker::new(Nowhere);
    let id = KeyId::new("an-id-that-is-longer-than-what-is-kept-in-place").unwrap();
    let mut now = OffsetDateTime::UNIX_EPOCH;

    let allocating = allocating(|| {
        now += time::Duration::SECOND;
        usage.record(&id, now);
    });

    assert_eq!(allocating, 0);
    assert_eq!(usage.last_used(&id), Some(now));
}
