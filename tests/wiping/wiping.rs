//! No copy of a presented credential is left behind in memory, neither whole nor in pieces.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use freed::copies;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::content::{self, ContentLimits, MediaType};
use tower_webhook::credential::{Credentials, Placement, Secret};

#[global_allocator]
static ALLOCATOR: freed::Searching = freed::Searching;

/// Where to look in which request, and what is found.
type Case = (Placement, Request<Full<Bytes>>, Option<&'static str>);

/// As long as a key of the crate.
const SECRET: &str = "whk_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijKLMNOPQRST";

/// Buffers a body, and then looks for a credential as the auth layer does. Returns how many copies the search
/// leaves behind, and what it found.
fn left_behind(placement: Placement, request: Request<Full<Bytes>>) -> (usize, Option<String>) {
    let inner = service_fn(|request: Request<_>| {
        let mut response = Response::new(Full::new(Bytes::new()));
        response.extensions_mut().insert(request.into_parts().0);
        ready(Ok::<_, Infallible>(response))
    });
    let mut runs = pin!(BodyBufferLayer::new().layer(inner).oneshot(request));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(mut response)) = runs.as_mut().poll(&mut context) else {
        panic!("the body is there");
    };
    let parts = response.extensions_mut().remove().expect("a head");
    let request = Request::from_parts(parts, ());

    let credentials = Credentials::new([placement]).unwrap();
    let count = copies(SECRET.as_bytes(), || drop(credentials.find((&request).into())));
    let candidate = credentials.find((&request).into()).ok().flatten();
    let found = candidate.and_then(|candidate| candidate.expose_text().map(str::to_owned));
    (count, found)
}

fn request(uri: &str, headers: &[(http::HeaderName, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// With one character written as `%XX`.
fn encoded(at: usize) -> String {
    format!("{}%{:02X}{}", &SECRET[..at], SECRET.as_bytes()[at], &SECRET[at + 1..])
}

/// With one character written as `\u00XX`.
fn escaped(at: usize) -> String {
    format!("{}\\u{:04x}{}", &SECRET[..at], SECRET.as_bytes()[at], &SECRET[at + 1..])
}

#[test]
fn the_search_sees_what_is_not_wiped() {
    let copy = || SECRET.to_owned();
    assert_eq!(copies(SECRET.as_bytes(), || drop(copy())), 1);
    assert_eq!(copies(SECRET.as_bytes(), || drop(SECRET[20..40].to_owned())), 1);
    assert_eq!(copies(SECRET.as_bytes(), || drop(Secret::new(copy().into_boxed_str()))), 0);
}

#[test]
fn what_is_decoded_of_a_head_is_wiped() {
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let name = format!("{SECRET}:");
    let both = format!("ann:{SECRET}");
    let named = format!("{SECRET}:x");
    let uri = |secret: &str| format!("/?a=1&k={secret}");
    let query = || Placement::query("k").unwrap();
    let path = || Placement::path("/{key}").unwrap();
    let cases: Vec<Case> = vec![
        (
            Placement::bearer(),
            request("/", &[(AUTHORIZATION, &format!("Bearer {SECRET}"))], ""),
            Some(SECRET),
        ),
        (
            Placement::cookie("k").unwrap(),
            request("/", &[(COOKIE, &format!("k={SECRET}"))], ""),
            Some(SECRET),
        ),
        (Placement::basic(), request("/", &[(AUTHORIZATION, &basic(&both))], ""), Some(SECRET)),
        (Placement::basic(), request("/", &[(AUTHORIZATION, &basic(&name))], ""), Some(SECRET)),
        (Placement::basic(), request("/", &[(AUTHORIZATION, &basic(&named))], ""), Some("x")),
        (Placement::basic(), request("/", &[(AUTHORIZATION, &basic(SECRET))], ""), None),
        (
            Placement::basic(),
            request("/", &[(AUTHORIZATION, &format!("{}!", basic(&both)))], ""),
            None,
        ),
        (query(), request(&uri(SECRET), &[], ""), Some(SECRET)),
        (query(), request(&uri(&encoded(0)), &[], ""), Some(SECRET)),
        (query(), request(&uri(&encoded(40)), &[], ""), Some(SECRET)),
        (query(), request(&uri(&format!("{SECRET}+x")), &[], ""), Some(concat_x())),
        (query(), request(&format!("{}&k={}", uri(&encoded(40)), encoded(1)), &[], ""), None),
        (path(), request(&format!("/{}", encoded(0)), &[], ""), Some(SECRET)),
        (path(), request(&format!("/{}", encoded(40)), &[], ""), Some(SECRET)),
        (
            query().with_secret_token_uri(),
            request(&uri(&format!("secret-token%3A{SECRET}")), &[], ""),
            Some(SECRET),
        ),
        (Placement::custom(|_| vec![Secret::new(SECRET)]), request("/", &[], ""), Some(SECRET)),
    ];
    for (index, (placement, request, expected)) in cases.into_iter().enumerate() {
        let (count, found) = left_behind(placement, request);
        assert_eq!((count, found.as_deref()), (0, expected), "case {index}");
    }
}

fn concat_x() -> &'static str {
    "whk_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijKLMNOPQRST x"
}

#[test]
fn what_is_decoded_of_a_body_is_wiped() {
    const FORM: &str = "application/x-www-form-urlencoded";
    const PARTS: &str = "multipart/form-data; boundary=b";
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n")
    };
    let found = Some(SECRET);
    for (label, body, expected) in [
        ("application/json", format!(r#"{{"k":"{SECRET}"}}"#), found),
        ("application/json", format!(r#"{{"k":"{}"}}"#, escaped(0)), found),
        ("application/json", format!(r#"{{"k":"{}","a":1}}"#, escaped(40)), found),
        ("application/json", format!(r#"{{"k":"{}","a":1"#, escaped(40)), None),
        ("application/json", format!(r#"{{"k":"{0}","k":"{0}"}}"#, escaped(40)), None),
        (FORM, format!("a=1&k={SECRET}"), found),
        (FORM, format!("k={}", encoded(40)), found),
        (FORM, format!("k={}%FF", encoded(40)), None),
        (FORM, format!("k={0}&k={0}", encoded(40)), None),
        (PARTS, part("a", "1") + &part("k", SECRET) + "--b--", found),
        (PARTS, part("k", SECRET) + &part("k", SECRET) + "--b--", None),
        (PARTS, part("k", SECRET) + "--b", None),
        (PARTS, part("k", SECRET) + "--b\r\nX: y\r\n\r\n\r\n--b--", None),
    ] {
        let placement = Placement::body("k").unwrap();
        let request = request("/", &[(CONTENT_TYPE, label)], &body);
        let (count, found) = left_behind(placement, request);
        assert_eq!((count, found.as_deref()), (0, expected), "{label} {body}");
    }
}

#[test]
fn removal_from_a_body_copies_no_secret() {
    let limits = ContentLimits::new();
    for (label, body) in [
        ("application/json", format!(r#"{{"a":1,"k":"{SECRET}","b":2}}"#)),
        ("application/x-www-form-urlencoded", format!("a=1&k={SECRET}&b=2")),
        (
            "multipart/form-data; boundary=b",
            format!("--b\r\nContent-Disposition: form-data; name=k\r\n\r\n{SECRET}\r\n--b--"),
        ),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, label.parse().unwrap());
        let media = MediaType::from_headers(&headers).unwrap();
        let body = Bytes::from(body);
        let count = copies(SECRET.as_bytes(), || {
            drop(content::remove_field(&media, &body, "k", &limits).unwrap());
        });
        assert_eq!(count, 0, "{label}");
    }
}
