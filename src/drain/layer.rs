use std::time::Duration;

use tower_layer::Layer;

use super::Drain;

/// Lets clients that are still sending a body receive the response: reads what the inner service has left of it.
///
/// See the [module docs](super) for the rules and an example.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DrainLayer(Limits);

/// How much of a body is read and dropped, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: usize,
    pub(super) deadline: Duration,
}

impl DrainLayer {
    /// A layer with a limit of 1 MiB and a deadline of 1 second.
    pub const fn new() -> Self {
        Self(Limits { max_bytes: 1024 * 1024, deadline: Duration::from_secs(1) })
    }

    /// How much is read and dropped, in bytes, beyond what the inner service has read. With 0, nothing is. The default
    /// is 1 MiB.
    ///
    /// # Security
    ///
    /// Every client can make the server receive this much for each request. It keeps none of it.
    pub const fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.0.max_bytes = max_bytes;
        self
    }

    /// For how long it is read, from the response on. With zero, nothing is. The default is 1 second.
    ///
    /// # Security
    ///
    /// A client that sends nothing more keeps its connection open for this long after the response.
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = deadline;
        self
    }
}

impl Default for DrainLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    pub(super) const fn are_zero(&self) -> bool {
        self.max_bytes == 0 || self.deadline.is_zero()
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Drain<S> {
        Drain::new(inner, self.0)
    }
}
