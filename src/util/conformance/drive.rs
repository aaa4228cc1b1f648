//! Futures that are interleaved, half done and dropped, on any executor.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long the second of two calls may take before the first, which waits half done, goes on: the
/// second may be waiting for a lock that the first has.
const GRACE: Duration = Duration::from_millis(10);

/// All calls at once, one poll each in turn.
pub(crate) async fn together<T>(calls: Vec<Call<'_, T>>) -> Vec<T> {
    let mut slots: Vec<Slot<'_, T>> = calls.into_iter().map(Slot::Running).collect();
    poll_fn(|context| {
        let mut all = Poll::Ready(());
        for slot in &mut slots {
            if !slot.poll(context) {
                all = Poll::Pending;
            }
        }
        all
    })
    .await;
    slots.into_iter().filter_map(Slot::value).collect()
}

/// Polls `first` so many times, then runs `second`, then the rest of `first`. Says whether `first`
/// was over before `second` began.
pub(crate) async fn interleaved<A, B>(
    polls: usize,
    first: Call<'_, A>,
    second: Call<'_, B>,
) -> Option<(A, B, bool)> {
    let (mut first, mut second) = (Slot::Running(first), Slot::Running(second));
    let mut left = polls;
    poll_fn(|context| {
        if left > 0 && !first.poll(context) {
            left -= 1;
            return if left > 0 { Poll::Pending } else { Poll::Ready(()) };
        }
        Poll::Ready(())
    })
    .await;
    let was_over = matches!(first, Slot::Over(_));
    let run_second =
        poll_fn(|context| if second.poll(context) { Poll::Ready(()) } else { Poll::Pending });
    let _ = within(GRACE, run_second).await;
    poll_fn(|context| {
        let over = first.poll(context);
        if second.poll(context) && over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Some((first.value()?, second.value()?, was_over))
}

/// Polls `call` so many times and drops it. `None`: it was not over by then.
pub(crate) async fn dropped_after<T>(polls: usize, mut call: Call<'_, T>) -> Option<T> {
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What `future` yields, or the text of its panic.
pub(crate) async fn contained<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(text_of(payload.as_ref()))),
    })
    .await
}

/// The output of a future, or `None` after so long. A future that is ready at once needs no timer.
pub(crate) async fn within<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = None;
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(duration)));
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a text").to_owned()
}

enum Slot<'a, T> {
    Running(Call<'a, T>),
    Over(T),
}

impl<T> Slot<'_, T> {
    /// Whether it is over now.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Running(call) = self {
            match call.as_mut().poll(context) {
                Poll::Ready(value) => *self = Self::Over(value),
                Poll::Pending => return false,
            }
        }
        true
    }

    fn value(self) -> Option<T> {
        match self {
            Self::Over(value) => Some(value),
            Self::Running(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes its letter at every poll, and is over after three of them.
    fn steps(letter: char, notes: &Mutex<String>) -> Call<'_, char> {
        Box::pin(async move {
            for step in 0..3 {
                notes.lock().unwrap().push(letter);
                if step < 2 {
                    tokio::task::yield_now().await;
                }
            }
            letter
        })
    }

    #[tokio::test]
    async fn calls_take_turns() {
        let notes = Mutex::default();
        let values = together(vec![steps('a', &notes), steps('b', &notes)]).await;

        assert_eq!(values, ['a', 'b']);
        assert_eq!(notes.into_inner().unwrap(), "ababab");
    }

    #[tokio::test]
    async fn the_second_call_comes_between_the_polls_of_the_first() {
        for (polls, expected) in
            [(0, "bbbaaa"), (1, "abbbaa"), (2, "aabbba"), (3, "aaabbb"), (4, "aaabbb")]
        {
            let notes = Mutex::default();
            let (a, b, was_over) =
                interleaved(polls, steps('a', &notes), steps('b', &notes)).await.unwrap();

            assert_eq!((a, b, was_over), ('a', 'b', polls >= 3));
            assert_eq!(notes.into_inner().unwrap(), expected, "{polls}");
        }
    }

    #[tokio::test]
    async fn a_second_call_that_needs_the_first_is_given_up() {
        let lock = tokio::sync::Mutex::new(());
        let first = Box::pin(async {
            let _guard = lock.lock().await;
            tokio::task::yield_now().await;
        });
        let second = Box::pin(async { drop(lock.lock().await) });

        assert!(interleaved(1, first, second).await.is_some());
    }

    #[tokio::test]
    async fn a_call_is_polled_so_many_times_and_dropped() {
        for polls in 0..5 {
            let notes = Mutex::default();
            let value = dropped_after(polls, steps('a', &notes)).await;

            assert_eq!(value, (polls >= 3).then_some('a'));
            assert_eq!(notes.into_inner().unwrap().len(), polls.min(3));
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_text() {
        assert_eq!(contained(async { 1 }).await, Ok(1));
        let panics = async { panic!("{} on fire", "disk") };
        assert_eq!(contained::<()>(panics).await, Err("disk on fire".to_owned()));
    }
}
