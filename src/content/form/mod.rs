//! Queries and urlencoded forms, by the rules of the WHATWG URL standard (section 5.1).
//!
//! A piece without `=` is a name with an empty value, `+` is a space, percent-encoding is undone
//! once, and only `&` separates. Empty pieces are skipped.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::content::form;
//!
//! let pairs: Vec<_> = form::pairs(b"a=1&&b=%C3%A9+x")
//!     .map(|pair| (pair.name_lossy().into_owned(), pair.value_lossy().into_owned()))
//!     .collect();
//! assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), "é x".into())]);
//!
//! assert_eq!(form::remove("b=%31&%61pi_key=k&a=", "api_key"), "b=%31&a=");
//! ```

use std::borrow::Cow;
use std::cmp::Ordering;

use zeroize::Zeroize;

use self::decode::{DecodedBytes, LossyChars, decoded};
use super::{ContentError, ContentErrorKind};

mod decode;

pub(crate) use self::decode::percent_decoded;

/// The pairs of a query or form, in order.
#[must_use]
pub fn pairs(raw: &[u8]) -> Pairs<'_> {
    Pairs(raw)
}

/// The pairs of a query or form, if there are at most `limit` pieces. Empty pieces count.
///
/// # Errors
///
/// [`TooManyFields`](ContentErrorKind::TooManyFields).
pub fn pairs_up_to(raw: &[u8], limit: usize) -> Result<Pairs<'_>, ContentError> {
    if !raw.is_empty() && raw.split(|byte| *byte == b'&').nth(limit).is_some() {
        return Err(ContentError::new(ContentErrorKind::TooManyFields));
    }
    Ok(Pairs(raw))
}

/// The query without every pair of that decoded name. Order and encoding of all others stay, and so
/// does the text itself if there is no such pair.
#[must_use]
pub fn remove<'a>(raw: &'a str, name: &str) -> Cow<'a, str> {
    if !pairs(raw.as_bytes()).any(|pair| pair.is_named(name)) {
        return Cow::Borrowed(raw);
    }
    let mut rest = String::with_capacity(raw.len());
    let mut is_first = true;
    for piece in raw.split('&').filter(|piece| !is_pair_named(piece.as_bytes(), name)) {
        if !is_first {
            rest.push('&');
        }
        is_first = false;
        rest.push_str(piece);
    }
    Cow::Owned(rest)
}

/// [`remove`] for a body, which need not be UTF-8.
#[must_use]
pub fn remove_bytes<'a>(raw: &'a [u8], name: &str) -> Cow<'a, [u8]> {
    if !pairs(raw).any(|pair| pair.is_named(name)) {
        return Cow::Borrowed(raw);
    }
    let kept: Vec<&[u8]> =
        raw.split(|byte| *byte == b'&').filter(|piece| !is_pair_named(piece, name)).collect();
    Cow::Owned(kept.join(&b'&'))
}

/// An empty piece is no pair, not one with an empty name.
fn is_pair_named(piece: &[u8], name: &str) -> bool {
    !piece.is_empty() && Pair { raw: piece }.is_named(name)
}

/// Iterator of [`pairs`].
#[derive(Clone)]
pub struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let (raw, rest) = split_at_byte(self.0, b'&');
            self.0 = rest;
            if !raw.is_empty() {
                return Some(Pair { raw });
            }
        }
        None
    }
}

/// A name and a value, as they are between two `&`.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    raw: &'a [u8],
}

impl<'a> Pair<'a> {
    /// The piece as it was sent.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The bytes of the decoded name, which need not be UTF-8.
    #[must_use]
    pub fn name(&self) -> Cow<'a, [u8]> {
        decoded(split_at_byte(self.raw, b'=').0)
    }

    /// The decoded name. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'a, str> {
        lossy(self.name())
    }

    /// The bytes of the decoded value, which need not be UTF-8.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        decoded(split_at_byte(self.raw, b'=').1)
    }

    /// The decoded value. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn value_lossy(&self) -> Cow<'a, str> {
        lossy(self.value())
    }

    /// The decoded value, or `None` if it is not UTF-8.
    ///
    /// # Security
    ///
    /// Credentials are read this way. In [`value_lossy`](Self::value_lossy) different values become
    /// equal.
    #[must_use]
    pub fn value_text(&self) -> Option<Cow<'a, str>> {
        match self.value() {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Some(Cow::Owned(text)),
                Err(error) => {
                    // It may be a secret with a typing error.
                    error.into_bytes().zeroize();
                    None
                }
            },
        }
    }

    /// The name, if it is UTF-8 and was sent as it is.
    pub(crate) fn plain_name(&self) -> Option<&'a str> {
        plain(split_at_byte(self.raw, b'=').0)
    }

    /// The value, if it is UTF-8 and was sent as it is.
    pub(crate) fn plain_value(&self) -> Option<&'a str> {
        plain(split_at_byte(self.raw, b'=').1)
    }

    /// The characters of [`name_lossy`](Self::name_lossy), without a copy.
    pub(crate) fn name_chars(&self) -> LossyChars<DecodedBytes<'a>> {
        LossyChars::new(DecodedBytes::of_form(split_at_byte(self.raw, b'=').0))
    }

    /// The characters of [`value_lossy`](Self::value_lossy), without a copy.
    pub(crate) fn value_chars(&self) -> LossyChars<DecodedBytes<'a>> {
        LossyChars::new(DecodedBytes::of_form(split_at_byte(self.raw, b'=').1))
    }

    /// Whether name and value are UTF-8.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        let (name, value) = split_at_byte(self.raw, b'=');
        let is_utf8 = |raw| {
            plain(raw).is_some() || LossyChars::new(DecodedBytes::of_form(raw)).into_is_utf8()
        };
        is_utf8(name) && is_utf8(value)
    }

    /// Compares the names as [`name_lossy`](Self::name_lossy) shows them, without a copy.
    pub(crate) fn compare_names(&self, other: &Self) -> Ordering {
        let [name, others] = [self, other].map(|pair| split_at_byte(pair.raw, b'=').0);
        // The order of UTF-8 is that of the characters.
        if let (Some(name), Some(others)) = (plain(name), plain(others)) {
            return name.cmp(others);
        }
        self.name_chars().cmp(other.name_chars())
    }

    /// Tells whether the decoded name is exactly this one.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let raw = split_at_byte(self.raw, b'=').0;
        DecodedBytes::of_form(raw).eq(name.bytes())
    }
}

impl std::fmt::Debug for Pairs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// What is before the first such byte, and what is behind it.
fn split_at_byte(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == separator);
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// The characters of a text that may not be UTF-8, without a copy.
#[cfg(feature = "multipart")]
pub(crate) fn lossy_chars(bytes: &[u8]) -> impl Iterator<Item = char> {
    LossyChars::new(bytes.iter().copied())
}

/// A text that is what it decodes to.
fn plain(raw: &[u8]) -> Option<&str> {
    let is_encoded = raw.iter().any(|byte| matches!(byte, b'%' | b'+'));
    if is_encoded { None } else { std::str::from_utf8(raw).ok() }
}

fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> Vec<(String, String)> {
        pairs(raw.as_bytes())
            .map(|pair| (pair.name_lossy().into_owned(), pair.value_lossy().into_owned()))
            .collect()
    }

    #[test]
    fn pairs_follow_the_urlencoded_rules() {
        for (raw, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=&=", &[("", ""), ("", "")]),
            ("a=1&a=2&b=", &[("a", "1"), ("a", "2"), ("b", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=1;b=2", &[("a", "1;b=2")]),
            ("a=1?b=2", &[("a", "1?b=2")]),
            ("a=b%26c=d", &[("a", "b&c=d")]),
            ("a%3Db=c", &[("a=b", "c")]),
            ("%61+b=+%2B%20", &[("a b", " + ")]),
            ("a=%zz%2%", &[("a", "%zz%2%")]),
            ("a=%2561", &[("a", "%61")]),
            ("a=%FF%C3%A9", &[("a", "\u{fffd}é")]),
            ("a[]=1", &[("a[]", "1")]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(read(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_no_text() {
        for raw in ["k=%FF", "k=%C0%AF", "k=%ED%A0%80"] {
            let pair = pairs(raw.as_bytes()).next().unwrap();
            assert_eq!(pair.value_text(), None, "{raw}");
            assert!(!pair.is_utf8(), "{raw}");
        }
        assert!(!pairs(b"\xffk=1").next().unwrap().is_utf8());
        assert!(!pairs(b"%C3=").next().unwrap().is_utf8());
        assert!(pairs(b"%C3%A9+=\xc3\xa9").next().unwrap().is_utf8());
        let replacement = pairs(b"k=%EF%BF%BD").next().unwrap();
        assert_eq!(replacement.value_text().unwrap(), "\u{fffd}");
    }

    #[test]
    fn a_name_is_compared_by_its_decoded_bytes() {
        for (raw, is_named) in [
            ("api_key=k", true),
            ("%61pi_key=k", true),
            ("%61%70i%5fkey", true),
            ("%2561pi_key=k", false),
            ("API_KEY=k", false),
            ("api-key=k", false),
            ("api_key[]=k", false),
            ("api_key%00=k", false),
            ("%20api_key=k", false),
            ("+api_key=k", false),
            ("api_key%FF=k", false),
        ] {
            assert_eq!(
                pairs(raw.as_bytes()).next().unwrap().is_named("api_key"),
                is_named,
                "{raw}"
            );
        }
    }

    #[test]
    fn every_piece_counts_towards_the_limit() {
        for (raw, fits) in [
            ("", true),
            ("a", true),
            ("a&b&c", true),
            ("a&b&c&d", false),
            ("a&&c", true),
            ("&&&", false),
            ("=&=&=", true),
        ] {
            assert_eq!(pairs_up_to(raw.as_bytes(), 3).is_ok(), fits, "{raw}");
        }
        assert!(pairs_up_to(b"", 0).is_ok());
        let error = pairs_up_to(b"a", 0).unwrap_err();
        assert_eq!(error.kind(), ContentErrorKind::TooManyFields);
    }

    #[test]
    fn removal_keeps_order_and_encoding_of_the_rest() {
        for (raw, rest) in [
            ("b=2&k=s&a=%31+1&%zz", "b=2&a=%31+1&%zz"),
            ("k=s", ""),
            ("k", ""),
            ("k=1&%6B=2&k", ""),
            ("k=1&a&%6b=2", "a"),
            ("&k=1&&a&", "&&a&"),
            ("a=k&kk=1", "a=k&kk=1"),
            ("", ""),
        ] {
            assert_eq!(remove(raw, "k"), rest, "{raw}");
            assert_eq!(&*remove_bytes(raw.as_bytes(), "k"), rest.as_bytes(), "{raw}");
        }
        assert_eq!(remove_bytes(b"a=\xff&k=1", "k"), &b"a=\xff"[..]);
        assert_eq!(remove("a&&=1&b", ""), "a&&b");
        assert!(matches!(remove("a&b", ""), Cow::Borrowed("a&b")));
        assert!(matches!(remove("a=1&&b", "k"), Cow::Borrowed(_)));
    }

    fn queries() -> impl Strategy<Value = String> {
        "([ak=&+;%é]|%61|%6B|%FF|%C3%A9|%26){0,12}"
    }

    proptest! {
        #[test]
        fn pairs_agree_with_form_urlencoded(raw in queries()) {
            let expected: Vec<_> = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
            prop_assert_eq!(read(&raw), expected);
        }

        #[test]
        fn removal_takes_all_of_one_name_and_nothing_else(raw in queries()) {
            let rest = remove(&raw, "k");
            let expected: Vec<_> = pairs(raw.as_bytes())
                .filter(|pair| !pair.is_named("k"))
                .map(|pair| pair.raw())
                .collect();
            let kept: Vec<_> = pairs(rest.as_bytes()).map(|pair| pair.raw()).collect();
            prop_assert_eq!(kept, expected);
            prop_assert_eq!(&*remove_bytes(raw.as_bytes(), "k"), rest.as_bytes());
        }
    }
}
