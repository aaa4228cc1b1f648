//! Single flight: one load for all callers who ask for an id at the same time.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::entry::Entry;
use super::generations::{Generations, Stamp};
use crate::key::{KeyId, KeyRecord, StoreError};

/// What the store answered. All waiters share an error.
pub(super) type Answer = Result<Option<Arc<Entry>>, Arc<StoreError>>;

/// The loads that are under way, and those that wait for a permit, in order.
pub(super) struct Lookups {
    by_id: Mutex<HashMap<KeyId, UnderWay>>,
    permits: Semaphore,
}

struct UnderWay {
    stamp: Stamp,
    /// Waiters subscribe to it. It also identifies the load.
    answer: watch::Sender<Option<Answer>>,
}

/// A load, owned by its task. Dropping it without an answer fails all waiters.
pub(super) struct Lookup {
    lookups: Arc<Lookups>,
    id: KeyId,
    stamp: Stamp,
    answer: watch::Sender<Option<Answer>>,
}

/// A caller that waits for the answer.
pub(super) struct Waiter(watch::Receiver<Option<Answer>>);

pub(super) enum Joined {
    /// A load is under way.
    Other(Waiter),
    /// There is none: the caller starts it.
    First(Lookup, Waiter),
}

impl Lookups {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { by_id: Mutex::default(), permits: Semaphore::new(limit) }
    }

    /// Joins a load whose stamp is current, or starts one.
    pub(super) fn join(
        self: &Arc<Self>,
        id: &KeyId,
        generations: &Generations,
        stamp: impl FnOnce() -> Stamp,
    ) -> Joined {
        let mut by_id = self.by_id();
        if let Some(under_way) = by_id.get(id).filter(|other| generations.is_current(other.stamp)) {
            return Joined::Other(Waiter(under_way.answer.subscribe()));
        }
        let stamp = stamp();
        let (sender, receiver) = watch::channel(None);
        by_id.insert(id.clone(), UnderWay { stamp, answer: sender.clone() });
        drop(by_id);
        let lookup = Lookup { lookups: Arc::clone(self), id: id.clone(), stamp, answer: sender };
        Joined::First(lookup, Waiter(receiver))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id().is_empty()
    }

    /// No code under the lock panics, so a poisoned lock is usable.
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

    /// A permit to ask the store, first come, first served.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.lookups.permits.acquire().await.ok()
    }

    /// The output of a future, or `None` when the last caller has left: the future is dropped then.
    pub(super) async fn while_wanted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut abandoned = pin!(self.abandoned());
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => abandoned.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Waits until all callers have left, and takes the load out of the map, so that none joins any more.
    async fn abandoned(&self) {
        loop {
            self.answer.closed().await;
            let mut by_id = self.lookups.by_id();
            // Under the lock, since another caller may be joining at this moment.
            if self.answer.receiver_count() == 0 {
                self.take_from(&mut by_id);
                return;
            }
        }
    }

    /// Answers all waiters. Later callers start a load of their own.
    pub(super) fn answer(&self, answer: Answer) {
        self.leave();
        self.answer.send_replace(Some(answer));
    }

    pub(super) fn fail(&self, error: StoreError) {
        self.answer(Err(Arc::new(error)));
    }

    fn leave(&self) {
        self.take_from(&mut self.lookups.by_id());
    }

    fn take_from(&self, by_id: &mut HashMap<KeyId, UnderWay>) {
        // A later load of the same id may have taken the place.
        if by_id.get(&self.id).is_some_and(|it| it.answer.same_channel(&self.answer)) {
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

/// The cause of a [`StoreError`] that several waiters share.
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
