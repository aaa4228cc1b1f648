use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::Failure;

/// A connection of a pool. It goes back to the pool only if it was given back: after a call that came
/// to its end. It is closed if it is dropped before, whatever happened.
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

const RETURN_DEADLINE: Duration = Duration::from_secs(2);

impl Lease {
    pub(super) async fn take(pool: &PgPool) -> Result<Self, Failure> {
        pool.acquire().await.map(|connection| Self(Some(connection))).map_err(Failure::Acquire)
    }

    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// The pool asks the server for a sign of life first, and by itself it would wait for one for ever:
    /// a connection that falls silent at that moment would be missing until the process ends.
    pub(super) fn give_back(mut self) {
        if let Some(mut connection) = self.0.take() {
            tokio::spawn(timeout(RETURN_DEADLINE, connection.return_to_pool()));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
