//! Calls to a database that go on when their callers are gone.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::carried::Carried;
use crate::SystemTimer;
use crate::key::StoreError;
use crate::timer::within;

mod carried;

/// Runs the calls of a store.
///
/// 1. A caller that goes away does not cut a call short. A protocol whose next answer belongs to the
///    question of somebody who left hands one caller the record of another.
/// 2. A call that takes longer than the deadline is dropped, with its connection: whoever writes the
///    call sees to it that a connection which is dropped in the middle is closed and not used again.
/// 3. A call beyond the limit fails at once. Calls that hang do not pile up. A call that waits for its
///    turn has not begun, and is no more when its caller goes away: what nobody waits for is not in the
///    way of what somebody waits for.
/// 4. A panic of a call is an error of that call.
///
/// A call is carried by the task of its caller, who is woken by the answer itself, or it has a task of its
/// own from the start. A look-up is carried: to wake a task on another thread, and the caller after it, can
/// take as long as the answer of the database. It gets a task when its caller goes away. A change holds locks
/// of the database in between its statements, and others would wait for a caller who has other things to do.
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

    /// What the call yields, on a task of its own. It is under way when this future is polled for the first
    /// time, and goes on if this future is dropped.
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
        let (turn, left) = self.turn(turns).await?;
        self.detach(&runtime, left, (place, turn), call).await
    }

    /// As [`run`](Self::run), carried by the caller.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "the calls of SQL databases have turns")
    )]
    pub(super) async fn carry<T, C>(&self, call: C) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, place) = self.enter()?;
        Carried::new(runtime, self.deadline, place, call).await
    }

    /// As [`run_in_turn`](Self::run_in_turn), carried by the caller.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(dead_code, reason = "the calls of Redis share a connection")
    )]
    pub(super) async fn carry_in_turn<T, C>(
        &self,
        turns: &Arc<Semaphore>,
        call: C,
    ) -> Result<T, StoreError>
    where
        C: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (runtime, place) = self.enter()?;
        let (turn, left) = self.turn(turns).await?;
        Carried::new(runtime, left, (place, turn), call).await
    }

    /// A turn, and how long the call may take from then on.
    async fn turn(
        &self,
        turns: &Arc<Semaphore>,
    ) -> Result<(OwnedSemaphorePermit, Duration), CallError> {
        let started = Instant::now();
        let turn = Arc::clone(turns).acquire_owned();
        let turn = within(&SystemTimer::new(), self.deadline, turn).await;
        let turn = turn.ok_or(CallError::TooSlow)?.map_err(|_| CallError::ShutDown)?;
        Ok((turn, self.deadline.saturating_sub(started.elapsed())))
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
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    fn cause(result: Result<(), StoreError>) -> CallError {
        let error = result.unwrap_err();
        *error.source().unwrap().downcast_ref::<CallError>().unwrap()
    }

    /// A caller of either kind.
    type Caller = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

    fn callers<C>(calls: &DetachedCalls, call: impl Fn() -> C) -> [Caller; 2]
    where
        C: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (run, carry) = ((calls.clone(), call()), (calls.clone(), call()));
        [
            Box::pin(async move { run.0.run(run.1).await }),
            Box::pin(async move { carry.0.carry(carry.1).await }),
        ]
    }

    struct OnDrop(Arc<AtomicUsize>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A call that never ends, and counts when it is dropped.
    fn endless(
        drops: &Arc<AtomicUsize>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let guard = OnDrop(drops.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    }

    async fn reaches(count: &AtomicUsize, expected: usize) -> bool {
        let started = Instant::now();
        while count.load(Ordering::SeqCst) < expected {
            if started.elapsed() > Duration::from_secs(20) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    #[tokio::test]
    async fn a_call_yields_its_result() {
        let calls = DetachedCalls::new();

        assert_eq!(calls.run(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(calls.carry(async { Ok(7) }).await.unwrap(), 7);
        for call in callers(&calls, || async { Err(StoreError::new("down")) }) {
            assert_eq!(call.await.unwrap_err().source().unwrap().to_string(), "down");
        }
    }

    #[tokio::test]
    async fn a_call_goes_on_when_its_caller_is_gone() {
        let calls = DetachedCalls::new();
        let (started, go_on, ended) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
        let call = || {
            let (started, go_on, ended) = (started.clone(), go_on.clone(), ended.clone());
            async move {
                started.notify_one();
                go_on.notified().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                ended.notify_one();
                Ok(())
            }
        };
        for mut caller in callers(&calls, call) {
            assert!(caller.as_mut().now_or_never().is_none());
            started.notified().await;
            // A caller may be dropped anywhere.
            std::thread::spawn(move || drop(caller)).join().unwrap();
            go_on.notify_one();

            ended.notified().await;
        }
    }

    #[tokio::test]
    async fn a_call_that_is_carried_has_no_task_until_its_caller_is_gone() {
        let calls = DetachedCalls::new();
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let drops = Arc::default();
        let [mut run, mut carried] = callers(&calls, || endless(&drops));

        assert!(carried.as_mut().now_or_never().is_none());
        assert_eq!(tasks(), 0);
        drop(carried);
        assert_eq!(tasks(), 1);
        assert!(run.as_mut().now_or_never().is_none());
        assert_eq!(tasks(), 2);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_call_that_is_carried_has_not_begun_before_its_caller_waits() {
        let drops = Arc::default();
        let [_, carried] = callers(&DetachedCalls::new(), || endless(&drops));
        drop(carried);

        assert_eq!(drops.load(Ordering::SeqCst), 2);
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[tokio::test]
    async fn a_call_is_dropped_at_the_deadline() {
        let calls = DetachedCalls::new().with_deadline(Duration::from_millis(50));
        let drops = Arc::default();
        for (index, call) in callers(&calls, || endless(&drops)).into_iter().enumerate() {
            let started = Instant::now();

            assert_eq!(cause(call.await), CallError::TooSlow);
            assert!(started.elapsed() >= Duration::from_millis(50));
            assert!(reaches(&drops, index + 1).await);
        }
    }

    #[tokio::test]
    async fn a_call_is_dropped_at_the_deadline_whether_or_not_its_caller_looks() {
        let calls = DetachedCalls::new().with_limit(3).with_deadline(Duration::from_millis(50));
        let drops = Arc::default();
        let [mut run, mut carried] = callers(&calls, || endless(&drops));
        let [_, mut dropped] = callers(&calls, || endless(&drops));
        for call in [&mut run, &mut carried, &mut dropped] {
            assert!(call.as_mut().now_or_never().is_none());
        }
        drop(dropped);

        // One of the calls has never begun.
        assert!(reaches(&drops, 4).await);
        assert_eq!(calls.places.available_permits(), 3);
        assert_eq!(cause(run.await), CallError::TooSlow);
        assert_eq!(cause(carried.await), CallError::TooSlow);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_that_ends_at_the_deadline_has_one_of_two_results() {
        let calls = DetachedCalls::new().with_deadline(Duration::from_millis(2));
        for step in 0..200 {
            let call = async move {
                tokio::time::sleep(Duration::from_micros(step * 20)).await;
                Ok(step)
            };
            match calls.carry(call).await {
                Ok(result) => assert_eq!(result, step),
                Err(error) => assert_eq!(cause(Err(error)), CallError::TooSlow),
            }
        }
        // What was late is dropped a little later.
        let all = DetachedCalls::DEFAULT_LIMIT.try_into().unwrap();
        drop(calls.places.acquire_many(all).await.unwrap());
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
        let calls = DetachedCalls::new().with_limit(2);
        for _ in 0..3 {
            for call in callers(&calls, || async { panic!("a panic of the driver") }) {
                assert_eq!(cause(call.await), CallError::Panicked);
            }
        }
        for call in callers(&calls, || async { Ok(()) }) {
            call.await.unwrap();
        }
        assert_eq!(calls.places.available_permits(), 2);
    }

    #[test]
    fn a_call_outside_of_a_runtime_is_an_error() {
        for call in callers(&DetachedCalls::new(), || async { Ok(()) }) {
            assert_eq!(cause(call.now_or_never().unwrap()), CallError::NoRuntime);
        }
    }

    #[test]
    fn a_call_that_is_carried_goes_on_wherever_it_is_polled() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        // Without a timer of its own.
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let calls = DetachedCalls::new();
        let sleep = || async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        };
        for mut call in callers(&calls, sleep) {
            let entered = runtime.enter();
            assert!(call.as_mut().now_or_never().is_none());
            drop(entered);
            other.block_on(call).unwrap();
        }
    }

    #[test]
    fn a_runtime_that_shuts_down_is_an_error() {
        let calls = DetachedCalls::new();
        let sleep = || async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        };
        let [_, dropped] = callers(&calls, sleep);
        let mut all = Vec::from(callers(&calls, sleep));
        all.push(dropped);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for call in &mut all {
                assert!(call.as_mut().now_or_never().is_none());
            }
        });
        drop(runtime);

        // What is handed over to a runtime that has ended is dropped.
        drop(all.pop());
        for call in all {
            assert_eq!(cause(call.now_or_never().unwrap()), CallError::ShutDown);
        }
        assert_eq!(calls.places.available_permits(), DetachedCalls::DEFAULT_LIMIT);
    }
}
