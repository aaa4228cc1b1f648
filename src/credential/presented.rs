use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::scheme::{has_comma, list};
use super::{ExtractError, PlacementKind};

/// The scheme that may be before the credential proper (RFC 8959).
pub(super) const SECRET_TOKEN: &[u8] = b"secret-token:";

/// What a caller presents as a credential, unverified, and where it was.
///
/// `Debug` shows the placement only. What was decoded for it, such as a text in base64 or with escapes, is
/// wiped from memory when it is dropped; everything else is borrowed from the request.
pub struct PresentedCredential<'a> {
    pub(super) text: Option<Text<'a>>,
    pub(super) username: Option<Zeroizing<String>>,
    pub(super) placement: PlacementKind,
    pub(super) position: usize,
    pub(super) list: Option<ListRule>,
    /// Whether it was in a query or an urlencoded form.
    pub(super) is_form_coded: bool,
}

/// How a value is read that may be a list of credentials.
#[derive(Clone, Copy)]
pub(super) struct ListRule {
    pub(super) merges_copies: bool,
    pub(super) secret_token_uri: bool,
}

impl PresentedCredential<'_> {
    /// The bytes of the credential, or `None` if there is something that cannot be read as one: broken
    /// base64, a number in a JSON member, a file in a form.
    #[must_use]
    pub fn expose_bytes(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }

    /// The credential as text, or `None` if it is not UTF-8 or cannot be read.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.text.as_deref()?).ok()
    }

    /// The user name beside the credential (Basic only).
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref().map(String::as_str)
    }

    /// Refuses a value that is a list of credentials: what a proxy makes of fields or parameters that it joins. Equal
    /// parts are copies of one. Different ones are several, unless the whole is a credential too.
    ///
    /// `is_key` parses, and looks nothing up.
    #[inline]
    pub(crate) fn check_list(
        &mut self,
        is_key: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ExtractError> {
        match (self.list, self.text.as_deref()) {
            (Some(rule), Some(value)) if has_comma(value) => self.check_parts(rule, is_key),
            _ => Ok(()),
        }
    }

    fn check_parts(
        &mut self,
        rule: ListRule,
        is_key: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ExtractError> {
        /// A list of more is refused without a look at the rest: parsing can cost a hash for each.
        const MOST: usize = 16;
        let value = self.text.as_deref().unwrap_or_default();
        let parts = || {
            list(value).enumerate().map(|(index, part)| match rule.secret_token_uri && index > 0 {
                true => part.strip_prefix(SECRET_TOKEN).unwrap_or(part),
                false => part,
            })
        };
        let (Some(first), Some(_)) = (parts().next(), parts().nth(1)) else { return Ok(()) };
        let are_copies = parts().all(|part| part == first);
        let is_list = match are_copies {
            true => is_key(first),
            false => !is_key(value) && parts().take(MOST).all(is_key),
        };
        match is_list {
            false => Ok(()),
            true if are_copies && rule.merges_copies => {
                self.text = Some(first.to_vec().into());
                Ok(())
            }
            true => Err(ExtractError::ambiguous(are_copies)),
        }
    }

    /// Whether it has a blank, where a raw `+` is read as one (WHATWG URL, section 5.1).
    pub(crate) fn has_form_blank(&self) -> bool {
        self.is_form_coded && self.text.as_deref().is_some_and(|text| text.contains(&b' '))
    }

    /// The kind of place where the credential was.
    #[must_use]
    pub const fn placement(&self) -> PlacementKind {
        self.placement
    }

    /// The index of that placement in the list of placements: 0 for the first.
    ///
    /// Tells placements of one kind apart, where they mean different things.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Debug for PresentedCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedCredential")
            .field("placement", &self.placement)
            .finish_non_exhaustive()
    }
}

/// The bytes of a credential: a part of the request, or a copy that is wiped when it is dropped.
pub(super) enum Text<'a> {
    Borrowed(&'a [u8]),
    Owned(Zeroizing<Vec<u8>>),
}

impl Text<'_> {
    /// Takes something off the front, if it is there. Makes no other copy.
    pub(super) fn strip_prefix(&mut self, prefix: &[u8]) {
        match self {
            Self::Borrowed(bytes) => *bytes = bytes.strip_prefix(prefix).unwrap_or(bytes),
            Self::Owned(bytes) if bytes.starts_with(prefix) => drop(bytes.drain(..prefix.len())),
            Self::Owned(_) => {}
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Vec<u8>> for Text<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(Zeroizing::new(bytes))
    }
}

impl<'a> From<Cow<'a, [u8]>> for Text<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}
