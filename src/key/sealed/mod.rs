#[cfg(feature = "recoverable")]
mod keys;

use std::error::Error;
use std::fmt;

#[cfg(feature = "recoverable")]
pub use self::keys::{OpenError, OpenErrorKind, SealingKeys};

/// The sealed text of a key: ciphertext, and the name of the key under which it was sealed.
///
/// Made and opened by `SealingKeys`, with feature `recoverable`. A build without the feature keeps it as it
/// is.
///
/// `v1.` , 8 lower-case hexadecimal digits that name the sealing key, `.`, and Base64 (RFC 4648, section 5,
/// without padding) of nonce, ciphertext and tag.
#[derive(Clone, Eq, PartialEq)]
pub struct SealedSecret(Box<str>);

impl SealedSecret {
    /// The most bytes of a sealed text.
    pub const MAX_LEN: usize = 4096;

    /// Reads a text that [`as_str`](Self::as_str) gave.
    ///
    /// # Errors
    ///
    /// Refuses a text of another form. Whether it can be opened is seen when it is.
    pub fn parse(text: &str) -> Result<Self, InvalidSealedSecret> {
        let well_formed = text.len() <= Self::MAX_LEN && parts(text).is_some();
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidSealedSecret(())) }
    }

    /// The text, for a store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the sealing key: 8 hexadecimal digits.
    #[must_use]
    pub fn sealing_key(&self) -> &str {
        parts(&self.0).map_or("", |(name, _)| name)
    }

    /// The name of the sealing key, and what follows it.
    #[cfg(feature = "recoverable")]
    pub(super) fn parts(&self) -> Option<(&str, &str)> {
        parts(&self.0)
    }

    #[cfg(feature = "recoverable")]
    pub(super) fn from_parts(name: &str, payload: &str) -> Self {
        Self(format!("v1.{name}.{payload}").into())
    }
}

fn parts(text: &str) -> Option<(&str, &str)> {
    let (name, payload) = text.strip_prefix("v1.")?.split_once('.')?;
    let is_name =
        name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_payload = !payload.is_empty()
        && payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (is_name && is_payload).then_some((name, payload))
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret")
            .field("sealing_key", &self.sealing_key())
            .finish_non_exhaustive()
    }
}

/// A text that is no [`SealedSecret`].
#[derive(Clone, Debug)]
pub struct InvalidSealedSecret(());

impl fmt::Display for InvalidSealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is no sealed secret")
    }
}

impl Error for InvalidSealedSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_another_form_is_refused() {
        let sealed = SealedSecret::parse("v1.0123abcd.AZaz09-_").unwrap();
        assert_eq!(sealed.as_str(), "v1.0123abcd.AZaz09-_");
        assert_eq!(sealed.sealing_key(), "0123abcd");

        let long = format!("v1.0123abcd.{}", "A".repeat(SealedSecret::MAX_LEN));
        for text in [
            "",
            "v1",
            "v1.0123abcd",
            "v1.0123abcd.",
            "v2.0123abcd.AAAA",
            "v1.0123ABCD.AAAA",
            "v1.0123abc.AAAA",
            "v1.0123abcd.AA=A",
            "v1.0123abcd.AA.A",
            "v1.0123abcd.AA A",
            &long,
        ] {
            assert!(SealedSecret::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_ciphertext() {
        let sealed = SealedSecret::parse("v1.0123abcd.ciphertext").unwrap();
        assert!(!format!("{sealed:?}").contains("ciphertext"));
    }
}
