//! Messages between the connection of a subscription and whoever asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::Invalidation;
use crate::key::KeyId;

/// A bounded queue. Messages that find no place in it become one [`Invalidation::All`].
pub(super) fn inbox() -> (InboxSender, Inbox) {
    let (sender, messages) = mpsc::channel(MAX_MESSAGES);
    let overrun = Arc::new(AtomicBool::new(false));
    let inbox = Inbox { messages, overrun: Arc::clone(&overrun) };
    (InboxSender { messages: sender, overrun }, inbox)
}

const MAX_MESSAGES: usize = 1024;

pub(super) struct InboxSender {
    messages: Sender<Invalidation>,
    overrun: Arc<AtomicBool>,
}

pub(super) struct Inbox {
    messages: Receiver<Invalidation>,
    overrun: Arc<AtomicBool>,
}

impl InboxSender {
    /// Whether there was place for the message.
    pub(super) fn put(&self, message: Invalidation) -> bool {
        let fits = self.messages.try_send(message).is_ok();
        if !fits {
            self.overrun.store(true, Ordering::Release);
        }
        fits
    }
}

impl Inbox {
    /// The next message, or `None` if the sender is gone. Can be dropped without a loss.
    pub(super) async fn next(&mut self) -> Option<Invalidation> {
        // Whatever is in the queue is older than what found no place in it.
        if self.overrun.swap(false, Ordering::Acquire) {
            return Some(Invalidation::All);
        }
        self.messages.recv().await
    }
}

/// The message in a text. One that is no id may be about any key.
pub(super) fn message(text: &str) -> Invalidation {
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
    fn what_finds_no_place_becomes_one_message_about_everything() {
        let (sender, mut inbox) = inbox();
        for number in 0..MAX_MESSAGES + 10 {
            assert_eq!(sender.put(key(number)), number < MAX_MESSAGES);
        }
        let mut next = || inbox.next().now_or_never();
        assert_eq!(next(), Some(Some(Invalidation::All)));
        for number in 0..MAX_MESSAGES {
            assert_eq!(next(), Some(Some(key(number))));
        }
        assert_eq!(next(), None);
        assert!(sender.put(key(7)));
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
