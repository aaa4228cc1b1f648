use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, header};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;
use crate::content::ContentLimits;
use crate::content::json::{self, JsonLimits};

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
        ("/?%FF=%FF&%FE=1", "{\"\u{fffd}\":[\"\u{fffd}\",\"1\"]}"),
        ("/?__proto__=1", r#"{"__proto__":"1"}"#),
    ] {
        assert_eq!(get(uri), expected, "{uri}");
    }
}

#[test]
fn arrays_everywhere_are_an_option() {
    let builder = EnvelopeBuilder::new().with_repeats(Repeats::AlwaysArrays);
    let envelope = build(&builder, &head("/?a=1&b&a=2", &[]), b"");
    assert_eq!(envelope.get(), Some(r#"{"a":["1","2"],"b":[""]}"#));
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
    let envelope = build(&EnvelopeBuilder::new(), &head, b"b=1&a=%C3%A9&b=\xff&&c");
    assert_eq!(envelope.post(), Some("{\"b\":[\"1\",\"\u{fffd}\"],\"a\":\"é\",\"c\":\"\"}"));
    assert_eq!(envelope.get(), Some(r#"{"a":"q"}"#));
    assert_eq!(envelope.json(), Some("{}"));
}

#[cfg(feature = "multipart")]
#[test]
fn files_are_described_in_place() {
    let body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n\
        --b\r\nContent-Disposition: form-data; name=f; filename=\"x\\\"y\"\r\n\r\n12345\r\n\
        --b\r\nContent-Disposition: form-data; name=a; filename=\"\"\r\n\
        Content-Type: text/plain; x=y\r\n\r\n\r\n--b--";
    let envelope = build(&EnvelopeBuilder::new(), &typed("multipart/form-data; boundary=b"), body);
    assert_eq!(
        envelope.post().unwrap(),
        concat!(
            "{\"a\":[\"\u{fffd}\",",
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
fn what_is_no_json_object_can_count_as_none() {
    let builder = EnvelopeBuilder::new().with_json_values(JsonValues::ObjectsOnly);
    let json = typed("application/json");
    for body in ["[1]", "\"a\"", "7", "null", "true", ""] {
        assert_eq!(build(&builder, &json, body.as_bytes()).json(), Some("{}"), "{body}");
        let builder = builder.clone().with_absent_json(AbsentJson::Null);
        assert_eq!(build(&builder, &json, body.as_bytes()).json(), Some("null"), "{body}");
    }
    assert_eq!(build(&builder, &json, b"{\"a\":1}").json(), Some("{\"a\":1}"));
    let malformed = content(ContentErrorKind::Malformed);
    assert_eq!(refusal(&builder, &json, b"[1,]"), malformed);
}

#[test]
fn only_a_body_labelled_as_json_must_be_json() {
    let builder = EnvelopeBuilder::new();
    let malformed = content(ContentErrorKind::Malformed);
    for body in ["{", " ", "a=1", "{\"a\":1,\"a\":1}", "\u{feff}{}"] {
        assert_eq!(refusal(&builder, &typed("application/json"), body.as_bytes()), malformed);
        for media in ["text/plain", "text/json", "application/octet-stream", "image/png"] {
            assert_eq!(build(&builder, &typed(media), body.as_bytes()).json(), Some("{}"));
        }
        assert_eq!(build(&builder, &head("/", &[]), body.as_bytes()).json(), Some("{}"));
    }
    assert_eq!(build(&builder, &typed("text/plain"), b"\xff\0").json(), Some("{}"));

    let error = builder.build(&EnvelopeInput::new(&typed("application/json"), b"[1,]"));
    assert_eq!(error.unwrap_err().content().unwrap().offset(), Some(3));
}

#[test]
fn an_unclear_media_type_is_refused_unless_lenient() {
    let repeated =
        head("/", &[("content-type", b"application/json"), ("content-type", b"text/plain")]);
    let strict = EnvelopeBuilder::new();
    let lenient = EnvelopeBuilder::new().with_insecure_lenient_media_types();
    for (head, kind) in [
        (repeated, ContentErrorKind::RepeatedContentType),
        (typed("application/json, text/plain"), ContentErrorKind::RepeatedContentType),
        (typed("json"), ContentErrorKind::UnsupportedMediaType),
        (
            typed("application/x-www-form-urlencoded; charset=latin1"),
            ContentErrorKind::UnsupportedCharset,
        ),
    ] {
        assert_eq!(refusal(&strict, &head, b"{\"a\":1}"), content(kind));
        assert_eq!(build(&lenient, &head, b"{\"a\":1}").json(), Some("{}"));
        // Without a body there is nothing to misunderstand.
        assert_eq!(build(&strict, &head, b"").json(), Some("{}"));
    }
    let form = typed("application/x-www-form-urlencoded; charset=latin1");
    assert_eq!(build(&lenient, &form, b"a=1").post(), Some("{\"a\":\"1\"}"));
}

#[test]
fn headers_are_sorted_and_repeats_are_kept() {
    let head = head(
        "/",
        &[
            ("x-b", b"2"),
            ("X-A", b"say \"hi\"\t\\"),
            ("x-b", b"1"),
            ("host", b"example.org"),
            ("x-empty", b""),
        ],
    );
    let headers =
        |builder: EnvelopeBuilder| build(&builder, &head, b"").headers().unwrap().to_owned();

    assert_eq!(
        headers(EnvelopeBuilder::new()),
        r#"{"host":"example.org","x-a":"say \"hi\"\t\\","x-b":["2","1"],"x-empty":""}"#
    );
    assert_eq!(
        headers(
            EnvelopeBuilder::new()
                .with_header_repeats(HeaderRepeats::Joined)
                .with_header_case(HeaderCase::Title)
        ),
        r#"{"Host":"example.org","X-A":"say \"hi\"\t\\","X-B":"2, 1","X-Empty":""}"#
    );
    assert_eq!(
        headers(EnvelopeBuilder::new().with_header_repeats(HeaderRepeats::AlwaysArrays)),
        r#"{"host":["example.org"],"x-a":["say \"hi\"\t\\"],"x-b":["2","1"],"x-empty":[""]}"#
    );
}

#[test]
fn header_bytes_that_are_not_utf8_are_marked_or_decoded() {
    let head = head("/", &[("x", b"a"), ("x", b"\xe9"), ("y", "é".as_bytes()), ("z", b"\xff")]);
    for (non_utf8, apart, joined) in [
        (
            NonUtf8::Base64,
            r#"{"x":["a",{"base64":"6Q=="}],"y":"é","z":{"base64":"/w=="}}"#,
            r#"{"x":{"base64":"YSwg6Q=="},"y":"é","z":{"base64":"/w=="}}"#,
        ),
        (NonUtf8::Latin1, r#"{"x":["a","é"],"y":"é","z":"ÿ"}"#, r#"{"x":"a, é","y":"é","z":"ÿ"}"#),
        (
            NonUtf8::Replacement,
            "{\"x\":[\"a\",\"\u{fffd}\"],\"y\":\"é\",\"z\":\"\u{fffd}\"}",
            "{\"x\":\"a, \u{fffd}\",\"y\":\"é\",\"z\":\"\u{fffd}\"}",
        ),
    ] {
        let builder = EnvelopeBuilder::new().with_header_bytes(non_utf8);
        assert_eq!(build(&builder, &head, b"").headers(), Some(apart));
        let builder = builder.with_header_repeats(HeaderRepeats::Joined);
        assert_eq!(build(&builder, &head, b"").headers(), Some(joined));
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

    let envelope = builder.with_insecure_exact_header_names().build(&input).unwrap();
    let expected =
        r#"{"proxy_authorization":"s","x-keep":"1","x-token":"s","x_api-key":"s","x_api_key":"s"}"#;
    assert_eq!(envelope.headers(), Some(expected));
}

#[test]
fn transport_headers_are_left_out_unless_wanted() {
    let names = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
    ];
    let more = ["transfer-encoding", "upgrade"];
    let all: Vec<_> = names.iter().chain(&more).map(|name| (*name, &b"x"[..])).collect();
    let head = head("/", &all);

    assert_eq!(build(&EnvelopeBuilder::new(), &head, b"").headers(), Some("{}"));
    let builder = EnvelopeBuilder::new().with_transport_headers();
    let shown = build(&builder, &head, b"").headers().unwrap().matches(':').count();
    assert_eq!(shown, 9);
}

#[test]
fn keys_in_wrong_places_are_hidden() {
    let redact = |text: &str| text.contains("SECRET").then(|| "[hidden]".to_owned());
    let head = head(
        "/?a=SECRET&SECRET=1&SECRETS=2&b=x%53ECRET",
        &[("x-a", b"SECRET"), ("x-b", b"1"), ("x-b", b"SECRET\xff"), ("x-c", b"ok")],
    );
    let input = EnvelopeInput::new(&head, b"").with_redaction(&redact);
    for builder in
        [EnvelopeBuilder::new(), EnvelopeBuilder::new().with_header_bytes(NonUtf8::Latin1)]
    {
        let envelope = builder.build(&input).unwrap();
        assert_eq!(envelope.get(), Some(r#"{"a":"[hidden]","[hidden]":["1","2"],"b":"[hidden]"}"#));
        assert_eq!(
            envelope.headers(),
            Some(r#"{"x-a":"[hidden]","x-b":["1","[hidden]"],"x-c":"ok"}"#)
        );
    }
    let joined = EnvelopeBuilder::new().with_header_repeats(HeaderRepeats::Joined);
    let envelope = joined.build(&input).unwrap();
    assert_eq!(envelope.headers(), Some(r#"{"x-a":"[hidden]","x-b":"1, [hidden]","x-c":"ok"}"#));
}

#[test]
fn parts_can_be_renamed_and_turned_off() {
    let builder = EnvelopeBuilder::new()
        .with_part(EnvelopePart::Get, "qu\"ery")
        .unwrap()
        .without_part(EnvelopePart::Json)
        .with_part(EnvelopePart::Post, "JSON")
        .unwrap();
    let json = typed("application/json");
    let envelope = build(&builder, &json, b"not json");
    assert_eq!(
        envelope.as_str(),
        r#"{"qu\"ery":{},"JSON":{},"HEADERS":{"content-type":"application/json"}}"#
    );
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
fn an_opaque_body_can_be_shown() {
    let builder = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
    for (media, body, expected) in [
        (Some("text/plain"), &b"a\"b\n"[..], r#""a\"b\n""#),
        (None, b"a", r#""a""#),
        (Some("image/png"), b"\x89PNG", r#"{"base64":"iVBORw=="}"#),
        (Some("text/plain"), b"", "null"),
        (Some("application/json"), b"[1]", "null"),
        (Some("application/x-www-form-urlencoded"), b"a=1", "null"),
    ] {
        let head = media.map_or_else(|| head("/", &[]), typed);
        assert_eq!(build(&builder, &head, body).body(), Some(expected), "{media:?}");
    }
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
    let envelope = EnvelopeBuilder::new().build(&input).unwrap();
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
    let repeats = proptest::sample::select(vec![Repeats::AsNeeded, Repeats::AlwaysArrays]);
    let header_repeats = proptest::sample::select(vec![
        HeaderRepeats::AsNeeded,
        HeaderRepeats::AlwaysArrays,
        HeaderRepeats::Joined,
    ]);
    let non_utf8 =
        proptest::sample::select(vec![NonUtf8::Base64, NonUtf8::Latin1, NonUtf8::Replacement]);
    let case = proptest::sample::select(vec![HeaderCase::Lower, HeaderCase::Title]);
    (repeats, header_repeats, non_utf8, case).prop_map(
        |(repeats, header_repeats, non_utf8, case)| {
            EnvelopeBuilder::new()
                .with_repeats(repeats)
                .with_header_repeats(header_repeats)
                .with_header_bytes(non_utf8)
                .with_header_case(case)
                .with_part(EnvelopePart::Body, "BODY")
                .unwrap()
        },
    )
}

fn queries() -> impl Strategy<Value = String> {
    "([ab=&+;%\"\\\\é<>]|%[0-9A-F]{2}){0,30}"
}

fn media() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        "text/plain",
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
            prop_assert!(media.contains("json") || media.contains("multipart"));
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
    }

    #[test]
    fn query_and_form_can_be_read_back(
        builder in builders(),
        query in queries(),
        form in queries(),
    ) {
        let media = "application/x-www-form-urlencoded";
        let Some(head) = request(&query, media, &[]) else { return Ok(()) };
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
