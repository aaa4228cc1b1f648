use std::fmt;

use serde::{Serialize, Serializer};

/// A part of a request that a signature can authenticate.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Covered {
    /// Every byte of the body.
    Body,
    /// The time at which the sender signed.
    Timestamp,
    /// The id of the delivery.
    Id,
    /// The address, with its query.
    Url,
    /// The method.
    Method,
    /// The names and values of a form.
    Parameters,
}

impl Covered {
    const ALL: [Self; 6] =
        [Self::Body, Self::Timestamp, Self::Id, Self::Url, Self::Method, Self::Parameters];

    /// A name for logs and envelopes, such as `body`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Timestamp => "timestamp",
            Self::Id => "id",
            Self::Url => "url",
            Self::Method => "method",
            Self::Parameters => "parameters",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The set of parts that a signature authenticates. What is not in it, an attacker can choose, although the
/// signature is good.
///
/// As JSON it is a list of [names](Covered::as_str), in the order of [`Covered`].
///
/// # Examples
///
/// ```
/// use tower_webhook::signature::{Coverage, Covered};
///
/// let coverage = Coverage::from_iter([Covered::Timestamp, Covered::Body]);
/// assert!(coverage.contains(Covered::Body));
/// assert_eq!(serde_json::to_string(&coverage)?, r#"["body","timestamp"]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Coverage(u8);

impl Coverage {
    /// Nothing: a plain token proves that its sender knows it, and authenticates no part of the request.
    pub const NOTHING: Self = Self(0);

    /// Whether a part is authenticated.
    #[must_use]
    pub const fn contains(self, part: Covered) -> bool {
        self.0 & part.bit() != 0
    }

    /// The parts, in the order of [`Covered`].
    pub fn iter(self) -> impl Iterator<Item = Covered> {
        Covered::ALL.into_iter().filter(move |part| self.contains(*part))
    }

    pub(super) const fn with(self, part: Covered) -> Self {
        Self(self.0 | part.bit())
    }
}

impl FromIterator<Covered> for Coverage {
    fn from_iter<I: IntoIterator<Item = Covered>>(parts: I) -> Self {
        parts.into_iter().fold(Self::NOTHING, Self::with)
    }
}

impl Serialize for Coverage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Covered::as_str))
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
