//! One question to the store for all who ask it at the same time.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::entry::Entry;
use super::generations::{Generations, Stamp};
use crate::key::{KeyId, KeyRecord, StoreError};

/// What the store said. An error is shared by all who wait for it.
pub(super) type Answer = Result<Option<Arc<Entry>>, Arc<StoreError>>;

/// The questions that are under way.
pub(super) struct Lookups {
    by_id: Mutex<HashMap<KeyId, UnderWay>>,
    permits: Arc<Semaphore>,
}

struct UnderWay {
    stamp: Stamp,
    /// Who receives it. Tells two questions about one id apart, too.
    answer: watch::Receiver<Option<Answer>>,
}

/// A question, in the hands of the task that asks it. Dropping it without an answer fails all who wait.
pub(super) struct Lookup {
    lookups: Arc<Lookups>,
    id: KeyId,
    stamp: Stamp,
    answer: watch::Sender<Option<Answer>>,
    _permit: OwnedSemaphorePermit,
}

/// A place among those who wait.
pub(super) struct Waiter(watch::Receiver<Option<Answer>>);

pub(super) enum Joined {
    /// Somebody else has asked.
    Other(Waiter),
    /// Nobody has asked: the caller does.
    First(Lookup, Waiter),
    /// As many questions are under way as may be.
    TooMany,
}

impl Lookups {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { by_id: Mutex::default(), permits: Arc::new(Semaphore::new(limit)) }
    }

    /// Joins a question that is as fresh as one that would be asked now.
    pub(super) fn join(
        self: &Arc<Self>,
        id: &KeyId,
        generations: &Generations,
        stamp: impl FnOnce() -> Stamp,
    ) -> Joined {
        let mut by_id = self.by_id();
        if let Some(under_way) = by_id.get(id).filter(|other| generations.is_current(other.stamp)) {
            return Joined::Other(Waiter(under_way.answer.clone()));
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Joined::TooMany;
        };
        let stamp = stamp();
        let (sender, receiver) = watch::channel(None);
        by_id.insert(id.clone(), UnderWay { stamp, answer: receiver.clone() });
        drop(by_id);
        let lookups = Arc::clone(self);
        let lookup = Lookup { lookups, id: id.clone(), stamp, answer: sender, _permit: permit };
        Joined::First(lookup, Waiter(receiver))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id().is_empty()
    }

    /// Nothing that can panic runs under the lock, so a poisoned one holds what it should.
    fn by_id(&self) -> MutexGuard<'_, HashMap<KeyId, UnderWay>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Tells all who wait. Who comes later asks again.
    pub(super) fn answer(self, answer: Answer) {
        self.leave();
        self.answer.send_replace(Some(answer));
    }

    fn leave(&self) {
        let mut by_id = self.lookups.by_id();
        // A later question about the same id may have taken the place.
        if by_id.get(&self.id).is_some_and(|it| it.answer.same_channel(&self.answer.subscribe())) {
            by_id.remove(&self.id);
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Waiter {
    pub(super) async fn answer(mut self) -> Result<Option<KeyRecord>, StoreError> {
        let answer = match self.0.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(entry)) => Ok(entry.map(|entry| entry.record.clone())),
            Some(Err(error)) => Err(StoreError::new(Shared(error))),
            None => Err(StoreError::new("the look-up ended without an answer")),
        }
    }
}

/// The cause of a [`StoreError`] that several callers get.
#[derive(Debug)]
struct Shared(Arc<StoreError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source().and_then(Error::source)
    }
}
