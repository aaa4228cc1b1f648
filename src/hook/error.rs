use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::FailureKind;
use crate::BoxError;

/// Why an execution failed.
///
/// Every error converts into one, so `?` works in executors; the text of such an error is kept for the log
/// and not shown to the caller. [`public`](Self::public) makes one whose text is meant for the caller.
///
/// This type is not an [`Error`](std::error::Error) itself, because that would rule out the conversion
/// from all errors.
pub struct ExecutorError {
    kind: FailureKind,
    public: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    is_final: bool,
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
        Self { public: Some(text.into()), ..Self::new(FailureKind::Failed) }
    }

    /// The input is wrong, and another attempt would find it wrong as well: a 422, and in
    /// [`status_json`](super::ResponseFormat::status_json) the text. A worker of a queue buries the job at once.
    ///
    /// A replay guard does not keep this answer. Nothing was run that must not run twice, and the same delivery may be
    /// good later, for another version of the executor.
    ///
    /// # Security
    ///
    /// The text is sent as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
    ///
    /// async fn deploy(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    ///     let envelope: serde_json::Value = invocation.envelope().parse()?;
    ///     let branch = envelope["JSON"]["branch"].as_str();
    ///     let branch = branch.ok_or_else(|| ExecutorError::invalid("no branch"))?;
    ///     Outcome::json(&format!("deployed {branch}"))
    /// }
    /// ```
    #[must_use]
    pub fn invalid(text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: FailureKind::Invalid, ..Self::public(text).without_retry() }
    }

    /// As [`invalid`](Self::invalid), with a 413: the input is too large.
    ///
    /// # Security
    ///
    /// The text is sent as it is.
    #[must_use]
    pub fn input_too_large(text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: FailureKind::InputTooLarge, ..Self::invalid(text) }
    }

    /// The executor cannot take the work now, for instance because its queue is full, and wants to be asked
    /// again after that time.
    ///
    /// The response is a 503 with `Retry-After` in whole seconds, rounded up, in
    /// [`ResponseFormat::http`](super::ResponseFormat::http) and
    /// [`status_json`](super::ResponseFormat::status_json) alike: a sender that is answered with a 200 does not
    /// come back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
    ///
    /// async fn enqueue(
    ///     queue: &tokio::sync::mpsc::Sender<Invocation>,
    ///     invocation: Invocation,
    /// ) -> Result<Outcome, ExecutorError> {
    ///     queue.try_send(invocation).map_err(|_| ExecutorError::busy(Duration::from_secs(30)))?;
    ///     Ok(Outcome::accepted())
    /// }
    /// ```
    #[must_use]
    pub const fn busy(retry_after: Duration) -> Self {
        let mut error = Self::new(FailureKind::Busy);
        error.retry_after = Some(retry_after);
        error
    }

    /// What the executor needs cannot be reached or does not answer, which is no fault of the caller and no load. The
    /// response is that of [`busy`](Self::busy). The log has it as an error of ours.
    #[must_use]
    pub const fn unavailable(retry_after: Duration) -> Self {
        let mut error = Self::new(FailureKind::Unavailable);
        error.retry_after = Some(retry_after);
        error
    }

    const fn new(kind: FailureKind) -> Self {
        Self { kind, public: None, retry_after: None, is_final: false, source: None }
    }

    /// Adds the error behind the failure, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that another attempt would fail as well: a worker of a queue buries the job at once. Without a queue this
    /// changes nothing.
    #[must_use]
    pub const fn without_retry(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Whether another attempt would fail as well ([`without_retry`](Self::without_retry)).
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.is_final
    }

    pub(super) const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The text that the caller may read.
    #[must_use]
    pub fn public_text(&self) -> Option<&str> {
        self.public.as_deref()
    }

    /// After which time the executor wants to be asked again ([`busy`](Self::busy), [`unavailable`](Self::unavailable)).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error behind the failure.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

impl<E: Into<BoxError>> From<E> for ExecutorError {
    fn from(source: E) -> Self {
        Self::new(FailureKind::Failed).with_source(source)
    }
}

impl fmt::Debug for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorError")
            .field("kind", &self.kind)
            .field("public", &self.public)
            .field("retry_after", &self.retry_after)
            .field("is_final", &self.is_final)
            .field("source", &self.source)
            .finish()
    }
}
