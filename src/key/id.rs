use std::error::Error;
use std::fmt;

use smol_str::SmolStr;

/// The public id of a key, for logs, lists and rate limits. It is no secret.
///
/// 1 to 64 bytes of ASCII letters, digits, `-`, `_`, `.` and `:`.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::KeyId;
///
/// let id = KeyId::new("4hQyZ2nB8kLmX0aT")?;
/// assert_eq!(id.as_str(), "4hQyZ2nB8kLmX0aT");
/// assert!(KeyId::new("two words").is_err());
/// # Ok::<(), tower_webhook::key::InvalidId>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(SmolStr);

impl KeyId {
    /// The most bytes of an id.
    pub const MAX_LEN: usize = 64;

    /// Checks the text and takes a copy of it. Up to 23 bytes are kept without an allocation.
    ///
    /// # Errors
    ///
    /// Refuses a text that is empty, longer than [`MAX_LEN`](Self::MAX_LEN) or has a character
    /// outside the set.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref();
        let allowed =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.as_bytes().iter().all(allowed) {
            return Err(InvalidId(()));
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// An id from a text that was checked before.
    #[inline]
    pub(super) fn from_checked(text: &str) -> Self {
        debug_assert!(Self::new(text).is_ok());
        /// What fits into a `SmolStr` itself: copied without a call where the compiler knows the length.
        const INLINE: usize = 23;
        Self(if text.len() <= INLINE { SmolStr::new_inline(text) } else { SmolStr::new(text) })
    }

    /// The id whose text is this number.
    pub(crate) fn of_number(number: u64) -> Self {
        Self(SmolStr::new(format!("{number:016x}")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not a [`KeyId`] or not an [`Owner`](super::Owner).
#[derive(Clone, Debug)]
pub struct InvalidId(pub(super) ());

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is empty, too long or has a character that is not allowed")
    }
}

impl Error for InvalidId {}

/// The traits of a type whose `new` checks a text. `Borrow<str>` holds, since such a type is compared and hashed
/// as its text.
macro_rules! checked_text {
    ($name:ident, $error:ident) => {
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a text that is a valid ", stringify!($name)))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

pub(super) use checked_text;

checked_text!(KeyId, InvalidId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_64_bytes_of_its_characters() {
        for text in ["a", "A-z_0.9:x", &"a".repeat(64)] {
            assert_eq!(KeyId::new(text).unwrap().as_str(), text);
        }
        for text in ["", " ", "a b", "a/b", "é", "a\n", "a\0", "a%41", &"a".repeat(65)] {
            assert!(KeyId::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_checked_when_it_is_deserialized() {
        assert_eq!(serde_json::from_str::<KeyId>(r#""a:b""#).unwrap(), KeyId::new("a:b").unwrap());
        assert!(serde_json::from_str::<KeyId>(r#""a b""#).is_err());
    }
}
