use async_trait::async_trait;

use crate::key::{KeyId, StoreError};

/// What a cache of records has to forget.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Invalidation {
    /// The record of one key was made, changed or removed.
    Key(KeyId),
    /// Anything may have changed.
    All,
}

/// A subscription to changes of keys, which a cache follows.
///
/// 1. A message comes after its change: a reader that gets the message and then reads the record sees the change.
/// 2. A message may come twice, late or out of order.
/// 3. A lost message is reported: by an error, or by [`Invalidation::All`].
/// 4. After a reconnection, [`Invalidation::All`] comes first.
///
/// # Examples
///
/// A subscription over a queue of texts, where an empty text means a gap:
///
/// ```
/// use async_trait::async_trait;
/// use tokio::sync::mpsc::Receiver;
/// use tower_webhook::key::{KeyId, StoreError};
/// use tower_webhook::store::{Invalidation, InvalidationStream};
///
/// struct Texts(Receiver<String>);
///
/// #[async_trait]
/// impl InvalidationStream for Texts {
///     async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
///         let Some(text) = self.0.recv().await else {
///             return Ok(None);
///         };
///         // A text that cannot be read may have been about any key.
///         Ok(Some(KeyId::new(&text).map_or(Invalidation::All, Invalidation::Key)))
///     }
/// }
/// ```
#[async_trait]
pub trait InvalidationStream: Send + 'static {
    /// Waits for the next message. `None`: the subscription has ended.
    ///
    /// The first call connects, and so does the first call after an error. The future may be dropped
    /// while it waits, and then no message is lost.
    ///
    /// # Errors
    ///
    /// The connection is lost or cannot be made: messages may be missing. The caller forgets everything, waits and
    /// calls again.
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError>;
}

#[cfg(feature = "postgres")]
pub(super) use self::queue::QueueSender;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::queue::{Queue, message, queue};

#[cfg(any(feature = "postgres", feature = "redis"))]
mod queue {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc::{self, Receiver, Sender};

    use super::Invalidation;
    use crate::key::KeyId;

    /// A bounded queue of messages. Those that find no room in it become one [`Invalidation::All`].
    pub(in crate::store) fn queue() -> (QueueSender, Queue) {
        let (sender, messages) = mpsc::channel(MAX_MESSAGES);
        let lagged = Arc::new(AtomicBool::new(false));
        let queue = Queue { messages, lagged: Arc::clone(&lagged) };
        (QueueSender { messages: sender, lagged }, queue)
    }

    const MAX_MESSAGES: usize = 1024;

    pub(in crate::store) struct QueueSender {
        messages: Sender<Invalidation>,
        lagged: Arc<AtomicBool>,
    }

    pub(in crate::store) struct Queue {
        messages: Receiver<Invalidation>,
        lagged: Arc<AtomicBool>,
    }

    impl QueueSender {
        /// Whether there was room for the message.
        pub(in crate::store) fn push(&self, message: Invalidation) -> bool {
            let fits = self.messages.try_send(message).is_ok();
            if !fits {
                self.lagged.store(true, Ordering::Release);
            }
            fits
        }
    }

    impl Queue {
        /// The next message, or `None` if the sender is gone. It is safe to cancel.
        pub(in crate::store) async fn next(&mut self) -> Option<Invalidation> {
            // The messages in the queue are older than the one that found no room.
            if self.lagged.swap(false, Ordering::Acquire) {
                return Some(Invalidation::All);
            }
            self.messages.recv().await
        }
    }

    /// The message in a text. One that is no id may be about any key.
    pub(in crate::store) fn message(text: &str) -> Invalidation {
        KeyId::new(text).map_or(Invalidation::All, Invalidation::Key)
    }

    #[cfg(test)]
    mod tests {
        use futures_util::FutureExt;

        use super::*;

        fn key(number: usize) -> Invalidation {
            Invalidation::Key(KeyId::new(format!("k{number}")).unwrap())
        }

        #[test]
        fn messages_without_room_become_one_about_everything() {
            let (sender, mut queue) = queue();
            for number in 0..MAX_MESSAGES + 10 {
                assert_eq!(sender.push(key(number)), number < MAX_MESSAGES);
            }
            let mut next = || queue.next().now_or_never();
            assert_eq!(next(), Some(Some(Invalidation::All)));
            for number in 0..MAX_MESSAGES {
                assert_eq!(next(), Some(Some(key(number))));
            }
            assert_eq!(next(), None);
            assert!(sender.push(key(7)));
            drop(sender);
            assert_eq!(next(), Some(Some(key(7))));
            assert_eq!(next(), Some(None));
        }

        #[test]
        fn a_text_that_is_no_id_is_about_everything() {
            assert_eq!(message("k1"), key(1));
            for text in ["", "a b", "\u{e9}", &"x".repeat(65)] {
                assert_eq!(message(text), Invalidation::All, "{text}");
            }
        }
    }
}
