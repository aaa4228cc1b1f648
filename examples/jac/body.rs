//! What a request says under which name, in a query or in a body that is JSON, a form or multipart: the
//! fields, and the key.

use std::collections::BTreeMap;

use http::HeaderMap;
use tower_webhook::body::BufferedBody;
use tower_webhook::content::json::JsonKind;
use tower_webhook::content::multipart::{self, Part};
use tower_webhook::content::{MediaType, form};
use tower_webhook::credential::{Placement, Secret};

use crate::json::{Json, Members, members, quoted, repeats};
use crate::validation::{Body, Fault};

/// The part of a multipart form that may hold the other fields as JSON.
pub(crate) const JSON_PART: &str = "body";

/// The values under one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given<'a> {
    /// A member of a JSON object.
    Json(Json<'a>),
    /// Pairs or parts, at least one.
    Pieces(Vec<Piece>),
}

/// A pair of a form, or a part of a multipart form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    /// A file, as the JSON that a walker is given in its place.
    File(String),
}

/// Everything that is said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Values<'a> {
    /// Members, pairs, and parts of their own.
    pub(crate) own: BTreeMap<String, Given<'a>>,
    /// Members of the JSON part.
    pub(crate) inside: Members<'a>,
    /// No JSON object: zero bytes, or null.
    pub(crate) empty: bool,
}

impl<'a> Values<'a> {
    /// The pairs of a query.
    pub(crate) fn of_query(query: &str) -> Self {
        Self { own: pairs(query.as_bytes()), ..Self::default() }
    }

    /// The fields of a body. What is neither a form nor multipart counts as JSON. A body in which a key
    /// is looked for under the name `key` is read in the same way as for the key: a JSON object is one
    /// of any media type. The values under that name are left out, also of a part that is not JSON.
    pub(crate) fn of_body(
        headers: &HeaderMap,
        bytes: &'a [u8],
        key: Option<&str>,
    ) -> Result<Self, Fault> {
        let mut values = match BodyKind::of(headers, bytes, key.is_some()) {
            BodyKind::Json => Self::of_json(bytes)?,
            BodyKind::Form => Self { own: pairs(bytes), ..Self::default() },
            BodyKind::Multipart(None) => return Err(Fault::of_body("model_attributes_type")),
            BodyKind::Multipart(Some(mut parts)) => {
                parts.retain(|part| Some(part.name()) != key);
                Self::of_parts(&parts)?
            }
        };
        if let Some(key) = key {
            values.own.remove(key);
            values.inside.remove(key);
        }
        Ok(values)
    }

    fn of_json(bytes: &'a [u8]) -> Result<Self, Fault> {
        Ok(match Body::read(bytes)? {
            Body::Nothing => Self { empty: true, ..Self::default() },
            Body::Object(members) => {
                let own = members.into_iter().map(|(name, value)| (name, Given::Json(value)));
                Self { own: own.collect(), ..Self::default() }
            }
        })
    }

    fn of_parts(parts: &[Part<'a>]) -> Result<Self, Fault> {
        let (json, others): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| part.name() == JSON_PART);
        let mut values = match json.as_slice() {
            [] => Self::default(),
            [part] => match Body::read(part.content())? {
                Body::Nothing => Self { empty: true, ..Self::default() },
                Body::Object(inside) => Self { inside, ..Self::default() },
            },
            _ => return Err(Fault::of_body("model_attributes_type")),
        };
        let pieces = others.into_iter().map(|part| (part.name().to_owned(), piece(part)));
        values.own = gathered(pieces);
        Ok(values)
    }
}

/// How a body is to be read.
pub(crate) enum BodyKind<'a> {
    Json,
    Form,
    /// The parts, or `None` if the body does not follow the syntax.
    Multipart(Option<Vec<Part<'a>>>),
}

impl<'a> BodyKind<'a> {
    pub(crate) fn of(headers: &HeaderMap, bytes: &'a [u8], json_first: bool) -> Self {
        let is_object = || {
            let read = members(bytes);
            read.is_ok_and(|(kind, _)| kind == JsonKind::Object)
        };
        if bytes.is_empty() || (json_first && is_object()) {
            return Self::Json;
        }
        match MediaType::from_headers_lenient(headers) {
            Ok(MediaType::Form) => Self::Form,
            Ok(MediaType::Multipart { boundary, .. }) => {
                Self::Multipart(multipart::parts(bytes, &boundary, usize::MAX).ok())
            }
            Ok(_) => Self::Json,
            // The only media type that can be malformed.
            Err(_) => Self::Multipart(None),
        }
    }
}

fn pairs(raw: &[u8]) -> BTreeMap<String, Given<'static>> {
    gathered(
        form::pairs(raw).map(|pair| {
            (pair.name_lossy().into_owned(), Piece::Text(pair.value_lossy().into_owned()))
        }),
    )
}

fn piece(part: &Part<'_>) -> Piece {
    match part.file_name() {
        None => Piece::Text(String::from_utf8_lossy(part.content()).into_owned()),
        Some(name) => Piece::File(format!(
            r#"{{"filename":{},"content_type":{},"size":{}}}"#,
            quoted(name),
            quoted(part.content_type().unwrap_or("application/octet-stream")),
            part.content().len(),
        )),
    }
}

fn gathered(pieces: impl Iterator<Item = (String, Piece)>) -> BTreeMap<String, Given<'static>> {
    let mut by_name: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
    for (name, piece) in pieces {
        by_name.entry(name).or_default().push(piece);
    }
    by_name.into_iter().map(|(name, pieces)| (name, Given::Pieces(pieces))).collect()
}

/// A key in the body: at the top level of a JSON object, of any media type, of a form, or of a
/// multipart form and of the JSON part in it. The body has to be buffered.
///
/// [`Placement::body`] goes by the media type alone. Jac's senders leave curl's default in place, so this is
/// a placement of its own.
pub(crate) fn key_placement(name: &str) -> Placement {
    let name = name.to_owned();
    Placement::custom(move |head| {
        let Some(body) = head.extensions().get::<BufferedBody>() else { return Vec::new() };
        let bytes = body.bytes();
        // A JSON object with the key twice is a repeated key, and no JSON.
        if repeats(&bytes, &name) {
            return vec![unreadable(), unreadable()];
        }
        match BodyKind::of(head.headers(), &bytes, true) {
            BodyKind::Json => in_object(&bytes, &name),
            BodyKind::Form => in_form(&bytes, &name),
            BodyKind::Multipart(parts) => in_parts(&parts.unwrap_or_default(), &name),
        }
    })
}

/// A value that is present and is no key.
fn unreadable() -> Secret {
    Secret::new("\0")
}

fn in_object(text: &[u8], name: &str) -> Vec<Secret> {
    let Ok((_, members)) = members(text) else { return Vec::new() };
    match members.get(name) {
        None => Vec::new(),
        Some(value) if value.kind() == JsonKind::Null => Vec::new(),
        Some(value) => vec![value.to_text().map_or_else(unreadable, Secret::new)],
    }
}

fn in_form(raw: &[u8], name: &str) -> Vec<Secret> {
    let pairs = form::pairs(raw).filter(|pair| pair.name_lossy() == name);
    pairs.map(|pair| secret(&pair.value())).collect()
}

fn in_parts(parts: &[Part<'_>], name: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    for part in parts {
        if part.name() == name && part.file_name().is_none() {
            found.push(secret(part.content()));
        }
        if part.name() == JSON_PART {
            if repeats(part.content(), name) {
                return vec![unreadable(), unreadable()];
            }
            found.extend(in_object(part.content(), name));
        }
    }
    found
}

fn secret(bytes: &[u8]) -> Secret {
    std::str::from_utf8(bytes).map_or_else(|_| unreadable(), Secret::new)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    /// What is found in a body of a media type: the texts, `-` for what is no key.
    async fn found(media: Option<&str>, body: &[u8]) -> Vec<String> {
        use std::sync::{Arc, Mutex};

        use axum::body::Body;
        use tower::{Layer, ServiceExt, service_fn};
        use tower_webhook::body::BodyBufferLayer;
        use tower_webhook::credential::Credentials;

        let seen = Arc::new(Mutex::new(Vec::new()));
        let inner = seen.clone();
        let service = BodyBufferLayer::new().layer(service_fn(move |request: Request<_>| {
            let credentials = Credentials::new([key_placement("k")]).unwrap();
            *inner.lock().unwrap() = match credentials.find((&request).into()) {
                Ok(found) => found
                    .into_iter()
                    .map(|key| match key.expose_text() {
                        Some("\0") | None => "-".to_owned(),
                        Some(text) => text.to_owned(),
                    })
                    .collect(),
                Err(_) => vec!["several".to_owned()],
            };
            async { Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())) }
        }));
        let mut request = Request::post("/");
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let body = Body::from(Bytes::copy_from_slice(body));
        service.oneshot(request.body(body).unwrap()).await.unwrap();
        seen.lock().unwrap().clone()
    }

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    const MULTIPART: Option<&str> = Some("multipart/form-data; boundary=b");

    #[tokio::test]
    async fn a_json_object_is_read_under_any_media_type() {
        for media in [None, Some("text/plain"), Some("application/json"), FORM, MULTIPART] {
            assert_eq!(found(media, br#"{"k":"key"}"#).await, ["key"], "{media:?}");
            assert_eq!(found(media, br#"{"k":5}"#).await, ["-"], "{media:?}");
            assert_eq!(found(media, br#"{"k":"a","\u006b":""}"#).await, ["several"], "{media:?}");
            for body in [r#"{"k":null}"#, r#"{"k":""}"#, r#"{"a":{"k":"key"}}"#, "[1]", "", "{"] {
                assert!(found(media, body.as_bytes()).await.is_empty(), "{media:?} {body}");
            }
        }
    }

    #[tokio::test]
    async fn a_form_has_one_key() {
        assert_eq!(found(FORM, b"k=&k=a%2Bb&K=x").await, ["a+b"]);
        assert_eq!(found(FORM, b"k=a&%6b=a").await, ["several"]);
        assert_eq!(found(FORM, b"k=%ff").await, ["-"]);
    }

    #[tokio::test]
    async fn multipart_has_one_key_over_its_parts_and_the_json_part() {
        let part = |head: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let text = part("name=\"k\"", "key");
        let empty = part("name=\"k\"", "");
        let file = part("name=\"k\"; filename=\"f\"", "key");
        let json = part("name=\"body\"", r#"{"k":"inner"}"#);
        let json_file = part("name=\"body\"; filename=\"f\"", r#"{"k":"inner"}"#);
        let twice = part("name=\"body\"", r#"{"k":"","k":""}"#);
        let cases = [
            (vec![&text], vec!["key"]),
            (vec![&text, &empty], vec!["key"]),
            (vec![&file], vec![]),
            (vec![&json], vec!["inner"]),
            (vec![&json_file, &file], vec!["inner"]),
            (vec![&json, &text], vec!["several"]),
            (vec![&text, &text], vec!["several"]),
            (vec![&twice], vec!["several"]),
        ];
        for (parts, expected) in cases {
            let body: String = parts.into_iter().map(String::as_str).collect();
            assert_eq!(found(MULTIPART, format!("{body}--b--\r\n").as_bytes()).await, expected);
        }
    }
}
