use super::KeyId;

/// Observes every key that a [`KeyVerifier`](super::KeyVerifier) accepts:
/// [`with_last_used`](super::KeyVerifier::with_last_used).
///
/// It is called during a request and must not block.
pub trait LastUsedObserver: Send + Sync + 'static {
    /// The key was used at this time, in seconds since the Unix epoch.
    fn record(&self, id: &KeyId, unix_second: i64);
}
