//! Calls to a database, on tasks of their own.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::StoreError;
use crate::SystemTimer;
use crate::timer::within;

/// Runs the calls of a store on tokio tasks of their own.
///
/// 1. A caller that goes away does not cut a call short. A protocol whose next answer belongs to the
///    question of somebody who left hands one caller the record of another.
/// 2. A call that takes longer than the deadline is dropped, with its connection: whoever writes the
///    call sees to it that a connection which is dropped in the middle is closed and not used again.
/// 3. A call beyond the limit fails at once. Calls that hang do not pile up. A call that waits for its
///    turn has not begun, and is no more when its caller goes away: what nobody waits for is not in the
///    way of what somebody waits for.
/// 4. A panic of a call is an error of that call.
#[derive(Clone)]
pub(super) struct DetachedCalls {
    places: Arc<Semaphore>,
    limit: usize,
    deadline: Duration,
}

impl DetachedCalls {
    pub(super) const DEFAULT_LIMIT: usize = 1024;
    pub(super) const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(Self::DEFAULT_LIMIT)),
            limit: Self::DEFAULT_LIMIT,
            deadline: Self::DEFAULT_DEADLINE,
        }
    }

    /// Sets how many calls are under way at once. Zero counts as one.
    pub(super) fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        self.places = Arc::new(Semaphore::new(self.limit));
        self
    }

    /// Sets how long a call may take, the wait for its turn included. More than a day counts as a day.
    pub(super) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(Duration::from_secs(24 * 60 * 60));
        self
    }

    /// What the call yields. It is under way when this future is polled for the first time, and goes
    /// on if this future is dropped.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "redis")),
        allow(dead_code, reason = "the calls of SQLite have turns")
    )]
    pub(super) async fn run<T, C>(&self, call: C) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, place) = self.enter()?;
        self.detach(&runtime, self.deadline, place, call).await
    }

    /// As [`run`](Self::run), once there is a turn. The caller waits for it.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(dead_code, reason = "the calls of Redis share a connection")
    )]
    pub(super) async fn run_in_turn<T, C>(
        &self,
        turns: &Arc<Semaphore>,
        call: C,
    ) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, place) = self.enter()?;
        let started = Instant::now();
        let turn = Arc::clone(turns).acquire_owned();
        let turn = within(&SystemTimer::new(), self.deadline, turn).await;
        let turn = turn.ok_or(CallError::TooSlow)?.map_err(|_| CallError::ShutDown)?;
        let left = self.deadline.saturating_sub(started.elapsed());
        self.detach(&runtime, left, (place, turn), call).await
    }

    fn enter(&self) -> Result<(Handle, OwnedSemaphorePermit), CallError> {
        let runtime = Handle::try_current().map_err(|_| CallError::NoRuntime)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        Ok((runtime, place.map_err(|_| CallError::TooMany)?))
    }

    /// `held` is let go when the call has ended.
    async fn detach<T, C>(
        &self,
        runtime: &Handle,
        deadline: Duration,
        held: impl Send + 'static,
        call: C,
    ) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let task = runtime.spawn(async move {
            let _held = held;
            timeout(deadline, call).await
        });
        match task.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::TooSlow.into()),
            Err(error) if error.is_panic() => Err(CallError::Panicked.into()),
            Err(_) => Err(CallError::ShutDown.into()),
        }
    }
}

impl fmt::Debug for DetachedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedCalls")
            .field("limit", &self.limit)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Why a call has no answer, apart from what the database says.
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
            Self::NoRuntime => "the key store is called outside of a tokio runtime",
            Self::TooMany => "too many calls to the database are under way",
            Self::TooSlow => "the database did not answer before the deadline",
            Self::Panicked => "the call to the database panicked",
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    fn cause(result: Result<(), StoreError>) -> CallError {
        let error = result.unwrap_err();
        *error.source().unwrap().downcast_ref::<CallError>().unwrap()
    }

    #[tokio::test]
    async fn a_call_yields_its_result() {
        let calls = DetachedCalls::new();

        assert_eq!(calls.run(async { Ok(7) }).await.unwrap(), 7);
        let error = calls.run(async { Err::<(), _>(StoreError::new("down")) }).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "down");
    }

    #[tokio::test]
    async fn a_call_goes_on_when_its_caller_is_gone() {
        let calls = DetachedCalls::new();
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

        let mut caller = Box::pin(calls.run(call));
        assert!(caller.as_mut().now_or_never().is_none());
        started.notified().await;
        drop(caller);
        go_on.notify_one();

        ended.notified().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_dropped_at_the_deadline() {
        struct OnDrop(Arc<AtomicUsize>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let calls = DetachedCalls::new().with_deadline(Duration::from_secs(2));
        let drops = Arc::new(AtomicUsize::new(0));
        let guard = OnDrop(drops.clone());
        let started = tokio::time::Instant::now();

        let result = calls.run(async move {
            let _guard = guard;
            std::future::pending().await
        });

        assert_eq!(cause(result.await), CallError::TooSlow);
        assert_eq!(started.elapsed().as_secs(), 2);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beyond_the_limit_fails_at_once_until_others_have_ended() {
        let calls = DetachedCalls::new().with_limit(2);
        let mut hanging = Vec::new();
        for _ in 0..2 {
            let mut call = Box::pin(calls.run(std::future::pending::<Result<(), _>>()));
            assert!(call.as_mut().now_or_never().is_none());
            hanging.push(call);
        }

        let refused = calls.run(async { Ok(()) }).now_or_never().unwrap();
        assert_eq!(cause(refused), CallError::TooMany);

        // Nobody waits for them, and they still count until their deadline.
        drop(hanging);
        let refused = calls.run(async { Ok(()) }).now_or_never().unwrap();
        assert_eq!(cause(refused), CallError::TooMany);
        tokio::time::sleep(DetachedCalls::DEFAULT_DEADLINE * 2).await;
        calls.run(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_waits_for_its_turn_has_not_begun() {
        let calls = DetachedCalls::new().with_limit(3).with_deadline(Duration::from_millis(200));
        let turns = Arc::new(Semaphore::new(1));
        let begun = Arc::new(AtomicUsize::new(0));
        let call = |end: Option<Arc<Notify>>| {
            let begun = Arc::clone(&begun);
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                if let Some(end) = end {
                    end.notified().await;
                }
                Ok(())
            }
        };
        let end = Arc::new(Notify::new());
        let mut first = Box::pin(calls.run_in_turn(&turns, call(Some(end.clone()))));
        assert!(first.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;

        // Those who wait count, as long as they wait.
        let mut second = Box::pin(calls.run_in_turn(&turns, call(None)));
        let mut third = Box::pin(calls.run_in_turn(&turns, call(None)));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        let refused = calls.run_in_turn(&turns, call(None)).now_or_never().unwrap();
        assert_eq!(cause(refused), CallError::TooMany);
        drop(second);
        let mut fourth = Box::pin(calls.run_in_turn(&turns, call(None)));
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(fourth);

        end.notify_one();
        first.await.unwrap();
        third.await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);

        let _turn = turns.acquire().await.unwrap();
        assert_eq!(cause(calls.run_in_turn(&turns, call(None)).await), CallError::TooSlow);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        let calls = DetachedCalls::new().with_limit(1);

        for _ in 0..3 {
            let result = calls.run(async { panic!("a panic of the driver") }).await;
            assert_eq!(cause(result), CallError::Panicked);
        }
        calls.run(async { Ok(()) }).await.unwrap();
    }

    #[test]
    fn a_call_outside_of_a_runtime_is_an_error() {
        let result = DetachedCalls::new().run(async { Ok(()) }).now_or_never().unwrap();

        assert_eq!(cause(result), CallError::NoRuntime);
    }

    #[test]
    fn a_runtime_that_shuts_down_is_an_error() {
        let calls = DetachedCalls::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut call = Box::pin(calls.run(std::future::pending::<Result<(), _>>()));
        runtime.block_on(async { assert!(call.as_mut().now_or_never().is_none()) });
        drop(runtime);

        assert_eq!(cause(call.now_or_never().unwrap()), CallError::ShutDown);
    }
}
