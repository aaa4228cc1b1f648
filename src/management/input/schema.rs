//! JSON Schemas of the bodies and parameters, from the limits that they are read with.

use serde_json::{Value, json};

use super::value::{MAX_SECONDS, UNITS};
use super::{DEFAULT_PAGE_LEN, MAX_IDS, MAX_PAGE_LEN};
use crate::key::{KeyId, KeyRecord, Scope};

/// Bodies by the name of their schema, each with an example. They refer to [`parts`].
pub(in crate::management) fn bodies() -> [(&'static str, Value); 6] {
    let metadata = json!({"description": "Any value, kept byte for byte. `null` is none."});
    let new_key = json!({
        "name": reference("KeyName"),
        "scopes": reference("Scopes"),
        "expires_in": described(interval(1), "Without it, the key never expires."),
        "not_before": {
            "type": "string",
            "format": "date-time",
            "description": "From when on the key works.",
        },
        "metadata": metadata,
    });
    let update = json!({
        "name": reference("KeyName"),
        "scopes": reference("Scopes"),
        "metadata": metadata,
        "disabled": {"type": "boolean"},
    });
    let update = object(&[], &update, &json!({"name": "cd"}));
    let extension = json!({"by": described(interval(1), "How much later the key expires.")});
    let overlap = "How long the old text works. Without it: not at all.";
    let rotation = json!({"overlap": described(interval(0), overlap)});
    let ids = json!({"ids": {
        "type": "array",
        "items": reference("KeyId"),
        "minItems": 1,
        "maxItems": MAX_IDS,
    }});
    let days = |count| json!({"count": count, "unit": "days"});
    [
        ("NewKey", object(&["name"], &new_key, &json!({"name": "ci", "expires_in": days(60)}))),
        ("KeyUpdate", with(update, "minProperties", json!(1))),
        ("Extension", object(&["by"], &extension, &json!({"by": days(30)}))),
        ("Rotation", object(&[], &rotation, &json!({"overlap": 3600}))),
        ("Empty", object(&[], &json!({}), &json!({}))),
        ("KeyIds", object(&["ids"], &ids, &json!({"ids": ["4hQyZ2nB8kLmX0aT"]}))),
    ]
}

/// What bodies and responses have in common.
pub(in crate::management) fn parts() -> [(&'static str, Value); 3] {
    // A scope-token (RFC 6749, section 3.3).
    let scope = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": Scope::MAX_LEN,
        "pattern": r"^[!#-\[\]-~]+$",
    });
    [
        (
            "KeyId",
            json!({
                "type": "string",
                "minLength": 1,
                "maxLength": KeyId::MAX_LEN,
                "pattern": "^[A-Za-z0-9._:-]+$",
            }),
        ),
        (
            "KeyName",
            json!({
                "type": "string",
                "minLength": 1,
                "maxLength": KeyRecord::MAX_NAME_LEN,
                "pattern": concat!(
                    r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f",
                    r"\u2028-\u202e\u2066-\u2069]+$"
                ),
            }),
        ),
        (
            "Scopes",
            json!({
                "description": "`\"all\"`, or a list of scopes. Callers grant scopes that they have.",
                "oneOf": [{"const": "all"}, {"type": "array", "items": scope}],
            }),
        ),
    ]
}

/// The parameters of the query of a list.
pub(in crate::management) fn page_parameters() -> Value {
    let limit = json!({
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PAGE_LEN,
        "default": DEFAULT_PAGE_LEN,
    });
    json!([
        {"name": "limit", "in": "query", "description": "The length of a page.", "schema": limit},
        {
            "name": "after",
            "in": "query",
            "description": "The `next` of an earlier response.",
            "schema": {"type": "string", "pattern": r"^-?[0-9]+\.[A-Za-z0-9._:-]+$"},
        },
    ])
}

/// An integer of seconds, or a count and a unit.
fn interval(least: i64) -> Value {
    let units = UNITS.map(|(unit, _)| unit);
    let count = json!({"type": "integer", "minimum": least, "maximum": MAX_SECONDS});
    json!({
        "oneOf": [
            described(count.clone(), "Seconds."),
            {
                "type": "object",
                "required": ["count", "unit"],
                "properties": {"count": count, "unit": {"enum": units}},
                "additionalProperties": false,
            },
        ],
    })
}

fn described(schema: Value, description: &str) -> Value {
    with(schema, "description", json!(description))
}

/// The object with one more member.
pub(in crate::management) fn with(mut object: Value, name: &str, member: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(name.to_owned(), member);
    }
    object
}

fn object(required: &[&str], members: &Value, example: &Value) -> Value {
    json!({
        "type": "object",
        "required": required,
        "properties": members,
        "additionalProperties": false,
        "examples": [example],
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
