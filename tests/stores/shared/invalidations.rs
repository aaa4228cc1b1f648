//! What a subscription to changes says.

use std::time::Duration;

use tower_webhook::key::{KeyStore, WriteOutcome};
use tower_webhook::store::{Invalidation, InvalidationStream};

use super::{id, record};

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// The next message, or `None` for an error.
pub(crate) async fn next(changes: &mut impl InvalidationStream) -> Option<Invalidation> {
    let next = tokio::time::timeout(Duration::from_secs(5), changes.next());
    next.await.expect("a message or an error").ok().flatten()
}

/// Whether nothing comes for a while.
pub(crate) async fn is_quiet(changes: &mut impl InvalidationStream) -> bool {
    tokio::time::timeout(Duration::from_millis(100), changes.next()).await.is_err()
}

pub(crate) fn key(text: &str) -> Option<Invalidation> {
    Some(Invalidation::Key(id(text)))
}

/// Waiting for a message can be given up, and loses nothing.
pub(crate) async fn waiting_can_be_given_up(
    store: &(impl KeyStore + Clone),
    changes: &mut impl InvalidationStream,
) {
    for index in 0..200 {
        let text = format!("k{index}");
        let insert = tokio::spawn({
            let (store, record) = (store.clone(), record(&text, "ann", 0));
            async move { store.insert(record).await }
        });
        let message = loop {
            let patience = Duration::from_micros(index % 50 * 100);
            if let Ok(message) = tokio::time::timeout(patience, changes.next()).await {
                break message.unwrap();
            }
        };
        assert_eq!(message, key(&text));
        assert_eq!(insert.await.unwrap().unwrap(), WriteOutcome::Applied);
    }
}
