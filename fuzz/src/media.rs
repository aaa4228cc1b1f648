//! Media types against `mime` and `multer`.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use mime::Mime;
use tower_webhook::content::{ContentErrorKind, MediaType};

/// A body is read as what the other libraries read it as, or refused.
pub fn check(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(line) = HeaderValue::from_bytes(line) else { return };
        headers.append(CONTENT_TYPE, line);
    }
    let ours = MediaType::from_headers(&headers).map_err(|error| error.kind());
    check_lenient(&headers, &ours);
    if headers.len() > 1 {
        assert_eq!(ours, Err(ContentErrorKind::RepeatedContentType));
        return;
    }
    let Some(Ok(line)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        assert_eq!(ours, Err(ContentErrorKind::UnsupportedMediaType));
        return;
    };
    check_essence(line, &ours);
    check_boundary(line, &ours);
    check_extractors(line, &ours);
}

/// What is read strictly is read leniently in the same way.
fn check_lenient(headers: &HeaderMap, ours: &Result<MediaType, ContentErrorKind>) {
    let lenient = MediaType::from_headers_lenient(headers).map_err(|error| error.kind());
    match ours {
        Ok(_) => assert_eq!(lenient, *ours),
        Err(_) => assert!(matches!(
            lenient,
            Ok(MediaType::Other | MediaType::Form | MediaType::Json)
                | Err(ContentErrorKind::Malformed)
        )),
    }
}

fn check_essence(line: &str, ours: &Result<MediaType, ContentErrorKind>) {
    let essence = line.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
    let whole = line.parse::<Mime>().ok();
    let Some(mime) = whole.clone().or_else(|| essence.parse().ok()) else {
        assert!(ours.is_err(), "what mime cannot read was read as {ours:?}");
        return;
    };
    let Ok(media) = ours else { return };
    let is_json = mime.essence_str() == "application/json" || mime.suffix() == Some(mime::JSON);
    assert_eq!(*media == MediaType::Json, is_json);
    let is_form = mime.essence_str() == "application/x-www-form-urlencoded";
    assert_eq!(*media == MediaType::Form, is_form);
    let is_multipart = mime.essence_str() == "multipart/form-data";
    assert_eq!(matches!(media, MediaType::Multipart { .. }), is_multipart);
    let charset = whole.as_ref().and_then(|mime| mime.get_param(mime::CHARSET));
    if let (true, Some(charset)) = (is_form || is_json, charset) {
        let is_read = |name: &&str| charset.as_str().eq_ignore_ascii_case(name);
        assert!(["utf-8", "utf8", "us-ascii"].iter().any(is_read));
    }
}

fn check_boundary(line: &str, ours: &Result<MediaType, ContentErrorKind>) {
    let Ok(theirs) = multer::parse_boundary(line) else { return };
    match ours {
        Ok(MediaType::Multipart { boundary, .. }) => assert_eq!(**boundary, *theirs),
        Ok(media) => panic!("multer reads {media:?} as multipart"),
        Err(_) => {}
    }
}

/// axum's `Json` does not look at a suffix after `json`, and its `Form` compares the beginning of the line.
fn check_extractors(line: &str, ours: &Result<MediaType, ContentErrorKind>) {
    let Ok(media) = ours else { return };
    let mime = line.parse::<Mime>().ok();
    if mime.is_some_and(|mime| mime.type_() == "application" && mime.subtype() == "json") {
        assert_eq!(*media, MediaType::Json, "axum reads it as JSON");
    }
    if line.starts_with("application/x-www-form-urlencoded") {
        assert_eq!(*media, MediaType::Form, "axum reads it as a form");
    }
}
