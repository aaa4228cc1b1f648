use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{CallError, StoreError};
use crate::{SystemTimer, Timer};

/// A call that is carried by the task of its caller until it ends, and by a task of its own from then on if
/// the caller goes away before.
///
/// The deadline does not need the caller: a call that has begun and is not polled any more keeps its connection
/// until then and no longer.
pub(super) struct Carried<C: Future + Send + 'static, H: Send + 'static> {
    load: Arc<Load<C, H>>,
    /// From the first time that the call had to wait. Wakes the load, which wakes the caller.
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What the caller and the deadline share.
struct Load<C, H> {
    runtime: Handle,
    until: Instant,
    state: Mutex<State<C, H>>,
}

enum State<C, H> {
    UnderWay {
        call: Pin<Box<C>>,
        /// What is let go when the call has ended.
        held: H,
        caller: Option<Waker>,
    },
    Over,
}

impl<C: Future + Send + 'static, H: Send + 'static> Carried<C, H> {
    /// `held` is let go when the call has ended.
    pub(super) fn new(runtime: Handle, deadline: Duration, held: H, call: C) -> Self {
        let state = Mutex::new(State::UnderWay { call: Box::pin(call), held, caller: None });
        let load = Arc::new(Load { runtime, until: Instant::now() + deadline, state });
        Self { load, sleep: None }
    }
}

impl<C, H, T> Future for Carried<C, H>
where
    C: Future<Output = Result<T, StoreError>> + Send + 'static,
    H: Send + 'static,
{
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(result) = self.load.step(context) {
            return Poll::Ready(result.unwrap_or_else(|error| Err(error.into())));
        }
        if self.sleep.is_none() {
            let waker = Waker::from(Arc::clone(&self.load));
            let mut sleep = SystemTimer::new().sleep(self.load.left());
            let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
            self.sleep = Some(sleep);
        }
        // The deadline may have come while the call was polled, and has left it alone then.
        if self.load.left().is_zero() {
            self.load.give_up(self.load.take());
            return Poll::Ready(Err(CallError::TooSlow.into()));
        }
        Poll::Pending
    }
}

impl<C: Future + Send + 'static, H: Send + 'static> Drop for Carried<C, H> {
    fn drop(&mut self) {
        // A call that has not had to wait has not begun or is over.
        if self.sleep.is_some() {
            self.load.hand_over();
        }
    }
}

impl<C, H> Load<C, H> {
    /// How long the call may still take.
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The state, and nothing in its place.
    fn take(&self) -> State<C, H> {
        mem::replace(&mut *self.lock(), State::Over)
    }

    /// Nothing that happens while the lock is held leaves the state half changed: a panic of the call is caught
    /// before.
    fn lock(&self) -> MutexGuard<'_, State<C, H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, H> Load<C, H>
where
    C: Future + Send + 'static,
    H: Send + 'static,
{
    /// Carries the call a step further.
    fn step(&self, context: &mut Context<'_>) -> Poll<Result<C::Output, CallError>> {
        let mut state = self.lock();
        let State::UnderWay { call, caller, .. } = &mut *state else {
            return Poll::Ready(Err(CallError::TooSlow));
        };
        // Whoever polls need not be on a thread of the runtime that the connections belong to.
        let entered = self.runtime.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        drop(entered);
        let result = match polled {
            Ok(Poll::Ready(result)) => Ok(result),
            Err(_) => Err(self.why_it_panicked()),
            Ok(Poll::Pending) => {
                let is_known = caller.as_ref().is_some_and(|at| at.will_wake(context.waker()));
                let replaced =
                    if is_known { None } else { caller.replace(context.waker().clone()) };
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
        };
        let over = mem::replace(&mut *state, State::Over);
        drop(state);
        // Dropped whether or not that panics as well.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(over)));
        Poll::Ready(result)
    }

    /// Gives the call a task, which drops it at the deadline. A runtime that has ended drops it at once.
    fn hand_over(&self) {
        if let State::UnderWay { call, held, .. } = self.take() {
            let left = self.left();
            self.runtime.spawn(async move {
                let _held = held;
                let _ = timeout(left, call).await;
            });
        }
    }

    /// Drops a call whose deadline has come, where a connection is dropped best and nobody has to wait for it.
    fn give_up(&self, state: State<C, H>) {
        if let State::UnderWay { call, held, caller } = state {
            self.runtime.spawn(async move { drop((call, held)) });
            caller.into_iter().for_each(Waker::wake);
        }
    }

    /// Timers panic in a runtime that has ended.
    fn why_it_panicked(&self) -> CallError {
        // Such a runtime ends every task before it begins.
        let probe = self.runtime.spawn(std::future::pending::<()>());
        let has_ended = probe.is_finished();
        probe.abort();
        if has_ended { CallError::ShutDown } else { CallError::Panicked }
    }
}

/// The deadline.
impl<C, H> Wake for Load<C, H>
where
    C: Future + Send + 'static,
    H: Send + 'static,
{
    fn wake(self: Arc<Self>) {
        if !self.left().is_zero() {
            return;
        }
        let state = match self.state.try_lock() {
            Ok(mut state) => mem::replace(&mut *state, State::Over),
            Err(TryLockError::Poisoned(state)) => {
                mem::replace(&mut *state.into_inner(), State::Over)
            }
            // Whoever has the lock looks at the deadline when that is over.
            Err(TryLockError::WouldBlock) => return,
        };
        self.give_up(state);
    }
}
