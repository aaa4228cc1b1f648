use std::borrow::Cow;
use std::fmt;

use crate::BoxError;

/// Why an execution failed.
///
/// Every error converts into one, so `?` works in executors; the text of such an error is kept for the log
/// and not shown to the caller. [`public`](Self::public) makes one whose text is meant for the caller.
///
/// This type is not an [`Error`](std::error::Error) itself, because that would rule out the conversion
/// from all errors.
pub struct ExecutorError {
    public: Option<Cow<'static, str>>,
    source: Option<BoxError>,
}

impl ExecutorError {
    /// A failure whose text the caller may read.
    ///
    /// # Security
    ///
    /// The text is sent as it is.
    #[must_use]
    pub fn public(text: impl Into<Cow<'static, str>>) -> Self {
        Self { public: Some(text.into()), source: None }
    }

    /// Adds the error behind the failure, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The text that the caller may read.
    #[must_use]
    pub fn public_text(&self) -> Option<&str> {
        self.public.as_deref()
    }

    /// The error behind the failure.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

impl<E: Into<BoxError>> From<E> for ExecutorError {
    fn from(source: E) -> Self {
        Self { public: None, source: Some(source.into()) }
    }
}

impl fmt::Debug for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorError")
            .field("public", &self.public)
            .field("source", &self.source)
            .finish()
    }
}
