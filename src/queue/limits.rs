use std::collections::BTreeMap;

use crate::ConfigError;

/// How many jobs of a hook may run at a time, in all processes together.
///
/// The limits are a setting of the queue, and each process that uses it, as a producer or a worker, has to be given the
/// same ones.
///
/// # Examples
///
/// ```
/// use tower_webhook::queue::HookLimits;
///
/// let limits = HookLimits::new().with("deploy", 1)?.with("report", 4)?;
/// assert_eq!(limits.of("deploy"), Some(1));
/// assert_eq!(limits.of("other"), None);
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HookLimits(BTreeMap<String, u32>);

impl HookLimits {
    /// No limits.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Limits a hook. An empty name is that of the jobs without a hook.
    ///
    /// # Errors
    ///
    /// Returns an error if the limit is 0, or if the hook has one already.
    pub fn with(mut self, hook: impl Into<String>, limit: u32) -> Result<Self, ConfigError> {
        if limit == 0 {
            return Err(ConfigError::new("the limit of a hook is 0"));
        }
        if self.0.insert(hook.into(), limit).is_some() {
            return Err(ConfigError::new("a hook has two limits"));
        }
        Ok(self)
    }

    /// The limit of a hook, if it has one.
    #[must_use]
    pub fn of(&self, hook: &str) -> Option<u32> {
        self.0.get(hook).copied()
    }

    /// All limits, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(hook, limit)| (hook.as_str(), *limit))
    }
}
