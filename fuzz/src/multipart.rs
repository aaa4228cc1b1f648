//! Forms with files against `multer`, the parser that axum uses.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tower_webhook::content::{
    ContentLimits, FieldValue, MediaType, find_field, multipart, remove_field,
};

const BOUNDARIES: [&str; 3] = ["b", "--b", "a b"];
const MOST_PARTS: usize = 100;

/// What is accepted is what `multer` accepts, with the same names and contents, and no name can be read in two ways.
/// Removal takes out the parts of one name and nothing else.
pub fn check(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let Some(boundary) = BOUNDARIES.get(usize::from(choice % 3)) else { return };
    let Ok(ours) = multipart::parts(body, boundary, MOST_PARTS) else { return };

    let theirs = parts(body, boundary).expect("multer refuses what was accepted");
    assert_eq!(ours.len(), theirs.len());
    for (own, their) in ours.iter().zip(&theirs) {
        assert_eq!(Some(own.name()), their.name.as_deref(), "the names differ");
        assert_eq!(own.content(), &*their.content);
        check_disposition(&their.headers);
    }
    for name in super::names_to_try(ours.iter().map(multipart::Part::name)) {
        check_field(body, boundary, &name, &theirs);
    }
}

fn check_field(body: &[u8], boundary: &str, name: &str, before: &[Part]) {
    let limits = ContentLimits::new().with_parts(MOST_PARTS);
    let mut headers = HeaderMap::new();
    let line = format!("multipart/form-data; boundary=\"{boundary}\"");
    headers.insert(CONTENT_TYPE, HeaderValue::try_from(line).expect("a header value"));
    let media = MediaType::from_headers(&headers).expect("a media type");

    let found = find_field(&media, body, name, &limits).expect("the body was accepted");
    let named = before.iter().filter(|part| part.name.as_deref() == Some(name));
    assert_eq!(found.len(), named.clone().count());
    for (value, part) in found.iter().zip(named) {
        if let FieldValue::Text(text) = value {
            assert_eq!(text.as_bytes(), &*part.content);
        }
    }

    let body = Bytes::copy_from_slice(body);
    let rest = remove_field(&media, &body, name, &limits).expect("the body was accepted");
    let kept: Vec<_> =
        before.iter().filter(|part| part.name.as_deref() != Some(name)).cloned().collect();
    assert_eq!(parts(&rest, boundary).expect("the rest is read"), kept);
    assert_eq!(
        multipart::parts(&rest, boundary, MOST_PARTS).expect("the rest is read").len(),
        kept.len()
    );
    if found.is_empty() {
        assert_eq!(rest, body);
    }
    let start = position(&body, &format!("--{boundary}"));
    assert_eq!(rest.get(..start), body.get(..start), "the preamble changed");
    let end = body.len() - position_from_end(&body, &format!("--{boundary}--"));
    assert!(rest.ends_with(&body[body.len() - end..]), "the end changed");
}

/// RFC 9110 section 5.6.6: a value without quotes is a token. RFC 7578 section 4.2: there is no `name*`.
fn check_disposition(headers: &HeaderMap) {
    let line = headers.get("content-disposition").expect("every part has one");
    let line = without_quoted(&String::from_utf8_lossy(line.as_bytes()));
    for parameter in line.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        assert!(!name.trim().eq_ignore_ascii_case("name*"), "`name*` was accepted");
        let is_quoted = value.trim() == "\"";
        assert!(is_quoted || value.trim().bytes().all(is_token), "no token: {value:?}");
    }
}

/// A text with one quote in the place of each quoted string.
fn without_quoted(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        kept.push(character);
        if character == '"' {
            while let Some(quoted) = characters.next() {
                match quoted {
                    '"' => break,
                    '\\' => drop(characters.next()),
                    _ => {}
                }
            }
        }
    }
    kept
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn position(body: &[u8], needle: &str) -> usize {
    body.windows(needle.len()).position(|window| window == needle.as_bytes()).expect("it is there")
}

fn position_from_end(body: &[u8], needle: &str) -> usize {
    body.windows(needle.len()).rposition(|window| window == needle.as_bytes()).expect("it is there")
}

/// A part as `multer` reads it.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    name: Option<String>,
    headers: HeaderMap,
    content: Bytes,
}

fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, multer::Error> {
    let whole = Bytes::copy_from_slice(body);
    let input = stream::once(async move { Ok::<_, Infallible>(whole) });
    let mut parser = multer::Multipart::new(input, boundary);
    let reading = async move {
        let mut parts = Vec::new();
        while let Some(field) = parser.next_field().await? {
            let (name, headers) = (field.name().map(String::from), field.headers().clone());
            parts.push(Part { name, headers, content: field.bytes().await? });
        }
        Ok(parts)
    };
    reading.now_or_never().expect("the whole input is there")
}
