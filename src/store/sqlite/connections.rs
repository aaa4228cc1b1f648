use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::Semaphore;

/// Connections to one file, made when they are needed and kept for the next call. A call takes one when
/// it has its turn.
pub(super) struct Connections {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    turns: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(
        options: SqliteConnectOptions,
        max: usize,
        first: Option<SqliteConnection>,
    ) -> Self {
        let idle = Mutex::new(first.into_iter().collect());
        Self { options, idle, turns: Arc::new(Semaphore::new(max)) }
    }

    /// As many as there can be connections.
    pub(super) fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    /// A connection that nobody else has.
    pub(super) async fn take(&self) -> Result<Lease<'_>, sqlx::Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Lease { connection, home: self })
    }
}

/// A connection on loan. It is closed when it is dropped, and used again only if it was given back:
/// after a call that came to its end.
pub(super) struct Lease<'a> {
    connection: SqliteConnection,
    home: &'a Connections,
}

impl Lease<'_> {
    pub(super) fn give_back(self) {
        self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }
}

impl Deref for Lease<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}
