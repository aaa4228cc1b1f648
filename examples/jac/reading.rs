//! What a request says under which name: the query, and a body that is JSON, a form or multipart.

use std::collections::BTreeMap;

use http::HeaderMap;
use tower_webhook::content::json::JsonKind;
use tower_webhook::content::multipart::{self, Part};
use tower_webhook::content::{MediaType, form};

use crate::json::{Json, Members, members, quoted};
use crate::validation::{Body, Fault};

/// The part of a multipart form that may hold the other fields as JSON.
pub(crate) const JSON_PART: &str = "body";

/// What stands under one name.
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
    /// Nothing stands where a JSON object could: zero bytes, or null.
    pub(crate) empty: bool,
}

impl<'a> Values<'a> {
    /// The pairs of a query.
    pub(crate) fn of_query(query: &str) -> Self {
        Self { own: pairs(query.as_bytes()), ..Self::default() }
    }

    /// The fields of a body. Whatever is neither a form nor multipart counts as JSON. A body in which a key
    /// is looked for under the name `key` is read in the same way as for the key: a JSON object is one
    /// whatever its media type. What stands under that name is left out, be it a part that is no JSON.
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
