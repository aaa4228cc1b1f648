use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::time::{sleep, timeout};

use super::Failure;

/// The connections of a store: those of its pool, and those that look-ups keep for each other.
///
/// The pool asks the server for a sign of life before it gives a connection away and another time when it has
/// it back, which takes longer than a look-up. So a connection that has just answered one is kept for the next
/// one, and goes back when it has been away for a while, whether or not it is in use all the time. One is kept
/// only if the pool has others: whoever shares the pool waits for none of them, unless all are taken in
/// that while.
pub(super) struct Connections {
    pool: PgPool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    idle: Vec<Held>,
    /// Whether somebody gives back what nobody takes.
    has_keeper: bool,
}

/// How long a connection is away from the pool before it goes back. It is away for twice as long at most, and
/// for one call.
const AWAY: Duration = Duration::from_millis(50);
const RETURN_DEADLINE: Duration = Duration::from_secs(2);

impl Connections {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, kept: Mutex::default() }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of the pool.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Lease, Failure> {
        if !self.can_spare() {
            // A call of this store does not wait for what the store itself keeps.
            let kept = mem::take(&mut self.kept().idle);
            kept.into_iter().for_each(Held::give_back);
        }
        // A future of many kilobytes, which are not part of every call.
        let acquire = Box::pin(self.pool.acquire());
        let connection = acquire.await.map_err(Failure::Acquire)?;
        let held = Held { connection: Some(connection), since: Instant::now() };
        Ok(Lease { held: Some(held), home: Arc::clone(self) })
    }

    /// A connection of the pool or one that was kept, for a statement that can be made again.
    pub(super) async fn take_for_look_up(self: &Arc<Self>) -> Result<Lease, Failure> {
        let held = if self.pool.is_closed() { None } else { self.kept().idle.pop() };
        match held {
            Some(held) => Ok(Lease { held: Some(held), home: Arc::clone(self) }),
            None => self.take().await,
        }
    }

    /// Whether nobody has to wait because a connection is kept.
    fn can_spare(&self) -> bool {
        let most = self.pool.options().get_max_connections();
        !self.pool.is_closed() && (self.pool.num_idle() > 0 || self.pool.size() < most)
    }

    fn keep(self: &Arc<Self>, held: Held) {
        let mut kept = self.kept();
        kept.idle.push(held);
        let had_keeper = mem::replace(&mut kept.has_keeper, true);
        drop(kept);
        if !had_keeper {
            let keeper = Keeper { home: Arc::downgrade(self), is_done: false };
            tokio::spawn(keeper.work());
        }
    }

    /// Closes what was kept: where one connection has failed, others may be no better.
    fn forget(&self) {
        let idle = mem::take(&mut self.kept().idle);
        drop(idle);
    }

    /// Nothing that happens while the lock is held leaves the state half changed.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back what has been kept for long enough, until nothing is.
struct Keeper {
    home: Weak<Connections>,
    is_done: bool,
}

impl Keeper {
    async fn work(mut self) {
        while !self.is_done {
            sleep(AWAY).await;
            let Some(home) = self.home.upgrade() else {
                return;
            };
            let mut kept = home.kept();
            let is_due = |held: &mut Held| held.since.elapsed() >= AWAY;
            let due: Vec<Held> = kept.idle.extract_if(.., is_due).collect();
            kept.has_keeper = !kept.idle.is_empty();
            self.is_done = !kept.has_keeper;
            drop(kept);
            due.into_iter().for_each(Held::give_back);
        }
    }
}

/// A runtime that ends drops its tasks, and what was kept belongs to it.
impl Drop for Keeper {
    fn drop(&mut self) {
        if let (false, Some(home)) = (self.is_done, self.home.upgrade()) {
            home.kept().has_keeper = false;
            home.forget();
        }
    }
}

/// A connection that belongs to a pool. It is closed if it is dropped, inside a runtime or not.
struct Held {
    connection: Option<PoolConnection<Postgres>>,
    since: Instant,
}

impl Held {
    /// The pool asks the server for a sign of life first, and by itself it would wait for one for ever:
    /// a connection that falls silent at that moment would be missing until the process ends.
    fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            tokio::spawn(timeout(RETURN_DEADLINE, connection.return_to_pool()));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

/// A connection on loan. It is used again only if it was given back: after a call that came to its end. It
/// is closed if it is dropped before, whatever happened.
pub(super) struct Lease {
    held: Option<Held>,
    home: Arc<Connections>,
}

impl Lease {
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = self.held.as_mut().and_then(|held| held.connection.as_deref_mut());
        connection.ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives the connection to the pool.
    pub(super) fn give_back(mut self) {
        if let Some(held) = self.held.take() {
            held.give_back();
        }
    }

    /// Gives the connection to the next look-up.
    pub(super) fn give_on(mut self) {
        match self.held.take() {
            Some(held) if held.since.elapsed() < AWAY && self.home.can_spare() => {
                self.home.keep(held);
            }
            Some(held) => held.give_back(),
            None => {}
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.home.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    #[tokio::test]
    async fn what_connects_is_no_part_of_every_look_up() {
        let pool = PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/none").unwrap();
        let connections = Arc::new(Connections::new(pool.clone()));
        assert!(size_of_val(&pool.acquire()) > 1024);
        assert!(size_of_val(&connections.take_for_look_up()) < 256);
    }
}
