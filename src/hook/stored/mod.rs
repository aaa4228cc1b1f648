//! Invocations and outcomes as versioned JSON texts, for queues.

mod bytes;
mod invocation;
mod outcome;

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The version that is written. A later version of this crate reads it.
const VERSION: u32 = 1;

/// A stored text that is not the [`Invocation`](super::Invocation) or [`Outcome`](super::Outcome) it should be.
///
/// The text of the error is fixed by its [kind](Self::kind) and never shows what was stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredError(StoredErrorKind);

/// The reasons of a [`StoredError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StoredErrorKind {
    /// Not JSON, or a member is missing or has a value outside its limits.
    Malformed,
    /// Written by a later version of this crate.
    UnsupportedVersion,
}

impl StoredError {
    const MALFORMED: Self = Self(StoredErrorKind::Malformed);

    /// The fault.
    #[must_use]
    pub const fn kind(self) -> StoredErrorKind {
        self.0
    }
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            StoredErrorKind::Malformed => "the stored text is malformed",
            StoredErrorKind::UnsupportedVersion => "the stored text has an unsupported version",
        })
    }
}

impl Error for StoredError {}

/// Reads a text of this version.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, StoredError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }

    match serde_json::from_str(text) {
        Ok(Version { v: VERSION }) => {
            serde_json::from_str(text).map_err(|_| StoredError::MALFORMED)
        }
        Ok(Version { v }) if v > VERSION => Err(StoredError(StoredErrorKind::UnsupportedVersion)),
        _ => Err(StoredError::MALFORMED),
    }
}
