use super::KeyId;

/// Is informed of every key that a [`KeyVerifier`](super::KeyVerifier) finds good:
/// [`with_last_used`](super::KeyVerifier::with_last_used).
///
/// It is called on the path of a request and must not wait.
pub trait LastUsedObserver: Send + Sync + 'static {
    /// The key was used at this time, in seconds since the Unix epoch.
    fn record(&self, id: &KeyId, unix_second: i64);
}
