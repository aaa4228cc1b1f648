//! One run of an executor: panics are contained, and time and size are limited.

use std::time::Duration;

use super::{Executor, Failure, FailureKind, Invocation, Outcome};
use crate::util::{CatchPanic, timeout};

pub(crate) async fn run(
    executor: &dyn Executor,
    invocation: Invocation,
    deadline: Duration,
    max_bytes: usize,
) -> Result<Outcome, Failure> {
    let end = match CatchPanic::new(|| executor.execute(invocation)) {
        Err(panicked) => Some(Err(panicked)),
        Ok(mut execution) => timeout(deadline, &mut execution).await,
    };
    match end {
        None => Err(Failure::new(FailureKind::Timeout)),
        Some(Err(_panicked)) => Err(Failure::new(FailureKind::Panicked)),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Ok(Ok(outcome))) if outcome.len() > max_bytes => {
            Err(Failure::new(FailureKind::TooLarge))
        }
        Some(Ok(Ok(outcome))) => Ok(outcome),
    }
}
