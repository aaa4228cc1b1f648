use std::fmt::Write as _;

use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::body::{BufferedBody, Collected};

fn find(
    credentials: &Credentials,
    request: &Request<()>,
) -> Result<Option<Vec<u8>>, ExtractErrorKind> {
    match credentials.find(request.into()) {
        Ok(candidate) => Ok(candidate.map(|candidate| match candidate.expose_bytes() {
            Some(bytes) => bytes.to_vec(),
            None => b"<unreadable>".to_vec(),
        })),
        Err(error) => Err(error.kind()),
    }
}

fn one(placement: Placement) -> Credentials {
    Credentials::new([placement]).unwrap()
}

fn with_headers(name: &str, values: &[&[u8]]) -> Request<()> {
    let mut request = Request::get("/").body(()).unwrap();
    let name: HeaderName = name.parse().unwrap();
    for value in values {
        request.headers_mut().append(&name, HeaderValue::from_bytes(value).unwrap());
    }
    request
}

#[test]
fn a_list_of_placements_is_checked() {
    assert!(Credentials::new([]).is_err());
    assert!(Credentials::new([Placement::bearer(), Placement::bearer()]).is_err());
    assert!(Credentials::new([Placement::bearer(), Placement::basic()]).is_ok());
}

#[test]
fn header_values() {
    let credentials = one(Placement::header("X-Api-Key").unwrap());
    type Case<'a> = (&'a [&'a [u8]], Result<Option<&'a [u8]>, ExtractErrorKind>);
    let cases: [Case<'_>; 9] = [
        (&[b"k"], Ok(Some(b"k"))),
        (&[b" \tk \t "], Ok(Some(b"k"))),
        (&[b"k k"], Ok(Some(b"k k"))),
        (&[b"k\xff"], Ok(Some(b"k\xff"))),
        (&[], Ok(None)),
        (&[b""], Ok(None)),
        (&[b" ", b"k"], Ok(Some(b"k"))),
        (&[b"k", b"k"], Err(ExtractErrorKind::Ambiguous)),
        (&[b"j", b"k"], Err(ExtractErrorKind::Ambiguous)),
    ];
    for (values, expected) in cases {
        let found = find(&credentials, &with_headers("x-api-key", values));
        assert_eq!(found, expected.map(|found| found.map(<[u8]>::to_vec)), "{values:?}");
    }
}

#[test]
fn authorization_values() {
    let bearer = one(Placement::bearer());
    let basic = one(Placement::basic());
    let secret_token = one(Placement::bearer().with_secret_token_uri());
    let both = Credentials::new([Placement::bearer(), Placement::basic()]).unwrap();
    type Case<'a> = (&'a Credentials, &'a [&'a str], Result<Option<&'a str>, ExtractErrorKind>);
    let token = one(Placement::authorization("Token").unwrap());
    let all = ["Token", "Key"].map(|scheme| Placement::authorization(scheme).unwrap());
    let all = all.into_iter().chain([Placement::bearer(), Placement::basic()]);
    let all = Credentials::new(all).unwrap();
    let cases: [Case<'_>; 57] = [
        (&bearer, &["Bearer k"], Ok(Some("k"))),
        (&bearer, &["bEARER   k "], Ok(Some("k"))),
        (&bearer, &["Bearer k x"], Ok(Some("k x"))),
        (&bearer, &["Bearer k, Basic x"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k,Bearer k"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Basic x , bearer  k"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k, , Basic x,"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k, x"], Ok(Some("k, x"))),
        (&bearer, &["Bearer k,"], Ok(Some("k,"))),
        (&bearer, &[",", "Bearer k"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k, Token x"], Ok(Some("k, Token x"))),
        (&bearer, &["Basic x, Basic y"], Err(ExtractErrorKind::Ambiguous)),
        (&token, &["Token k, Bearer x"], Err(ExtractErrorKind::Ambiguous)),
        (&token, &["Bearer x, TOKEN k"], Err(ExtractErrorKind::Ambiguous)),
        (&token, &["Token k"], Ok(Some("k"))),
        (&token, &["tOKEN   k "], Ok(Some("k"))),
        (&token, &["Token"], Ok(None)),
        (&token, &["Tokenk"], Ok(None)),
        (&token, &["Token\tk"], Ok(None)),
        (&token, &["Bearer k"], Ok(None)),
        (&token, &["Token", "Token k"], Ok(Some("k"))),
        (&token, &["Bearer", "Token k"], Ok(Some("k"))),
        (&token, &["Key", "Token k"], Err(ExtractErrorKind::Ambiguous)),
        (&token, &["Token k", "Token k"], Err(ExtractErrorKind::Ambiguous)),
        (&all, &["Token k"], Ok(Some("k"))),
        (&all, &["key k"], Ok(Some("k"))),
        (&all, &["Bearer k"], Ok(Some("k"))),
        (&all, &["Basic dTpr"], Ok(Some("k"))),
        (&all, &["Key", "Token k"], Ok(Some("k"))),
        (&all, &["Key k", "Token k"], Err(ExtractErrorKind::Ambiguous)),
        (&all, &["Digest k"], Ok(None)),
        (&bearer, &["Bearer"], Ok(None)),
        (&bearer, &["Bearer "], Ok(None)),
        (&bearer, &["Bearerk"], Ok(None)),
        (&bearer, &["Bearer:k"], Ok(None)),
        (&bearer, &["Bearer\tk"], Ok(None)),
        (&bearer, &["k"], Ok(None)),
        (&bearer, &["Basic ajpr"], Ok(None)),
        (&bearer, &["Bearer k", "Bearer k"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k", "Basic ajpr"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k", "Bearer"], Ok(Some("k"))),
        (&bearer, &["Bearer secret-token:k"], Ok(Some("secret-token:k"))),
        (&secret_token, &["Bearer secret-token:k"], Ok(Some("k"))),
        (&secret_token, &["Bearer k"], Ok(Some("k"))),
        (&basic, &["Basic dTpr"], Ok(Some("k"))),
        (&basic, &["basic dTprOms="], Ok(Some("k:k"))),
        (&basic, &["Basic dTo="], Ok(Some("u"))),
        // Neither a name nor a password, and yet a credential.
        (&basic, &["Basic Og=="], Ok(Some("<unreadable>"))),
        (&basic, &["Basic"], Ok(None)),
        (&basic, &["Bearer", "Basic dTpr"], Ok(Some("k"))),
        (&basic, &["Digest", "Basic dTpr"], Err(ExtractErrorKind::Ambiguous)),
        (&bearer, &["Bearer k", "bASIC"], Ok(Some("k"))),
        (&basic, &["Basic dQ=="], Ok(Some("<unreadable>"))),
        (&basic, &["Basic %%%"], Ok(Some("<unreadable>"))),
        (&basic, &["Basic dTpr/w"], Ok(Some("<unreadable>"))),
        (&both, &["Basic dTpr"], Ok(Some("k"))),
        (&both, &["Bearer k", "Basic dTpr"], Err(ExtractErrorKind::Ambiguous)),
    ];
    for (credentials, values, expected) in cases {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let found = find(credentials, &with_headers("authorization", &values));
        let expected = expected.map(|found| found.map(|text| text.as_bytes().to_vec()));
        assert_eq!(found, expected, "{values:?}");
    }
}

#[test]
fn a_value_with_commas_can_be_one_value() {
    let credentials = one(Placement::bearer()).with_insecure_unsplit_values();
    for (value, expected) in [
        ("Bearer k, Bearer k", Some("k, Bearer k")),
        ("Bearer k, Basic x", Some("k, Basic x")),
        ("Basic x, Bearer k", None),
    ] {
        let found = find(&credentials, &with_headers("authorization", &[value.as_bytes()]));
        assert_eq!(found, Ok(expected.map(|text| text.as_bytes().to_vec())), "{value}");
    }
    let twice = with_headers("authorization", &[b"Bearer k", b"Bearer k"]);
    assert_eq!(find(&credentials, &twice), Err(ExtractErrorKind::Ambiguous));
}

#[test]
fn an_error_says_whether_the_copies_are_equal() {
    let credentials = [
        Placement::header("x-key").unwrap(),
        Placement::bearer().with_secret_token_uri(),
        Placement::basic(),
    ];
    let credentials = Credentials::new(credentials).unwrap();
    let cases: [(&[(&str, &str)], bool); 9] = [
        (&[("x-key", "k"), ("x-key", "k")], true),
        (&[("x-key", "k"), ("x-key", "k"), ("x-key", "k")], true),
        (&[("x-key", "k"), ("x-key", "k"), ("x-key", "j")], false),
        (&[("x-key", "j"), ("x-key", "k"), ("x-key", "k")], false),
        (&[("authorization", "Bearer k"), ("authorization", "bearer secret-token:k")], true),
        (&[("authorization", "Bearer k, Bearer k")], true),
        (&[("authorization", "Bearer k, Basic dTpr")], false),
        (&[("authorization", "Basic dTpr"), ("authorization", "Basic dTpr")], true),
        (&[("authorization", "Basic %%"), ("authorization", "Basic %%")], true),
    ];
    for (fields, are_copies) in cases {
        let mut request = Request::new(());
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let error = credentials.find((&request).into()).unwrap_err();
        assert_eq!(error.kind(), ExtractErrorKind::Ambiguous, "{fields:?}");
        assert_eq!(error.are_copies(), are_copies, "{fields:?}");
        assert_eq!(error.to_string().contains("equal"), are_copies);
    }
}

#[test]
fn a_place_with_a_condition_is_read_in_some_requests() {
    let query = Placement::query("key").unwrap().only_if(|head| *head.method() == "GET");
    let both = query.clone().only_if(|head| head.headers().contains_key("accept"));
    let header = Placement::header("x-key").unwrap();
    let credentials = Credentials::new([header.clone(), query]).unwrap();
    let narrow = Credentials::new([header, both]).unwrap();
    let ambiguous = Err(ExtractErrorKind::Ambiguous);
    type Case<'a> =
        (&'a Credentials, &'a str, &'a [&'a str], Result<Option<&'a str>, ExtractErrorKind>);
    let cases: [Case<'_>; 8] = [
        (&credentials, "GET", &[], Ok(Some("q"))),
        (&credentials, "POST", &[], Ok(None)),
        (&credentials, "GET", &["x-key"], ambiguous),
        (&credentials, "POST", &["x-key"], Ok(Some("h"))),
        (&narrow, "GET", &[], Ok(None)),
        (&narrow, "GET", &["accept"], Ok(Some("q"))),
        (&narrow, "POST", &["accept"], Ok(None)),
        (&narrow, "GET", &["x-key"], Ok(Some("h"))),
    ];
    for (credentials, method, headers, expected) in cases {
        let mut request = Request::builder().method(method).uri("/?a=1&key=q").body(()).unwrap();
        for name in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static("h"));
        }
        let found = find(credentials, &request);
        let expected = expected.map(|found| found.map(|text| text.as_bytes().to_vec()));
        assert_eq!(found, expected, "{method} {headers:?}");
        credentials.scrub(&mut request).unwrap();
        assert_eq!(request.uri(), "/?a=1", "{method} {headers:?}");
    }
}

#[test]
fn a_challenge_names_a_scheme_that_is_read() {
    use crate::rejection::ChallengeScheme::{ApiKey, Bearer, Own};

    let header = || Placement::header("X-Key").unwrap();
    let key_in = |part, name: &str| ApiKey(Some((part, name.into())));
    let token = || Placement::authorization("ToKen").unwrap();
    let custom = || Placement::custom(|_| Vec::new());
    let lists = [
        (vec![header()], vec![key_in("header", "x-key")]),
        (vec![header(), Placement::bearer()], vec![Bearer]),
        (vec![token(), header(), Placement::bearer()], vec![Own("ToKen".into()), Bearer]),
        (vec![Placement::query("K").unwrap(), header()], vec![key_in("query", "K")]),
        (vec![Placement::path("/{id}/{key}").unwrap()], vec![key_in("path", "key")]),
        (vec![Placement::path("/{secret}").unwrap()], vec![key_in("path", "secret")]),
        (vec![Placement::cookie("c").unwrap()], vec![key_in("cookie", "c")]),
        (vec![Placement::body("b").unwrap()], vec![key_in("body", "b")]),
        (vec![custom(), header()], vec![key_in("header", "x-key")]),
        (vec![custom()], vec![ApiKey(None)]),
    ];
    for (placements, expected) in lists {
        let text = format!("{placements:?}");
        assert_eq!(Credentials::new(placements).unwrap().challenges(), expected, "{text}");
    }
}

#[test]
fn the_user_name_stands_beside_the_password() {
    let credentials = one(Placement::basic());
    let request = with_headers("authorization", &[b"Basic dTprOms="]);

    let candidate = credentials.find((&request).into()).unwrap().unwrap();

    assert_eq!(candidate.username(), Some("u"));
    assert_eq!(candidate.expose_text(), Some("k:k"));
    assert_eq!(candidate.placement(), PlacementKind::Basic);
    assert!(!format!("{candidate:?}").contains("k:k"));
}

#[test]
fn cookies_are_found_and_removed_one_by_one() {
    let credentials = one(Placement::cookie("k").unwrap());
    type Case<'a> = (&'a [&'a [u8]], Result<Option<&'a [u8]>, ExtractErrorKind>, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (&[b"k=1"], Ok(Some(b"1")), &[]),
        (&[b"a=1; k=2; b=3"], Ok(Some(b"2")), &["a=1; b=3"]),
        (&[b"a=1", b"k=2", b"b=3"], Ok(Some(b"2")), &["a=1", "b=3"]),
        (&[b"k=; k=2"], Ok(Some(b"2")), &[]),
        (&[b"k=1; k=1"], Err(ExtractErrorKind::Ambiguous), &[]),
        (&[b"K=1; kk=1; k"], Ok(None), &["K=1; kk=1; k"]),
        (&[b"k=a=b"], Ok(Some(b"a=b")), &[]),
    ];
    for (lines, expected, kept) in cases {
        let mut request = with_headers("cookie", lines);
        let found = find(&credentials, &request);
        assert_eq!(found, expected.map(|found| found.map(<[u8]>::to_vec)), "{lines:?}");
        credentials.scrub(&mut request).unwrap();
        let left: Vec<_> = request.headers().get_all("cookie").iter().collect();
        assert_eq!(left, kept, "{lines:?}");
    }
}

#[test]
fn query_parameters() {
    let credentials = one(Placement::query("key").unwrap());
    type Case<'a> = (&'a str, Result<Option<&'a [u8]>, ExtractErrorKind>, &'a str);
    let cases: [Case<'_>; 17] = [
        ("/?key=k", Ok(Some(b"k")), "/"),
        ("/?a=%31&key=k&b", Ok(Some(b"k")), "/?a=%31&b"),
        ("/?%6bey=k", Ok(Some(b"k")), "/"),
        ("/?%256bey=k", Ok(None), "/?%256bey=k"),
        ("/?key=%6b", Ok(Some(b"k")), "/"),
        ("/?key=%256b", Ok(Some(b"%6b")), "/"),
        ("/?key=a+b%20", Ok(Some(b"a b ")), "/"),
        ("/?key=%FF", Ok(Some(b"\xff")), "/"),
        ("/?key=%zz", Ok(Some(b"%zz")), "/"),
        ("/?key=&key=k", Ok(Some(b"k")), "/"),
        ("/?key", Ok(None), "/"),
        ("/?KEY=k&key[]=k&key.x=k", Ok(None), "/?KEY=k&key[]=k&key.x=k"),
        ("/?a=1;key=k", Ok(None), "/?a=1;key=k"),
        ("/?a=b%26key=k", Ok(None), "/?a=b%26key=k"),
        ("/?key=k&%6bey=k", Err(ExtractErrorKind::Ambiguous), "/"),
        ("/?key=k&key=k", Err(ExtractErrorKind::Ambiguous), "/"),
        ("/", Ok(None), "/"),
    ];
    for (target, expected, scrubbed) in cases {
        let mut request = Request::get(target).body(()).unwrap();
        let found = find(&credentials, &request);
        assert_eq!(found, expected.map(|found| found.map(<[u8]>::to_vec)), "{target}");
        credentials.scrub(&mut request).unwrap();
        assert_eq!(request.uri(), scrubbed, "{target}");
    }
}

#[test]
fn a_query_of_too_many_parameters_is_not_searched() {
    let credentials = one(Placement::query("key").unwrap());
    let target = |count: usize| format!("/?{}", vec!["a"; count].join("&"));

    let request = Request::get(target(256)).body(()).unwrap();
    assert_eq!(find(&credentials, &request), Ok(None));
    let request = Request::get(target(257)).body(()).unwrap();
    assert_eq!(find(&credentials, &request), Err(ExtractErrorKind::Unreadable));
}

fn with_body(method: &str, media: &str, body: &str) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/").body(()).unwrap();
    if !media.is_empty() {
        request.headers_mut().insert("content-type", media.parse().unwrap());
    }
    let bytes = body.to_owned().into();
    request.extensions_mut().insert(BufferedBody::new(Collected { bytes, trailers: None }));
    request
}

#[test]
fn body_fields() {
    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";
    let credentials = one(Placement::body("key").unwrap());
    type Case<'a> = (&'a str, &'a str, &'a str, Result<Option<&'a str>, ExtractErrorKind>);
    let unreadable = Err(ExtractErrorKind::Unreadable);
    let cases: [Case<'_>; 19] = [
        ("POST", JSON, r#"{"key":"k"}"#, Ok(Some("k"))),
        ("POST", JSON, r#"{"\u006bey":"\u006b"}"#, Ok(Some("k"))),
        ("POST", JSON, r#"{"key":1}"#, Ok(Some("<unreadable>"))),
        ("POST", JSON, r#"{"key":null}"#, Ok(None)),
        ("POST", JSON, r#"{"a":{"key":"k"}}"#, Ok(None)),
        ("POST", JSON, r#"["key"]"#, Ok(None)),
        ("POST", JSON, "", Ok(None)),
        ("POST", JSON, r#"{"key":"k","key":"k"}"#, unreadable),
        ("POST", JSON, "key=k", Ok(None)),
        ("POST", JSON, "\u{feff}{\"key\":\"k\"}", Ok(Some("k"))),
        ("POST", JSON, "\u{feff}\u{feff}{\"key\":\"k\"}", unreadable),
        ("POST", FORM, "key=k", Ok(Some("k"))),
        ("POST", FORM, "key=k&key=", Ok(Some("k"))),
        ("POST", FORM, "key=k&key=k", Err(ExtractErrorKind::Ambiguous)),
        ("POST", FORM, r#"{"key":"k"}"#, Ok(None)),
        ("GET", FORM, "key=k", Ok(None)),
        ("HEAD", FORM, "key=k", Ok(None)),
        ("POST", "text/plain", "key=k", Ok(None)),
        ("POST", "a/b/c", "key=k", unreadable),
    ];
    for (method, media, body, expected) in cases {
        let found = find(&credentials, &with_body(method, media, body));
        let expected = expected.map(|found| found.map(|text| text.as_bytes().to_vec()));
        assert_eq!(found, expected, "{method} {media} {body}");
    }

    let request = Request::post("/").header("content-type", JSON).body(()).unwrap();
    assert_eq!(find(&credentials, &request), Err(ExtractErrorKind::NotBuffered));
    let request = Request::post("/").body(()).unwrap();
    assert_eq!(find(&credentials, &request), Ok(None));
}

#[test]
fn what_cannot_be_cleaned_is_an_error() {
    let limits = ContentLimits::new().with_fields(2);
    let body = one(Placement::body("key").unwrap()).with_content_limits(limits);
    let path = one(Placement::path("/{key}").unwrap());
    let form = "application/x-www-form-urlencoded";
    let unreadable = ExtractErrorKind::Unreadable;
    let cases = [
        (&body, with_body("POST", form, "a=1&b=2&key=k&c=3"), unreadable),
        (&body, with_body("GET", form, "a=1&b=2&key=k&c=3"), unreadable),
        (&body, with_body("POST", "application/json", r#"{"key":1,"key":2}"#), unreadable),
        (&body, with_body("POST", "application/json, text/plain", "{}"), unreadable),
        (
            &body,
            Request::post("/").header("content-type", form).body(()).unwrap(),
            ExtractErrorKind::NotBuffered,
        ),
        (
            &path,
            Request::get(format!("/k?{}", "a".repeat(65_530))).body(()).unwrap(),
            ExtractErrorKind::TargetTooLong,
        ),
    ];
    for (credentials, mut request, expected) in cases {
        let cleaned = credentials.scrub(&mut request);
        assert_eq!(cleaned.map_err(|error| error.kind()), Err(expected), "{request:?}");
    }

    // What has no place in it passes.
    for (media, text) in [("application/json", "{"), ("text/plain", "key=k"), ("a/b/c", "")] {
        let mut request = with_body("POST", media, text);
        body.scrub(&mut request).unwrap();
        assert_eq!(request.extensions().get::<BufferedBody>().unwrap().bytes(), text);
    }
}

#[test]
fn a_custom_placement_finds_counts_and_scrubs() {
    let custom = Placement::custom(|head| {
        head.headers()
            .get_all("x-key")
            .iter()
            .map(|value| Secret::new(value.to_str().unwrap_or_default()))
            .collect()
    })
    .with_scrub(|request| {
        request.headers_mut().remove("x-key");
    });
    let credentials = one(custom);

    let mut request = with_headers("x-key", &[b"k", b""]);
    assert_eq!(find(&credentials, &request), Ok(Some(b"k".to_vec())));
    credentials.scrub(&mut request).unwrap();
    assert!(request.headers().is_empty());

    let request = with_headers("x-key", &[b"k", b"k"]);
    assert_eq!(find(&credentials, &request), Err(ExtractErrorKind::Ambiguous));
}

#[test]
fn every_placement_runs_the_scrubs_that_it_is_given() {
    let remove = |name: &'static str| {
        move |request: &mut Request<()>| drop(request.headers_mut().remove(name))
    };
    let names = ["x-copy", "x-other-copy"];
    for placement in [Placement::header("x-key").unwrap(), Placement::body("key").unwrap()] {
        let placement = placement.with_scrub(remove(names[0])).with_scrub(remove(names[1]));
        let mut request = with_body("POST", "application/json", "{}");
        for name in names {
            request.headers_mut().insert(name, HeaderValue::from_static("k"));
        }
        one(placement).scrub(&mut request).unwrap();
        assert!(names.iter().all(|name| !request.headers().contains_key(*name)));
    }
}

#[test]
fn header_values_are_marked_before_code_of_the_app_sees_them() {
    let credentials =
        Credentials::new([Placement::header("x-api-key").unwrap(), Placement::bearer()]).unwrap();
    let mut request = with_headers("x-api-key", &[b"opensesame", b"opensesame"]);
    request.headers_mut().insert("authorization", "Bearer opensesame".parse().unwrap());

    credentials.mark_sensitive(request.headers_mut());

    assert!(!format!("{request:?}").contains("opensesame"));
}

proptest! {
    #[test]
    fn scrubbing_leaves_no_credential_and_everything_else(
        before in "[a-z]{1,4}(=[a-z0-9%]{0,4})?",
        key in "[a-zA-Z0-9]{8,20}",
        after in "[a-z]{1,4}(=[a-z0-9%]{0,4})?",
    ) {
        let credentials = Credentials::new([
            Placement::header("x-api-key").unwrap(),
            Placement::bearer(),
            Placement::query("KEY").unwrap(),
        ])
        .unwrap();
        let mut target = String::new();
        write!(target, "/?{before}&KEY={key}&{after}").unwrap();
        let mut request = Request::get(target)
            .header("x-api-key", &key)
            .header("authorization", format!("Bearer {key}"))
            .header("x-other", "kept")
            .body(())
            .unwrap();

        credentials.scrub(&mut request).unwrap();

        let kept = format!("{before}&{after}");
        prop_assert_eq!(request.uri().query(), Some(kept.as_str()));
        prop_assert_eq!(request.headers().len(), 1);
        prop_assert_eq!(&request.headers()["x-other"], "kept");
    }

    #[test]
    fn no_request_head_makes_it_panic(
        target in "/[ -~&&[^#<>\"`\\\\^{}|]]{0,60}",
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let credentials = Credentials::new([
            Placement::header("x-api-key").unwrap(),
            Placement::bearer(),
            Placement::basic(),
            Placement::cookie("k").unwrap(),
            Placement::query("k").unwrap(),
            Placement::path("/{key}").unwrap(),
        ])
        .unwrap();
        let Ok(mut request) = Request::get(target).body(()) else { return Ok(()) };
        for name in ["x-api-key", "authorization", "cookie"] {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().append(name, value);
            }
        }
        let _ = credentials.find((&request).into());
        credentials.scrub(&mut request).unwrap();
        prop_assert_eq!(request.headers().get("x-api-key"), None);
        prop_assert_eq!(request.headers().get("authorization"), None);
    }
}
