//! What the payload of a trigger has to look like: the subset of JSON Schema that trigger types use.

use std::collections::BTreeMap;

use tower_webhook::content::json::JsonKind;

use crate::json::{Members, Value};

/// A schema, checked when it is read. What it does not say is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    types: Option<Vec<String>>,
    properties: BTreeMap<String, Self>,
    required: Vec<String>,
    /// `additionalProperties` is `false`.
    closed: bool,
    items: Option<Box<Self>>,
    /// The JSON texts of `enum`.
    choices: Option<Vec<String>>,
    alternatives: Option<Vec<Self>>,
}

const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Keywords of the drafts of JSON Schema that restrict values and that are not checked here. A schema with one of
/// them would let through what it was written to refuse.
const UNSUPPORTED: [&str; 39] = [
    "$dynamicRef",
    "$recursiveRef",
    "$ref",
    "additionalItems",
    "allOf",
    "const",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "disallow",
    "divisibleBy",
    "else",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "extends",
    "format",
    "if",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// Refuses a keyword that restricts values and is not known here, and one of the wrong type.
    pub(crate) fn read(value: Value<'_>) -> Result<Self, String> {
        let members = value.as_object().ok_or("a schema is an object")?;
        if let Some((name, _)) = members.iter().find(|(name, _)| UNSUPPORTED.contains(&&**name)) {
            return Err(format!("the schema keyword '{name}' is not supported"));
        }
        let wrong = |keyword: &str| format!("the schema keyword '{keyword}' has no such value");
        let mut schema = Self::default();
        for (name, value) in &members {
            let fault = || wrong(name);
            match &**name {
                "type" => schema.types = Some(read_types(*value).ok_or_else(fault)?),
                "properties" => {
                    for (property, value) in value.as_object().ok_or_else(fault)? {
                        schema.properties.insert(property.into_owned(), Self::read(value)?);
                    }
                }
                "required" => schema.required = value.as_texts().ok_or_else(fault)?,
                "additionalProperties" => schema.closed = !value.as_bool().ok_or_else(fault)?,
                "items" => schema.items = Some(Box::new(Self::read(*value)?)),
                "enum" => {
                    let choices = value.as_array().ok_or_else(fault)?;
                    schema.choices =
                        Some(choices.iter().map(|choice| choice.text().to_owned()).collect());
                }
                "anyOf" => {
                    let alternatives = value.as_array().filter(|list| !list.is_empty());
                    let alternatives = alternatives.ok_or_else(fault)?;
                    schema.alternatives =
                        Some(alternatives.into_iter().map(Self::read).collect::<Result<_, _>>()?);
                }
                _ => {}
            }
        }
        Ok(schema)
    }

    /// Whether a value fits.
    ///
    /// # Errors
    ///
    /// Names the rule that is broken, and nothing of the value.
    pub(crate) fn check(&self, value: Value<'_>) -> Result<(), String> {
        self.check_type(value)?;
        if let Some(choices) = &self.choices
            && !choices.iter().any(|choice| equals(choice, value))
        {
            return Err("is not one of the allowed values".to_owned());
        }
        if let Some(alternatives) = &self.alternatives
            && !alternatives.iter().any(|schema| schema.check(value).is_ok())
        {
            return Err("is not valid under any of the given schemas".to_owned());
        }
        if self.restricts_objects()
            && let Some(members) = value.as_object()
        {
            self.check_members(&members)?;
        }
        if let Some(items) = &self.items {
            value
                .as_array()
                .unwrap_or_default()
                .into_iter()
                .try_for_each(|item| items.check(item))?;
        }
        Ok(())
    }

    fn restricts_objects(&self) -> bool {
        self.closed || !self.required.is_empty() || !self.properties.is_empty()
    }

    fn check_type(&self, value: Value<'_>) -> Result<(), String> {
        match &self.types {
            Some(types) if !types.iter().any(|name| is_of_type(value, name)) => {
                Err(not_of_type(types.iter().map(String::as_str)))
            }
            _ => Ok(()),
        }
    }

    fn check_members(&self, members: &Members<'_>) -> Result<(), String> {
        let is_missing = |name: &&String| !members.iter().any(|(other, _)| other == *name);
        if let Some(name) = self.required.iter().find(is_missing) {
            return Err(format!("'{name}' is a required property"));
        }
        for (name, value) in members {
            match self.properties.get(&**name) {
                Some(schema) => {
                    schema.check(*value).map_err(|reason| format!("'{name}': {reason}"))?;
                }
                None if self.closed => {
                    return Err("Additional properties are not allowed".to_owned());
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// A value has none of these types.
pub(crate) fn not_of_type<'a>(types: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = types.into_iter().map(|name| format!("'{name}'")).collect();
    format!("is not of type {}", names.join(", "))
}

fn read_types(value: Value<'_>) -> Option<Vec<String>> {
    let types = match value.as_text() {
        Some(name) => vec![name],
        None => value.as_texts()?,
    };
    let are_known = types.iter().all(|name| TYPES.contains(&name.as_str()));
    (are_known && !types.is_empty()).then_some(types)
}

fn is_of_type(value: Value<'_>, name: &str) -> bool {
    match value.kind() {
        JsonKind::Object => name == "object",
        JsonKind::Array => name == "array",
        JsonKind::String => name == "string",
        JsonKind::Boolean => name == "boolean",
        JsonKind::Null => name == "null",
        JsonKind::Number => name == "number" || (name == "integer" && value.is_integer()),
    }
}

/// Whether a value of `enum` and a sent value are the same: strings by what they say, numbers by their value,
/// objects without regard to order.
fn equals(choice: &str, value: Value<'_>) -> bool {
    Value::read(choice.as_bytes()).is_ok_and(|choice| are_equal(choice, value))
}

fn are_equal(a: Value<'_>, b: Value<'_>) -> bool {
    if a.kind() != b.kind() {
        return false;
    }
    match a.kind() {
        JsonKind::Null | JsonKind::Boolean => a.text() == b.text(),
        JsonKind::String => a.as_text() == b.as_text(),
        JsonKind::Number => decimal(a.text()) == decimal(b.text()),
        JsonKind::Array => {
            let (a, b) = (a.as_array().unwrap_or_default(), b.as_array().unwrap_or_default());
            a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| are_equal(a, b))
        }
        JsonKind::Object => {
            let (a, b) = (a.as_object().unwrap_or_default(), b.as_object().unwrap_or_default());
            let find = |name: &str| b.iter().find(|(other, _)| other == name);
            a.len() == b.len()
                && a.iter().all(|(name, a)| find(name).is_some_and(|(_, b)| are_equal(*a, *b)))
        }
    }
}

/// Sign, digits without zeros at their ends, and exponent. An exponent that is too large counts as the largest one.
fn decimal(number: &str) -> (bool, String, i128) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let is_small = exponent.starts_with('-');
    let exponent: i128 =
        exponent.parse().unwrap_or(if is_small { i64::MIN } else { i64::MAX }.into());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (is_negative, whole) = match whole.strip_prefix('-') {
        Some(whole) => (true, whole),
        None => (false, whole),
    };
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let dropped = digits.len() - kept.len();
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return (false, String::new(), 0);
    }
    let shift = dropped as i128 - fraction.len() as i128;
    (is_negative, kept.to_owned(), exponent.saturating_add(shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Result<Schema, String> {
        Schema::read(Value::read(text.as_bytes()).unwrap())
    }

    fn check(schema_text: &str, value: &str) -> Result<(), String> {
        schema(schema_text).unwrap().check(Value::read(value.as_bytes()).unwrap())
    }

    #[test]
    fn the_broken_rule_is_named_and_the_value_is_not() {
        for (schema, value, reason) in [
            (r#"{"type":"object"}"#, "[]", "is not of type 'object'"),
            (r#"{"type":["object","array"]}"#, "1", "is not of type 'object', 'array'"),
            (r#"{"required":["a"]}"#, r#"{"b":"hunter2"}"#, "'a' is a required property"),
            (
                r#"{"additionalProperties":false}"#,
                r#"{"hunter2":1}"#,
                "Additional properties are not allowed",
            ),
            (
                r#"{"properties":{"a":{"properties":{"b":{"type":"null"}}}}}"#,
                r#"{"a":{"b":"hunter2"}}"#,
                "'a': 'b': is not of type 'null'",
            ),
            (r#"{"items":{"type":"string"}}"#, r#"["a",1]"#, "is not of type 'string'"),
            (r#"{"enum":["a"]}"#, r#""hunter2""#, "is not one of the allowed values"),
            (
                r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#,
                "1",
                "is not valid under any of the given schemas",
            ),
        ] {
            assert_eq!(check(schema, value), Err(reason.to_owned()), "{schema} {value}");
        }
    }

    #[test]
    fn a_value_that_fits_is_accepted() {
        for (schema, value) in [
            ("{}", "null"),
            (r#"{"type":"integer"}"#, "123456789012345678901234567890"),
            (r#"{"type":["string","integer"]}"#, "-1"),
            (r#"{"type":"number"}"#, "1e2"),
            (r#"{"required":["a"],"items":{"type":"string"}}"#, "1"),
            (r#"{"properties":{"a":{"type":"string"}}}"#, r#"{"b":1}"#),
            (r#"{"properties":{"a":{}},"additionalProperties":false}"#, r#"{"\u0061":1}"#),
            (r#"{"additionalProperties":true}"#, r#"{"b":1}"#),
            (r#"{"required":["a"]}"#, r#"{"a":null}"#),
            (r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#, r#""x""#),
            (r#"{"title":"t","description":"d","default":1,"secret":true}"#, "1"),
        ] {
            assert_eq!(check(schema, value), Ok(()), "{schema} {value}");
        }
    }

    #[test]
    fn integers_have_neither_fraction_nor_exponent() {
        for value in ["true", "1.5", "1.0", "1e2", "\"1\""] {
            assert!(check(r#"{"type":"integer"}"#, value).is_err(), "{value}");
        }
    }

    #[test]
    fn choices_are_compared_by_value() {
        for (choice, value, same) in [
            ("1", "1.0", true),
            ("100", "1e2", true),
            ("-0", "0.0e9", true),
            ("0.5", "5E-1", true),
            ("1", "-1", false),
            ("1", "true", false),
            ("1e99999999999999999999999999999999999999999", "1", false),
            (r#""a""#, r#""\u0061""#, true),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            ("[1,2]", "[2,1]", false),
        ] {
            let schema = format!(r#"{{"enum":[{choice}]}}"#);
            assert_eq!(check(&schema, value).is_ok(), same, "{choice} {value}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_kept_is_refused() {
        for keyword in UNSUPPORTED {
            assert!(schema(&format!(r#"{{"{keyword}":1}}"#)).is_err(), "{keyword}");
        }
        for text in [
            "[]",
            "true",
            r#"{"type":"any"}"#,
            r#"{"type":["string",1]}"#,
            r#"{"type":[]}"#,
            r#"{"anyOf":[]}"#,
            r#"{"required":true}"#,
            r#"{"required":[1]}"#,
            r#"{"additionalProperties":{}}"#,
            r#"{"properties":[]}"#,
            r#"{"properties":{"a":true}}"#,
            r#"{"items":[{}]}"#,
            r#"{"enum":1}"#,
            r#"{"anyOf":{}}"#,
            r#"{"items":{"anyOf":[{"minimum":1}]}}"#,
        ] {
            assert!(schema(text).is_err(), "{text}");
        }
    }
}
