use std::error::Error;
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{KeyId, Owner};
use crate::BoxError;
use crate::key::secret::Secret;

mod formats;
mod opaque;
mod prefixed;
mod sha256;
mod token;

pub use self::formats::Formats;
pub use self::opaque::OpaqueFormat;
pub use self::prefixed::PrefixedFormat;
pub use self::sha256::Sha256Format;
pub use self::token::TokenFormat;

/// Parses and generates the texts of keys.
///
/// [`PrefixedFormat`](super::PrefixedFormat) is the format of new systems and the default.
/// [`OpaqueFormat`](super::OpaqueFormat) reads keys of another system, and [`Sha256Format`](super::Sha256Format)
/// those of which only the digests are left. [`TokenFormat`](super::TokenFormat) reads tokens without an id.
/// [`Formats`](super::Formats) reads several formats beside each other.
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
    /// Parses the text of a key. `None` refuses it without a look-up.
    ///
    /// The text is at most 256 bytes long. Two texts that differ give different pairs of id and
    /// secret: nothing is trimmed, folded or skipped.
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>>;

    /// Parses the text of a key that must be the one with this id: that of a
    /// [policy](crate::auth::Policy::with_key), or one with an [explicit id](crate::key::NewKey::with_id). `None`
    /// refuses it.
    ///
    /// The default parses the text and compares the ids. A format whose texts have no id uses this one, and
    /// returns `None` from [`parse`](Self::parse).
    fn parse_for<'a>(&self, id: &KeyId, text: &'a str) -> Option<ParsedKey<'a>> {
        self.parse(text).filter(|key| key.id() == id)
    }

    /// Generates the text of a new key.
    ///
    /// [`parse`](Self::parse) accepts every generated text, or [`parse_for`](Self::parse_for) does with the
    /// id of the draft.
    ///
    /// # Errors
    ///
    /// The random source failed, or the draft does not fit the format.
    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError>;

    /// The id of the key whose whole text has this SHA-256, if the digests of this format are those of
    /// [`Sha256Format`](super::Sha256Format): for [`KeyManager::import_digest`](super::KeyManager::import_digest).
    ///
    /// The default is `None`: keys cannot be imported by their SHA-256.
    fn id_of_sha256(&self, sha256: &[u8; 32]) -> Option<KeyId> {
        let _ = sha256;
        None
    }

    /// Redacts keys of this format in a text where none should be, such as a header, a query or a line of a
    /// log. `None` means that there are none.
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

            fn id_of_sha256(&self, sha256: &[u8; 32]) -> Option<KeyId> {
                (**self).id_of_sha256(sha256)
            }

            fn redact(&self, text: &str) -> Option<String> {
                (**self).redact(text)
            }
        }
    )*};
}

forward!(Arc, Box);

/// The parsed text of a key, not verified.
#[derive(Clone)]
pub struct ParsedKey<'a> {
    id: KeyId,
    secret: &'a str,
    layout: Layout,
}

/// The first byte of the hashed message.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// Id and secret have fixed lengths.
    Fixed = 1,
    /// The length of the id is encoded.
    Delimited = 2,
    /// The SHA-256 of the secret, without the id. 3 makes the ids of `OpaqueFormat`.
    Sha256 = 4,
}

impl<'a> ParsedKey<'a> {
    /// A key with the id of its record, and the part of the text that proves possession.
    #[must_use]
    pub fn new(id: KeyId, secret: &'a str) -> Self {
        Self { id, secret, layout: Layout::Delimited }
    }

    /// A key whose id has 16 and whose secret has 38 bytes.
    pub(super) fn fixed(id: KeyId, secret: &'a str) -> Self {
        Self { id, secret, layout: Layout::Fixed }
    }

    /// A key whose secret is the whole text, and whose id is derived from the SHA-256 of it.
    pub(super) fn sha256(id: KeyId, text: &'a str) -> Self {
        Self { id, secret: text, layout: Layout::Sha256 }
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

/// The input of [`KeyFormat::generate`].
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

    /// Asks for a key with this id: a rotation, or a key with an [explicit id](crate::key::NewKey::with_id).
    ///
    /// A format that cannot keep ids ignores it. A rotation then creates a second record.
    #[must_use]
    pub fn with_id(mut self, id: &'a KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// The owner of the key.
    #[must_use]
    pub fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// The id to keep.
    #[must_use]
    pub fn id(&self) -> Option<&'a KeyId> {
        self.id
    }

    /// The time of creation.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.now
    }
}

/// A key could not be generated. The cause is the [`source`](Error::source).
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
        f.write_str("no key could be generated")
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
/// The generator failed. There is no weaker fallback.
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

/// Visible ASCII, which every placement can carry. Looks at every byte, so that the loop needs no branch.
fn is_visible(text: &str) -> bool {
    text.bytes().fold(true, |valid, byte| valid & byte.is_ascii_graphic())
}

/// The first 12 bytes of a hash, as 24 lower-case hexadecimal digits.
fn id_of_hash(hash: &[u8; 32]) -> Option<KeyId> {
    let mut id = [0; 24];
    let (pairs, _) = id.as_chunks_mut::<2>();
    for ([high, low], byte) in pairs.iter_mut().zip(hash) {
        *high = hex_digit(byte >> 4);
        *low = hex_digit(byte & 15);
    }
    Some(KeyId::from_checked(std::str::from_utf8(&id).ok()?))
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
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
        // Rejection sampling: 248 is the largest multiple of 62, and higher bytes would add a bias.
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

        assert_eq!(error.to_string(), "no key could be generated");
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
