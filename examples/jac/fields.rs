//! The fields of a walker: which types there are, and which value fits which.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tower_webhook::content::json::JsonKind;

use crate::body::{Given, Piece, Values};
use crate::json::{Json, quoted};
use crate::validation::{Fault, Step};

/// A field that a walker declares.
#[derive(Debug, Deserialize)]
pub(crate) struct Field {
    pub(crate) r#type: FieldType,
    /// Without one the field is required. `null` is a default like any other.
    #[serde(default, deserialize_with = "present")]
    pub(crate) default: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    Str,
    Int,
    Float,
    Bool,
    List,
    Dict,
    Any,
    File,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// Where fields are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Body,
    Query,
}

/// The values of all declared fields, as one JSON object. What is not declared is left out.
pub(crate) fn read(
    declared: &BTreeMap<String, Field>,
    values: &Values<'_>,
    place: Place,
) -> Result<String, Vec<Fault>> {
    let is_missing = |(name, field): (&String, &Field)| {
        field.default.is_none() && !values.own.contains_key(name)
    };
    if values.empty && declared.iter().any(is_missing) {
        return Err(vec![Fault::of_body("missing")]);
    }
    if declared.keys().any(|name| values.own.contains_key(name) && values.inside.contains_key(name))
    {
        return Err(vec![Fault::of_body("model_attributes_type")]);
    }

    let mut members = Vec::new();
    let mut faults = Vec::new();
    for (name, field) in declared {
        match value(name, field, values) {
            Ok(value) => members.push(format!("{}:{value}", quoted(name))),
            Err(r#type) => {
                faults.push(Fault::new(r#type, [place.step(), Step::Name(name.clone().into())]))
            }
        }
    }
    if faults.is_empty() { Ok(format!("{{{}}}", members.join(","))) } else { Err(faults) }
}

impl Place {
    fn step(self) -> Step {
        Step::from(match self {
            Self::Body => "body",
            Self::Query => "query",
        })
    }
}

/// The JSON of a value, or the type of its fault.
fn value(name: &str, field: &Field, values: &Values<'_>) -> Result<String, &'static str> {
    let given = values.own.get(name).cloned();
    match given.or_else(|| values.inside.get(name).map(|value| Given::Json(*value))) {
        Some(Given::Json(value)) => field.r#type.of_json(value),
        Some(Given::Pieces(pieces)) => field.r#type.of_pieces(&pieces),
        None => field.default.as_ref().map(|default| default.get().to_owned()).ok_or("missing"),
    }
}

impl FieldType {
    /// JSON values are not converted.
    fn of_json(self, value: Json<'_>) -> Result<String, &'static str> {
        let fits = match self {
            Self::Any => true,
            Self::Str => value.kind() == JsonKind::String,
            Self::Int => value.is_integer(),
            Self::Float => value.kind() == JsonKind::Number,
            Self::Bool => value.kind() == JsonKind::Boolean,
            Self::List => value.kind() == JsonKind::Array,
            Self::Dict => value.kind() == JsonKind::Object,
            Self::File => false,
        };
        if fits { Ok(value.as_str().to_owned()) } else { Err(self.fault()) }
    }

    /// One text is read as the type, one file is an object, and several of them are a list.
    fn of_pieces(self, pieces: &[Piece]) -> Result<String, &'static str> {
        match (self, pieces) {
            (Self::File | Self::Any | Self::Dict, [Piece::File(file)]) => Ok(file.clone()),
            (Self::Str | Self::Any, [Piece::Text(text)]) => Ok(quoted(text)),
            (Self::File, _) | (_, [Piece::File(_)]) => Err(self.fault()),
            (_, [Piece::Text(text)]) => {
                Json::parse(text.as_bytes()).map_or(Err(self.fault()), |value| self.of_json(value))
            }
            (Self::List | Self::Any, several) => {
                let several = several.iter().map(|piece| match piece {
                    Piece::Text(text) => quoted(text),
                    Piece::File(file) => file.clone(),
                });
                Ok(format!("[{}]", several.collect::<Vec<_>>().join(",")))
            }
            _ => Err(self.fault()),
        }
    }

    const fn fault(self) -> &'static str {
        match self {
            Self::Str => "string_type",
            Self::Int => "int_type",
            Self::Float => "float_type",
            Self::Bool => "bool_type",
            Self::List => "list_type",
            Self::Dict => "dict_type",
            Self::Any | Self::File => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn declared(text: &str) -> BTreeMap<String, Field> {
        serde_json::from_str(text).unwrap()
    }

    fn typed(r#type: &str) -> BTreeMap<String, Field> {
        declared(&format!(r#"{{"a":{{"type":"{type}"}}}}"#))
    }

    fn in_body(declared: &BTreeMap<String, Field>, media: &str, body: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_str(media).unwrap());
        shown(match Values::of_body(&headers, body, None) {
            Ok(values) => read(declared, &values, Place::Body),
            Err(fault) => Err(vec![fault]),
        })
    }

    fn shown(read: Result<String, Vec<Fault>>) -> String {
        read.unwrap_or_else(|faults| {
            let faults = serde_json::to_value(faults).unwrap();
            let shown = faults.as_array().unwrap().iter();
            let shown =
                shown.map(|fault| format!("{} {}", fault["type"].as_str().unwrap(), fault["loc"]));
            shown.collect::<Vec<_>>().join("; ")
        })
    }

    const FORM: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=b";

    #[test]
    fn json_values_are_not_converted() {
        let values = ["\"x\"", "7", "1.5", "1e400", "true", "[1]", "{}", "null"];
        for (r#type, fits) in [
            ("str", vec![0]),
            ("int", vec![1]),
            ("float", vec![1, 2, 3]),
            ("bool", vec![4]),
            ("list", vec![5]),
            ("dict", vec![6]),
            ("any", (0..8).collect()),
            ("file", vec![]),
        ] {
            for (index, value) in values.iter().enumerate() {
                let body = format!("{{\"a\" : {value} , \"b\": 1}}");
                let read = in_body(&typed(r#type), "text/plain", body.as_bytes());
                let expected = format!("{{\"a\":{value}}}");
                assert_eq!(read == expected, fits.contains(&index), "{type} {value}: {read}");
            }
        }
        let null = in_body(&typed("int"), "application/json", br#"{"a":null}"#);
        assert_eq!(null, r#"int_type ["body","a"]"#);
    }

    #[test]
    fn form_texts_are_read_as_the_declared_type() {
        let read = |r#type: &str, text: &str| {
            in_body(&typed(r#type), FORM, format!("a={text}").as_bytes())
        };
        assert_eq!(read("str", "7"), r#"{"a":"7"}"#);
        assert_eq!(read("any", "7"), r#"{"a":"7"}"#);
        assert_eq!(read("str", ""), r#"{"a":""}"#);
        assert_eq!(read("int", "7"), r#"{"a":7}"#);
        assert_eq!(read("int", "7.0"), r#"int_type ["body","a"]"#);
        assert_eq!(read("float", "-1.50"), r#"{"a":-1.50}"#);
        assert_eq!(read("bool", "true"), r#"{"a":true}"#);
        assert_eq!(read("bool", "True"), r#"bool_type ["body","a"]"#);
        assert_eq!(read("list", "[1]"), r#"{"a":[1]}"#);
        assert_eq!(read("dict", "%7B%7D"), r#"{"a":{}}"#);
        assert_eq!(read("dict", "%7B%22a%22:1,%22a%22:1%7D"), r#"dict_type ["body","a"]"#);
        assert_eq!(read("file", "x"), r#"missing ["body","a"]"#);
    }

    #[test]
    fn several_texts_are_a_list() {
        let read = |r#type: &str| in_body(&typed(r#type), FORM, b"a=1&a=x");
        assert_eq!(read("list"), r#"{"a":["1","x"]}"#);
        assert_eq!(read("any"), r#"{"a":["1","x"]}"#);
        assert_eq!(read("str"), r#"string_type ["body","a"]"#);
        assert_eq!(read("int"), r#"int_type ["body","a"]"#);
        assert_eq!(read("file"), r#"missing ["body","a"]"#);
    }

    #[test]
    fn a_body_without_fields_will_do_if_every_field_has_a_default() {
        let required = declared(r#"{"a":{"type":"str"},"b":{"type":"any","default":null}}"#);
        let optional = declared(r#"{"b":{"type":"any","default":null}}"#);
        for media in ["application/json", FORM, MULTIPART, "multipart/form-data"] {
            assert_eq!(in_body(&required, media, b""), r#"missing ["body"]"#, "{media}");
            assert_eq!(in_body(&optional, media, b""), r#"{"b":null}"#, "{media}");
        }
        assert_eq!(in_body(&required, "a/b", b"null"), r#"missing ["body"]"#);
        assert_eq!(in_body(&optional, "a/b", b"null"), r#"{"b":null}"#);
        assert_eq!(in_body(&required, "a/b", b"{}"), r#"missing ["body","a"]"#);
        assert_eq!(in_body(&required, "a/b", b" "), r#"json_invalid ["body",1]"#);
        assert_eq!(in_body(&required, "a/b", b"[]"), r#"model_attributes_type ["body"]"#);
        assert_eq!(in_body(&required, FORM, b"c="), r#"missing ["body","a"]"#);
    }

    #[test]
    fn fields_of_a_query_say_so() {
        let read = |query: &str| shown(read(&typed("int"), &Values::of_query(query), Place::Query));
        assert_eq!(read("a=7"), r#"{"a":7}"#);
        assert_eq!(read("a=x"), r#"int_type ["query","a"]"#);
        assert_eq!(read(""), r#"missing ["query","a"]"#);
    }

    fn part(head: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    fn in_parts(declared: &BTreeMap<String, Field>, parts: &[&str]) -> String {
        in_body(declared, MULTIPART, format!("{}--b--\r\n", parts.concat()).as_bytes())
    }

    #[test]
    fn a_file_stands_beside_the_fields_of_the_json_part() {
        let both = declared(r#"{"a":{"type":"int"},"f":{"type":"file"}}"#);
        let file = part("name=\"f\"; filename=\"x.txt\"", "12345");
        let json = part("name=\"body\"", r#"{"a": 1}"#);
        let text = part("name=\"a\"", "2");
        let object = r#"{"filename":"x.txt","content_type":"application/octet-stream","size":5}"#;
        assert_eq!(in_parts(&both, &[&file, &json]), format!(r#"{{"a":1,"f":{object}}}"#));
        assert_eq!(in_parts(&both, &[&text, &file]), format!(r#"{{"a":2,"f":{object}}}"#));

        let model = r#"model_attributes_type ["body"]"#;
        assert_eq!(in_parts(&both, &[&text, &file, &json]), model);
        assert_eq!(in_parts(&both, &[&file, &json, &json]), model);
        assert_eq!(in_parts(&both, &[&part("name=\"body\"", "[]")]), model);
        let missing = r#"missing ["body","f"]"#;
        assert_eq!(in_parts(&both, &[&json]), missing);
        assert_eq!(in_parts(&both, &[&json, &file, &file]), missing);
        assert_eq!(in_parts(&both, &[&json, &part("name=\"f\"", "text")]), missing);
        assert_eq!(in_body(&both, "a/b", br#"{"a":1,"f":{}}"#), missing);
        let broken = part("name=\"body\"", "{x");
        assert_eq!(in_parts(&both, &[&file, &broken]), r#"json_invalid ["body",1]"#);
        let empty = part("name=\"body\"", "");
        assert_eq!(in_parts(&both, &[&file, &empty]), r#"missing ["body"]"#);
        assert_eq!(in_body(&both, MULTIPART, b"--b\r\n"), model);
        assert_eq!(in_body(&both, "multipart/form-data", b"x"), model);
    }

    #[test]
    fn a_file_under_a_field_of_another_type_is_an_object() {
        let file = part("name=\"a\"; filename=\"x\"", "1");
        let object = r#"{"filename":"x","content_type":"application/octet-stream","size":1}"#;
        assert_eq!(in_parts(&typed("dict"), &[&file]), format!(r#"{{"a":{object}}}"#));
        assert_eq!(in_parts(&typed("any"), &[&file]), format!(r#"{{"a":{object}}}"#));
        assert_eq!(in_parts(&typed("int"), &[&file]), r#"int_type ["body","a"]"#);
        let two = format!(r#"{{"a":[{object},"t"]}}"#);
        assert_eq!(in_parts(&typed("list"), &[&file, &part("name=\"a\"", "t")]), two);
    }
}
