//! What the stores in SQL databases have in common.

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use time::OffsetDateTime;

use crate::clock::Timestamp;

/// How many records of a scan are read at once.
pub(super) const SCAN_PAGE_LEN: i64 = 1000;

/// A connection of a pool that goes back to the pool when its call has finished, and is closed otherwise: a
/// call that was dropped or has failed can leave a connection in the middle of a transaction.
pub(crate) struct Checkout<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Checkout<DB> {
    pub(crate) async fn acquire(pool: &Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Returns the connection to the pool.
    pub(crate) fn finish(mut self) {
        drop(self.0.take());
    }
}

impl<DB: Database> Drop for Checkout<DB> {
    fn drop(&mut self) {
        // Not `close_on_drop`, which needs a runtime.
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// RFC 3339 in UTC with nine digits of a second: texts whose order is that of the times.
///
/// The databases compute the same text from the time in a record, see their schemas.
pub(super) fn sortable(time: OffsetDateTime) -> String {
    let text = Timestamp::new(time).encode();
    let text = text.trim_end_matches('Z');
    let (second, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{second}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sortable_time_has_nine_digits_of_a_second() {
        let time = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(sortable(time), "1970-01-01T00:00:00.000000000Z");
        let time = time + time::Duration::nanoseconds(120_000_000);
        assert_eq!(sortable(time), "1970-01-01T00:00:00.120000000Z");
    }

    proptest! {
        #[test]
        fn sortable_times_are_ordered_as_times(
            a in -62_167_219_200_000_000_000..253_402_300_800_000_000_000_i128,
            step in -2_000_000_000..2_000_000_000_i128,
        ) {
            let time = |nanoseconds| OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap();
            let b = (a + step).clamp(-62_167_219_200_000_000_000, 253_402_300_799_999_999_999);
            prop_assert_eq!(sortable(time(a)).cmp(&sortable(time(b))), a.cmp(&b));
        }
    }
}
