use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How a sender writes the time at which it signed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TimestampFormat {
    /// Seconds since 1970, in digits.
    Seconds,
    /// Milliseconds since 1970, in digits.
    Milliseconds,
    /// [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), as `2022-11-16T10:11:12.464757833Z`.
    Rfc3339,
}

impl TimestampFormat {
    /// Reads a timestamp strictly: a sign or a leading zero would be read by one parser and not by another.
    pub(super) fn parse(self, text: &str) -> Option<OffsetDateTime> {
        match self {
            Self::Seconds => OffsetDateTime::from_unix_timestamp(digits(text)?).ok(),
            Self::Milliseconds => {
                let nanoseconds = i128::from(digits(text)?) * 1_000_000;
                OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()
            }
            Self::Rfc3339 => OffsetDateTime::parse(text, &Rfc3339).ok(),
        }
    }

    pub(super) fn write(self, time: OffsetDateTime) -> String {
        match self {
            Self::Seconds => time.unix_timestamp().to_string(),
            Self::Milliseconds => (time.unix_timestamp_nanos() / 1_000_000).to_string(),
            Self::Rfc3339 => time.format(&Rfc3339).unwrap_or_default(),
        }
    }
}

fn digits(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn digits_have_no_sign_and_no_leading_zero() {
        for text in ["", "+1", "-1", "01", "00", "1.0", "1e3", " 1", "1 ", "1_0", "٣", "0x1"] {
            assert_eq!(TimestampFormat::Seconds.parse(text), None, "{text:?}");
        }
        for text in ["9223372036854775807", "9223372036854775808", "99999999999999999999"] {
            assert_eq!(TimestampFormat::Seconds.parse(text), None, "{text:?}");
            assert_eq!(TimestampFormat::Milliseconds.parse(text), None, "{text:?}");
        }
        let parse = |format: TimestampFormat, text| format.parse(text).unwrap();
        assert_eq!(parse(TimestampFormat::Seconds, "0"), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(
            parse(TimestampFormat::Milliseconds, "1690000000123"),
            datetime!(2023-07-22 04:26:40.123 UTC)
        );
        assert_eq!(
            parse(TimestampFormat::Rfc3339, "2022-11-16T10:11:12.464757833Z"),
            datetime!(2022-11-16 10:11:12.464757833 UTC)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_i64..253_402_300_799) {
            let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            for format in
                [TimestampFormat::Seconds, TimestampFormat::Milliseconds, TimestampFormat::Rfc3339]
            {
                prop_assert_eq!(format.parse(&format.write(time)), Some(time));
            }
        }
    }
}
