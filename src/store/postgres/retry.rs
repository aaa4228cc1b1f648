//! Retry with backoff and jitter.

use std::time::Duration;

use tokio::time::sleep;

use crate::key::{DecodeError, StoreError};

/// Why a statement or a transaction has no result.
pub(crate) enum Failure {
    /// There is no connection. Nothing was sent.
    Acquire(sqlx::Error),
    /// The server refused, or the connection broke.
    Statement(sqlx::Error),
    /// The answer is not one that this store has written.
    Answer(StoreError),
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Acquire(error) | Self::Statement(error) => StoreError::new(error),
            Self::Answer(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(error)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Answer(error.into())
    }
}

/// One attempt of a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attempt {
    /// How many attempts have failed.
    pub(crate) failed: u32,
    /// Whether one of them may have made the change.
    pub(crate) outcome_unknown: bool,
}

const MAX_RETRIES: u32 = 3;

/// Runs attempts until one succeeds, fails for good, or three retries have failed.
pub(crate) async fn retry<T, F>(attempt: impl Fn(Attempt) -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut next = Attempt::default();
    loop {
        let failure = match attempt(next).await {
            Ok(result) => return Ok(result),
            Err(failure) => failure,
        };
        let class = classify(&failure);
        if class == Class::Final || next.failed == MAX_RETRIES {
            return Err(failure.into_error());
        }
        next.failed += 1;
        next.outcome_unknown |= class == Class::OutcomeUnknown;
        sleep(pause(next.failed)).await;
    }
}

/// What a failure means for the change that was asked for, and for a retry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// It was not made, and a retry would fail as well.
    Final,
    /// It was not made, and a retry may succeed.
    Retryable,
    /// It may have been made.
    OutcomeUnknown,
}

fn classify(failure: &Failure) -> Class {
    match failure {
        // The pool has tried again on its own, for as long as it may.
        Failure::Acquire(sqlx::Error::Io(_)) => Class::Retryable,
        Failure::Acquire(_) | Failure::Answer(_) => Class::Final,
        Failure::Statement(error) => match error.as_database_error() {
            Some(error) => classify_state(error.code().as_deref().unwrap_or_default()),
            None => Class::OutcomeUnknown,
        },
    }
}

/// Classifies by SQLSTATE.
fn classify_state(state: &str) -> Class {
    match state {
        // serialization_failure, deadlock_detected; invalid_sql_statement_name: the server has dropped a
        // prepared statement
        "40001" | "40P01" | "26000" => Class::Retryable,
        // statement_completion_unknown, connection_exception and its class; admin_shutdown,
        // crash_shutdown, cannot_connect_now, database_dropped
        "40003" | "57P01" | "57P02" | "57P03" | "57P04" => Class::OutcomeUnknown,
        state if state.starts_with("08") => Class::OutcomeUnknown,
        _ => Class::Final,
    }
}

/// Exponential backoff with jitter: 5 to 20 milliseconds before the first retry, twice that before the second,
/// and so on.
fn pause(retry: u32) -> Duration {
    let base = 5_000 << retry.saturating_sub(1).min(6);
    let jitter = getrandom::u32().unwrap_or_default() % (3 * base);
    Duration::from_micros((base + jitter).into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;

    fn io_error() -> sqlx::Error {
        sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())
    }

    /// The attempts of a call that always fails.
    async fn attempts(failure: fn() -> Failure) -> Vec<Attempt> {
        let attempts = RefCell::default();
        let result: Result<(), _> = retry(|attempt| {
            RefCell::<Vec<_>>::borrow_mut(&attempts).push(attempt);
            async move { Err(failure()) }
        })
        .await;
        assert!(result.is_err());
        attempts.into_inner()
    }

    fn expected(count: u32, outcome_unknown: bool) -> Vec<Attempt> {
        let attempt = |failed| Attempt { failed, outcome_unknown: outcome_unknown && failed > 0 };
        (0..count).map(attempt).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_connection_is_retried_three_times() {
        let failure = || Failure::Statement(io_error());
        assert_eq!(attempts(failure).await, expected(4, true));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_connection_the_outcome_is_known() {
        assert_eq!(attempts(|| Failure::Acquire(io_error())).await, expected(4, false));
        let failure = || Failure::Acquire(sqlx::Error::PoolTimedOut);
        assert_eq!(attempts(failure).await, expected(1, false));
    }

    #[test]
    fn failures_are_classified_by_sqlstate() {
        for (state, class) in [
            ("40001", Class::Retryable),
            ("40P01", Class::Retryable),
            ("26000", Class::Retryable),
            ("40003", Class::OutcomeUnknown),
            ("57P01", Class::OutcomeUnknown),
            ("08006", Class::OutcomeUnknown),
            ("57014", Class::Final),
            ("55P03", Class::Final),
            ("25006", Class::Final),
            ("42P01", Class::Final),
            ("42501", Class::Final),
            ("53100", Class::Final),
            ("", Class::Final),
        ] {
            assert_eq!(classify_state(state), class, "{state}");
        }
    }

    #[test]
    fn pauses_grow_and_differ() {
        for (retry, least) in [(1, 5), (2, 10), (3, 20)] {
            for _ in 0..100 {
                let pause = pause(retry);
                assert!(pause >= Duration::from_millis(least));
                assert!(pause < Duration::from_millis(4 * least));
            }
        }
    }
}
