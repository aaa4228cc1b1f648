use std::fmt;

use zeroize::Zeroizing;

/// A secret text, wiped from memory on drop and hidden from `Debug`.
///
/// There is no `Display`, no comparison and no serialization. Only
/// [`expose_secret`](Self::expose_secret) gives the text, so a search for that name finds every use.
///
/// # Security
///
/// Only this copy is wiped. Read buffers of the server, compressed header tables and core dumps hold
/// copies that no library can reach.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes over the text. A `String` with spare capacity is reallocated, which leaves a copy behind: give it
    /// the exact capacity.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Whether there is white space at an end, such as the line end of a file. No header can bring such a text back.
    pub(crate) fn has_outer_blanks(&self) -> bool {
        self.0.trim_ascii().len() != self.0.len()
    }

    /// The text. Show it once, to the owner of the key.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let secret = Secret::new("opensesame");

        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose_secret(), "opensesame");
    }
}
