use std::borrow::Cow;

use super::EnvelopePart;

/// The names of the parts that are on.
#[derive(Clone, Debug)]
pub(super) struct Names([Option<Cow<'static, str>>; EnvelopePart::COUNT]);

impl Names {
    pub(super) fn has(&self, part: EnvelopePart) -> bool {
        self.get(part).is_some()
    }

    pub(super) fn get(&self, part: EnvelopePart) -> Option<&str> {
        self.0.get(part.index())?.as_deref()
    }

    /// Names a part, or turns it off. `false` if another part has the name.
    pub(super) fn set(&mut self, part: EnvelopePart, name: Option<Cow<'static, str>>) -> bool {
        let is_taken = |(index, other): (usize, &Option<Cow<'_, str>>)| {
            index != part.index() && other.is_some() && *other == name
        };
        if self.0.iter().enumerate().any(is_taken) {
            return false;
        }
        if let Some(slot) = self.0.get_mut(part.index()) {
            *slot = name;
        }
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(|name| &**name)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self(
            [Some("GET"), Some("POST"), Some("JSON"), Some("HEADERS"), None]
                .map(|name| name.map(Cow::Borrowed)),
        )
    }
}
