use std::borrow::Cow;
use std::fmt;

use super::PlacementKind;

/// What a caller presents as a credential, unverified, and where it stood.
///
/// `Debug` shows the placement only.
pub struct Candidate<'a> {
    pub(super) text: Option<Cow<'a, [u8]>>,
    pub(super) username: Option<String>,
    pub(super) placement: PlacementKind,
    pub(super) position: usize,
}

impl Candidate<'_> {
    /// The bytes of the credential, or `None` if something stood there that cannot be read as one: broken
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
        self.username.as_deref()
    }

    /// The kind of place where the credential stood.
    #[must_use]
    pub const fn placement(&self) -> PlacementKind {
        self.placement
    }

    /// Where that placement stands in the list of placements: 0 for the first.
    ///
    /// Tells placements of one kind apart, where they mean different things.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("placement", &self.placement).finish_non_exhaustive()
    }
}
