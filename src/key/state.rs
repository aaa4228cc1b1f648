use time::OffsetDateTime;

use super::{KeyDigest, KeyRecord};
use crate::clock::Timestamp;

/// The state of a key at one point in time: [`KeyRecord::state_at`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KeyState {
    /// The key is accepted.
    Active,
    /// The start of the key is in the future.
    NotYetValid,
    /// The deadline of the key has passed. It can be extended.
    Expired,
    /// The key is disabled. It can be enabled again.
    Disabled,
    /// The key was revoked, which is final.
    Revoked,
}

impl KeyState {
    /// A short name of the state, for lists and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

impl KeyRecord {
    /// What the key is good for at the time `now`.
    ///
    /// 1. A revoked key is revoked, in any other state as well.
    /// 2. A disabled key is disabled.
    /// 3. A key expires at its deadline: it works while `now < expires_at`.
    /// 4. A key works from its start on: while `now >= not_before`.
    ///
    /// # Examples
    ///
    /// ```
    /// use time::{Duration, OffsetDateTime};
    /// use tower_webhook::key::{KeyHasher, KeyId, KeyRecord, KeyState, Owner, ParsedKey};
    ///
    /// let now = OffsetDateTime::UNIX_EPOCH;
    /// let id = KeyId::new("k1")?;
    /// let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
    /// let record = KeyRecord::new(id, Owner::new("ann")?, "laptop", digest, now)?
    ///     .with_expires_at(Some(now + Duration::HOUR));
    ///
    /// assert_eq!(record.state_at(now + Duration::HOUR - Duration::NANOSECOND), KeyState::Active);
    /// assert_eq!(record.state_at(now + Duration::HOUR), KeyState::Expired);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn state_at(&self, now: OffsetDateTime) -> KeyState {
        self.state_by(|| Timestamp::new(now))
    }

    /// As [`state_at`](Self::state_at). The clock is read only if the state depends on it.
    pub(super) fn state_by(&self, now: impl Fn() -> Timestamp) -> KeyState {
        if self.revoked() {
            KeyState::Revoked
        } else if self.disabled() {
            KeyState::Disabled
        } else if self.expiry().is_some_and(|expiry| now() >= expiry) {
            KeyState::Expired
        } else if self.start().is_some_and(|start| now() < start) {
            KeyState::NotYetValid
        } else {
            KeyState::Active
        }
    }

    /// The digest from before a rotation, while it is valid: before its own deadline, and while the key
    /// itself is active. The overlap never extends the life of a key.
    pub(super) fn usable_previous(&self, now: impl Fn() -> Timestamp) -> Option<&KeyDigest> {
        let (digest, until) = self.previous()?;
        (now() < *until && self.state_by(now) == KeyState::Active).then_some(digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;
    use crate::key::fixtures::{at, plain};

    #[test]
    fn deadlines_are_exclusive_to_the_nanosecond() {
        let record = plain().with_not_before(Some(at(10))).with_expires_at(Some(at(20)));
        let nanosecond = Duration::NANOSECOND;

        for (now, expected) in [
            (at(10) - nanosecond, KeyState::NotYetValid),
            (at(10), KeyState::Active),
            (at(20) - nanosecond, KeyState::Active),
            (at(20), KeyState::Expired),
            (at(20) + nanosecond, KeyState::Expired),
        ] {
            assert_eq!(record.state_at(now), expected, "{now}");
        }
    }

    #[test]
    fn a_key_without_deadlines_needs_no_time() {
        let never = || -> Timestamp { panic!("the time does not matter") };

        assert_eq!(plain().state_by(never), KeyState::Active);
        assert_eq!(plain().with_disabled(true).state_by(never), KeyState::Disabled);
        assert!(plain().usable_previous(never).is_none());
    }

    #[test]
    fn a_key_without_deadlines_is_active_at_any_time() {
        for second in [-60_000_000_000, -1, 0, 250_000_000_000] {
            assert_eq!(plain().state_at(at(second)), KeyState::Active);
        }
    }

    proptest! {
        #[test]
        fn the_state_is_that_of_the_model(
            not_before in proptest::option::of(-3..3_i64),
            expires_at in proptest::option::of(-3..3_i64),
            revoked_at in proptest::option::of(-3..3_i64),
            previous_until in proptest::option::of(-3..3_i64),
            disabled: bool,
            now in -4..4_i64,
        ) {
            let mut record = plain()
                .with_not_before(not_before.map(at))
                .with_expires_at(expires_at.map(at))
                .with_revoked_at(revoked_at.map(at))
                .with_disabled(disabled);
            if let Some(until) = previous_until {
                let digest = record.digest().clone();
                record = record.with_previous_digest(Some((digest, at(until))));
            }
            let holds = [
                (KeyState::Revoked, revoked_at.is_some()),
                (KeyState::Disabled, disabled),
                (KeyState::Expired, expires_at.is_some_and(|end| end <= now)),
                (KeyState::NotYetValid, not_before.is_some_and(|start| start > now)),
                (KeyState::Active, true),
            ];
            let (expected, _) = holds.into_iter().find(|(_, holds)| *holds).unwrap();
            prop_assert_eq!(record.state_at(at(now)), expected);

            let usable = expected == KeyState::Active && previous_until.is_some_and(|end| end > now);
            prop_assert_eq!(record.usable_previous(|| Timestamp::new(at(now))).is_some(), usable);
            if usable {
                prop_assert!(expires_at.is_none_or(|end| now < end));
            }
        }
    }
}
