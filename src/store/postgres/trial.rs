use std::time::Duration;

use tokio::time::sleep;

use crate::key::{DecodeError, StoreError};

/// Why a statement or a transaction has no result.
pub(super) enum Failure {
    /// There is no connection. Nothing was sent.
    Acquire(sqlx::Error),
    /// The server refused, or the connection broke.
    Statement(sqlx::Error),
    /// The answer is not one that this store has written.
    Answer(StoreError),
}

impl Failure {
    pub(super) fn into_error(self) -> StoreError {
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

/// The trials of one call.
pub(super) struct Trials {
    left: u32,
    unsure: bool,
}

/// What a failure says about the change that was asked for, and about another trial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It was not made, and another trial would fail as well.
    Final,
    /// It was not made, and another trial may succeed.
    Undone,
    /// It may have been made.
    Unsure,
}

impl Trials {
    const MAX_RETRIES: u32 = 3;

    pub(super) fn new() -> Self {
        Self { left: Self::MAX_RETRIES, unsure: false }
    }

    /// Whether an earlier trial may have made the change.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Waits for a moment, if there is to be another trial. Otherwise the failure is the error.
    pub(super) async fn next(&mut self, failure: Failure) -> Result<(), StoreError> {
        let verdict = judge(&failure);
        self.unsure |= verdict == Verdict::Unsure;
        if verdict == Verdict::Final || self.left == 0 {
            return Err(failure.into_error());
        }
        self.left -= 1;
        sleep(pause(Self::MAX_RETRIES - self.left)).await;
        Ok(())
    }
}

fn judge(failure: &Failure) -> Verdict {
    match failure {
        // The pool has tried again on its own, for as long as it may.
        Failure::Acquire(sqlx::Error::Io(_)) => Verdict::Undone,
        Failure::Acquire(_) | Failure::Answer(_) => Verdict::Final,
        Failure::Statement(error) => match error.as_database_error() {
            Some(error) => judge_state(error.code().as_deref().unwrap_or_default()),
            None => Verdict::Unsure,
        },
    }
}

/// A verdict by SQLSTATE.
fn judge_state(state: &str) -> Verdict {
    match state {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Verdict::Undone,
        // statement_completion_unknown, connection_exception and its class; admin_shutdown,
        // crash_shutdown, cannot_connect_now, database_dropped
        "40003" | "57P01" | "57P02" | "57P03" | "57P04" => Verdict::Unsure,
        state if state.starts_with("08") => Verdict::Unsure,
        _ => Verdict::Final,
    }
}

/// 5 to 20 milliseconds before the first trial, twice that before the second, and so on: those who got
/// into each other's way do not do so again.
fn pause(trial: u32) -> Duration {
    let base = 5_000 << trial.saturating_sub(1).min(6);
    let jitter = getrandom::u32().unwrap_or_default() % (3 * base);
    Duration::from_micros((base + jitter).into())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn io_error() -> sqlx::Error {
        sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_connection_is_tried_again_three_times_and_leaves_doubt() {
        let mut trials = Trials::new();
        assert!(!trials.is_unsure());
        for _ in 0..3 {
            trials.next(Failure::Statement(io_error())).await.unwrap();
            assert!(trials.is_unsure());
        }
        assert!(trials.next(Failure::Statement(io_error())).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_leaves_no_doubt() {
        let mut trials = Trials::new();
        trials.next(Failure::Acquire(io_error())).await.unwrap();
        assert!(!trials.is_unsure());
        assert!(trials.next(Failure::Acquire(sqlx::Error::PoolTimedOut)).await.is_err());
    }

    #[test]
    fn states_are_told_apart() {
        for (state, verdict) in [
            ("40001", Verdict::Undone),
            ("40P01", Verdict::Undone),
            ("40003", Verdict::Unsure),
            ("57P01", Verdict::Unsure),
            ("08006", Verdict::Unsure),
            ("57014", Verdict::Final),
            ("55P03", Verdict::Final),
            ("25006", Verdict::Final),
            ("42P01", Verdict::Final),
            ("42501", Verdict::Final),
            ("53100", Verdict::Final),
            ("", Verdict::Final),
        ] {
            assert_eq!(judge_state(state), verdict, "{state}");
        }
    }

    #[test]
    fn pauses_grow_and_differ() {
        for (trial, least) in [(1, 5), (2, 10), (3, 20)] {
            for _ in 0..100 {
                let pause = pause(trial);
                assert!(pause >= Duration::from_millis(least));
                assert!(pause < Duration::from_millis(4 * least));
            }
        }
    }
}
