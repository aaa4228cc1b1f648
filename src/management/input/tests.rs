use proptest::prelude::*;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::value::MAX_VIOLATIONS;
use super::*;
use crate::key::checked_name;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn holder() -> Scopes {
    Scopes::parse(["deploy", "all"]).unwrap()
}

fn new_key(body: &str) -> Result<NewKeyInput, Rejection> {
    NewKeyInput::read(body.as_bytes(), &holder(), NOW)
}

/// Where a body is wrong, as it is answered.
fn places<T: std::fmt::Debug>(read: Result<T, Rejection>) -> Vec<String> {
    let rejection = read.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Invalid);
    let list = serde_json::to_value(rejection.violations()).unwrap();
    let text = |entry: &Value| entry.as_object().unwrap().values().next().unwrap().to_string();
    list.as_array().unwrap().iter().map(|entry| text(entry).replace('"', "")).collect()
}

#[test]
fn a_whole_request_is_read() {
    let input = new_key(
        r#"{"name":"b\u006ft","scopes":["deploy","deploy"],"expires_in":{"count":2,"unit":"weeks"},
            "not_before":"2026-11-24T13:00:00+01:00","metadata": {"n": 1.10, "m": 1e400} }"#,
    )
    .unwrap();

    assert_eq!(input.name, "bot");
    assert_eq!(input.scopes, Scopes::parse(["deploy"]).unwrap());
    assert_eq!(input.expires_in, Some(Duration::weeks(2)));
    assert_eq!(input.not_before, Some(NOW));
    assert_eq!(input.metadata.as_deref(), Some(r#"{"n": 1.10, "m": 1e400}"#));
}

#[test]
fn a_name_alone_grants_nothing() {
    let input = new_key(r#"{"name":"bot"}"#).unwrap();

    assert!(input.scopes.is_none());
    assert_eq!((input.expires_in, input.not_before, input.metadata), (None, None, None));
}

#[test]
fn a_name_is_a_text_on_one_line() {
    let long = format!("\"{}\"", "a".repeat(10_240));
    for name in [
        r#""""#,
        r#""\u202egnp.exe""#,
        r#""a\nb""#,
        r#""\u001b[31m""#,
        r#""\u0000""#,
        &long,
        "1",
        "null",
        "[]",
        "true",
    ] {
        assert_eq!(places(new_key(&format!(r#"{{"name":{name}}}"#))), ["/name"], "{name}");
    }
    assert_eq!(places(new_key("{}")), ["/name"]);
    assert_eq!(places(new_key("")), ["/name"]);
}

#[test]
fn intervals_are_positive_integers_that_do_not_overflow() {
    let cases = [
        ("1", Ok(1)),
        ("3600", Ok(3600)),
        (r#"{"count":1,"unit":"seconds"}"#, Ok(1)),
        (r#"{"unit":"minutes","count":2}"#, Ok(120)),
        (r#"{"count":3,"unit":"hours"}"#, Ok(3 * 3600)),
        (r#"{"count":60,"unit":"days"}"#, Ok(60 * 86_400)),
        ("0", Err("/expires_in")),
        ("-0", Err("/expires_in")),
        ("-1", Err("/expires_in")),
        ("1.5", Err("/expires_in")),
        ("1.0", Err("/expires_in")),
        ("1e3", Err("/expires_in")),
        ("18446744073709551616", Err("/expires_in")),
        ("9223372036854775807", Err("/expires_in")),
        ("315576000000", Err("/expires_in")),
        ("null", Err("/expires_in")),
        ("true", Err("/expires_in")),
        (r#""60""#, Err("/expires_in")),
        ("[60]", Err("/expires_in")),
        (r#"{"count":1,"unit":"days","more":1}"#, Err("/expires_in")),
        (r#"{"count":0,"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":-1,"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":1.5,"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":"60","unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":null,"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":9000000000000000000,"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"unit":"days"}"#, Err("/expires_in/count")),
        (r#"{"count":1,"unit":"DAYS"}"#, Err("/expires_in/unit")),
        (r#"{"count":1,"unit":"months"}"#, Err("/expires_in/unit")),
        (r#"{"count":1,"unit":1}"#, Err("/expires_in/unit")),
        (r#"{"count":1}"#, Err("/expires_in/unit")),
    ];
    for (interval, expected) in cases {
        let read = new_key(&format!(r#"{{"name":"bot","expires_in":{interval}}}"#));
        match expected {
            Ok(seconds) => {
                assert_eq!(
                    read.unwrap().expires_in,
                    Some(Duration::seconds(seconds)),
                    "{interval}"
                );
            }
            Err(place) => assert_eq!(places(read), [place], "{interval}"),
        }
    }
}

#[test]
fn an_extension_is_positive_and_an_overlap_is_not_negative() {
    assert_eq!(read_extension(br#"{"by":1}"#).unwrap(), Duration::SECOND);
    assert_eq!(places(read_extension(br#"{"by":0}"#)), ["/by"]);
    assert_eq!(places(read_extension(b"{}")), ["/by"]);
    assert_eq!(read_rotation(br#"{"overlap":0}"#).unwrap(), Duration::ZERO);
    assert_eq!(read_rotation(br#"{"overlap":{"count":0,"unit":"days"}}"#).unwrap(), Duration::ZERO);
    assert_eq!(read_rotation(b"{}").unwrap(), Duration::ZERO);
    assert_eq!(read_rotation(b"").unwrap(), Duration::ZERO);
    assert_eq!(places(read_rotation(br#"{"overlap":-1}"#)), ["/overlap"]);
    assert_eq!(places(read_rotation(br#"{"by":1}"#)), [""]);
}

#[test]
fn scopes_are_those_of_the_caller() {
    let read = |scopes: &str, holder: &Scopes| {
        NewKeyInput::read(format!(r#"{{"name":"b","scopes":{scopes}}}"#).as_bytes(), holder, NOW)
    };
    assert!(read(r#""all""#, &Scopes::ALL).unwrap().scopes.is_all());
    assert!(!read(r#"["all"]"#, &holder()).unwrap().scopes.is_all());
    assert!(read("[]", &Scopes::NONE).unwrap().scopes.is_none());
    for (scopes, expected) in [
        (r#""all""#, &["/scopes"][..]),
        (r#""deploy""#, &["/scopes"]),
        ("null", &["/scopes"]),
        ("{}", &["/scopes"]),
        (r#"["deploy","other"]"#, &["/scopes/1"]),
        (r#"["Deploy"]"#, &["/scopes/0"]),
        (r#"[""]"#, &["/scopes/0"]),
        (r#"["a b"]"#, &["/scopes/0"]),
        (
            r#"[1, "deploy", null, ["deploy"], {"a":1}, 1.5, true, -1]"#,
            &[
                "/scopes/0",
                "/scopes/2",
                "/scopes/3",
                "/scopes/4",
                "/scopes/5",
                "/scopes/6",
                "/scopes/7",
            ],
        ),
    ] {
        assert_eq!(places(read(scopes, &holder())), expected, "{scopes}");
    }
    assert_eq!(places(read(r#"["deploy"]"#, &Scopes::NONE)), ["/scopes/0"]);
    assert_eq!(places(read("[1e999]", &Scopes::ALL)).len(), 1);
}

#[test]
fn a_start_is_a_time_before_the_expiry() {
    for time in [
        r#""2026-13-01T00:00:00Z""#,
        r#""tomorrow""#,
        "0",
        "null",
        r#""2026-11-24""#,
        r#""9999-12-31T23:59:59-01:00""#,
    ] {
        let read = new_key(&format!(r#"{{"name":"b","not_before":{time}}}"#));
        assert_eq!(places(read), ["/not_before"], "{time}");
    }
    let start = |second: i64| {
        let time = (NOW + Duration::seconds(second)).format(&Rfc3339).unwrap();
        new_key(&format!(r#"{{"not_before":"{time}","expires_in":60,"name":"b"}}"#))
    };
    assert!(start(59).is_ok());
    assert_eq!(places(start(60)), ["/not_before"]);
}

#[test]
fn members_that_a_caller_does_not_set_are_refused() {
    for name in ["id", "owner", "digest", "created_at", "expires_at", "revoked_at", "version", "by"]
    {
        let body = format!(r#"{{"name":"b","{name}":"canary"}}"#);
        assert_eq!(places(new_key(&body)), [""]);
        let read = UpdateInput::read(body.as_bytes(), &holder());
        assert_eq!(places(read), [""]);
    }
    for name in ["canary", "Name", "na\\u0000me", "", "/", "Scopes "] {
        assert_eq!(places(new_key(&format!(r#"{{"name":"b","{name}":1}}"#))), [""], "{name}");
    }
    assert_eq!(places(UpdateInput::read(br#"{"expires_in":1}"#, &holder())), [""]);
    assert_eq!(places(read_nothing(br#"{"overlap":1}"#)), [""]);
    for body in ["[]", "1", "null", r#""name""#] {
        assert!(places(new_key(body)).contains(&String::new()), "{body}");
        assert_eq!(places(read_nothing(body.as_bytes())), [""], "{body}");
    }
}

#[test]
fn a_text_that_is_no_strict_json_is_malformed() {
    for body in [
        "{",
        "{}{}",
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","\u006eame":"b"}"#,
        r#"{"name":"a","metadata":{"x":1,"x":2}}"#,
        r#"{"name":"\ud800"}"#,
        "{\"name\":\"a\",}",
        "\u{feff}\u{feff}{}",
        "\u{feff}",
        " ",
        r#"{"expires_in":NaN}"#,
        r#"{"expires_in":01}"#,
    ] {
        assert_eq!(new_key(body).unwrap_err().kind(), RejectionKind::MalformedBody, "{body}");
    }
}

#[test]
fn one_byte_order_mark_is_skipped() {
    assert_eq!(new_key("\u{feff}{\"name\":\"a\"}").unwrap().name, "a");
}

#[test]
fn every_violation_is_reported_once_up_to_a_bound() {
    let read = new_key(r#"{"name":"","x":1,"y":2,"scopes":[0,0],"expires_in":0,"owner":"o"}"#);
    assert_eq!(places(read), ["/name", "", "/scopes/0", "/scopes/1", "/expires_in"]);

    let many = format!(r#"{{"name":"b","scopes":[{}0]}}"#, "0,".repeat(5000));
    assert_eq!(places(new_key(&many)).len(), MAX_VIOLATIONS);
}

#[test]
fn an_update_changes_something() {
    for body in ["{}", ""] {
        assert_eq!(places(UpdateInput::read(body.as_bytes(), &holder())), [""]);
    }
    for (body, enables) in [
        (r#"{"disabled":false}"#, true),
        (r#"{"disabled":true}"#, false),
        (r#"{"metadata":null}"#, false),
        (r#"{"scopes":[],"name":"n"}"#, false),
    ] {
        assert_eq!(UpdateInput::read(body.as_bytes(), &holder()).unwrap().enables, enables);
    }
    for body in [r#"{"disabled":0}"#, r#"{"disabled":"true"}"#, r#"{"disabled":null}"#] {
        assert_eq!(places(UpdateInput::read(body.as_bytes(), &holder())), ["/disabled"]);
    }
}

#[test]
fn a_batch_has_ids() {
    assert_eq!(read_ids(br#"{"ids":["a","b","a"]}"#).unwrap().len(), 3);
    for body in [r#"{"ids":[]}"#, r#"{"ids":"a"}"#, r#"{"ids":null}"#, "{}", r#"{"ids":{}}"#] {
        assert_eq!(places(read_ids(body.as_bytes())), ["/ids"], "{body}");
    }
    assert_eq!(places(read_ids(br#"{"ids":["a",1]}"#)), ["/ids/1"]);
    let many = json!({"ids": vec!["a"; 201]}).to_string();
    assert_eq!(places(read_ids(many.as_bytes())), ["/ids"]);
    let kind = read_ids(br#"{"ids":["a","a/b"]}"#).unwrap_err().kind();
    assert_eq!(kind, RejectionKind::NotFound);
}

#[test]
fn a_page_has_a_limit_and_a_start() {
    let read = |query| PageInput::read(Some(query));
    assert_eq!(PageInput::read(None).unwrap().limit, 50);
    assert_eq!(read("limit=200&other=1&other=2").unwrap().limit, 200);
    assert!(read("after=1.k1").unwrap().after.is_some());
    for query in
        ["limit=0", "limit=201", "limit=-1", "limit=", "limit=1.0", "limit=%2b1", "limit=a"]
    {
        assert_eq!(places(read(query)), ["limit"], "{query}");
    }
    for query in ["limit=1&limit=1", "limit=1&%6cimit=1"] {
        assert_eq!(places(read(query)), ["limit"], "{query}");
    }
    for query in ["after=", "after=x", "after=1.", "after=%ff", "after=1.a&after=1.a"] {
        assert_eq!(places(read(query)), ["after"], "{query}");
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_within_its_limits(
        name in "[a\\PC]{0,3}",
        seconds in proptest::option::of(any::<i64>()),
        scopes in proptest::collection::vec("deploy|all|other|", 0..3),
    ) {
        let mut body = json!({"name": name, "scopes": scopes});
        if let Some(seconds) = seconds {
            body["expires_in"] = json!(seconds);
        }
        if let Ok(input) = new_key(&body.to_string()) {
            prop_assert!(holder().covers(&input.scopes));
            prop_assert!(checked_name(&input.name).is_ok());
            prop_assert!(input.expires_in.is_none_or(Duration::is_positive));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        let _ = NewKeyInput::read(&body, &holder(), NOW);
        let _ = UpdateInput::read(&body, &holder());
        let _ = read_ids(&body);
    }
}
