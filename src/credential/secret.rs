use std::fmt;

use zeroize::Zeroizing;

/// A secret text: wiped from memory when dropped, and hidden from `Debug`.
///
/// There is no `Display`, no comparison and no serialization. The text is reached only through
/// [`expose_secret`](Self::expose_secret), so every place that shows it can be found by that name.
///
/// # Security
///
/// Only this copy is wiped. Read buffers of the server, compressed header tables and core dumps hold
/// copies that no library can reach.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes over the text. A `String` with room to spare is moved to fit, which leaves a copy behind: make it
    /// with the capacity that it needs.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Show it once, to the one it was made for.
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
