use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// Timeout whose timer starts when the future is first pending. An immediate output needs no timer and no
/// runtime, which `tokio::time::timeout` needs to be created. `None` at the deadline.
pub(crate) async fn timeout<F: Future + Unpin>(
    limit: Duration,
    future: &mut F,
) -> Option<F::Output> {
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(context) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn an_immediate_output_needs_no_runtime() {
        let mut future = ready(1);
        let result = pin!(timeout(Duration::ZERO, &mut future));
        assert_eq!(result.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pending_future_is_polled_once_and_ends_at_the_deadline() {
        let mut polls = 0;
        let mut counted = poll_fn(|_| {
            polls += 1;
            Poll::<()>::Pending
        });
        let started = Instant::now();
        {
            let mut result = pin!(timeout(Duration::from_secs(1), &mut counted));
            assert!(result.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(polls, 1);

        let mut never = pending::<()>();
        assert_eq!(timeout(Duration::from_secs(1), &mut never).await, None);
        assert_eq!(started.elapsed(), Duration::from_secs(1));

        let mut later = Box::pin(async {
            yield_now().await;
            2
        });
        assert_eq!(timeout(Duration::from_secs(1), &mut later).await, Some(2));
    }
}
