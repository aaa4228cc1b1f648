//! What a request says: its body as JSON, and the payload of a trigger.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use servers::{headers_json, joined};
use tower_webhook::content::json::JsonKind;
use tower_webhook::content::multipart::{self, Part};
use tower_webhook::content::{MediaType, form};
use uuid::Uuid;

use crate::json::{Object, Value, array, quoted};

/// A header in which a sender names its request, to trace the event.
const TRACE_TAG: HeaderName = HeaderName::from_static("st2-trace-tag");

/// The bodies that an address reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accepts {
    /// JSON, forms and texts.
    Anything,
    /// JSON alone: a form that was sent by mistake is no empty object.
    JsonOnly,
}

/// The body of a request as a JSON text.
///
/// A form becomes an object of arrays, without the values that are empty.
///
/// # Errors
///
/// Says why the body cannot be read, and nothing of what is in it.
pub(crate) fn read_body(
    headers: &HeaderMap,
    body: &Bytes,
    accepts: Accepts,
) -> Result<String, String> {
    let content_type = joined(headers, &CONTENT_TYPE);
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let kind = essence.to_ascii_lowercase();
    let read = match (kind.as_str(), accepts) {
        ("" | "application/json", _) => json(body),
        (kind, _) if kind.contains('/') && kind.ends_with("+json") => json(body),
        ("application/x-www-form-urlencoded", Accepts::Anything) => Some(urlencoded(body)),
        ("multipart/form-data", Accepts::Anything) => multipart(headers, body),
        ("text/plain", Accepts::Anything) => Some(quoted(&String::from_utf8_lossy(body))),
        _ => {
            return Err(format!(
                "Failed to parse request body: Unsupported Content-Type: \"{essence}\""
            ));
        }
    };
    read.ok_or_else(|| "Failed to parse request body: it does not follow its media type".to_owned())
}

/// Refuses a body that is neither an object nor an array.
///
/// # Errors
///
/// Says so.
pub(crate) fn check_shape(value: Value<'_>) -> Result<(), String> {
    match value.kind() {
        JsonKind::Object | JsonKind::Array => Ok(()),
        _ => Err("The request body is not of type 'object', 'array'".to_owned()),
    }
}

/// The tag of a request: that of its sender, or one that cannot be guessed.
pub(crate) fn trace_tag(headers: &HeaderMap, hook: &str) -> String {
    match joined(headers, &TRACE_TAG) {
        tag if tag.is_empty() => format!("webhook-{hook}-{}", Uuid::new_v4().simple()),
        tag => tag.into_owned(),
    }
}

/// The payload of a hook's trigger, for a body that is a JSON text. Credentials of this server are gone when a
/// request comes here, and those of others are not written.
pub(crate) fn payload(headers: &HeaderMap, body: &str) -> serde_json::Result<String> {
    const LEFT_OUT: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, TRACE_TAG];
    let title = headers_json(headers, &LEFT_OUT, title_case)?;
    let lower = headers_json(headers, &LEFT_OUT, HeaderName::to_string)?;
    let payload = Object::new().raw("headers", &title).raw("headers_lower", &lower);
    Ok(payload.raw("body", body).finish())
}

/// `X-Github-Event`
fn title_case(name: &HeaderName) -> String {
    let mut starts_word = true;
    let title = name.as_str().chars().map(|letter| {
        let upper = std::mem::replace(&mut starts_word, letter == '-');
        if upper { letter.to_ascii_uppercase() } else { letter }
    });
    title.collect()
}

/// An empty body counts as an empty object.
fn json(body: &[u8]) -> Option<String> {
    match body {
        [] => Some("{}".to_owned()),
        body => Value::read(body).ok().map(|value| value.text().to_owned()),
    }
}

fn urlencoded(body: &[u8]) -> String {
    let pairs = form::pairs(body).map(|pair| {
        let value = pair.value_lossy();
        (pair.name_lossy().into_owned(), (!value.is_empty()).then(|| quoted(&value)))
    });
    object_of_arrays(pairs)
}

fn multipart(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let MediaType::Multipart { boundary, .. } = MediaType::from_headers_lenient(headers).ok()?
    else {
        return None;
    };
    let parts = multipart::parts(body, &boundary, usize::MAX).ok()?;
    Some(object_of_arrays(parts.iter().map(|part| (part.name().to_owned(), part_value(part)))))
}

/// The JSON text of a part, if it is not an empty text.
fn part_value(part: &Part<'_>) -> Option<String> {
    match part.file_name() {
        Some(file_name) => {
            let file = Object::new()
                .text("filename", file_name)
                .text("content_type", part.content_type().unwrap_or("application/octet-stream"))
                .raw("size", &part.content().len().to_string());
            Some(file.finish())
        }
        None if part.content().is_empty() => None,
        None => Some(quoted(&String::from_utf8_lossy(part.content()))),
    }
}

/// Names in the order of their first value. A name without a value is left out.
fn object_of_arrays(fields: impl Iterator<Item = (String, Option<String>)>) -> String {
    let mut positions = std::collections::HashMap::new();
    let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        let position = *positions.entry(name.clone()).or_insert(grouped.len());
        match grouped.get_mut(position) {
            Some((_, values)) => values.push(value),
            None => grouped.push((name, vec![value])),
        }
    }
    let write =
        |object: Object, (name, values): (String, Vec<String>)| object.raw(&name, &array(values));
    grouped.into_iter().fold(Object::new(), write).finish()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn read(content_type: Option<&str>, body: &'static [u8]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(content_type.as_bytes()).unwrap());
        }
        read_body(&headers, &Bytes::from_static(body), Accepts::Anything)
    }

    #[test]
    fn json_is_read_by_its_type_or_without_one() {
        for content_type in [
            None,
            Some(""),
            Some(" "),
            Some("application/json"),
            Some("Application/JSON; charset=latin1"),
            Some("application/vnd.x+JSON"),
            Some("application/json; a=b,c"),
            Some("application/json; a=\u{e9}"),
        ] {
            assert_eq!(read(content_type, b" {\"a\": 1.10} ").unwrap(), r#"{"a": 1.10}"#);
            assert_eq!(read(content_type, b"").unwrap(), "{}");
            assert!(read(content_type, b" ").unwrap_err().starts_with("Failed to parse"));
            assert!(read(content_type, b"a=1").is_err());
        }
    }

    #[test]
    fn a_form_is_an_object_of_arrays_without_empty_values() {
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        for (body, expected) in [
            (&b"a=1&b=2&a=3"[..], r#"{"a":["1","3"],"b":["2"]}"#),
            (b"a=&b&c=x&c=", r#"{"c":["x"]}"#),
            (b"", "{}"),
            (b"&&a=+%20%FF", "{\"a\":[\"  \u{fffd}\"]}"),
            (b"=v", r#"{"":["v"]}"#),
        ] {
            assert_eq!(read(form, body).unwrap(), expected);
        }
    }

    #[test]
    fn a_file_is_an_object() {
        let multipart = Some("multipart/form-data; boundary=b");
        let body = b"--b\r\nContent-Disposition: form-data; name=t\r\n\r\nx\xff\r\n\
            --b\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n\
            --b\r\nContent-Disposition: form-data; name=t; filename=f.bin\r\n\r\nabc\r\n\
            --b\r\nContent-Disposition: form-data; name=u; filename=g\r\nContent-Type: text/x\r\n\r\n\r\n\
            --b--\r\n";
        let expected = concat!(
            "{\"t\":[\"x\u{fffd}\",",
            r#"{"filename":"f.bin","content_type":"application/octet-stream","size":3}],"#,
            r#""u":[{"filename":"g","content_type":"text/x","size":0}]}"#,
        );
        assert_eq!(read(multipart, body).unwrap(), expected);
        for (content_type, body) in [
            ("multipart/form-data", &body[..]),
            ("multipart/form-data; boundary=b", b"--b\r\n"),
            ("multipart/form-data; boundary=b", b""),
            ("multipart/form-data; boundary=b", b"{}"),
        ] {
            let refused = read(Some(content_type), body).unwrap_err();
            assert!(refused.starts_with("Failed to parse request body: "), "{content_type}");
        }
    }

    #[test]
    fn another_type_is_named_as_it_was_sent() {
        for (content_type, named) in [
            ("Text/XML; charset=utf-8", "Text/XML"),
            ("application/jsonx", "application/jsonx"),
            ("json", "json"),
            ("+json", "+json"),
            ("text/html", "text/html"),
        ] {
            let refused = read(Some(content_type), b"{}").unwrap_err();
            let expected =
                format!("Failed to parse request body: Unsupported Content-Type: \"{named}\"");
            assert_eq!(refused, expected);
        }
        assert_eq!(read(Some("text/plain"), b"a\xff").unwrap(), "\"a\u{fffd}\"");
    }

    #[test]
    fn where_json_is_asked_for_nothing_else_is_read() {
        for content_type in
            ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"]
        {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            let refused = read_body(&headers, &Bytes::new(), Accepts::JsonOnly).unwrap_err();
            assert!(refused.contains("Unsupported Content-Type"), "{content_type}");
        }
    }

    #[test]
    fn headers_are_written_in_two_cases_and_without_credentials() {
        let (head, ()) = Request::post("/v1/webhooks/a?q=1")
            .header("x-github-TOKEN", "t")
            .header("a", "1")
            .header("A", "2")
            .header("content-length", "2")
            .header("authorization", "x")
            .header("proxy-authorization", "x")
            .header("cookie", "x")
            .header("st2-trace-tag", "x")
            .header("b", HeaderValue::from_bytes(b"\xe9").unwrap())
            .body(())
            .unwrap()
            .into_parts();

        let payload = payload(&head.headers, r#"{"n": 1e400}"#).unwrap();

        assert_eq!(
            payload,
            concat!(
                r#"{"headers":{"A":"1, 2","B":"é","Content-Length":"2","X-Github-Token":"t"},"#,
                r#""headers_lower":{"a":"1, 2","b":"é","content-length":"2","x-github-token":"t"},"#,
                r#""body":{"n": 1e400}}"#,
            )
        );
    }

    #[test]
    fn a_tag_is_made_if_none_was_sent() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            let made = trace_tag(&headers, "my/hook");
            let random = made.strip_prefix("webhook-my/hook-").unwrap();
            assert!(random.len() == 32 && random.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            headers.insert(TRACE_TAG, HeaderValue::from_static(""));
        }
        assert_ne!(trace_tag(&headers, "a"), trace_tag(&headers, "a"));
        headers.insert(TRACE_TAG, "mine".parse().unwrap());
        assert_eq!(trace_tag(&headers, "a"), "mine");
    }
}
