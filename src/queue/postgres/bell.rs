//! Wake-ups: claims that wait hear of new jobs, of this process at once, and of others by `LISTEN`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgListener;
use sqlx::{PgPool, query};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time::sleep;

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
    /// The task that notifies other processes. Tasks end with the bell.
    sender: OnceLock<JoinSet<()>>,
    /// The task that listens to other processes.
    receiver: OnceLock<JoinSet<()>>,
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
            sender: OnceLock::new(),
            receiver: OnceLock::new(),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// A job may be due. Call it in a runtime.
    pub(super) fn ring(&self, pool: &PgPool) {
        self.rings.here.notify_waiters();
        self.rings.elsewhere.notify_one();
        self.sender.get_or_init(|| {
            let (rings, pool, channel) =
                (Arc::clone(&self.rings), pool.clone(), self.channel.clone());
            let mut task = JoinSet::new();
            task.spawn(async move {
                loop {
                    rings.elsewhere.notified().await;
                    // One that fails is made up for by the polls of claims.
                    let notify = query("SELECT pg_notify($1, '')").bind(&channel);
                    let _ = notify.execute(&pool).await;
                    sleep(THROTTLE).await;
                }
            });
            task
        });
    }

    /// The next ring, from now on.
    pub(super) fn next<'a>(&'a self, pool: &PgPool) -> Notified<'a> {
        self.receiver.get_or_init(|| {
            let (rings, pool, channel) =
                (Arc::clone(&self.rings), pool.clone(), self.channel.clone());
            let mut task = JoinSet::new();
            task.spawn(async move {
                loop {
                    let _ = listen(&rings, &pool, &channel).await;
                    sleep(RECONNECT).await;
                }
            });
            task
        });
        self.rings.here.notified()
    }
}

/// Passes notifications on until the connection is lost.
async fn listen(rings: &Rings, pool: &PgPool, channel: &str) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    // What came before is looked for now.
    rings.here.notify_waiters();
    while listener.try_recv().await?.is_some() {
        rings.here.notify_waiters();
    }
    Ok(())
}
