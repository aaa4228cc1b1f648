//! Bodies: which part shows one, and which are refused.

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const MARK: &str = "\u{feff}";

fn unsupported() -> BuildErrorKind {
    content(ContentErrorKind::UnsupportedMediaType)
}

fn malformed() -> BuildErrorKind {
    content(ContentErrorKind::Malformed)
}

fn with_body() -> EnvelopeBuilder {
    EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap()
}

/// The reading of `examples/hooks`.
fn tolerant() -> EnvelopeBuilder {
    let lines = ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"];
    with_body()
        .with_media_types(["text/json"], ReadAs::Json)
        .unwrap()
        .with_media_types(["text/plain"], ReadAs::JsonIfValid)
        .unwrap()
        .with_media_types(lines, ReadAs::JsonLines)
        .unwrap()
        .with_absent_media_type(ReadAs::JsonIfValid)
        .with_json_fields(["payload"])
}

fn labelled(media: &str) -> Parts {
    if media.is_empty() { head("/", &[]) } else { typed(media) }
}

/// `JSON` and `BODY`.
fn shown(builder: &EnvelopeBuilder, media: &str, body: &[u8]) -> [String; 2] {
    let envelope = build(builder, &labelled(media), body);
    [envelope.json(), envelope.body()].map(|part| part.unwrap_or_default().to_owned())
}

#[test]
fn a_body_that_no_part_shows_is_refused() {
    let builder = EnvelopeBuilder::new();
    let bodies: [(&str, &[u8]); 6] = [
        ("text/plain", b"x"),
        ("text/plain", b"{}"),
        ("", b"x"),
        ("application/octet-stream", b"\xff"),
        ("application/x-ndjson", b"{}\n"),
        ("text/json", b"{}"),
    ];
    for (media, body) in bodies {
        let error = builder.build(&EnvelopeInput::new(&labelled(media), body)).unwrap_err();
        assert_eq!(error.kind(), unsupported(), "{media}");
        assert!(error.accepted_media_types().unwrap().starts_with("application/json, "));
        // Zero bytes are no body.
        assert_eq!(build(&builder, &labelled(media), b"").json(), Some("{}"));
    }
    for (part, media, body) in [
        (EnvelopePart::Post, FORM, "a=1"),
        (EnvelopePart::Json, "application/json", "{}"),
        (EnvelopePart::Json, "application/vnd.a+json", "malformed"),
    ] {
        let builder = EnvelopeBuilder::new().without_part(part);
        assert_eq!(refusal(&builder, &typed(media), body.as_bytes()), unsupported(), "{media}");
        let builder = with_body().without_part(part);
        assert_eq!(refusal(&builder, &typed(media), body.as_bytes()), unsupported(), "{media}");
    }
    assert_eq!(
        refusal(&tolerant().without_part(EnvelopePart::Body), &typed("text/plain"), b"x"),
        unsupported()
    );
}

#[test]
fn a_refused_label_is_answered_with_those_that_are_taken() {
    let accepted = |builder: &EnvelopeBuilder| {
        let error = builder.build(&EnvelopeInput::new(&typed("json"), b"x")).unwrap_err();
        error.accepted_media_types().unwrap().to_owned()
    };
    let multipart = if cfg!(feature = "multipart") { ", multipart/form-data" } else { "" };
    let forms = format!("application/x-www-form-urlencoded{multipart}");
    assert_eq!(accepted(&EnvelopeBuilder::new()), format!("application/json, {forms}"));
    let own =
        "text/json, text/plain, application/x-ndjson, application/jsonl, application/x-jsonlines";
    assert_eq!(accepted(&tolerant()), format!("application/json, {own}, {forms}, */*"));
    let nothing = [EnvelopePart::Json, EnvelopePart::Post]
        .into_iter()
        .fold(EnvelopeBuilder::new(), EnvelopeBuilder::without_part);
    assert_eq!(accepted(&nothing), "");
    let malformed = EnvelopeBuilder::new().build(&EnvelopeInput::new(&typed("a/json+json"), b"{"));
    assert_eq!(malformed.unwrap_err().accepted_media_types(), None);
}

#[test]
fn only_a_body_labelled_as_json_must_be_json() {
    for body in ["{", " ", "\r\n\t", "a=1", "{\"a\":1,\"a\":1}", "[1,]", "\u{feff}", "\u{feff} "] {
        for media in ["application/json", "a/b+json", "text/json"] {
            assert_eq!(refusal(&tolerant(), &typed(media), body.as_bytes()), malformed());
        }
        for media in ["text/plain", ""] {
            let [json, opaque] = shown(&tolerant(), media, body.as_bytes());
            let text = serde_json::to_string(body.trim_start_matches(MARK)).unwrap();
            assert_eq!((json.as_str(), opaque), ("{}", text), "{media} {body}");
        }
    }
    let error = tolerant().build(&EnvelopeInput::new(&typed("text/json"), b"[1,]"));
    assert_eq!(error.unwrap_err().content().unwrap().offset(), Some(3));
}

#[test]
fn json_is_shown_under_the_labels_that_are_named() {
    for body in [r#"{"n": 1e400}"#, "[1.10]", "\"x\"", "7", "null", " {} \r\n"] {
        for media in [
            "application/json",
            "text/json",
            "TEXT/Json; charset=\"UTF-8\"",
            "text/plain",
            "text/plain; charset=us-ascii",
            "Text/Plain;charset=utf-8",
            "",
        ] {
            let expected = [body.to_owned(), "null".to_owned()];
            assert_eq!(shown(&tolerant(), media, body.as_bytes()), expected, "{media}");
        }
    }
    let strict = EnvelopeBuilder::new().with_absent_media_type(ReadAs::Json);
    assert_eq!(build(&strict, &head("/", &[]), b"[1]").json(), Some("[1]"));
    assert_eq!(refusal(&strict, &head("/", &[]), b"x"), malformed());
}

#[test]
fn a_label_has_one_meaning() {
    let plain = || EnvelopeBuilder::new().with_media_types(["text/plain"], ReadAs::Json).unwrap();
    for name in
        ["Text/Plain", "application/json", "a/b+json", FORM, "multipart/form-data", "text", ""]
    {
        assert!(plain().with_media_types([name], ReadAs::JsonIfValid).is_err(), "{name}");
    }
    assert!(plain().with_media_types(["text/plain2"], ReadAs::JsonIfValid).is_ok());
}

#[test]
fn json_lines_become_an_array() {
    for (body, expected) in [
        ("{\"a\":1.0}\n[2]\n", r#"[{"a":1.0},[2]]"#),
        ("\n \r\n{\"a\": 0.10}\r\n\n\"x\"", r#"[{"a": 0.10},"x"]"#),
        ("1e400", "[1e400]"),
        ("\n\n", "[]"),
        ("\u{feff}1\n2", "[1,2]"),
    ] {
        for media in ["application/x-ndjson", "application/jsonl; charset=utf-8"] {
            let shown = shown(&tolerant(), media, body.as_bytes());
            assert_eq!(shown, [expected, "null"], "{media} {body}");
        }
    }
    let lines = typed("application/x-jsonlines");
    for body in ["{}\n{", "1,2", "1],[2", "{}{}", "{\"a\":1,\"a\":2}", "1\n\u{feff}2", "1\x0c\n"] {
        assert_eq!(refusal(&tolerant(), &lines, body.as_bytes()), malformed(), "{body}");
    }
    let error = tolerant().build(&EnvelopeInput::new(&lines, b"{}\n[1,]\n")).unwrap_err();
    assert_eq!(error.content().unwrap().offset(), Some(6));

    // The limits hold for all lines together.
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_nodes(4).with_depth(2));
    let limited = tolerant().with_limits(limits);
    assert_eq!(shown(&limited, "application/jsonl", b"[]\n1\n2")[0], "[[],1,2]");
    assert_eq!(refusal(&limited, &lines, b"1\n2\n3\n4"), malformed());
    assert_eq!(refusal(&limited, &lines, b"[[1]]"), malformed());
}

#[test]
fn opaque_bodies_are_texts_or_base64() {
    let text = |body: &str| ["{}".to_owned(), serde_json::to_string(body).unwrap()];
    let base64 = |body: &str| ["{}".to_owned(), format!(r#"{{"base64":"{body}"}}"#)];
    let cases: [(&str, &[u8], [String; 2]); 14] = [
        ("text/html", b"<a>\"", text("<a>\"")),
        ("text/plain", b"hello", text("hello")),
        ("", b"hello", text("hello")),
        ("application/xml; charset=utf-8", "<é/>".as_bytes(), text("<é/>")),
        ("image/svg+xml", b"<svg/>", text("<svg/>")),
        ("application/javascript", b"x()", text("x()")),
        ("text/csv", b"\xef\xbb\xbfa,b", text("a,b")),
        ("text/csv", b"\xef\xbb\xbf\xef\xbb\xbfa", text("\u{feff}a")),
        ("text/plain", b"\xff{}", base64("/3t9")),
        ("text/plain; charset=iso-8859-1", b"{}", base64("e30=")),
        ("application/xml; charset=utf-16", b"<>", base64("PD4=")),
        ("", b"\xef\xbb\xbf\xff", base64("77u//w==")),
        ("application/octet-stream", b"hello", base64("aGVsbG8=")),
        ("image/png", b"\xef\xbb\xbf", base64("77u/")),
    ];
    for (media, body, expected) in cases {
        assert_eq!(shown(&tolerant(), media, body), expected, "{media} {body:?}");
    }
    assert_eq!(shown(&tolerant(), "text/plain", b"")[1], "null");
}

#[test]
fn json_in_a_form_is_inlined_if_it_is_json() {
    for (body, expected) in [
        ("payload=%7B%22a%22%3A+1.10%7D&b=[1]", r#"{"payload":{"a": 1.10},"b":"[1]"}"#),
        ("payload=5&payload=x", r#"{"payload":[5,"x"]}"#),
        ("payload=", r#"{"payload":""}"#),
        ("payload={", r#"{"payload":"{"}"#),
        ("payload={\"a\":1,\"a\":2}", r#"{"payload":"{\"a\":1,\"a\":2}"}"#),
        ("p%61yload=[]&Payload=[]", r#"{"payload":[],"Payload":"[]"}"#),
        ("payload=\u{feff}{}", "{\"payload\":\"\u{feff}{}\"}"),
    ] {
        let envelope = build(&tolerant(), &typed(FORM), body.as_bytes());
        assert_eq!(envelope.post(), Some(expected), "{body}");
    }
    // The query is not meant.
    let envelope = build(&tolerant(), &head("/?payload=[]", &[]), b"");
    assert_eq!(envelope.get(), Some(r#"{"payload":"[]"}"#));
}

#[cfg(feature = "multipart")]
#[test]
fn json_in_a_part_is_inlined_unless_it_is_a_file() {
    let body = b"--b\r\nContent-Disposition: form-data; name=payload\r\n\r\n[1.0]\r\n\
        --b\r\nContent-Disposition: form-data; name=payload; filename=f\r\n\r\n[]\r\n--b--";
    let envelope = build(&tolerant(), &typed("multipart/form-data; boundary=b"), body);
    let file = r#"{"filename":"f","content_type":"application/octet-stream","size":2}"#;
    assert_eq!(envelope.post(), Some(&*format!(r#"{{"payload":[[1.0],{file}]}}"#)));
}

#[test]
fn the_limit_on_values_holds_for_all_inlined_fields() {
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_nodes(4));
    let builder = tolerant().with_json_fields(["other"]).with_limits(limits);
    for (body, expected) in [
        ("payload=[1]&other=[2]", r#"{"payload":[1],"other":[2]}"#),
        ("payload=[1]&payload=[2]", r#"{"payload":[[1],[2]]}"#),
        ("payload=[1]&other=[2,3]", r#"{"payload":"[1]","other":"[2,3]"}"#),
        ("other=[2,3]&a=1&payload=[1]", r#"{"other":"[2,3]","a":"1","payload":"[1]"}"#),
        (
            "payload=1&payload=2&payload=3&payload=4&payload=5",
            r#"{"payload":["1","2","3","4","5"]}"#,
        ),
        // What is a string anyway counts for nothing.
        ("payload=[1,2,3]&other=[1,2,3,4]", r#"{"payload":[1,2,3],"other":"[1,2,3,4]"}"#),
        ("payload=[1,2,3]&other=[1,2,3", r#"{"payload":[1,2,3],"other":"[1,2,3"}"#),
        ("payload=[1,2,3]&a=[1]", r#"{"payload":[1,2,3],"a":"[1]"}"#),
    ] {
        let envelope = build(&builder, &typed(FORM), body.as_bytes());
        assert_eq!(envelope.post(), Some(expected), "{body}");
    }
}

#[cfg(feature = "multipart")]
#[test]
fn the_limit_on_values_holds_for_all_inlined_parts() {
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_nodes(4));
    let builder = tolerant().with_limits(limits);
    let part =
        |text| format!("--b\r\nContent-Disposition: form-data; name=payload\r\n\r\n{text}\r\n");
    for (texts, expected) in [
        (["[1]", "[2]"], r#"{"payload":[[1],[2]]}"#),
        (["[1]", "[2,3]"], r#"{"payload":["[1]","[2,3]"]}"#),
        (["[1,2,3,4]", "[2,3]"], r#"{"payload":["[1,2,3,4]",[2,3]]}"#),
    ] {
        let body = texts.map(part).concat() + "--b--";
        let envelope = build(&builder, &typed("multipart/form-data; boundary=b"), body.as_bytes());
        assert_eq!(envelope.post(), Some(expected), "{body}");
    }
}

#[test]
fn one_byte_order_mark_is_dropped_refused_or_kept() {
    let marked = |times: usize, text: &str| (MARK.repeat(times) + text).into_bytes();
    let post = |builder: &EnvelopeBuilder, body: &[u8]| {
        build(builder, &typed(FORM), body).post().unwrap().to_owned()
    };
    let dropped = tolerant();
    assert_eq!(shown(&dropped, "application/json", &marked(1, "{}")), ["{}", "null"]);
    assert_eq!(shown(&dropped, "text/plain", &marked(1, "[1]")), ["[1]", "null"]);
    assert_eq!(post(&dropped, &marked(1, "a=1")), r#"{"a":"1"}"#);
    assert_eq!(post(&dropped, &marked(2, "a=1")), "{\"\u{feff}a\":\"1\"}");
    assert_eq!(post(&dropped, &marked(1, "")), "{}");

    let json = typed("application/json");
    let error = dropped.build(&EnvelopeInput::new(&json, &marked(2, "{}"))).unwrap_err();
    assert_eq!(error.kind(), malformed());

    let refused = tolerant().with_byte_order_mark(ByteOrderMark::Refused);
    for media in ["application/json", FORM, "text/plain", "text/xml", "application/jsonl", ""] {
        let kind = refusal(&refused, &labelled(media), &marked(1, "1"));
        assert_eq!(kind, content(ContentErrorKind::ByteOrderMark), "{media}");
        build(&refused, &labelled(media), b"1");
    }
    assert_eq!(shown(&refused, "image/png", b"\xef\xbb\xbf")[1], r#"{"base64":"77u/"}"#);

    let kept = tolerant().with_byte_order_mark(ByteOrderMark::Kept);
    assert_eq!(refusal(&kept, &json, &marked(1, "{}")), malformed());
    assert_eq!(post(&kept, &marked(1, "a=1")), "{\"\u{feff}a\":\"1\"}");
    assert_eq!(shown(&kept, "text/plain", &marked(1, "[]")), ["{}", "\"\u{feff}[]\""]);
}

#[test]
fn fields_that_are_not_utf8_are_refused_or_replaced() {
    let invalid = content(ContentErrorKind::InvalidUtf8);
    let replaced = EnvelopeBuilder::new().with_insecure_replacement_characters();
    for query in ["a=%FF", "%FF=1", "a=%C3", "b&a=%ED%A0%80"] {
        let head = head(&format!("/?{query}"), &[]);
        assert_eq!(refusal(&EnvelopeBuilder::new(), &head, b""), invalid, "{query}");
        assert!(build(&replaced, &head, b"").get().unwrap().contains('\u{fffd}'));
    }
    for body in [&b"a=\xff"[..], b"\xff", b"a=%ff&b=1", b"a=1&%C0%AF="] {
        assert_eq!(refusal(&EnvelopeBuilder::new(), &typed(FORM), body), invalid, "{body:?}");
        assert!(build(&replaced, &typed(FORM), body).post().unwrap().contains('\u{fffd}'));
    }
    // What is not shown is not read.
    let names = ["token".to_owned()];
    let head = head("/?token=%FF", &[]);
    let input = EnvelopeInput::new(&head, b"").with_excluded_query_parameters(&names);
    assert_eq!(EnvelopeBuilder::new().build(&input).unwrap().get(), Some("{}"));
}

#[cfg(feature = "multipart")]
#[test]
fn parts_that_are_not_utf8_are_refused_or_replaced() {
    let head = typed("multipart/form-data; boundary=b");
    let body = |disposition: &[u8], content: &[u8]| {
        [
            b"--b\r\nContent-Disposition: form-data; ",
            disposition,
            b"\r\n\r\n",
            content,
            b"\r\n--b--",
        ]
        .concat()
    };
    let replaced = EnvelopeBuilder::new().with_insecure_replacement_characters();
    for body in [
        body(b"name=a", b"\xff"),
        body(b"name=a; filename=\"\xff\"", b""),
        body(b"name=a; filename*=utf-8''%FF", b""),
    ] {
        let kind = refusal(&EnvelopeBuilder::new(), &head, &body);
        assert_eq!(kind, content(ContentErrorKind::InvalidUtf8));
        assert!(build(&replaced, &head, &body).post().unwrap().contains('\u{fffd}'));
    }
    build(&EnvelopeBuilder::new(), &head, &body(b"name=a; filename=b", b"\xff"));
}

#[test]
fn json_and_forms_in_another_charset_are_refused() {
    let unsupported = content(ContentErrorKind::UnsupportedCharset);
    for charset in ["utf-16", "iso-8859-1", "\"UTF-32\"", "windows-1252"] {
        for media in ["application/json", "a/b+json", "text/json", "application/jsonl", FORM] {
            let head = typed(&format!("{media}; charset={charset}"));
            assert_eq!(refusal(&tolerant(), &head, b"{}"), unsupported, "{media} {charset}");
            build(&tolerant(), &head, b"");
        }
    }
    for charset in ["UTF-8", "utf-8", "\"Utf-8\"", "US-ASCII"] {
        let head = typed(&format!("application/json; charset={charset}"));
        assert_eq!(build(&tolerant(), &head, b"[1]").json(), Some("[1]"), "{charset}");
    }
}

#[test]
fn an_unclear_media_type_is_refused() {
    let twice = [("content-type", &b"application/json"[..]), ("content-type", b"text/plain")];
    for (head, kind) in [
        (head("/", &twice), ContentErrorKind::RepeatedContentType),
        (typed("application/json, text/plain"), ContentErrorKind::RepeatedContentType),
        (typed("json"), ContentErrorKind::UnsupportedMediaType),
    ] {
        assert_eq!(refusal(&tolerant(), &head, b"{\"a\":1}"), content(kind));
        // Without a body there is nothing to misunderstand.
        assert_eq!(build(&tolerant(), &head, b"").json(), Some("{}"));
    }
}
