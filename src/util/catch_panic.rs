use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The work panicked. What the panic said is dropped: it may hold anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Panicked;

/// Calls code of the app, and catches its panic.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(discard)
}

/// Runs code of the app and catches its panics: in the call that makes the future, in each poll, and when the
/// future is dropped.
pub(crate) struct CatchPanic<'a, T>(Option<BoxFuture<'a, T>>);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<'a, T> CatchPanic<'a, T> {
    pub(crate) fn new(make: impl FnOnce() -> BoxFuture<'a, T>) -> Result<Self, Panicked> {
        catch_panic(make).map(|future| Self(Some(future)))
    }
}

impl<T> Future for CatchPanic<'_, T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(self.release().map(|()| value)),
            Err(payload) => {
                // A second panic, from the drop of what is left, changes nothing.
                let _ = self.release();
                Poll::Ready(Err(discard(payload)))
            }
        }
    }
}

impl<T> CatchPanic<'_, T> {
    fn release(&mut self) -> Result<(), Panicked> {
        let future = self.0.take();
        catch_panic(|| drop(future))
    }
}

impl<T> Drop for CatchPanic<'_, T> {
    fn drop(&mut self) {
        // There is no one to report to.
        let _ = self.release();
    }
}

fn discard(payload: Box<dyn Any + Send>) -> Panicked {
    // The payload may panic when it is dropped, with a payload that nothing could contain.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    Panicked
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[tokio::test]
    async fn a_panic_anywhere_is_contained() {
        let in_call = CatchPanic::<()>::new(|| panic!("in call"));
        assert_eq!(in_call.err(), Some(Panicked));

        let in_poll = CatchPanic::<()>::new(|| Box::pin(async { panic!("in poll") })).unwrap();
        assert_eq!(in_poll.await, Err(Panicked));

        let payload = || async { std::panic::panic_any(PanicsOnDrop) };
        let in_payload = CatchPanic::<()>::new(|| Box::pin(payload())).unwrap();
        assert_eq!(in_payload.await, Err(Panicked));

        let guard = PanicsOnDrop;
        let in_drop = CatchPanic::new(|| {
            Box::pin(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            })
        });
        drop(in_drop);
    }

    #[tokio::test]
    async fn a_value_is_passed_on() {
        assert_eq!(CatchPanic::new(|| Box::pin(async { 1 })).unwrap().await, Ok(1));
    }
}
