//! An envelope that is made without a library for it.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value};

/// Parses the body, builds the envelope as a value, and writes it.
#[must_use]
pub fn with_values(head: &Parts, body: &Bytes) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned());
    let query = head.uri.query().unwrap_or_default().split('&');
    let query = query.filter_map(|pair| pair.split_once('='));
    let query: Map<_, _> = query.map(|(name, value)| (name.to_owned(), text(value))).collect();
    let headers = head.headers.iter();
    let headers: Map<_, _> = headers
        .map(|(name, value)| (name.to_string(), text(value.to_str().unwrap_or_default())))
        .collect();
    let mut envelope = Map::new();
    envelope.insert("GET".to_owned(), Value::Object(query));
    envelope.insert("POST".to_owned(), Value::Object(Map::new()));
    envelope.insert("JSON".to_owned(), serde_json::from_slice(body).expect("JSON"));
    envelope.insert("HEADERS".to_owned(), Value::Object(headers));
    serde_json::to_vec(&Value::Object(envelope)).expect("JSON")
}
