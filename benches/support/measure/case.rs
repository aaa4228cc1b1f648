use std::convert::Infallible;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;

use super::Quartiles;
use crate::requests::call;

const VISIT: Duration = Duration::from_millis(3);
/// Requests are prepared in batches that fit into the caches.
const BATCH: usize = 64;
/// How many batches a visit has at least. A third of them only warms the caches.
const LEAST_BATCHES: usize = 3;

/// One way to do some work.
pub struct Case {
    name: String,
    batch: Box<dyn FnMut() -> Duration>,
    /// How often a batch does the work.
    size: usize,
    /// Nanoseconds for the work, one number per visit.
    visits: Vec<f64>,
}

impl Case {
    /// A service that answers the requests that `make` makes, one after the other.
    pub fn service<S, B, R, F>(name: impl Into<String>, mut service: S, mut make: F) -> Self
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + 'static,
        B: 'static,
        R: 'static,
        F: FnMut(usize) -> Request<B> + 'static,
    {
        let mut requests = Vec::with_capacity(BATCH);
        let mut responses = Vec::with_capacity(BATCH);
        let mut count = 0;
        Self::timed(name, BATCH, move || {
            requests.extend((0..BATCH).map(|index| make(count + index)));
            count += BATCH;
            let start = Instant::now();
            for request in requests.drain(..) {
                responses.push(call(&mut service, request));
            }
            let elapsed = start.elapsed();
            responses.clear();
            elapsed
        })
    }

    /// A function that is called so many times in a batch, and whose result is dropped.
    pub fn function<T>(
        name: impl Into<String>,
        size: usize,
        mut work: impl FnMut() -> T + 'static,
    ) -> Self {
        Self::timed(name, size, move || {
            let start = Instant::now();
            for _ in 0..size {
                black_box(work());
            }
            start.elapsed()
        })
    }

    /// A closure that does the work so many times and says how long that took.
    pub fn timed(
        name: impl Into<String>,
        size: usize,
        batch: impl FnMut() -> Duration + 'static,
    ) -> Self {
        Self { name: name.into(), batch: Box::new(batch), size, visits: Vec::new() }
    }

    pub(super) fn renamed(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// What the case is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn forget(&mut self) {
        self.visits.clear();
    }

    pub(super) fn visits(&self) -> &[f64] {
        &self.visits
    }

    pub(super) fn visit(&mut self) {
        let start = Instant::now();
        let mut batches = Vec::new();
        while start.elapsed() < VISIT || batches.len() < LEAST_BATCHES {
            batches.push((self.batch)().as_nanos() as f64 / self.size as f64);
        }
        // What comes first warms the caches after the case before.
        let warm = batches.split_off(batches.len() / 3);
        self.visits.push(Quartiles::of(warm).median);
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}
