//! What went wrong, and the code with which the program ends then.

use std::error::Error;
use std::io;

use tower_webhook::key::{ManageError, ManageErrorKind, VerifyError, VerifyErrorKind};

/// What went wrong, in words for people, and the code that programs see. No text has a secret or the
/// address of a store in it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: format!("{}; see --help", text.into()) }
    }

    /// An error and everything behind it.
    pub(crate) fn fault(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            source = error.source();
        }
        Self { code: 3, text }
    }
}

/// The texts of the parser repeat arguments, one of which may be a key in the wrong place.
impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::usage(match error {
            lexopt::Error::MissingValue { .. } => "an option has no value",
            lexopt::Error::UnexpectedValue { .. } => "an option has a value and takes none",
            _ => "the arguments cannot be read",
        })
    }
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        match error.kind() {
            ManageErrorKind::Invalid => Self::usage(error.to_string()),
            ManageErrorKind::Random | ManageErrorKind::Unavailable => Self::fault(&error),
            _ => Self::refused(error.to_string()),
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error.kind() {
            VerifyErrorKind::StoreUnavailable => Self::fault(&error),
            _ => Self::refused(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::fault(&error)
    }
}
