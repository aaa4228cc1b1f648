use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Any error, of the app or of a library.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A setting that cannot work, found when the layer is built and before any request is served.
///
/// The text names the setting and the reason. It never contains a secret.
#[derive(Clone, Debug)]
pub struct ConfigError(Cow<'static, str>);

impl ConfigError {
    pub(crate) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ConfigError {}
