use std::num::NonZeroU8;
use std::time::SystemTime;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A point in time of the years 0 to 9999 in 12 bytes, whole nanoseconds included.
///
/// `OffsetDateTime` has 16 bytes and can lie outside of what RFC 3339 can write.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Timestamp {
    high: i32,
    low: u32,
    nanosecond: u32,
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

impl Timestamp {
    /// A time outside the range counts as the nearest one inside.
    pub(crate) fn new(time: OffsetDateTime) -> Self {
        let seconds = time.unix_timestamp();
        if seconds < FIRST {
            return Self::pack(FIRST, 0);
        }
        if seconds > LAST {
            return Self::pack(LAST, 999_999_999);
        }
        Self::pack(seconds, time.nanosecond())
    }

    /// The same for a time of the system's clock. It is read for every request, so the detour over a
    /// calendar is left out.
    pub(crate) fn of_system(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => match i64::try_from(since.as_secs()) {
                Ok(seconds) if seconds <= LAST => Self::pack(seconds, since.subsec_nanos()),
                _ => Self::pack(LAST, 999_999_999),
            },
            Err(_) => Self::new(time.into()),
        }
    }

    /// The seconds since 1970.
    pub(crate) const fn seconds(self) -> i64 {
        ((self.high as i64) << 32) | self.low as i64
    }

    pub(crate) const fn pack(seconds: i64, nanosecond: u32) -> Self {
        Self { high: (seconds >> 32) as i32, low: seconds as u32, nanosecond }
    }

    pub(crate) fn time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.seconds())
            .and_then(|time| time.replace_nanosecond(self.nanosecond))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Nanoseconds since the beginning of the year 0.
    #[cfg(feature = "redis")]
    pub(crate) fn nanoseconds(self) -> u128 {
        let seconds = self.time().unix_timestamp().saturating_sub(FIRST);
        u128::from(seconds.unsigned_abs()) * 1_000_000_000 + u128::from(self.nanosecond)
    }

    /// RFC 3339 in UTC with as many digits of a second as it takes.
    pub(crate) fn encode(self) -> String {
        self.time().format(&Rfc3339).unwrap_or_default()
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let time = time.checked_to_offset(UtcOffset::UTC)?;
        (FIRST..=LAST).contains(&time.unix_timestamp()).then(|| Self::new(time))
    }
}

/// A [`Timestamp`] in 9 bytes, and none in 9 bytes as well, for records of which there are millions.
#[derive(Clone, Copy)]
pub(crate) struct PackedTimestamp {
    low: [u8; 8],
    /// One more than what `low` has no room for.
    high: NonZeroU8,
}

impl PackedTimestamp {
    /// A second has fewer nanoseconds than this has values.
    const NANOSECOND_BITS: u32 = 30;

    pub(crate) fn new(moment: Timestamp) -> Self {
        let second = moment.seconds().clamp(FIRST, LAST).abs_diff(FIRST);
        let packed = u128::from(second) << Self::NANOSECOND_BITS | u128::from(moment.nanosecond);
        let high = NonZeroU8::MIN.saturating_add((packed >> 64) as u8);
        Self { low: (packed as u64).to_le_bytes(), high }
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        let packed =
            u128::from(self.high.get() - 1) << 64 | u128::from(u64::from_le_bytes(self.low));
        let second = (packed >> Self::NANOSECOND_BITS) as i64;
        Timestamp::pack(FIRST + second, packed as u32 & ((1 << Self::NANOSECOND_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_clocks_agree(seconds in 0..=u32::MAX, nanosecond in 0..1_000_000_000_u32) {
            let system = SystemTime::UNIX_EPOCH + std::time::Duration::new(seconds.into(), nanosecond);
            prop_assert_eq!(Timestamp::of_system(system), Timestamp::new(system.into()));
            prop_assert_eq!(Timestamp::new(system.into()).seconds(), i64::from(seconds));
        }

        #[test]
        fn a_time_is_kept_to_the_nanosecond(seconds in FIRST..=LAST, nanosecond in 0..1_000_000_000_u32) {
            let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap()
                .replace_nanosecond(nanosecond).unwrap();
            let moment = Timestamp::new(time);
            prop_assert_eq!(moment.time(), time);
            prop_assert_eq!(Timestamp::decode(&moment.encode()), Some(moment));
            prop_assert_eq!(PackedTimestamp::new(moment).timestamp(), moment);
        }

        #[test]
        fn moments_are_ordered_as_times(a in FIRST..=LAST, b in FIRST..=LAST) {
            let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            prop_assert_eq!(Timestamp::new(time(a)).cmp(&Timestamp::new(time(b))), a.cmp(&b));
        }
    }

    #[test]
    fn a_time_outside_the_range_is_moved_into_it() {
        let early = OffsetDateTime::from_unix_timestamp(FIRST - 1).unwrap();

        assert_eq!(Timestamp::new(early).encode(), "0000-01-01T00:00:00Z");
        let last = OffsetDateTime::from_unix_timestamp(LAST).unwrap();
        assert_eq!(Timestamp::new(last).encode(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn the_first_and_the_last_moment_can_be_packed() {
        for moment in [Timestamp::pack(FIRST, 0), Timestamp::pack(LAST, 999_999_999)] {
            assert_eq!(PackedTimestamp::new(moment).timestamp(), moment);
        }
        assert_eq!(size_of::<Option<PackedTimestamp>>(), 9);
    }

    #[test]
    fn another_offset_is_the_same_moment() {
        assert_eq!(
            Timestamp::decode("2026-01-01T01:00:00.5+01:00"),
            Timestamp::decode("2026-01-01T00:00:00.500Z")
        );
        for text in ["", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1700000000"]
        {
            assert_eq!(Timestamp::decode(text), None, "{text}");
        }
    }
}
