//! G and I: media types and content codings.

use super::fixture::Fixture;
use super::json::{BODY, broken};
use super::request::{Sent, key, post};
use super::row::Code::{Ambiguous, Coding, Malformed, MediaType, Missing, Ok};
use super::row::{HEADER, Row, Via, row};
use super::run::Corpus;

#[test]
fn the_label_alone_decides() {
    Corpus::run(rows);
}

fn labelled(label: impl AsRef<[u8]>, body: impl Into<String>) -> Sent {
    post("/").header("content-type", label).body(body.into())
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let json = format!(r#"{{"api_key":"{k}"}}"#);
    let form = format!("api_key={k}");
    let mut rows = Vec::new();
    for label in [
        "APPLICATION/JSON",
        "application/json;charset=UTF-8",
        " application/json\t;charset=\"utf-8\"",
        "application/json ; a=\"b;c\"",
        "application/vnd.x+json",
        "application/problem+JSON",
    ] {
        rows.push(row(format!("G138-139.{label}"), BODY, labelled(label, &json), Ok, 1));
    }
    let long = format!("application/{}", "x".repeat(8192));
    for label in ["application", "/", "a/b/c", "application/", "application/jsön", &long] {
        let id = &label[..label.len().min(20)];
        rows.push(row(format!("G143.{id}"), BODY, labelled(label, &json), MediaType, 0));
    }
    // Nothing is looked for in a body of another type.
    for label in ["text/plain", "application/jsonx"] {
        rows.push(row(format!("G143.{label}"), BODY, labelled(label, &json), Missing, 0));
    }
    let multipart = "multipart/form-data";
    let with_boundary = "multipart/form-data; boundary=b";
    let is_on = cfg!(feature = "multipart");
    let unreadable = if is_on { Malformed } else { Missing };
    rows.extend([
        row(
            "G141",
            BODY,
            labelled("application/json", &json).header("content-type", "application/json"),
            Ambiguous,
            0,
        ),
        row("G141.list", BODY, labelled("application/json, text/plain", &json), Ambiguous, 0),
        row(
            "G141.header",
            HEADER,
            key(k).json("{}").header("content-type", "text/plain"),
            Ambiguous,
            1,
        )
        .hooks_only(),
        row("G142", BODY, post("/").body(json.clone()), Missing, 0),
        row("G142.empty", HEADER, key(k).json(""), Ok, 1),
        row("G143.header", HEADER, key(k).header("content-type", "a/b/c").body("x"), MediaType, 1)
            .hooks_only(),
        row("G143.ff", BODY, labelled(b"application/json\xff", &json), MediaType, 0),
        row(
            "G144.json-as-form",
            BODY,
            labelled("application/x-www-form-urlencoded", &json),
            Missing,
            0,
        ),
        row("G144.json-as-multipart", BODY, labelled(multipart, &json), Malformed, 0),
        row("G144.json-as-multipart.boundary", BODY, labelled(with_boundary, &json), unreadable, 0),
        row("G144.header", HEADER, key(k).json("a=1"), Malformed, 1).hooks_only(),
        row("G144.header.form", HEADER, key(k).form("{\"a\":1}"), Ok, 1).check(|seen| {
            assert!(seen.part("JSON").is_none_or(|json| json == serde_json::json!({})));
            assert!(
                seen.part("POST").is_none_or(|form| form == serde_json::json!({"{\"a\":1}": ""}))
            );
        }),
    ]);
    // No part of the envelope shows them, and the layers leave them to the handler.
    for (id, sent) in [
        ("G142.header", key(k).body("opaque")),
        ("G142.json", key(k).body("{}")),
        ("G142.text", key(k).header("content-type", "text/plain").body("{")),
        ("G142.octets", key(k).header("content-type", "application/octet-stream").body("x")),
        ("G142.lines", key(k).header("content-type", "application/x-ndjson").body("{}\n")),
    ] {
        rows.push(row(id, HEADER, sent.clone(), MediaType, 1).hooks_only());
        rows.push(row(id, HEADER, sent, Ok, 1).via(&[Via::Layer, Via::Buffered]));
    }
    for charset in ["utf-16", "iso-8859-1", "\"UTF-32\"", "utf-8; charset=utf-16"] {
        let label = format!("application/json; charset={charset}");
        rows.push(row(format!("G140.{charset}"), BODY, labelled(&label, &json), MediaType, 0));
        let sent = key(k).header("content-type", label).body("{}");
        rows.push(row(format!("G140.header.{charset}"), HEADER, sent, MediaType, 1).hooks_only());
    }
    rows.extend(broken("G144.form-as-json", labelled("application/json", &form)));
    for (id, coding, expected) in [
        ("I163", "gzip", Coding),
        ("I164", "identity", Ok),
        ("I164.upper", "IDENTITY", Ok),
        ("I166", "gzip, gzip", Coding),
        ("I166.list", "br, gzip", Coding),
        ("I166.identity", "identity, gzip", Coding),
        ("I166.unknown", "x-own", Coding),
        ("I166.empty", "", Coding),
        ("I166.element", "identity,", Coding),
    ] {
        let sent = key(k).header("content-encoding", coding).json("{}");
        rows.push(row(id, HEADER, sent, expected, 1).hooks_only());
        let sent = labelled("application/json", &json).header("content-encoding", coding);
        // Nothing is looked for in a body that is coded.
        let (expected, finds) = if expected == Ok { (Ok, 1) } else { (Missing, 0) };
        rows.push(row(format!("{id}.body"), BODY, sent, expected, finds));
    }
    let gzipped = post("/").json(&b"\x1f\x8b\x08\x00\x00\x00\x00\x00"[..]);
    rows.push(row("I169", BODY, gzipped.clone(), Malformed, 0));
    rows.push(
        row("I169.header", HEADER, gzipped.header("x-api-key", k), Malformed, 1).hooks_only(),
    );
    rows
}
