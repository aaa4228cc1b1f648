//! Wake-ups: claims that wait hear of new jobs, of this process at once, and of others by `LISTEN`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{PgPool, query};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::key::StoreError;
use crate::store::sql::Checkout;
use crate::store::task::StoreTasks;
use crate::util::hex;

/// A `NOTIFY` makes commits wait for each other, so there is at most one in this time, after the commit of the job and
/// on a connection of its own. The last job of a burst has one behind it.
const THROTTLE: Duration = Duration::from_millis(25);

/// How long a lost connection is given before it is made again. Claims poll meanwhile.
const RECONNECT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Bell {
    channel: String,
    rings: Arc<Rings>,
    /// Notifies other processes.
    sender: Background,
    /// Listens to other processes.
    receiver: Background,
}

#[derive(Debug, Default)]
struct Rings {
    /// For claims of this process.
    here: Notify,
    /// For the task that notifies other processes.
    elsewhere: Notify,
}

impl Bell {
    /// The bell of the queue with this table. The channel is a hash of its name, which can be longer than the 63 bytes of
    /// a channel's.
    pub(super) fn new(table: &str) -> Self {
        let hash = Sha256::digest(table.as_bytes());
        let hash: Vec<u8> = hash.into_iter().take(16).collect();
        Self {
            channel: format!("webhook_jobs_{}", hex::encode(&hash)),
            rings: Arc::default(),
            sender: Background::default(),
            receiver: Background::default(),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// A job may be due. Call it in a runtime.
    pub(super) fn ring(&self, tasks: &StoreTasks, pool: &PgPool) {
        self.rings.here.notify_waiters();
        self.rings.elsewhere.notify_one();
        self.sender.run(|| {
            let (rings, channel) = (Arc::clone(&self.rings), self.channel.clone());
            let (tasks, pool) = (tasks.clone(), pool.clone());
            async move {
                loop {
                    rings.elsewhere.notified().await;
                    // One that fails is made up for by the polls of claims.
                    let _ = tasks.run(notify(&pool, &channel)).await;
                    sleep(THROTTLE).await;
                }
            }
        });
    }

    /// The next ring, from now on. Call it in a runtime.
    pub(super) fn next<'a>(&'a self, tasks: &StoreTasks, pool: &PgPool) -> Notified<'a> {
        self.receiver.run(|| {
            let (rings, channel) = (Arc::clone(&self.rings), self.channel.clone());
            let (tasks, options) = (tasks.clone(), pool.connect_options());
            async move {
                loop {
                    if let Ok(listener) = tasks.run(listen(&options, &channel)).await {
                        // What came before is looked for now.
                        rings.here.notify_waiters();
                        pass_on(&rings, listener).await;
                    }
                    sleep(RECONNECT).await;
                }
            }
        });
        self.rings.here.notified()
    }
}

/// A task that ends with this value, and begins again in another runtime when its own has ended.
#[derive(Debug, Default)]
struct Background(Mutex<JoinSet<()>>);

impl Background {
    fn run<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce() -> F) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        if running.is_empty() {
            running.spawn(task());
        }
    }
}

async fn notify(pool: &PgPool, channel: &str) -> Result<(), StoreError> {
    let mut checkout = Checkout::acquire(pool).await.map_err(StoreError::new)?;
    let notify = query("SELECT pg_notify($1, '')").bind(channel);
    let connection = checkout.connection().map_err(StoreError::new)?;
    notify.execute(connection).await.map_err(StoreError::new)?;
    checkout.finish();
    Ok(())
}

/// A connection of its own, so that the pool keeps all of its connections.
async fn listen(options: &PgConnectOptions, channel: &str) -> Result<PgListener, StoreError> {
    // The listener wants a pool. This one makes a single connection.
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await.map_err(StoreError::new)?;
    listener.eager_reconnect(false);
    listener.listen(channel).await.map_err(StoreError::new)?;
    Ok(listener)
}

/// Passes notifications on until the connection is lost.
async fn pass_on(rings: &Rings, mut listener: PgListener) {
    while let Ok(Some(_)) = listener.try_recv().await {
        rings.here.notify_waiters();
    }
}
