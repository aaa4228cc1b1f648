//! Media types and bodies, read through the public interface.

use tower_webhook::content::ContentLimits;
use tower_webhook::content::json::JsonLimits;
#[cfg(feature = "multipart")]
use tower_webhook::content::{ContentErrorKind, remove_field};
use tower_webhook::content::{MediaType, find_field};

#[test]
fn only_a_broken_grammar_is_a_syntax_error() {
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_depth(3).with_nodes(5));
    for (body, is_syntax) in [
        (&b"{"[..], true),
        (br#"{"k":"x",}"#, true),
        (br#"{"k":"x"}{}"#, false),
        (br#"{"a":"\q"}"#, true),
        (b"k=x", true),
        (br#"{"k":"x","k":"y"}"#, false),
        (br#"{"a":{"b":1,"b":1},"k":"x"}"#, false),
        (br#"{"a":[[[]]],"k":"x"}"#, false),
        (br#"{"a":[1,2,3,4,5],"k":"x"}"#, false),
        (b"{\"a\":\"\xff\",\"k\":\"x\"}", false),
        (br#"{"a":"\ud800","k":"x"}"#, false),
        (br#"{"a":"\udc00\ud800","k":"x"}"#, false),
        (b"\xef\xbb\xbf\xef\xbb\xbf{\"k\":\"x\"}", false),
        (b" ", true),
    ] {
        let error = find_field(&MediaType::Json, body, "k", &limits).unwrap_err();
        let json = error.json().expect("a fault of the JSON text");
        assert_eq!(json.is_syntax(), is_syntax, "{} {json:?}", String::from_utf8_lossy(body));
    }
}

/// The same name for axum's reader and for this one, or no name at all.
#[cfg(feature = "multipart")]
#[test]
fn a_part_with_two_possible_names_is_malformed() {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
    let media = MediaType::from_headers(&headers).unwrap();
    for disposition in [
        "form-data; name=api_key x",
        "form-data; name=api_key\tx",
        "form-data; name=api_key,x",
        "form-data; name=api_key/x",
        "form-data; name=\u{a0}api_key",
        "form-data; filename=\"; name=api_key\"; name=a",
        "form-data; x=\" name=api_key\"; name=a",
        "form-data; x=\"\\\\\" name=api_key\"; name=a",
        "form-data; name*=utf-8''api_key; name=a",
        "form-data; name=a; NAME*=utf-8''api_key",
        "form-data; NAME=api_key",
        "form-data; name=\"api_key\\\\\"",
    ] {
        let body = format!("--b\r\nContent-Disposition: {disposition}\r\n\r\nK\r\n--b--\r\n");
        let body = bytes::Bytes::from(body);
        let limits = ContentLimits::new();
        let found = find_field(&media, &body, "api_key", &limits).map_err(|error| error.kind());
        assert_eq!(found, Err(ContentErrorKind::Malformed), "{disposition}");
        let removed = remove_field(&media, &body, "api_key", &limits).map_err(|error| error.kind());
        assert_eq!(removed, Err(ContentErrorKind::Malformed), "{disposition}");
    }
}

#[test]
fn an_unquoted_boundary_or_charset_is_a_token() {
    for (line, is_read) in [
        ("multipart/form-data; boundary=----WebKitFormBoundaryx7", true),
        ("multipart/form-data; boundary=\"=_a b/c:d\"", true),
        ("multipart/form-data; boundary=a b", false),
        ("multipart/form-data; boundary=a\tb", false),
        ("multipart/form-data; boundary=a/b", false),
        ("multipart/form-data; boundary=b; x=a b", false),
        ("application/x-www-form-urlencoded; charset=utf-8", true),
        ("application/x-www-form-urlencoded; charset=utf-8 x", false),
        ("application/x-www-form-urlencoded; x=a b", false),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", line.parse().unwrap());
        assert_eq!(MediaType::from_headers(&headers).is_ok(), is_read, "{line}");
    }
}
