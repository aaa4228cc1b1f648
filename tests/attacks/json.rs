//! E: a key in a JSON body, and JSON bodies in general.

use http::Method;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::content::{ContentLimits, json::JsonLimits};
use tower_webhook::credential::{Credentials, Placement};

use super::fixture::Fixture;
use super::request::{Sent, key, post};
use super::row::Code::{Invalid, Malformed, Missing, Ok, TooLarge};
use super::row::{HEADER, Row, Setup, Via, row, token};
use super::run::Corpus;

pub(super) const BODY: Setup =
    Setup::new("body", |f| token(f, [Placement::body("api_key").unwrap()])).in_body();
const LARGE: Setup = BODY.with_pre_auth(256 * 1024);
const DEEP: Setup = Setup::new("deep body", |f| {
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_depth(64));
    let credentials = Credentials::new([Placement::body("api_key").unwrap()]).unwrap();
    let policy = Policy::token().with_methods([Method::POST]);
    AuthLayer::new(policy)
        .unwrap()
        .with_keys(&f.manager, credentials.with_content_limits(limits))
        .unwrap()
})
.in_body();

#[test]
fn a_key_in_a_json_body() {
    Corpus::run(keys);
}

#[test]
fn json_that_parsers_disagree_on() {
    Corpus::run(texts);
}

#[test]
fn json_that_is_large() {
    Corpus::run(sizes);
}

fn json(text: impl Into<bytes::Bytes>) -> Sent {
    post("/").json(text)
}

/// A body that is no JSON: malformed to a hook, and to a layer one without a credential in it.
pub(super) fn broken(id: impl Into<String>, sent: Sent) -> [Row; 2] {
    let id = id.into();
    let buffered = row(id.clone(), BODY, sent.clone(), Missing, 0).via(&[Via::Buffered]);
    [row(id, BODY, sent, Malformed, 0).hooks_only(), buffered]
}

fn keys(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let escaped: String = k.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let mut rows = Vec::new();
    for (id, text, expected, finds) in [
        ("E95", format!(r#"{{"api_key":"{k}"}}"#), Ok, 1),
        ("E95.escaped", format!(r#"{{"\u0061pi_key":"{escaped}"}}"#), Ok, 1),
        ("E95.junk", r#"{"api_key":"junk"}"#.to_owned(), Invalid, 0),
        ("E95.blank", format!(r#"{{"api_key":" {k}"}}"#), Invalid, 0),
        ("E95.nul", format!(r#"{{"api_key":"{k}\u0000"}}"#), Invalid, 0),
        ("E96", format!(r#"{{"api_key":"{k}","api_key":"{k}"}}"#), Malformed, 0),
        ("E96.other", format!(r#"{{"api_key":"junk","api_key":"{k}"}}"#), Malformed, 0),
        ("E96.empty", format!(r#"{{"api_key":"","api_key":"{k}"}}"#), Malformed, 0),
        ("E97", format!(r#"{{"api_key":"junk","\u0061pi_key":"{k}"}}"#), Malformed, 0),
        ("E98", format!(r#"{{"api_key":"{k}","a":1,"a":1}}"#), Malformed, 0),
        (
            "E98.deep",
            format!(r#"{{"api_key":"{k}","a":[{{"b":{{"c":1,"\u0063":1}}}}]}}"#),
            Malformed,
            0,
        ),
        ("E99", format!(r#"{{"data":{{"api_key":"{k}"}}}}"#), Missing, 0),
        ("E99.list", format!(r#"[{{"api_key":"{k}"}}]"#), Missing, 0),
        ("E100.number", r#"{"api_key":1}"#.to_owned(), Invalid, 0),
        ("E100.true", r#"{"api_key":true}"#.to_owned(), Invalid, 0),
        ("E100.list", format!(r#"{{"api_key":["{k}"]}}"#), Invalid, 0),
        ("E100.object", format!(r#"{{"api_key":{{"$ne":"{k}"}}}}"#), Invalid, 0),
        ("E100.null", r#"{"api_key":null}"#.to_owned(), Missing, 0),
        ("E100.empty", r#"{"api_key":""}"#.to_owned(), Missing, 0),
        ("E101.string", format!(r#""{k}""#), Missing, 0),
        ("E101.list", "[]".to_owned(), Missing, 0),
        ("E101.number", "0".to_owned(), Missing, 0),
        ("E101.null", "null".to_owned(), Missing, 0),
        ("E102", String::new(), Missing, 0),
        ("E103.upper", format!(r#"{{"API_KEY":"{k}"}}"#), Missing, 0),
        ("E103.blank", format!(r#"{{"api_key ":"{k}"}}"#), Missing, 0),
        ("E103.nul", format!(r#"{{"api_key\u0000":"{k}"}}"#), Missing, 0),
        ("E104", format!("\u{feff}{{\"api_key\":\"{k}\"}}"), Ok, 1),
        ("E104.junk", "\u{feff}{\"api_key\":\"junk\"}".to_owned(), Invalid, 0),
        ("E104.twice", format!("\u{feff}\u{feff}{{\"api_key\":\"{k}\"}}"), Malformed, 0),
    ] {
        rows.push(row(id, BODY, json(text), expected, finds));
    }
    rows.extend(broken("E102.blank", json(" \r\n\t")));
    rows.extend(broken("E104.blank", json("\u{feff} ")));
    // What is left of the body is what was sent, without the key.
    for (id, before, after) in [
        ("E95.first", r#"{ "api_key" : "K" , "a": 1.10 }"#, r#"{ "a": 1.10 }"#),
        ("E95.last", r#"{"a":1.10,"api_key":"K"}"#, r#"{"a":1.10}"#),
        ("E104.rest", "\u{feff}{\"api_key\":\"K\",\"a\":1.10}", "{\"a\":1.10}"),
        ("E95.middle", r#"{"b":{},"api_key":"K","a":[]}"#, r#"{"b":{},"a":[]}"#),
    ] {
        rows.push(row(id, BODY, json(before.replace('K', k)), Ok, 1).check(move |seen| {
            assert!(seen.envelope().is_none_or(|envelope| envelope.contains(after)), "{after}");
            if let Some(request) = seen.request() {
                let body = str::from_utf8(request.body()).unwrap();
                let is_marked = before.starts_with('\u{feff}');
                assert_eq!(body.strip_prefix('\u{feff}').is_some(), is_marked);
                assert_eq!(body.trim_start_matches('\u{feff}'), after);
                assert_eq!(request.headers()["content-length"], body.len().to_string());
            }
        }));
    }
    let whole = format!(r#"{{"api_key":"{k}","a":{{"b":[1,"x"]}}}}"#);
    for length in 1..whole.len() {
        let cut = json(whole[..length].to_owned());
        rows.extend(broken(format!("E116.{length}"), cut).map(Row::in_process));
    }
    let bytes = |before: &str, bytes: &[u8], after: &str| {
        json([before.as_bytes(), bytes, after.as_bytes()].concat())
    };
    for (id, broken) in [
        ("ff", &b"\xff"[..]),
        ("cut", b"\xc3"),
        ("overlong", b"\xc0\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
    ] {
        let name = bytes("{\"api_key", broken, &format!("\":\"{k}\"}}"));
        let value = bytes(&format!("{{\"api_key\":\"{k}"), broken, "\"}");
        let other = bytes(&format!("{{\"api_key\":\"{k}\",\"a\":\""), broken, "\"}");
        rows.push(row(format!("E106.{id}.name"), BODY, name, Malformed, 0));
        rows.push(row(format!("E106.{id}.value"), BODY, value, Malformed, 0));
        rows.push(row(format!("E106.{id}.other"), BODY, other, Malformed, 0));
    }
    rows
}

/// Each text as the whole body of a hook with its key in a header, and beside the key in the body.
fn texts(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let mut rows = Vec::new();
    let mut refused = |id: &str, text: &str| {
        let whole = key(k).json(text.to_owned());
        rows.push(
            row(format!("{id}.{text:?}"), HEADER, whole, Malformed, 1).hooks_only().in_process(),
        );
        let beside = json(format!(r#"{{"api_key":"{k}","a":{text}}}"#));
        let beside_id = format!("{id}.{text:?}.beside");
        match id {
            // Readers disagree about these.
            "E107" => rows.push(row(beside_id, BODY, beside, Malformed, 0).in_process()),
            _ => rows.extend(broken(beside_id, beside).map(Row::in_process)),
        }
    };
    for text in [r#""\ud800""#, r#""\udc00\ud800""#, r#""\ud800x""#, r#"{"\ud800":1}"#] {
        refused("E107", text);
    }
    for text in [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x10",
        "1_000",
        "--1",
        "1.e1",
    ] {
        refused("E108", text);
    }
    for text in [
        "{} x",
        "{}{}",
        "{}\n{}",
        "{}\0",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "[1 2]",
        "\"a",
        "\"\t\"",
        "\"\u{1f}\"",
        r#""\x41""#,
        r#""\u00zz""#,
        "tru",
        "True",
        "nul",
        "// x\n1",
        "/* x */ 1",
        "1 // x",
        "\u{c}1",
        "\u{a0}1",
        "{\"a\"}",
        "{\"a\":}",
        "{:1}",
        "[\"a\":1]",
        "\u{feff}\u{feff}1",
    ] {
        refused("E116", text);
    }
    for text in [
        "-",
        "-01",
        "-00.0",
        "00",
        "00e0",
        "0e",
        "0e+",
        "0.e1",
        "2.e3",
        "1.0e+",
        "1e+-2",
        "1eE2",
        "-NaN",
        "0xAF",
        "1a",
        "1 000",
        "-2.",
        "\u{ff11}",
        "++1",
        "-.1",
        "9.e+",
        "inf",
        "0.3e",
        "[1]]",
        "[1",
        "[",
        "]",
        "[,]",
        "[1,,2]",
        "[,",
        "[\"a\",\n4\n,1,",
        "[1\n,1\n,1",
        "[}",
        "[3[4]]",
        "{\"a\":1]",
        "{\"a\":1,,\"b\":2}",
        "{,}",
        "{\"a\" 1}",
        "{\"a\"::1}",
        "{1:1}",
        "{null:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":/**/1}",
        "{\"a\":1}#",
        "{\"a\":1}//",
        "<null>",
        "\"a\"b",
        "nulls",
        "nUll",
        "*",
        "[\\n]",
        "\"\\\"",
        "\"\\a\"",
        "\"\\u00A\"",
        "\"\\u\"",
        "\"\\u{41}\"",
        "\"\\uD834\\uDd\"",
        "\"\\101\"",
        "'a'",
        "\"a\u{0}b\"",
        "\"new\nline\"",
        "\\u0020\"a\"",
        "{\"a\":\"b",
        "[\"a",
        "\u{2060}1",
        "\u{c}[]",
    ] {
        refused("E119.n", text);
    }
    let mut passed = |id: &str, text: &str| {
        let shown = text.to_owned();
        let whole = key(k).json(text.to_owned());
        rows.push(row(format!("{id}.{text:?}"), HEADER, whole, Ok, 1).check({
            let shown = shown.clone();
            move |seen| {
                let part = format!(r#""JSON":{shown},"#);
                assert!(seen.envelope().is_none_or(|envelope| envelope.contains(&part)), "{part}");
                assert!(seen.request().is_none_or(|request| request.body() == shown.as_str()));
            }
        }));
        let beside = json(format!(r#"{{"api_key":"{k}","a":{text}}}"#));
        let beside = row(format!("{id}.{text:?}.beside"), BODY, beside, Ok, 1).in_process();
        rows.push(beside.check(move |seen| {
            let body = format!(r#"{{"a":{shown}}}"#);
            assert!(seen.envelope().is_none_or(|envelope| envelope.contains(&body)), "{body}");
            assert!(seen.request().is_none_or(|request| request.body() == body.as_str()));
        }));
    };
    for text in [
        "-0",
        "18446744073709551616",
        "1234567890123456789012345678901234567890",
        "1e-400",
        "1e999",
        "0.1234567890123456789012345678901234567890",
        "-0.0E+00",
        "1E+2",
    ] {
        passed("E109", text);
    }
    for text in [
        r#"{"__proto__":1,"constructor":2,"toString":3,"":4}"#,
        r#"{"a":{"b":[{"c":null}]},"b":true}"#,
        r#"[1,"a",{"x":[]}]"#,
        r#""text""#,
        "null",
        " [ 1 , 2 ]\t",
        r#""\u0000\u001b[31m\r\n\u2028\u202e""#,
        "\"\u{2028}\u{202e}</script>\u{7f}\"",
        r#""\ud83d\ude00\/\b\f""#,
    ] {
        passed("E117-118", text);
    }
    for text in [
        "[]",
        "{}",
        "[[]  ]",
        "[ 4]",
        "[1]\n",
        "[null,1,\"1\",{}]",
        "[1,null,null,null,2]",
        "-123",
        "1E22",
        "123e45",
        "123.456789",
        "20e1",
        "0e+1",
        "1e-2",
        "[-0.000000000000000000000000000001]",
        "{\"a\":[]}",
        "{\"a\":1,\"A\":1}",
        "{\"a\\u0000b\":0}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\u{7f}\"",
        "\"\\uD834\\uDD1E\"",
        "\"\\uDBFF\\uDFFE\"",
        "\"\u{10ffff}\u{ffff}\"",
        "\"/* */\"",
        "\" \"",
        "\"\"",
        "false",
        "\"\\u0012\\u0821\\uFfFd\"",
    ] {
        passed("E119.y", text);
    }
    rows
}

fn sizes(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mixed = |depth: usize| format!("{}1{}", "[{\"\":".repeat(depth), "}]".repeat(depth));
    let beside = |text: &str| json(format!(r#"{{"api_key":"{k}","a":{text}}}"#));
    let fill = |text: &str| format!("[{text}0]", text = text.repeat(250_000 / text.len()));
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("\"n{n}\":0")).collect();
        format!("{{{}}}", names.join(","))
    };
    let mut rows = vec![
        row("E111.64", DEEP, beside(&nested(63)), Ok, 1).via(&[Via::Buffered]),
        row("E111.65", DEEP, beside(&nested(64)), Malformed, 0),
        row("E111.128", BODY, beside(&nested(127)), Ok, 1),
        row("E111.129", BODY, beside(&nested(128)), Malformed, 0),
        row("E111.100000", BODY, beside(&nested(100_000)), TooLarge, 0),
        row("E111.100000.read", LARGE, beside(&nested(100_000)), Malformed, 0),
        row("E111.open", LARGE, json("[".repeat(200_000)), Malformed, 0),
        row("E111.mixed", BODY, beside(&mixed(63)), Ok, 1),
        row("E111.mixed.129", BODY, beside(&mixed(64)), Malformed, 0),
        row("E113.1000", BODY, beside(&names(1_000)), Ok, 1),
        row("E113.19000", LARGE, beside(&names(19_000)), Ok, 1),
        row("E113.21000", LARGE, beside(&names(21_000)), Malformed, 0),
        row(
            "E114.name",
            LARGE,
            beside(&format!("{{\"{}\":1}}", "x".repeat(1_000_000))),
            TooLarge,
            0,
        ),
        row("E114.name.read", LARGE, beside(&format!("{{\"{}\":1}}", "x".repeat(200_000))), Ok, 1),
        row(
            "E114.escapes",
            LARGE,
            beside(&format!("\"{}\"", "\\u0041".repeat(170_000))),
            TooLarge,
            0,
        ),
        row(
            "E114.escapes.read",
            LARGE,
            beside(&format!("\"{}\"", "\\u0041".repeat(40_000))),
            Ok,
            1,
        ),
        row(
            "E114.name.escapes",
            LARGE,
            beside(&format!("{{\"{}\":1}}", "\\u0041".repeat(40_000))),
            Ok,
            1,
        ),
        row(
            "E114.key",
            LARGE,
            json(format!("{{\"api_key\":\"{}\"}}", "x".repeat(200_000))),
            Invalid,
            0,
        ),
        row(
            "E114.key.escapes",
            LARGE,
            json(format!("{{\"api_key\":\"{}\"}}", "\\u0041".repeat(40_000))),
            Invalid,
            0,
        ),
    ];
    for (id, text) in [("0", "0,"), ("[]", "[],"), ("{}", "{\"\":0},"), ("\"\"", "\"\",")] {
        let text = fill(text);
        rows.push(row(format!("E112.{id}"), LARGE, beside(&text), Malformed, 0));
        let sent = key(k).json(text);
        rows.push(row(format!("E112.{id}.header"), HEADER, sent, Malformed, 1).hooks_only());
    }
    // A megabyte on a socket is a test of the socket.
    rows.into_iter().map(Row::in_process).collect()
}
