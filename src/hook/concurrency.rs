use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the executions of each hook that are under way.
#[derive(Clone)]
pub(super) struct ConcurrencyLimits {
    limit: usize,
    taken: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

/// One execution. Dropping it gives the slot back.
pub(super) struct Permit {
    slots: ConcurrencyLimits,
    hook: Arc<str>,
}

impl ConcurrencyLimits {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// A slot, if one is free. There is no queue: senders repeat what was refused with 503.
    pub(super) fn take(&self, hook: Arc<str>) -> Option<Permit> {
        let mut taken = self.taken();
        let count = taken.entry(Arc::clone(&hook)).or_default();
        if *count >= self.limit {
            return None;
        }
        *count = count.saturating_add(1);
        drop(taken);
        Some(Permit { slots: self.clone(), hook })
    }

    /// No code that can panic runs under the lock, so a poisoned one holds what it should.
    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        if let Some(count) = taken.get_mut(&self.hook) {
            *count = count.saturating_sub(1);
            // Hooks without executions take no memory, however many names there are.
            if *count == 0 {
                taken.remove(&self.hook);
            }
        }
    }
}

impl fmt::Debug for ConcurrencyLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimits").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_has_its_own_limit() {
        let slots = ConcurrencyLimits::new(2);
        let first = slots.take("a".into());
        let second = slots.take("a".into());

        assert!(first.is_some() && second.is_some());
        assert!(slots.take("a".into()).is_none());
        assert!(slots.take("b".into()).is_some());

        drop(first);
        assert!(slots.take("a".into()).is_some());
        drop(second);
        assert!(slots.taken().is_empty());
    }
}
