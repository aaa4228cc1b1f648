use std::time::SystemTime;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A point in time of the years 0 to 9999, to the nanosecond. `OffsetDateTime` can be outside of what RFC 3339
/// can write, and takes longer to make from the system's clock and to compare.
///
/// Packed into 12 bytes, since every record has several.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(C, packed(4))]
pub(crate) struct Timestamp {
    seconds: i64,
    nanosecond: u32,
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

impl Timestamp {
    /// Clamps a time outside the range.
    pub(crate) fn new(time: OffsetDateTime) -> Self {
        Self::from_unix(time.unix_timestamp(), time.nanosecond())
    }

    /// Clamps a time outside the range. Seconds since 1970, and nanoseconds of that second.
    pub(crate) const fn from_unix(seconds: i64, nanosecond: u32) -> Self {
        if seconds < FIRST {
            Self { seconds: FIRST, nanosecond: 0 }
        } else if seconds > LAST {
            Self { seconds: LAST, nanosecond: 999_999_999 }
        } else {
            Self { seconds, nanosecond }
        }
    }

    /// From the system's clock, without a calendar: it is read for every request.
    pub(crate) fn of_system(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => {
                let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                Self::from_unix(seconds, since.subsec_nanos())
            }
            Err(_) => Self::new(time.into()),
        }
    }

    /// Seconds since 1970.
    pub(crate) const fn seconds(self) -> i64 {
        self.seconds
    }

    pub(crate) fn time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.seconds)
            .and_then(|time| time.replace_nanosecond(self.nanosecond))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Nanoseconds since the beginning of the year 0.
    #[cfg(feature = "redis")]
    pub(crate) fn nanoseconds(self) -> u128 {
        let seconds = self.seconds.saturating_sub(FIRST);
        u128::from(seconds.unsigned_abs()) * 1_000_000_000 + u128::from(self.nanosecond)
    }

    /// RFC 3339 in UTC, with as few fractional digits as are exact.
    pub(crate) fn encode(self) -> String {
        self.time().format(&Rfc3339).unwrap_or_default()
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let time = time.checked_to_offset(UtcOffset::UTC)?;
        (FIRST..=LAST).contains(&time.unix_timestamp()).then(|| Self::new(time))
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
            let timestamp = Timestamp::new(time);
            prop_assert_eq!(timestamp.time(), time);
            prop_assert_eq!(Timestamp::decode(&timestamp.encode()), Some(timestamp));
        }

        #[test]
        fn timestamps_are_ordered_as_times(a in FIRST..=LAST, b in FIRST..=LAST) {
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
    fn a_timestamp_takes_12_bytes() {
        assert_eq!(size_of::<Timestamp>(), 12);
    }

    #[test]
    fn another_offset_is_the_same_time() {
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
