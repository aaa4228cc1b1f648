use std::error::Error;
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{KeyId, Owner};
use crate::BoxError;
use crate::key::secret::Secret;

mod opaque;
mod prefixed;
mod token;

pub use self::opaque::OpaqueFormat;
pub use self::prefixed::PrefixedFormat;
pub use self::token::TokenFormat;

/// How the text of a key is read and made.
///
/// [`PrefixedFormat`](super::PrefixedFormat) is the format of new systems and the default.
/// [`OpaqueFormat`](super::OpaqueFormat) takes over keys that another system made.
/// [`TokenFormat`](super::TokenFormat) reads tokens that do not say which key they are.
///
/// # Examples
///
/// Keys of the form `id.secret`:
///
/// ```
/// use tower_webhook::credential::Secret;
/// use tower_webhook::key::{GenerateError, KeyDraft, KeyFormat, KeyId, ParsedKey, random_base62, };
///
/// struct Dotted;
///
/// impl KeyFormat for Dotted {
///     fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
///         let (id, secret) = text.split_once('.')?;
///         let well_formed = secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric());
///         well_formed.then_some(ParsedKey::new(KeyId::new(id).ok()?, secret))
///     }
///
///     fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
///         let id = match draft.id() {
///             Some(id) => Secret::new(id.as_str()),
///             None => random_base62(16)?,
///         };
///         let secret = random_base62(43)?;
///         Ok(Secret::new(format!("{}.{}", id.expose_secret(), secret.expose_secret())))
///     }
/// }
/// ```
pub trait KeyFormat: Send + Sync + 'static {
    /// Reads the text of a key. `None` means that it is no key of this format, and the store is not
    /// asked.
    ///
    /// The text is at most 256 bytes long. Two texts that differ give different pairs of id and
    /// secret: nothing is trimmed, folded or skipped.
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>>;

    /// Reads the text of a key that has to be the one with this id: that of a
    /// [policy](crate::auth::Policy::with_key), or one that is made
    /// [under an id](super::NewKey::with_id). `None` means that it is not.
    ///
    /// The default reads the text and compares the ids. A format whose texts name no id takes this one,
    /// and then [`parse`](Self::parse) gives `None`.
    fn parse_for<'a>(&self, id: &KeyId, text: &'a str) -> Option<ParsedKey<'a>> {
        self.parse(text).filter(|key| key.id() == id)
    }

    /// Makes the text of a new key.
    ///
    /// [`parse`](Self::parse) reads every text that this makes, or [`parse_for`](Self::parse_for) does
    /// with the id of the draft.
    ///
    /// # Errors
    ///
    /// No key could be made, for example because the random source failed.
    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError>;

    /// Takes keys of this format out of a text that has them in the wrong place, such as a header,
    /// a query or a line of a log. `None` means that there are none.
    ///
    /// The default finds nothing.
    fn redact(&self, text: &str) -> Option<String> {
        let _ = text;
        None
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<F: KeyFormat + ?Sized> KeyFormat for $pointer<F> {
            fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
                (**self).parse(text)
            }

            fn parse_for<'a>(&self, id: &KeyId, text: &'a str) -> Option<ParsedKey<'a>> {
                (**self).parse_for(id, text)
            }

            fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
                (**self).generate(draft)
            }

            fn redact(&self, text: &str) -> Option<String> {
                (**self).redact(text)
            }
        }
    )*};
}

forward!(Arc, Box);

/// The text of a key, taken apart and not verified.
#[derive(Clone)]
pub struct ParsedKey<'a> {
    id: KeyId,
    secret: &'a str,
    layout: Layout,
}

/// The first byte of the message that is hashed.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// Id and secret have fixed lengths.
    Fixed = 1,
    /// The length of the id is written down.
    Delimited = 2,
}

impl<'a> ParsedKey<'a> {
    /// A key with an id that names its record, and everything of the text that proves possession.
    #[must_use]
    pub fn new(id: KeyId, secret: &'a str) -> Self {
        Self { id, secret, layout: Layout::Delimited }
    }

    /// A key whose id has 16 and whose secret has 38 bytes.
    pub(super) fn fixed(id: KeyId, secret: &'a str) -> Self {
        Self { id, secret, layout: Layout::Fixed }
    }

    /// The id of the record.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn into_id(self) -> KeyId {
        self.id
    }

    pub(super) fn secret(&self) -> &'a str {
        self.secret
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }
}

impl fmt::Debug for ParsedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a [`KeyFormat`] may use when it makes a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyDraft<'a> {
    owner: &'a Owner,
    id: Option<&'a KeyId>,
    now: OffsetDateTime,
}

impl<'a> KeyDraft<'a> {
    /// A draft of a new key.
    #[must_use]
    pub fn new(owner: &'a Owner, now: OffsetDateTime) -> Self {
        Self { owner, id: None, now }
    }

    /// Asks for a key that keeps this id: a rotation, or a key that is made
    /// [under an id](super::NewKey::with_id).
    ///
    /// A format that cannot keep ids ignores it. The rotation then makes a second record.
    #[must_use]
    pub fn with_id(mut self, id: &'a KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Whom the key will belong to.
    #[must_use]
    pub fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// The id to keep.
    #[must_use]
    pub fn id(&self) -> Option<&'a KeyId> {
        self.id
    }

    /// When the key is made.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.now
    }
}

/// No key could be made. The cause is the [`source`](Error::source).
pub struct GenerateError(BoxError);

impl GenerateError {
    /// Wraps the cause.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Debug for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GenerateError").field(&self.0).finish()
    }
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key could be made")
    }
}

impl Error for GenerateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// `len` characters of `0-9A-Za-z`, each equally likely, from the generator of the operating system.
///
/// A character carries 5.95 bits: 22 make 130 bits, 43 make 256.
///
/// # Errors
///
/// The generator failed. Nothing weaker stands in for it.
///
/// # Examples
///
/// ```
/// let secret = tower_webhook::key::random_base62(43)?;
/// assert_eq!(secret.expose_secret().len(), 43);
/// # Ok::<(), tower_webhook::key::GenerateError>(())
/// ```
pub fn random_base62(len: usize) -> Result<Secret, GenerateError> {
    base62_from(len, &mut system_random)
}

pub(super) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A source of random bytes, which tests replace.
pub(super) type RandomSource<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), GenerateError>;

pub(super) fn system_random(bytes: &mut [u8]) -> Result<(), GenerateError> {
    getrandom::fill(bytes).map_err(GenerateError::new)
}

pub(super) fn base62_from(len: usize, source: RandomSource<'_>) -> Result<Secret, GenerateError> {
    let mut text = Zeroizing::new(String::with_capacity(len));
    let mut bytes = Zeroizing::new([0; 64]);
    while text.len() < len {
        source(bytes.as_mut_slice())?;
        // 248 is the largest multiple of 62: the bytes above it would favour some characters.
        let uniform = bytes.iter().filter(|byte| **byte < 248);
        let characters = uniform.filter_map(|byte| BASE62.get(usize::from(byte % 62)));
        for character in characters.take(len - text.len()) {
            text.push(char::from(*character));
        }
    }
    Ok(Secret::new(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_equally_likely() {
        let mut counts = [0_u32; 256];
        let mut next = 0_u8;
        let mut source = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        };
        for byte in base62_from(248, &mut source).unwrap().expose_secret().bytes() {
            counts[usize::from(byte)] += 1;
        }

        assert!(BASE62.iter().all(|byte| counts[usize::from(*byte)] == 4));
        assert_eq!(counts.iter().sum::<u32>(), 248);
    }

    #[test]
    fn a_failing_generator_makes_no_text() {
        let mut calls = 0;
        let mut source = |_: &mut [u8]| {
            calls += 1;
            if calls == 2 { Err(GenerateError::new("broken")) } else { Ok(()) }
        };

        let error = base62_from(100, &mut source).unwrap_err();

        assert_eq!(error.to_string(), "no key could be made");
        assert_eq!(error.source().unwrap().to_string(), "broken");
    }

    #[test]
    fn a_text_has_the_length_that_was_asked_for() {
        for len in [0, 1, 43, 63, 64, 65, 200] {
            let text = random_base62(len).unwrap();
            assert_eq!(text.expose_secret().len(), len);
            assert!(text.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
