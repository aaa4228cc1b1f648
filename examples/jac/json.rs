//! JSON as it was sent: values stay texts, so that no digit changes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tower_webhook::content::json::{self, JsonError, JsonKind, JsonLimits};

/// The size of a body limits its values already.
const LIMITS: JsonLimits = JsonLimits::new().with_nodes(usize::MAX);

/// One value, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Json<'a> {
    kind: JsonKind,
    text: &'a str,
}

/// The members of an object by their names.
pub(crate) type Members<'a> = BTreeMap<String, Json<'a>>;

impl<'a> Json<'a> {
    /// A whole text.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let checked = json::validate(text, &LIMITS)?;
        let text = checked.as_str().trim_matches([' ', '\t', '\r', '\n']);
        Ok(Self { kind: checked.kind(), text })
    }

    pub(crate) const fn kind(&self) -> JsonKind {
        self.kind
    }

    /// The value as it was written.
    pub(crate) const fn as_str(&self) -> &'a str {
        self.text
    }

    /// What a string says.
    pub(crate) fn to_text(self) -> Option<String> {
        serde_json::from_str(self.text).ok()
    }

    /// Whether this is a number that is written without fraction and exponent.
    pub(crate) fn is_integer(&self) -> bool {
        self.kind == JsonKind::Number && !self.text.contains(['.', 'e', 'E'])
    }

    /// The texts in a list; `None` for an element that is no string. The list itself is `None` if the value
    /// is none.
    pub(crate) fn elements(&self) -> Option<Vec<Option<String>>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.text).ok()?;
        Some(elements.into_iter().map(|element| serde_json::from_str(element.get()).ok()).collect())
    }

    /// The members of an object; nothing for another value.
    pub(crate) fn members(&self) -> Members<'a> {
        members(self.text.as_bytes()).map(|(_, members)| members).unwrap_or_default()
    }
}

/// The kind of a text and, for an object, its members.
pub(crate) fn members(text: &[u8]) -> Result<(JsonKind, Members<'_>), JsonError> {
    let mut members = Members::new();
    let checked = json::visit_members(text, &LIMITS, |member| {
        let value = Json { kind: member.kind(), text: member.value() };
        members.insert(member.name().into_owned(), value);
    })?;
    Ok((checked.kind(), members))
}

/// Whether an object has a member twice at its top level, which makes it no JSON for [`members`].
pub(crate) fn repeats(text: &[u8], name: &str) -> bool {
    let names = serde_json::from_slice::<Names>(text).map(|Names(names)| names);
    names.unwrap_or_default().iter().filter(|other| *other == name).count() > 1
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The names of the members of an object, with those that occur again.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(NamesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_digits() {
        let (_, members) = members(br#"{"a": 1.10, "b":12345678901234567890123}"#).unwrap();
        assert_eq!(members["a"].as_str(), "1.10");
        assert_eq!(members["b"].as_str(), "12345678901234567890123");
    }

    #[test]
    fn an_integer_has_neither_fraction_nor_exponent() {
        for (text, expected) in
            [("5", true), ("-0", true), ("5.0", false), ("1e2", false), ("true", false)]
        {
            assert_eq!(Json::parse(text.as_bytes()).unwrap().is_integer(), expected, "{text}");
        }
    }

    #[test]
    fn elements_are_texts_or_something_else() {
        let hostile = br#"["a", 1e400, {"$serde_json::private::Number":"x"}, [[[]]], "\u00e9"]"#;
        let elements = Json::parse(hostile).unwrap().elements().unwrap();
        assert_eq!(elements, [Some("a".to_owned()), None, None, None, Some("é".to_owned())]);
        assert_eq!(Json::parse(b"{}").unwrap().elements(), None);
    }

    #[test]
    fn a_repeat_is_found_after_unescaping_at_the_top_level() {
        assert!(repeats(br#"{"k": 1, "\u006b": 2}"#, "k"));
        assert!(!repeats(br#"{"k": {"k": 1, "k": 2}}"#, "k"));
        assert!(!repeats(br#"{"k": 1, "a": 1, "a": 2}"#, "k"));
        assert!(!repeats(b"[1", "k"));
    }
}
