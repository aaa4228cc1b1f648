//! Credentials in every spelling are found, counted and removed by the same rules.

use http::{HeaderValue, Request};
use tower_webhook::credential::{Credentials, ExtractErrorKind, Placement};

const KEY: &str = "opensesame";

#[test]
fn blanks_around_the_name_of_a_cookie_do_not_matter() {
    let credentials = [Placement::cookie("session").unwrap(), Placement::header("x-key").unwrap()];
    let credentials = Credentials::new(credentials).unwrap();
    let names: [&[u8]; 12] = [
        b"session",
        b" session",
        b"session ",
        b"session\t",
        b"\tsession \t ",
        b"\xc2\xa0session",
        b"session\xc2\xa0",
        b"\xe3\x80\x80 session\xe2\x80\x83",
        b"\xef\xbb\xbfsession",
        b"session\xa0",
        b"\xa0\x85session\t",
        b"\xc2\x85session",
    ];
    for name in names {
        let cookie = [b"a=1;", name, b"=", KEY.as_bytes(), b"; b=2"].concat();
        let cookie = HeaderValue::from_bytes(&cookie).unwrap();
        let mut request = Request::get("/").header("cookie", &cookie).body(()).unwrap();

        let found = credentials.find((&request).into()).unwrap();
        assert_eq!(found.expect("a cookie").expose_text(), Some(KEY), "{cookie:?}");

        for (header, value) in [("x-key", "k"), ("cookie", "session=k")] {
            let mut twice = request.clone();
            twice.headers_mut().append(header, HeaderValue::from_static(value));
            let error = credentials.find((&twice).into()).unwrap_err();
            assert_eq!(error.kind(), ExtractErrorKind::Ambiguous, "{cookie:?}");
        }

        credentials.scrub(&mut request).unwrap();
        assert_eq!(request.headers()["cookie"], "a=1; b=2", "{cookie:?}");
    }
}

#[test]
fn another_name_is_another_cookie() {
    let credentials = Credentials::new([Placement::cookie("session").unwrap()]).unwrap();
    let names: [&[u8]; 8] = [
        b"sessions",
        b"my session",
        b"session 2",
        b"Session",
        b"\"session\"",
        b"\xe9session",
        b"\xc3\xa0session",
        b"session\xc2",
    ];
    for name in names {
        let cookie = HeaderValue::from_bytes(&[name, b"=", KEY.as_bytes()].concat()).unwrap();
        let mut request = Request::get("/").header("cookie", &cookie).body(()).unwrap();
        assert!(credentials.find((&request).into()).unwrap().is_none(), "{cookie:?}");
        credentials.scrub(&mut request).unwrap();
        assert_eq!(request.headers()["cookie"], cookie);
    }
}
