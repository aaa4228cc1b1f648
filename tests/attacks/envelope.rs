//! M: the envelope says what was sent.

use serde_json::json;

use super::fixture::Fixture;
use super::json::BODY;
use super::request::{get, key, post};
use super::row::Code::{InvalidUtf8, Ok};
use super::row::{HEADER, Row, Via, WITH_BODY, row};
use super::run::Corpus;

#[test]
fn the_envelope_is_true_to_the_request() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let mut rows = Vec::new();
    for (query, expected) in [
        ("", json!({})),
        ("?", json!({})),
        ("?a=1", json!({"a": "1"})),
        ("?a=1&a=2&b=", json!({"a": ["1", "2"], "b": ""})),
        ("?a", json!({"a": ""})),
        ("?a[]=1&a[]=2", json!({"a[]": ["1", "2"]})),
        ("?a=%C3%A9+%2B&%61=x", json!({"a": ["é +", "x"]})),
        ("?=1&&a", json!({"": "1", "a": ""})),
        ("?__proto__=1&constructor=2", json!({"__proto__": "1", "constructor": "2"})),
        ("?a=%22%7D%00%1b%0d%0a", json!({"a": "\"}\u{0}\u{1b}\r\n"})),
    ] {
        let sent = get(format!("/{query}")).header("x-api-key", k);
        rows.push(row(format!("M208.{query}"), HEADER, sent, Ok, 1).check(move |seen| {
            assert!(seen.part("GET").is_none_or(|part| part == expected), "{query}");
        }));
    }
    for query in ["a=%FF", "%C3=1", "b&a=%ED%A0%80"] {
        let sent = get(format!("/?{query}")).header("x-api-key", k);
        rows.push(row(format!("M208.{query}"), HEADER, sent.clone(), InvalidUtf8, 1).hooks_only());
        let layers = &[Via::Layer, Via::Buffered];
        rows.push(row(format!("M208.{query}"), HEADER, sent, Ok, 1).via(layers));
    }
    for (id, form) in [("ff", &b"a=\xff"[..]), ("encoded", b"%ff=1"), ("cut", b"a=%C3&b=1")] {
        let sent = key(k).form(form);
        rows.push(row(format!("M215.{id}"), HEADER, sent, InvalidUtf8, 1).hooks_only());
    }
    let headers = [
        ("x-a", &b"1"[..]),
        ("x-a", b"2"),
        ("x-b", b"\xff\x80"),
        ("x-c", b"\ta\tb "),
        ("x-d", b""),
    ];
    let sent = headers.iter().fold(key(k), |sent, (name, value)| sent.header(name, value));
    rows.push(row("M209", HEADER, sent, Ok, 1).check(|seen| {
        let Some(part) = seen.part("HEADERS") else { return };
        assert_eq!(part["x-a"], json!(["1", "2"]));
        assert_eq!(part["x-b"], json!({"base64": "/4A="}));
        // HTTP takes the blanks around a value away, and a value that never was on a wire keeps them.
        assert_eq!(part["x-c"].as_str().unwrap().trim(), "a\tb");
        assert_eq!(part["x-d"], "");
        assert!(part.get("x-api-key").is_none());
    }));
    for name in ["authorization", "proxy-authorization", "cookie", "transfer-encoding-x"] {
        let sent = key(k).header(name, "opensesame");
        rows.push(row(format!("M210.{name}"), HEADER, sent, Ok, 1).check(move |seen| {
            let is_shown = seen.envelope().map(|envelope| envelope.contains("opensesame"));
            assert_ne!(is_shown, Some(name != "transfer-encoding-x"), "{name}");
        }));
    }
    for text in ["[1]", "\"a\"", "1", "null", "true"] {
        rows.push(row(format!("M211.{text}"), HEADER, key(k).json(text), Ok, 1).check(
            move |seen| {
                let expected: serde_json::Value = serde_json::from_str(text).unwrap();
                assert!(seen.part("JSON").is_none_or(|part| part == expected));
            },
        ));
    }
    for bytes in [&b"\xff\x00"[..], b"plain", b"\"}", b"\x1b[31m"] {
        let sent = key(k).body(bytes);
        rows.push(row(format!("M214.{bytes:?}"), WITH_BODY, sent, Ok, 1).check(move |seen| {
            let Some(part) = seen.part("BODY") else { return };
            match std::str::from_utf8(bytes) {
                Result::Ok(text) => assert_eq!(part, text),
                Err(_) => assert_eq!(part, json!({"base64": "/wA="})),
            }
        }));
    }
    let mut rewritten = post("/").json(format!(r#"{{"api_key":"{k}","a":1}}"#));
    for name in
        ["digest", "content-digest", "repr-digest", "content-md5", "trailer", "content-encoding"]
    {
        rewritten = rewritten.header(name, "identity");
    }
    rows.push(row("M216", BODY, rewritten, Ok, 1).in_process().check(|seen| {
        let Some(request) = seen.request() else { return };
        assert_eq!(request.body(), r#"{"a":1}"#);
        assert_eq!(request.headers()["content-length"], "7");
        for name in [
            "digest",
            "content-digest",
            "repr-digest",
            "content-md5",
            "trailer",
            "content-encoding",
            "transfer-encoding",
        ] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
    }));
    rows
}
