use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Claim, ClaimId, ReplayGuard, ReplayKey, StoredResponse};
use crate::BoxError;
use crate::error::ConfigError;
use crate::util::after;

/// A [`ReplayGuard`] of one process. A restart forgets all deliveries.
///
/// It holds at most as many deliveries as it is made for. When it is full of ones that it has to keep, a new delivery is
/// a 503: to forget one would be to run it twice.
#[derive(Debug)]
pub struct MemoryReplayGuard {
    capacity: usize,
    entries: Mutex<HashMap<ReplayKey, Entry>>,
}

struct Entry {
    until: Instant,
    state: State,
}

enum State {
    Claimed(ClaimId),
    Done(StoredResponse),
}

impl MemoryReplayGuard {
    /// A guard of at most that many deliveries.
    ///
    /// # Errors
    ///
    /// Refuses 0.
    pub fn new(capacity: usize) -> Result<Self, ConfigError> {
        if capacity == 0 {
            return Err(ConfigError::new("a replay guard has room for no delivery"));
        }
        Ok(Self { capacity, entries: Mutex::default() })
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<ReplayKey, Entry>) -> T) -> T {
        change(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ReplayGuard for MemoryReplayGuard {
    async fn claim(&self, key: &ReplayKey, lease: Duration) -> Result<Claim, BoxError> {
        let (now, id) = (Instant::now(), ClaimId::random()?);
        self.with(|entries| {
            match entries.get(key).filter(|entry| now < entry.until) {
                Some(Entry { state: State::Claimed(_), .. }) => return Ok(Claim::InFlight),
                Some(Entry { state: State::Done(response), .. }) => {
                    return Ok(Claim::Done(response.clone()));
                }
                None => {}
            }
            if entries.len() >= self.capacity {
                entries.retain(|_, entry| now < entry.until);
            }
            if entries.len() >= self.capacity && !entries.contains_key(key) {
                return Err("the replay guard is full".into());
            }
            entries.insert(*key, Entry { until: after(now, lease), state: State::Claimed(id) });
            Ok(Claim::New(id))
        })
    }

    async fn commit(
        &self,
        key: &ReplayKey,
        claim: ClaimId,
        response: &StoredResponse,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let now = Instant::now();
        Ok(self.with(|entries| match entries.get_mut(key) {
            Some(entry) if entry.is_held_by(claim, now) => {
                entry.until = after(now, time_to_live);
                entry.state = State::Done(response.clone());
                true
            }
            _ => false,
        }))
    }

    async fn abort(&self, key: &ReplayKey, claim: ClaimId) -> Result<(), BoxError> {
        let now = Instant::now();
        self.with(|entries| {
            if entries.get(key).is_some_and(|entry| entry.is_held_by(claim, now)) {
                entries.remove(key);
            }
        });
        Ok(())
    }
}

impl Entry {
    fn is_held_by(&self, claim: ClaimId, now: Instant) -> bool {
        matches!(self.state, State::Claimed(id) if id == claim) && now < self.until
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("until", &self.until).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guard_that_is_full_refuses_until_something_ends() {
        let guard = MemoryReplayGuard::new(2).unwrap();
        let key = |name: &str| ReplayKey::new(&[name.as_bytes()]);
        let lease = Duration::from_secs(20);
        for name in ["a", "b"] {
            assert!(matches!(guard.claim(&key(name), lease).await, Ok(Claim::New(_))), "{name}");
        }

        assert!(guard.claim(&key("c"), lease).await.is_err());
        assert_eq!(guard.claim(&key("a"), lease).await.unwrap(), Claim::InFlight);
        tokio::time::advance(lease).await;
        assert!(matches!(guard.claim(&key("c"), lease).await, Ok(Claim::New(_))));
        assert!(MemoryReplayGuard::new(0).is_err());
    }
}
