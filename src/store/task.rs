//! Spawned tasks, bounded by a semaphore and a timeout, for the calls of stores.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use crate::key::StoreError;
use crate::util::{Panicked, catch_panic};

/// Runs the calls of a store.
///
/// 1. A spawned call goes on when its caller leaves. Clients of SQL databases need this: a transaction that is
///    dropped half way can leave its connection in the middle of it.
/// 2. A call that takes longer than the deadline is dropped.
/// 3. A call beyond the limit fails at once.
/// 4. A panic of a call is an error of that call: sqlx panics at some malformed answers.
#[derive(Clone)]
pub(crate) struct StoreTasks {
    in_flight: Arc<Semaphore>,
    limit: usize,
    deadline: Duration,
}

impl StoreTasks {
    const DEFAULT_LIMIT: usize = 1024;
    const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

    pub(crate) fn new() -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(Self::DEFAULT_LIMIT)),
            limit: Self::DEFAULT_LIMIT,
            deadline: Self::DEFAULT_DEADLINE,
        }
    }

    /// Sets how many calls are in flight at once. Zero counts as one.
    pub(crate) fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        self.in_flight = Arc::new(Semaphore::new(self.limit));
        self
    }

    /// Sets how long a call may take. More than a day counts as a day.
    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(Duration::from_secs(24 * 60 * 60));
        self
    }

    #[cfg_attr(
        not(any(feature = "cache", feature = "postgres", feature = "redis")),
        allow(dead_code, reason = "SQLite acquires first")
    )]
    /// Runs a call in a spawned task. It starts when this future is polled for the first time, and goes on if
    /// this future is dropped.
    pub(crate) async fn spawn<T, C>(&self, call: C) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, permit) = self.enter()?;
        let deadline = self.deadline;
        join(runtime.spawn(async move {
            let _permit = permit;
            timeout(deadline, call).await
        }))
        .await
    }

    /// Waits for a connection in the task of the caller, and runs a call with it in a spawned task. A call that
    /// waits is dropped with its caller.
    #[cfg_attr(
        not(any(feature = "file", feature = "sqlite")),
        allow(dead_code, reason = "other stores acquire in the call")
    )]
    pub(crate) async fn spawn_with<R, T, C>(
        &self,
        acquire: impl Future<Output = Result<R, StoreError>>,
        call: impl FnOnce(R) -> C,
    ) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, permit) = self.enter()?;
        let deadline = Instant::now() + self.deadline;
        let acquired = timeout_at(deadline, acquire).await;
        let call = call(acquired.map_err(|_| CallError::TooSlow)??);
        join(runtime.spawn(async move {
            let _permit = permit;
            timeout_at(deadline, call).await
        }))
        .await
    }

    /// Runs a call in the task of its caller. It is dropped with the caller.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "queue-sqlite", feature = "redis")),
        allow(dead_code, reason = "the key stores in files spawn every call")
    )]
    pub(crate) async fn run<T, C>(&self, call: C) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>>,
    {
        let (_runtime, _permit) = self.enter()?;
        let mut call = pin!(call);
        let caught = poll_fn(|context| {
            let polled = catch_panic(|| call.as_mut().poll(context));
            polled.unwrap_or_else(|Panicked| Poll::Ready(Err(CallError::Panicked.into())))
        });
        timeout(self.deadline, caught).await.unwrap_or_else(|_| Err(CallError::TooSlow.into()))
    }

    fn enter(&self) -> Result<(Handle, OwnedSemaphorePermit), CallError> {
        let runtime = Handle::try_current().map_err(|_| CallError::NoRuntime)?;
        let permit = Arc::clone(&self.in_flight).try_acquire_owned();
        Ok((runtime, permit.map_err(|_| CallError::TooMany)?))
    }
}

async fn join<T>(
    task: JoinHandle<Result<Result<T, StoreError>, Elapsed>>,
) -> Result<T, StoreError> {
    match task.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(CallError::TooSlow.into()),
        Err(error) if error.is_panic() => Err(CallError::Panicked.into()),
        Err(_) => Err(CallError::ShutDown.into()),
    }
}

impl fmt::Debug for StoreTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreTasks")
            .field("limit", &self.limit)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Why a call has no answer, apart from errors of the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CallError {
    NoRuntime,
    TooMany,
    TooSlow,
    Panicked,
    ShutDown,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRuntime => "the call is made outside of a tokio runtime",
            Self::TooMany => "too many calls are under way",
            Self::TooSlow => "there was no answer before the deadline",
            Self::Panicked => "the call panicked",
            Self::ShutDown => "the runtime is shutting down",
        })
    }
}

impl Error for CallError {}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    fn cause(result: Result<(), StoreError>) -> CallError {
        let error = result.unwrap_err();
        *error.source().unwrap().downcast_ref::<CallError>().unwrap()
    }

    #[tokio::test]
    async fn a_call_yields_its_result() {
        let tasks = StoreTasks::new();
        assert_eq!(tasks.spawn(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(tasks.run(async { Ok(7) }).await.unwrap(), 7);
        let error = tasks.run::<(), _>(async { Err(StoreError::new("down")) }).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "down");
    }

    #[tokio::test]
    async fn a_spawned_call_outlives_its_caller() {
        let tasks = StoreTasks::new();
        let (started, go_on, ended) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
        let call = {
            let (started, go_on, ended) = (started.clone(), go_on.clone(), ended.clone());
            async move {
                started.notify_one();
                go_on.notified().await;
                ended.notify_one();
                Ok(())
            }
        };
        let mut caller = Box::pin(tasks.spawn(call));
        assert!(caller.as_mut().now_or_never().is_none());
        started.notified().await;
        drop(caller);
        go_on.notify_one();
        ended.notified().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_its_caller_or_at_the_deadline() {
        let tasks = StoreTasks::new().with_limit(2).with_deadline(Duration::from_millis(50));
        let mut dropped = Box::pin(tasks.run(pending::<Result<(), _>>()));
        assert!(dropped.as_mut().now_or_never().is_none());
        assert_eq!(tasks.in_flight.available_permits(), 1);
        drop(dropped);
        assert_eq!(tasks.in_flight.available_permits(), 2);

        assert_eq!(cause(tasks.run(pending()).await), CallError::TooSlow);
        assert_eq!(cause(tasks.spawn(pending()).await), CallError::TooSlow);
        assert_eq!(tasks.in_flight.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_a_connection_has_not_begun() {
        let tasks = StoreTasks::new().with_limit(1).with_deadline(Duration::from_millis(50));
        let begin = |()| async { panic!("it has begun") };
        let mut dropped = Box::pin(tasks.spawn_with::<_, (), _>(pending(), begin));
        assert!(dropped.as_mut().now_or_never().is_none());
        drop(dropped);
        assert_eq!(tasks.in_flight.available_permits(), 1);
        assert_eq!(cause(tasks.spawn_with(pending(), begin).await), CallError::TooSlow);
        let eight = tasks.spawn_with(async { Ok(7) }, async |seven| Ok(seven + 1)).await;
        assert_eq!(eight.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beyond_the_limit_fails_at_once() {
        let tasks = StoreTasks::new().with_limit(2);
        for _ in 0..2 {
            let mut call = Box::pin(tasks.spawn(pending::<Result<(), _>>()));
            assert!(call.as_mut().now_or_never().is_none());
        }
        // The callers have left. Their calls are in flight until the deadline.
        let refused = tasks.spawn(async { Ok(()) }).now_or_never().unwrap();
        assert_eq!(cause(refused), CallError::TooMany);
        let refused = tasks.run(async { Ok(()) }).now_or_never().unwrap();
        assert_eq!(cause(refused), CallError::TooMany);
        tokio::time::sleep(StoreTasks::DEFAULT_DEADLINE * 2).await;
        tasks.spawn(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_permit() {
        let tasks = StoreTasks::new().with_limit(1);
        for _ in 0..3 {
            let call = tasks.spawn(async { panic!("a panic of the driver") });
            assert_eq!(cause(call.await), CallError::Panicked);
            let call = tasks.run(async { panic!("a panic of the driver") });
            assert_eq!(cause(call.await), CallError::Panicked);
        }
        tasks.spawn(async { Ok(()) }).await.unwrap();
    }

    #[test]
    fn a_call_outside_of_a_runtime_is_an_error() {
        let tasks = StoreTasks::new();
        let spawned = tasks.spawn(async { Ok(()) }).now_or_never().unwrap();
        assert_eq!(cause(spawned), CallError::NoRuntime);
        assert_eq!(
            cause(tasks.run(async { Ok(()) }).now_or_never().unwrap()),
            CallError::NoRuntime
        );
    }

    #[test]
    fn a_runtime_that_shuts_down_is_an_error() {
        let tasks = StoreTasks::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut call = Box::pin(tasks.spawn(pending::<Result<(), _>>()));
        runtime.block_on(async { assert!(call.as_mut().now_or_never().is_none()) });
        drop(runtime);
        assert_eq!(cause(call.now_or_never().unwrap()), CallError::ShutDown);
        assert_eq!(tasks.in_flight.available_permits(), StoreTasks::DEFAULT_LIMIT);
    }
}
