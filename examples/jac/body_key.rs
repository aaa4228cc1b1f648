//! A key in the body: at the top level of a JSON object, whatever its media type, of a form, or of a
//! multipart form and of the JSON part in it.
//!
//! [`Placement::body`] goes by the media type alone. Jac's senders leave curl's default in place, so this is
//! a placement of its own.

use tower_webhook::body::BufferedBody;
use tower_webhook::content::form;
use tower_webhook::content::json::JsonKind;
use tower_webhook::content::multipart::Part;
use tower_webhook::credential::{Placement, Secret};

use crate::json::{members, repeats};
use crate::reading::{BodyKind, JSON_PART};

/// The member or field of this name. The body has to be buffered.
pub(crate) fn placement(name: &str) -> Placement {
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

/// Stands for something that is there and is no key.
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
        use tower_webhook::body::BufferLayer;
        use tower_webhook::credential::Credentials;

        let seen = Arc::new(Mutex::new(Vec::new()));
        let inner = seen.clone();
        let service = BufferLayer::new().layer(service_fn(move |request: Request<_>| {
            let credentials = Credentials::new([placement("k")]).unwrap();
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
    async fn a_json_object_is_read_whatever_its_media_type() {
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
