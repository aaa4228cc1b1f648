use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other value of this process has: an identity that is never an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct UniqueId(NonZeroU64);

impl UniqueId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NonZeroU64::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}
