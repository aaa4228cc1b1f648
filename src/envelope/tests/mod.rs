use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, header};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;
use crate::content::json::{self, JsonLimits};
use crate::content::{ContentLimits, MediaType};

mod bodies;

fn head(uri: &str, headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn typed(media: &str) -> Parts {
    head("/", &[("content-type", media.as_bytes())])
}

fn build(builder: &EnvelopeBuilder, head: &Parts, body: &[u8]) -> Envelope {
    builder.build(&EnvelopeInput::new(head, body)).unwrap()
}

fn refusal(builder: &EnvelopeBuilder, head: &Parts, body: &[u8]) -> BuildErrorKind {
    builder.build(&EnvelopeInput::new(head, body)).unwrap_err().kind()
}

fn content(kind: ContentErrorKind) -> BuildErrorKind {
    BuildErrorKind::Content(kind)
}

fn get(uri: &str) -> String {
    build(&EnvelopeBuilder::new(), &head(uri, &[]), b"").get().unwrap().to_owned()
}

#[test]
fn an_empty_request_has_all_parts() {
    let envelope = build(&EnvelopeBuilder::new(), &head("/", &[]), b"");
    assert_eq!(envelope.as_str(), r#"{"GET":{},"POST":{},"JSON":{},"HEADERS":{}}"#);
    assert_eq!(envelope.body(), None);
    assert_eq!(envelope.clone().into_string(), envelope.as_str());
}

#[test]
fn the_query_is_written_in_order_of_first_appearance() {
    for (uri, expected) in [
        ("/", "{}"),
        ("/?", "{}"),
        ("/?a=1", r#"{"a":"1"}"#),
        ("/?a=1&a=2&b=", r#"{"a":["1","2"],"b":""}"#),
        ("/?b=1&a=2&b=3&c=4&a=5", r#"{"b":["1","3"],"a":["2","5"],"c":"4"}"#),
        ("/?a", r#"{"a":""}"#),
        ("/?&&=", r#"{"":""}"#),
        ("/?%61=%22%5C%00+", r#"{"a":"\"\\\u0000 "}"#),
        ("/?a=1;b=2", r#"{"a":"1;b=2"}"#),
        ("/?%EF%BF%BD=%C3%A9", "{\"\u{fffd}\":\"é\"}"),
        ("/?__proto__=1", r#"{"__proto__":"1"}"#),
    ] {
        assert_eq!(get(uri), expected, "{uri}");
    }
}

#[test]
fn one_field_more_than_the_limit_is_refused() {
    let builder = EnvelopeBuilder::new();
    let query = |fields: usize| head(&format!("/?{}", vec!["a"; fields].join("&")), &[]);
    build(&builder, &query(256), b"");
    let too_many = content(ContentErrorKind::TooManyFields);
    assert_eq!(refusal(&builder, &query(257), b""), too_many);

    let form = typed("application/x-www-form-urlencoded");
    let body = vec!["a=1"; 257].join("&");
    assert_eq!(refusal(&builder, &form, body.as_bytes()), too_many);
    let builder = builder.with_limits(ContentLimits::new().with_fields(257));
    build(&builder, &form, body.as_bytes());
    build(&builder, &query(257), b"");
}

#[test]
fn a_form_is_written_like_a_query() {
    let head = head("/?a=q", &[("content-type", b"Application/X-Www-Form-Urlencoded")]);
    let envelope = build(&EnvelopeBuilder::new(), &head, b"b=1&a=%C3%A9&b=\"&&c");
    assert_eq!(envelope.post(), Some(r#"{"b":["1","\""],"a":"é","c":""}"#));
    assert_eq!(envelope.get(), Some(r#"{"a":"q"}"#));
    assert_eq!(envelope.json(), Some("{}"));
}

#[test]
fn headers_are_sorted_and_repeats_are_kept() {
    let head = head(
        "/",
        &[
            ("x-b", b"2"),
            ("X-A", b"say \"hi\"\t\\"),
            ("x-b", b"\xe9"),
            ("host", b"example.org"),
            ("x-empty", b""),
            ("x-latin", b"\xff"),
            ("transfer-encoding", b"chunked"),
            ("te", b"trailers"),
        ],
    );
    let expected = concat!(
        r#"{"host":"example.org","x-a":"say \"hi\"\t\\","x-b":["2",{"base64":"6Q=="}],"#,
        r#""x-empty":"","x-latin":{"base64":"/w=="}}"#,
    );
    assert_eq!(build(&EnvelopeBuilder::new(), &head, b"").headers(), Some(expected));
}

#[cfg(feature = "multipart")]
#[test]
fn files_are_described_in_place() {
    let body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n\
        --b\r\nContent-Disposition: form-data; name=f; filename=\"x\\\"y\"\r\n\r\n12345\r\n\
        --b\r\nContent-Disposition: form-data; name=a; filename=\"\"\r\n\
        Content-Type: text/plain; x=y\r\n\r\n\r\n--b--";
    let envelope = build(&EnvelopeBuilder::new(), &typed("multipart/form-data; boundary=b"), body);
    assert_eq!(
        envelope.post().unwrap(),
        concat!(
            r#"{"a":["v","#,
            r#"{"filename":"","content_type":"text/plain; x=y","size":0}],"#,
            r#""f":{"filename":"x\"y","content_type":"application/octet-stream","size":5}}"#,
        )
    );

    let builder = EnvelopeBuilder::new();
    let malformed = content(ContentErrorKind::Malformed);
    assert_eq!(refusal(&builder, &typed("multipart/form-data; boundary=b"), b"{}"), malformed);
    assert_eq!(refusal(&builder, &typed("multipart/form-data"), b"--b--"), malformed);
    let builder = builder.with_limits(ContentLimits::new().with_parts(2));
    let head = typed("multipart/form-data; boundary=b");
    assert_eq!(refusal(&builder, &head, body), content(ContentErrorKind::TooManyFields));
}

#[cfg(not(feature = "multipart"))]
#[test]
fn multipart_needs_the_feature() {
    let head = typed("multipart/form-data; boundary=b");
    let kind = refusal(&EnvelopeBuilder::new(), &head, b"--b--");
    assert_eq!(kind, content(ContentErrorKind::UnsupportedMediaType));
}

#[test]
fn a_json_body_is_written_as_it_was_sent() {
    for body in [
        r#"{"b":1.10,"a":1e400,"c":[-0,123456789012345678901234567890]}"#,
        " {\n\t\"a\" : \"\\u0041\" } ",
        "[1, 2]",
        "\"</script>\u{2028}\"",
        "null",
        "7",
    ] {
        for media in ["application/json", "APPLICATION/problem+JSON;charset=utf-8"] {
            let envelope = build(&EnvelopeBuilder::new(), &typed(media), body.as_bytes());
            assert_eq!(envelope.json(), Some(body));
            assert_eq!(envelope.post(), Some("{}"));
        }
    }
}

#[test]
fn credentials_are_left_out_in_every_spelling() {
    let head = head(
        "/?token=s&a=1&%74oken=s&tok=2&other=s",
        &[
            ("authorization", b"s"),
            ("Proxy-Authorization", b"s"),
            ("proxy_authorization", b"s"),
            ("cookie", b"s"),
            ("x-api-key", b"s"),
            ("X_Api_Key", b"s"),
            ("x_api-key", b"s"),
            ("x-token", b"s"),
            ("x-keep", b"1"),
        ],
    );
    let builder = EnvelopeBuilder::new()
        .with_excluded_headers([HeaderName::from_static("x-api-key")])
        .with_excluded_query_parameters(["token"]);
    let headers = [HeaderName::from_static("x_token")];
    let query = ["other".to_owned()];
    let input = EnvelopeInput::new(&head, b"")
        .with_excluded_headers(&headers)
        .with_excluded_query_parameters(&query);

    let envelope = builder.build(&input).unwrap();
    assert_eq!(envelope.headers(), Some(r#"{"x-keep":"1"}"#));
    assert_eq!(envelope.get(), Some(r#"{"a":"1","tok":"2"}"#));
}

#[test]
fn keys_in_wrong_places_are_hidden() {
    let redact = |text: &str| text.contains("SECRET").then(|| "[hidden]".to_owned());
    let head = head(
        "/?a=SECRET&SECRET=1&SECRETS=2&b=x%53ECRET",
        &[("x-a", b"SECRET"), ("x-b", b"1"), ("x-b", b"SECRET\xff"), ("x-c", b"ok")],
    );
    let input = EnvelopeInput::new(&head, b"").with_redaction(&redact);
    let envelope = EnvelopeBuilder::new().build(&input).unwrap();
    assert_eq!(envelope.get(), Some(r#"{"a":"[hidden]","[hidden]":["1","2"],"b":"[hidden]"}"#));
    assert_eq!(envelope.headers(), Some(r#"{"x-a":"[hidden]","x-b":["1","[hidden]"],"x-c":"ok"}"#));
}

#[test]
fn parts_can_be_renamed_and_turned_off() {
    let builder = EnvelopeBuilder::new()
        .with_part(EnvelopePart::Get, "qu\"ery")
        .unwrap()
        .without_part(EnvelopePart::Json)
        .with_part(EnvelopePart::Post, "JSON")
        .unwrap();
    let envelope = build(&builder, &head("/", &[]), b"");
    assert_eq!(envelope.as_str(), r#"{"qu\"ery":{},"JSON":{},"HEADERS":{}}"#);
    assert_eq!((envelope.json(), envelope.post()), (None, Some("{}")));

    let clash = EnvelopeBuilder::new().with_part(EnvelopePart::Get, "JSON");
    assert!(clash.is_err());
    assert!(EnvelopeBuilder::new().with_part(EnvelopePart::Get, "GET").is_ok());

    let nothing =
        [EnvelopePart::Get, EnvelopePart::Post, EnvelopePart::Json, EnvelopePart::Headers]
            .into_iter()
            .fold(EnvelopeBuilder::new(), EnvelopeBuilder::without_part);
    let many = head(&format!("/?{}", "a&".repeat(300)), &[]);
    assert_eq!(build(&nothing, &many, b"").as_str(), "{}");
}

#[test]
fn members_are_added_behind_the_parts() {
    let head = head("/", &[]);
    let input = EnvelopeInput::new(&head, b"")
        .with_member("IDENTITY", r#"{"owner":"o"}"#)
        .with_member("COVERS", r#"["body"]"#);
    let envelope = EnvelopeBuilder::new().build(&input).unwrap();
    assert!(envelope.as_str().ends_with(r#","IDENTITY":{"owner":"o"},"COVERS":["body"]}"#));
    assert_eq!(envelope.member("IDENTITY"), Some(r#"{"owner":"o"}"#));
    assert_eq!(envelope.member("COVERS"), Some(r#"["body"]"#));
    assert_eq!(envelope.member("GET"), None);

    for (name, json) in [("GET", "1"), ("IDENTITY", "1"), ("x", ""), ("x", "1,"), ("x", "1}{")] {
        let input = input.clone().with_member(name, json);
        let error = EnvelopeBuilder::new().build(&input).unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Member, "{name} {json}");
    }
}

#[test]
fn an_envelope_is_read_into_a_type() {
    let envelope = build(&EnvelopeBuilder::new(), &head("/?a=1&b=hunter2", &[]), b"");
    let value: Value = envelope.parse().unwrap();
    assert_eq!(value["GET"]["a"], "1");

    let error = envelope.parse::<Vec<u8>>().unwrap_err();
    assert_eq!(error.line(), 1);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn debug_shows_no_content() {
    let head = head("/?a=hunter2", &[("x", b"hunter2")]);
    let input = EnvelopeInput::new(&head, b"hunter2").with_member("m", "\"hunter2\"");
    let builder = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
    let envelope = builder.build(&input).unwrap();
    assert!(envelope.as_str().contains("hunter2"));
    assert!(!format!("{envelope:?} {input:?}").contains("hunter2"));
}

#[test]
fn public_types_cross_threads() {
    const fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Envelope>();
    crosses::<EnvelopeBuilder>();
    crosses::<BuildError>();
    crosses::<ParseError>();
}

fn builders() -> impl Strategy<Value = EnvelopeBuilder> {
    let absent = proptest::sample::select(vec![AbsentJson::EmptyObject, AbsentJson::Null]);
    let read = proptest::sample::select(vec![ReadAs::Json, ReadAs::JsonIfValid, ReadAs::JsonLines]);
    let mark = proptest::sample::select(vec![ByteOrderMark::Dropped, ByteOrderMark::Kept]);
    (absent, read, mark).prop_map(|(absent, read, mark)| {
        EnvelopeBuilder::new()
            .with_absent_json(absent)
            .with_part(EnvelopePart::Body, "BODY")
            .unwrap()
            .with_media_types(["text/csv"], read)
            .unwrap()
            .with_json_fields(["a", "__proto__"])
            .with_byte_order_mark(mark)
            .with_insecure_replacement_characters()
    })
}

fn queries() -> impl Strategy<Value = String> {
    "([ab=&+;%\"\\\\é<>]|%[0-9A-F]{2}){0,30}"
}

fn media() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        "text/plain",
        "text/csv",
        "image/png",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
    ])
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = proptest::sample::select(vec!["x-a", "x_a", "x-b", "etag", "cookie"]);
    let byte = prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t'), Just(b'"'), Just(b'\\')];
    proptest::collection::vec((name, proptest::collection::vec(byte, 0..10)), 0..8)
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        queries().prop_map(String::into_bytes),
        Just(br#"{"a":[1.10,"\u0000"]}"#.to_vec()),
        Just(b"\xef\xbb\xbf{}\n\n[1e400]\r\n \"x\"".to_vec()),
        Just(b"a=%7B%22b%22%3A1.0%7D&a={&__proto__=[1]&b=2".to_vec()),
        Just(
            b"--b\r\nContent-Disposition: form-data; name=\"\xff\"; filename=\"\\\"\t\"\r\n\r\n\
              \r\n--b--"
                .to_vec()
        ),
        "[ -~é]{0,20}".prop_map(|text| {
            let head = "--b\r\nContent-Disposition: form-data; name=\"\"";
            format!("{head}\r\n\r\n{text}\r\n--b--").into_bytes()
        }),
    ]
}

fn request(query: &str, media: &str, headers: &[(&'static str, Vec<u8>)]) -> Option<Parts> {
    let mut request = Request::post(format!("/?{query}"));
    if !media.is_empty() {
        request = request.header(header::CONTENT_TYPE, media);
    }
    for (name, value) in headers {
        request = request.header(*name, &value[..]);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// Names and values of an object whose values are texts or arrays of texts.
fn fields_of(object: &str) -> Vec<(String, Vec<String>)> {
    let mut fields = Vec::new();
    json::visit_members(object.as_bytes(), &JsonLimits::new(), |member| {
        let values = match serde_json::from_str(member.value()).unwrap() {
            Value::String(text) => vec![text],
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
            }
            other => panic!("{other}"),
        };
        fields.push((member.name().into_owned(), values));
    })
    .unwrap();
    fields
}

fn expected_fields(raw: &[u8]) -> Vec<(String, Vec<String>)> {
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in form_urlencoded::parse(raw).into_owned() {
        match fields.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => values.push(value),
            None => fields.push((name, vec![value])),
        }
    }
    fields
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_envelope_is_json_for_all_bytes_in_every_place(
        builder in builders(),
        query in queries(),
        media in media(),
        headers in headers(),
        body in bodies(),
    ) {
        let Some(head) = request(&query, media, &headers) else { return Ok(()) };
        let Ok(envelope) = builder.build(&EnvelopeInput::new(&head, &body)) else {
            let can_be_malformed = ["json", "csv", "multipart"];
            prop_assert!(can_be_malformed.iter().any(|name| media.contains(name)));
            return Ok(());
        };
        let text = envelope.as_str();
        prop_assert!(json::validate(text.as_bytes(), &JsonLimits::new()).is_ok(), "{text}");
        prop_assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
        let mut members = Vec::new();
        json::visit_members(text.as_bytes(), &JsonLimits::new(), |member| members.push(member))
            .unwrap();
        let parts = [
            envelope.get(),
            envelope.post(),
            envelope.json(),
            envelope.headers(),
            envelope.body(),
        ];
        prop_assert_eq!(members.len(), parts.len());
        for (member, part) in members.iter().zip(parts) {
            prop_assert_eq!(member.value(), part.unwrap().trim());
        }
        // What is searched for a credential is what is shown as JSON or as fields.
        let [post, json, opaque] = [envelope.post(), envelope.json(), envelope.body()].map(Option::unwrap);
        let searched = builder.media_type(&head.headers, Some(&body)).unwrap();
        let agree = body.is_empty() || match searched {
            MediaType::Json => post == "{}" && opaque == "null",
            MediaType::Form | MediaType::Multipart { .. } => opaque == "null",
            // Lines are an array.
            _ => post == "{}" && (opaque != "null" || json.starts_with('[')),
        };
        prop_assert!(agree, "{searched:?} {text}");
    }

    #[test]
    fn query_and_form_can_be_read_back(query in queries(), form in queries()) {
        let media = "application/x-www-form-urlencoded";
        let Some(head) = request(&query, media, &[]) else { return Ok(()) };
        let builder = EnvelopeBuilder::new();
        let is_utf8 = |raw: &str| {
            form_urlencoded::parse(raw.as_bytes())
                .all(|(name, value)| !name.contains('\u{fffd}') && !value.contains('\u{fffd}'))
        };
        let strict = builder.build(&EnvelopeInput::new(&head, form.as_bytes()));
        let is_taken = is_utf8(head.uri.query().unwrap_or_default()) && is_utf8(&form);
        prop_assert_eq!(strict.is_ok(), is_taken);
        let builder = builder.with_insecure_replacement_characters();
        let envelope = builder.build(&EnvelopeInput::new(&head, form.as_bytes())).unwrap();

        let sent = head.uri.query().unwrap_or_default();
        prop_assert_eq!(fields_of(envelope.get().unwrap()), expected_fields(sent.as_bytes()));
        prop_assert_eq!(fields_of(envelope.post().unwrap()), expected_fields(form.as_bytes()));
    }

    #[test]
    fn the_order_of_headers_of_different_names_does_not_matter(
        builder in builders(),
        headers in headers(),
        turn in 0..8_usize,
    ) {
        // Moves whole names around and keeps the order inside each.
        let mut shuffled = headers.clone();
        let rank = |name: &str| name.bytes().map(usize::from).sum::<usize>() * (turn + 1) % 11;
        shuffled.sort_by_key(|(name, _)| rank(name));
        let first = request("", "", &headers).unwrap();
        let second = request("", "", &shuffled).unwrap();
        let first = builder.build(&EnvelopeInput::new(&first, b"")).unwrap();
        let second = builder.build(&EnvelopeInput::new(&second, b"")).unwrap();
        prop_assert_eq!(first.as_str(), second.as_str());
    }
}
