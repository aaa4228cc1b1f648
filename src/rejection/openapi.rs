//! Refusals as the responses of an OpenAPI document.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::RejectionKind;

/// The components of these refusals, by their status. They refer to the schema `Problem`, unless the app replaces bodies.
pub(crate) fn responses(
    all: impl IntoIterator<Item = RejectionKind>,
    bodies_are_replaced: bool,
) -> Value {
    let mut by_status = BTreeMap::<StatusCode, Vec<RejectionKind>>::new();
    for kind in all {
        let kinds = by_status.entry(kind.status()).or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let refusal = |(status, kinds): (StatusCode, Vec<RejectionKind>)| {
        // Constants are always JSON.
        let document = |kind: &RejectionKind| serde_json::from_str::<Value>(kind.document()).ok();
        let documents: Vec<Value> = kinds.iter().filter_map(document).collect();
        let titles: Vec<_> =
            documents.iter().filter_map(|document| document.get("title")?.as_str()).collect();
        let mut response = Map::new();
        let description = format!("{}.", titles.join(", or "));
        response.insert("description".to_owned(), description.into());
        if !bodies_are_replaced {
            let example = |(kind, document): (&RejectionKind, Value)| {
                (kind.code().to_owned(), json!({"value": document}))
            };
            let examples: Map<_, _> = kinds.iter().zip(documents).map(example).collect();
            let schema = json!({"$ref": "#/components/schemas/Problem"});
            let content = json!({"schema": schema, "examples": examples});
            response.insert("content".to_owned(), json!({"application/problem+json": content}));
        }
        let header = match status {
            StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "A challenge.")),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Some(("Retry-After", "Seconds."))
            }
            _ => None,
        };
        if let Some((name, description)) = header {
            let text = json!({"type": "string"});
            let header = json!({"description": description, "required": true, "schema": text});
            response.insert("headers".to_owned(), json!({name: header}));
        }
        (component(status), Value::Object(response))
    };
    Value::Object(by_status.into_iter().map(refusal).collect())
}

/// A reference to the component of this status.
pub(crate) fn reference(status: StatusCode) -> Value {
    json!({"$ref": format!("#/components/responses/{}", component(status))})
}

/// The name of the response with this status.
fn component(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}
