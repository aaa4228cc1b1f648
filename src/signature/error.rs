use std::error::Error;
use std::fmt;

/// Why a signature was not accepted.
///
/// For logs: a sender is better off with one answer for all of them. The text is fixed and shows nothing of the
/// message, of the secret or of a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignatureError(SignatureErrorKind);

/// The fault of a [`SignatureError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignatureErrorKind {
    /// The message has no signature.
    Missing,
    /// The signature, the timestamp or the id is repeated, or not in the form of the scheme.
    Malformed,
    /// The timestamp is out of tolerance.
    Stale,
    /// No secret makes this signature of this message.
    Mismatch,
    /// There is no secret that is valid now and fits the algorithm. A fault of ours.
    NoSecret,
    /// The scheme signs the address, and the message has none. A fault of ours.
    NoUrl,
}

impl SignatureError {
    /// The fault.
    #[must_use]
    pub const fn kind(&self) -> SignatureErrorKind {
        self.0
    }
}

impl SignatureErrorKind {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Mismatch => "mismatch",
            Self::NoSecret => "no_secret",
            Self::NoUrl => "no_url",
        }
    }

    /// Whether the fault is in the settings of the receiver.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::NoSecret | Self::NoUrl)
    }
}

impl From<SignatureErrorKind> for SignatureError {
    fn from(kind: SignatureErrorKind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            SignatureErrorKind::Missing => "the message has no signature",
            SignatureErrorKind::Malformed => "the signature does not have the form of its scheme",
            SignatureErrorKind::Stale => "the timestamp of the signature is out of tolerance",
            SignatureErrorKind::Mismatch => "no secret makes this signature",
            SignatureErrorKind::NoSecret => "no secret is valid now and fits the algorithm",
            SignatureErrorKind::NoUrl => "the scheme signs the address, which is not configured",
        })
    }
}

impl Error for SignatureError {}
