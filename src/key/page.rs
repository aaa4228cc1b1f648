use std::error::Error;
use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::{KeyId, KeyRecord};

/// A page of an owner's keys.
#[derive(Clone, Debug)]
pub struct Page {
    keys: Vec<KeyRecord>,
    next: Option<PageCursor>,
}

impl Page {
    pub(super) fn new(keys: Vec<KeyRecord>, next: Option<PageCursor>) -> Self {
        Self { keys, next }
    }

    /// The keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// The keys, by value.
    #[must_use]
    pub fn into_keys(self) -> Vec<KeyRecord> {
        self.keys
    }

    /// Where the next page starts. `None`: this is the last one.
    #[must_use]
    pub fn next(&self) -> Option<&PageCursor> {
        self.next.as_ref()
    }
}

/// A cursor for keyset pagination: a position in the order by time of creation and id.
///
/// `Display` and `FromStr` convert it to a text that needs no escaping in a query. It is no secret.
///
/// # Examples
///
/// ```
/// # use tower_webhook::key::{KeyManager, NewKey, Owner, PageCursor};
/// # use tower_webhook::store::MemoryKeyStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeyManager::new(MemoryKeyStore::new());
/// # let ann = Owner::new("ann")?;
/// # keys.generate(&ann, NewKey::new("a")).await?;
/// # keys.generate(&ann, NewKey::new("b")).await?;
/// let page = keys.list(&ann, None, 1).await?;
/// let text = page.next().ok_or("no second page")?.to_string();
///
/// let after: PageCursor = text.parse()?;
/// let page = keys.list(&ann, Some(after), 1).await?;
/// assert!(page.next().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PageCursor {
    created_at: OffsetDateTime,
    id: KeyId,
}

impl PageCursor {
    /// The position of this record.
    #[must_use]
    pub fn of(record: &KeyRecord) -> Self {
        Self { created_at: record.created_at(), id: record.id().clone() }
    }

    /// The time of creation of the record at this position.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    /// The id of the record at this position.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at.unix_timestamp_nanos(), self.id)
    }
}

impl FromStr for PageCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCursor(());
        let (nanoseconds, id) = text.split_once('.').ok_or_else(invalid)?;
        let nanoseconds = nanoseconds.parse().map_err(|_| invalid())?;
        let created_at =
            OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).map_err(|_| invalid())?;
        Ok(Self { created_at, id: KeyId::new(id).map_err(|_| invalid())? })
    }
}

/// A text that is no [`PageCursor`].
#[derive(Clone, Debug)]
pub struct InvalidCursor(());

impl fmt::Display for InvalidCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is no place in a list of keys")
    }
}

impl Error for InvalidCursor {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(nanoseconds in -(1_i128 << 60)..1 << 60, id in "[a-z.:_-]{1,20}") {
            let created_at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap();
            let cursor = PageCursor { created_at, id: KeyId::new(id).unwrap() };
            prop_assert_eq!(cursor.to_string().parse::<PageCursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn a_text_that_is_no_cursor_is_refused() {
        for text in ["", ".", "1", "1.", ".a", "a.a", "1.a b", "9999999999999999999999999999.a"] {
            assert!(text.parse::<PageCursor>().is_err(), "{text}");
        }
    }
}
