use super::Quota;

/// A bucket, and how many calls it allows.
///
/// The name of a bucket is any text. Those of this crate, such as `key:4hQyZ2nB8kLmX0aT`, have no secret.
///
/// # Examples
///
/// ```
/// use tower_webhook::rate_limit::{Limit, Quota};
///
/// let limit = Limit::new("ann", Quota::per_minute(60)?);
/// assert_eq!(limit.bucket(), "ann");
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    bucket: &'a str,
    quota: Quota,
}

impl<'a> Limit<'a> {
    /// A limit on the calls that a bucket counts.
    #[must_use]
    pub const fn new(bucket: &'a str, quota: Quota) -> Self {
        Self { bucket, quota }
    }

    /// The name of the bucket.
    #[must_use]
    pub const fn bucket(&self) -> &'a str {
        self.bucket
    }

    /// How many calls it allows.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }
}
