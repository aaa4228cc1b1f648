//! JSON values as they were sent, with their digits.
//!
//! A value is a text that was checked once, and its parts are looked up in it. Nothing is converted, so a number
//! is given back as it came.

use std::borrow::Cow;

use tower_webhook::content::json::{self, JsonError, JsonKind, JsonLimits};

/// The size of a body limits the number of values in it.
const LIMITS: JsonLimits = JsonLimits::new().with_nodes(usize::MAX);

/// A JSON value, borrowed from its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    text: &'a str,
    kind: JsonKind,
}

/// The members of an object, in order. No name is there twice.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

impl<'a> Value<'a> {
    /// Checks a text and takes its value.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let checked = json::validate(bytes, &LIMITS)?;
        Ok(Self { text: checked.as_str().trim_ascii(), kind: checked.kind() })
    }

    /// The value as it was written.
    pub(crate) const fn text(self) -> &'a str {
        self.text
    }

    pub(crate) const fn kind(self) -> JsonKind {
        self.kind
    }

    /// What a string says.
    pub(crate) fn as_text(self) -> Option<String> {
        match self.kind {
            JsonKind::String => serde_json::from_str(self.text).ok(),
            _ => None,
        }
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.kind {
            JsonKind::Boolean => Some(self.text == "true"),
            _ => None,
        }
    }

    /// The members of an object.
    pub(crate) fn as_object(self) -> Option<Members<'a>> {
        let mut members = Vec::new();
        json::visit_members(self.text.as_bytes(), &LIMITS, |member| {
            members.push((member.name(), Self { text: member.value(), kind: member.kind() }));
        })
        .ok()?;
        (self.kind == JsonKind::Object).then_some(members)
    }

    /// The elements of an array.
    pub(crate) fn as_array(self) -> Option<Vec<Self>> {
        let mut elements = Vec::new();
        json::visit_elements(self.text.as_bytes(), &LIMITS, |element| {
            elements.push(Self { text: element.value(), kind: element.kind() });
        })
        .ok()?;
        (self.kind == JsonKind::Array).then_some(elements)
    }

    /// The elements of an array of strings.
    pub(crate) fn as_texts(self) -> Option<Vec<String>> {
        self.as_array()?.into_iter().map(Self::as_text).collect()
    }

    /// An integer is written without fraction and exponent, and may have any size.
    pub(crate) fn is_integer(self) -> bool {
        self.kind == JsonKind::Number && !self.text.contains(['.', 'e', 'E'])
    }
}

/// The member of that name. `null` counts as not sent.
pub(crate) fn sent<'a>(members: &[(Cow<'a, str>, Value<'a>)], name: &str) -> Option<Value<'a>> {
    let (_, value) = members.iter().find(|(other, _)| other == name)?;
    (value.kind() != JsonKind::Null).then_some(*value)
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An array of JSON texts.
pub(crate) fn array(elements: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", elements.into_iter().collect::<Vec<_>>().join(","))
}

/// Writes an object, member by member.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a JSON text.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// Adds a JSON text, if there is one.
    pub(crate) fn maybe(self, name: &str, json: Option<&str>) -> Self {
        match json {
            Some(json) => self.raw(name, json),
            None => self,
        }
    }

    /// Adds a string.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.raw(name, &quoted(text))
    }

    /// Adds a truth value.
    pub(crate) fn bool(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_back_as_it_was_written() {
        let text = br#" {"a":[1.10, 1e400,"b\u0063"],"$serde_json::private::Number":"1"} "#;
        let members = Value::read(text).unwrap().as_object().unwrap();
        let a = sent(&members, "a").unwrap();
        let elements = a.as_array().unwrap();
        assert_eq!(a.text(), r#"[1.10, 1e400,"b\u0063"]"#);
        assert_eq!(elements[1].text(), "1e400");
        assert_eq!(elements[2].as_text().unwrap(), "bc");
        assert_eq!(members[1].0, "$serde_json::private::Number");
        assert!(elements[0].as_object().is_none() && elements[0].as_array().is_none());
    }

    #[test]
    fn an_integer_has_neither_fraction_nor_exponent() {
        for (text, expected) in [
            ("1", true),
            ("-0", true),
            ("123456789012345678901234567890", true),
            ("1.0", false),
            ("1e2", false),
            ("1E2", false),
            ("true", false),
            ("\"1\"", false),
        ] {
            assert_eq!(Value::read(text.as_bytes()).unwrap().is_integer(), expected, "{text}");
        }
    }

    #[test]
    fn an_object_is_written_member_by_member() {
        let object =
            Object::new().text("a\"", "é\n").bool("b", true).maybe("c", None).raw("d", "1.0");
        assert_eq!(object.finish(), r#"{"a\"":"é\n","b":true,"d":1.0}"#);
        assert_eq!(Object::new().finish(), "{}");
    }
}
