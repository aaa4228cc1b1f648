//! The thread behind [`SystemTimer`](super::SystemTimer).

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// The sleeps of the process.
///
/// Most sleeps are deadlines that nobody reaches. To begin or to end one wakes no thread, unless it is due
/// before the thread would look by itself: the thread sleeps on until what was once the earliest deadline, and
/// finds then what has become of it. It is woken about once for the length of a sleep and not once for
/// each sleep.
struct Sleeps {
    state: Mutex<State>,
    /// Tells the thread that it has to look earlier.
    earlier: Condvar,
}

struct State {
    /// By time, and by a number for those of one time. A waker is used, replaced and dropped only while the
    /// lock is not held: nobody knows what it does.
    wakers: BTreeMap<Place, Waker>,
    next: u64,
    /// When the thread looks by itself.
    looks: Looks,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Looks {
    /// There is no thread.
    Never,
    WhenTold,
    At(Instant),
}

type Place = (Instant, u64);

static SLEEPS: Sleeps = Sleeps {
    state: Mutex::new(State { wakers: BTreeMap::new(), next: 0, looks: Looks::Never }),
    earlier: Condvar::new(),
};

/// A future that is ready once a time has come.
pub(super) struct Sleep {
    until: Option<Instant>,
    known: Option<(Place, Waker)>,
}

impl Sleep {
    /// A time that the clock cannot tell is never reached.
    pub(super) fn new(duration: Duration) -> Self {
        Self { until: Instant::now().checked_add(duration), known: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(until) = this.until else {
            return Poll::Pending;
        };
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        if matches!(&this.known, Some((_, waker)) if waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let known = this.known.take();
        let place = known.as_ref().map(|(place, _)| *place);
        let place = SLEEPS.keep(place, until, context.waker().clone());
        drop(known);
        match place {
            Some(place) => this.known = Some((place, context.waker().clone())),
            // Without a thread the deadline is still kept, by those who wait for it.
            None => context.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((place, _)) = &self.known {
            let waker = SLEEPS.lock().wakers.remove(place);
            drop(waker);
        }
    }
}

impl Sleeps {
    /// Notes whom to wake. `None` if there is no thread that would, and none can be started.
    fn keep(&'static self, place: Option<Place>, until: Instant, waker: Waker) -> Option<Place> {
        let mut state = self.lock();
        if state.looks == Looks::Never {
            let thread = thread::Builder::new().name("tower-webhook-timer".to_owned());
            if thread.spawn(|| self.run()).is_err() {
                drop(state);
                return None;
            }
            state.looks = Looks::WhenTold;
        }
        let place = place.unwrap_or_else(|| {
            state.next = state.next.wrapping_add(1);
            (until, state.next)
        });
        let replaced = state.wakers.insert(place, waker);
        let is_earlier = match state.looks {
            Looks::At(instant) => until < instant,
            Looks::Never | Looks::WhenTold => true,
        };
        if is_earlier {
            state.looks = Looks::At(until);
            self.earlier.notify_one();
        }
        drop(state);
        drop(replaced);
        Some(place)
    }

    /// Wakes everybody at the right time, for ever.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let later = state.wakers.split_off(&(now, u64::MAX));
            let due = mem::replace(&mut state.wakers, later);
            if !due.is_empty() {
                drop(state);
                for waker in due.into_values() {
                    // One that panics is not in the way of the others.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                state = self.lock();
                continue;
            }
            let next = state.wakers.first_key_value().map(|((instant, _), _)| *instant);
            state.looks = next.map_or(Looks::WhenTold, Looks::At);
            state = match next {
                Some(next) => {
                    let left = next.saturating_duration_since(now);
                    let woken = self.earlier.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.earlier.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Nothing that happens while the lock is held leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn is_reached(&self, count: usize) -> bool {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(20) {
                if self.0.load(Ordering::SeqCst) >= count {
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        }
    }

    fn poll(sleep: &mut Sleep, waker: &Arc<impl Wake + Send + Sync + 'static>) -> Poll<()> {
        let waker = Waker::from(Arc::clone(waker));
        Pin::new(sleep).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn an_earlier_sleep_does_not_wait_for_a_later_one() {
        let count = Arc::new(Count::default());
        let mut long = Sleep::new(Duration::from_secs(3600));
        assert!(poll(&mut long, &count).is_pending());
        for _ in 0..20 {
            let count = Arc::new(Count::default());
            let mut short = Sleep::new(Duration::from_millis(2));
            assert!(poll(&mut short, &count).is_pending());
            assert!(count.is_reached(1));
            assert!(poll(&mut short, &count).is_ready());
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_latest_waker_is_woken_and_a_dropped_sleep_wakes_nobody() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut sleep = Sleep::new(Duration::from_millis(20));
        let mut dropped = Sleep::new(Duration::from_millis(20));
        assert!(poll(&mut dropped, &first).is_pending());
        assert!(poll(&mut sleep, &first).is_pending());
        assert!(poll(&mut sleep, &second).is_pending());
        drop(dropped);

        assert!(second.is_reached(1));
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&first), 1);
        assert!(poll(&mut sleep, &second).is_ready());
    }

    #[test]
    fn a_sleep_that_outlives_the_deadline_of_a_dropped_one_is_woken() {
        let count = Arc::new(Count::default());
        let mut dropped = Sleep::new(Duration::from_millis(5));
        assert!(poll(&mut dropped, &count).is_pending());
        let mut sleep = Sleep::new(Duration::from_millis(30));
        assert!(poll(&mut sleep, &count).is_pending());
        drop(dropped);

        assert!(count.is_reached(1));
        assert!(poll(&mut sleep, &count).is_ready());
    }

    #[test]
    fn a_waker_may_panic_and_may_drop_other_sleeps() {
        struct Panics(Mutex<Option<Sleep>>);
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                self.0.lock().unwrap().take();
                panic!("a panic of a waker");
            }
        }
        let count = Arc::new(Count::default());
        let mut other = Sleep::new(Duration::from_secs(3600));
        assert!(poll(&mut other, &count).is_pending());
        let panics = Arc::new(Panics(Mutex::new(Some(other))));
        let mut sleep = Sleep::new(Duration::from_millis(2));
        assert!(poll(&mut sleep, &panics).is_pending());
        let mut later = Sleep::new(Duration::from_millis(10));
        assert!(poll(&mut later, &count).is_pending());

        assert!(count.is_reached(1));
        assert!(panics.0.lock().unwrap_or_else(PoisonError::into_inner).is_none());
    }

    #[test]
    fn what_lasts_longer_than_the_clock_never_ends() {
        let count = Arc::new(Count::default());
        assert!(poll(&mut Sleep::new(Duration::MAX), &count).is_pending());
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn many_threads_sleep_at_once() {
        let threads: Vec<_> = (0..8)
            .map(|thread: u64| {
                thread::spawn(move || {
                    for step in 0..50 {
                        let count = Arc::new(Count::default());
                        let wait = Duration::from_micros((thread * 31 + step * 17) % 3000 + 100);
                        let started = Instant::now();
                        let mut sleep = Sleep::new(wait);
                        if poll(&mut sleep, &count).is_pending() && step % 3 != 0 {
                            assert!(count.is_reached(1));
                            assert!(started.elapsed() >= wait);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
