use std::collections::HashMap;

use super::EnvelopeBuilder;
use crate::error::ConfigError;

/// The envelopes of hooks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelopes {
    default: EnvelopeBuilder,
    /// By the name of a hook, in place of the default.
    own: HashMap<Box<str>, EnvelopeBuilder>,
}

impl Envelopes {
    pub(crate) fn set_default(&mut self, envelope: EnvelopeBuilder) {
        self.default = envelope;
    }

    pub(crate) fn add(
        &mut self,
        hook: Box<str>,
        envelope: EnvelopeBuilder,
    ) -> Result<(), ConfigError> {
        if self.own.contains_key(&hook) {
            return Err(ConfigError::new("a hook has two envelopes"));
        }
        self.own.insert(hook, envelope);
        Ok(())
    }

    /// The envelope of the hook with this name.
    pub(crate) fn of(&self, hook: Option<&str>) -> &EnvelopeBuilder {
        hook.and_then(|name| self.own.get(name)).unwrap_or(&self.default)
    }

    /// One hook for each envelope: none for the default.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = Option<&str>> {
        [None].into_iter().chain(self.own.keys().map(|name| Some(&**name)))
    }

    /// Whether a part of one of them has this name.
    pub(crate) fn have_member(&self, name: &str) -> bool {
        self.own.values().chain([&self.default]).any(|envelope| envelope.has_member(name))
    }
}
