use std::error::Error;
use std::fmt;

use redis::RedisError;

use crate::key::{DecodeError, StoreError};

/// Why a [`RedisKeyStore`](super::RedisKeyStore) or a [`RedisRateLimiter`](super::RedisRateLimiter) cannot answer.
///
/// It is the [`source`](Error::source) of the [`StoreError`]s of the store.
///
/// # Security
///
/// Texts are fixed. What the server said is reduced to the [`code`](Self::code) of its error: the rest
/// can have parts of a command in it, and a parse error parts of a record. The address of the server
/// and its password are in none of them.
pub struct RedisStoreError {
    kind: RedisStoreErrorKind,
    code: Option<Box<str>>,
    cause: Option<Cause>,
}

enum Cause {
    /// Only what the operating system says is shown.
    Connection(RedisError),
    Record(DecodeError),
}

/// The reasons of a [`RedisStoreError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RedisStoreErrorKind {
    /// The URL is no address of a server, or needs a feature of the `redis` crate that is off.
    InvalidUrl,
    /// There is no connection, or it broke.
    Unreachable,
    /// The server did not answer in time.
    TooSlow,
    /// The server answered with an error: see [`code`](RedisStoreError::code).
    Server,
    /// The answer is not one that the command can have.
    UnexpectedReply,
    /// The namespace has no sentinel: it was never initialized, or the server has lost its data.
    NotInitialized,
    /// The namespace has a sentinel already.
    AlreadyInitialized,
    /// The namespace has records and no sentinel.
    RecordsWithoutSentinel,
    /// The sentinel is that of another version of the layout.
    UnsupportedLayout,
    /// The server may evict records to free memory.
    Eviction,
    /// A record or a bucket cannot be read, or an owner's index says something else.
    InvalidRecord,
    /// The change is made on the server, and too few replicas have said in time that they have it.
    NotDurable,
    /// Other changes kept coming in between.
    Contention,
}

impl RedisStoreError {
    pub(super) fn new(kind: RedisStoreErrorKind) -> Self {
        Self { kind, code: None, cause: None }
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> RedisStoreErrorKind {
        self.kind
    }

    /// The code of the server's error, such as `READONLY` or `LOADING`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    fn text(&self) -> &'static str {
        match self.kind {
            RedisStoreErrorKind::InvalidUrl => "the URL is no address of a Redis server",
            RedisStoreErrorKind::Unreachable => "there is no connection to the Redis server",
            RedisStoreErrorKind::TooSlow => "the Redis server did not answer in time",
            RedisStoreErrorKind::Server => "the Redis server answered with an error",
            RedisStoreErrorKind::UnexpectedReply => {
                "the Redis server's answer is not one of the command"
            }
            RedisStoreErrorKind::NotInitialized => {
                "the namespace has no sentinel: it was never initialized, or its data is lost"
            }
            RedisStoreErrorKind::AlreadyInitialized => "the namespace is initialized already",
            RedisStoreErrorKind::RecordsWithoutSentinel => {
                "the namespace has records and no sentinel: restore the sentinel with the records, \
                 or delete the records"
            }
            RedisStoreErrorKind::UnsupportedLayout => {
                "the namespace was initialized by another version of this crate"
            }
            RedisStoreErrorKind::Eviction => {
                "the Redis server's maxmemory-policy lets it evict records: set it to noeviction"
            }
            RedisStoreErrorKind::InvalidRecord => "a stored value is not what it should be",
            RedisStoreErrorKind::NotDurable => "the change is made, but not yet on enough replicas",
            RedisStoreErrorKind::Contention => "other changes kept coming in between",
        }
    }
}

impl fmt::Debug for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreError")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("source", &self.source())
            .finish()
    }
}

impl fmt::Display for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        match &self.code {
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

impl Error for RedisStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cause.as_ref()? {
            Cause::Connection(error) => error.source(),
            Cause::Record(error) => Some(error),
        }
    }
}

impl From<RedisStoreErrorKind> for RedisStoreError {
    fn from(kind: RedisStoreErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<RedisError> for RedisStoreError {
    fn from(error: RedisError) -> Self {
        if let Some(code) = error.code() {
            let code = is_code(code).then(|| Box::from(code));
            return Self { kind: RedisStoreErrorKind::Server, code, cause: None };
        }
        if error.is_timeout() {
            return Self::new(RedisStoreErrorKind::TooSlow);
        }
        if error.is_io_error() {
            let kind = RedisStoreErrorKind::Unreachable;
            return Self { kind, code: None, cause: Some(Cause::Connection(error)) };
        }
        match error.kind() {
            redis::ErrorKind::AuthenticationFailed => Self::new(RedisStoreErrorKind::Unreachable),
            _ => Self::new(RedisStoreErrorKind::UnexpectedReply),
        }
    }
}

impl From<DecodeError> for RedisStoreError {
    fn from(error: DecodeError) -> Self {
        let kind = RedisStoreErrorKind::InvalidRecord;
        Self { kind, code: None, cause: Some(Cause::Record(error)) }
    }
}

impl From<RedisStoreError> for StoreError {
    fn from(error: RedisStoreError) -> Self {
        Self::new(error)
    }
}

/// Whether a text of the server has the form of an error code, and nothing else in it.
fn is_code(text: &str) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.len() <= 24 && text.as_bytes().iter().all(allowed)
}
