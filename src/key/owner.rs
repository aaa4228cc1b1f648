use smol_str::SmolStr;

use super::InvalidId;
use super::id::checked_text;

/// The owner of a key: an account, a tenant, a user.
///
/// 1 to 255 bytes without control characters. The crate gives the text no meaning, and compares it byte
/// for byte.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::Owner;
///
/// let owner = Owner::new("ann@example.org")?;
/// assert_eq!(owner.as_str(), "ann@example.org");
/// assert!(Owner::new("two\nlines").is_err());
/// # Ok::<(), tower_webhook::key::InvalidId>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Owner(SmolStr);

impl Owner {
    /// The most bytes of an owner.
    pub const MAX_LEN: usize = 255;

    /// Checks the text and takes a copy of it. Up to 23 bytes are kept without an allocation.
    ///
    /// # Errors
    ///
    /// Refuses a text that is empty, longer than [`MAX_LEN`](Self::MAX_LEN) or has a control
    /// character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > Self::MAX_LEN || text.chars().any(char::is_control) {
            return Err(InvalidId(()));
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The owner as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

checked_text!(Owner, InvalidId);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[test]
    fn an_owner_is_1_to_255_bytes_without_control_characters() {
        for text in ["a", "Ann Lee", "ann@example.org", "é", &"a".repeat(255)] {
            assert_eq!(Owner::new(text).unwrap().as_str(), text);
        }
        for text in ["", "a\n", "\u{7f}", "\u{85}", "\0", &"a".repeat(256)] {
            assert!(Owner::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_owner_is_checked_when_it_is_deserialized() {
        assert!(serde_json::from_str::<Owner>(r#""a\u0000b""#).is_err());
        assert_eq!(serde_json::to_string(&Owner::new("a\"b").unwrap()).unwrap(), r#""a\"b""#);
    }

    #[test]
    fn an_owner_is_found_in_maps_by_its_text() {
        for text in ["ann", &"a".repeat(200)] {
            let owner = Owner::try_from(text.to_owned()).unwrap();
            assert_eq!(HashMap::from([(owner.clone(), 1)]).get(text), Some(&1));
            assert_eq!(BTreeMap::from([(owner, 1)]).get(text), Some(&1));
        }
        assert!(Owner::try_from("a\n".to_owned()).is_err());
    }
}
