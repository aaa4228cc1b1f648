//! F: a key in a form, urlencoded or multipart.

use tower_webhook::credential::Placement;

use super::fixture::Fixture;
use super::json::BODY;
use super::request::{Sent, post};
use super::row::Code::{Ambiguous, Invalid, Malformed, MediaType, Missing, Ok, TooLarge, TooMany};
use super::row::{HEADER, Row, Setup, Via, row, token};
use super::run::Corpus;

const BOTH: Setup = Setup::new("body and query", |f| {
    token(f, [Placement::body("api_key").unwrap(), Placement::query("api_key").unwrap()])
})
.in_body();

#[test]
fn a_key_in_a_form() {
    Corpus::run(forms);
}

#[test]
fn a_key_in_a_multipart_form() {
    Corpus::run(multipart);
}

fn form(text: impl Into<String>) -> Sent {
    post("/").form(text.into())
}

fn forms(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let mut rows = Vec::new();
    for (id, text, expected, finds) in [
        ("F120", format!("api_key={k}"), Ok, 1),
        ("F120.escaped", format!("%61pi_key=%77{}", &k[1..]), Ok, 1),
        ("F120.blank", format!("api_key=+{k}"), Invalid, 0),
        ("F120.ff", format!("api_key={}%FF", &k[1..]), Invalid, 0),
        ("F120.empty", String::new(), Missing, 0),
        ("F120.mark", format!("\u{feff}api_key={k}"), Ok, 1),
        ("F120.marks", format!("\u{feff}\u{feff}api_key={k}"), Missing, 0),
        ("F121", format!("api_key={k}&api_key={k}"), Ambiguous, 0),
        ("F121.junk", format!("api_key=junk&api_key={k}"), Ambiguous, 0),
        ("F121.empty", format!("api_key=&api_key={k}"), Ok, 1),
        ("F121.list", format!("api_key[]={k}"), Missing, 0),
        ("F121.upper", format!("API_KEY={k}"), Missing, 0),
        ("F121.semicolon", format!("a=1;api_key={k}"), Missing, 0),
        ("F121.256", "a&".repeat(255) + &format!("api_key={k}"), Ok, 1),
        ("F121.257", "a&".repeat(256) + &format!("api_key={k}"), TooMany, 0),
    ] {
        rows.push(row(id, BODY, form(text), expected, finds));
    }
    for method in ["GET", "HEAD"] {
        let mut sent = form(format!("api_key={k}"));
        sent.method = method.to_owned();
        rows.push(row(format!("F122.{method}"), BODY, sent, Missing, 0));
    }
    for charset in ["iso-8859-1", "utf-16", "utf-7", "\"utf-8", "utf-8;charset=utf-16"] {
        let sent = post("/")
            .header("content-type", format!("application/x-www-form-urlencoded;charset={charset}"))
            .body(format!("api_key={k}"));
        rows.push(row(format!("F123.{charset}"), BODY, sent, MediaType, 0));
    }
    let text = format!("b=%31&&api_key={k}&a=x+y&=&b");
    rows.extend([
        row("F120.rest", BODY, form(text), Ok, 1).check(|seen| {
            if let Some(fields) = seen.part("POST") {
                assert_eq!(fields, serde_json::json!({"b": ["1", ""], "a": "x y", "": ""}));
            }
            let rest = "b=%31&&a=x+y&=&b";
            assert!(seen.request().is_none_or(|request| request.body() == rest));
        }),
        row(
            "F124",
            BOTH,
            post(format!("/?api_key={k}")).form(format!("api_key={k}")),
            Ambiguous,
            1,
        ),
        row("F124.body", BOTH, post("/?a=1").form(format!("api_key={k}")), Ok, 1),
        row("F124.query", BOTH, post(format!("/?api_key={k}")).form("a=1"), Ok, 1),
        row("F124.other", BOTH, post("/?api_key=junk").form(format!("api_key={k}")), Invalid, 0),
        row("F124.junk", BOTH, post(format!("/?api_key={k}")).form("api_key=junk"), Ambiguous, 1),
        row("F120.256", HEADER, form("a&".repeat(255)).header("x-api-key", k), Ok, 1),
        row("F120.257", HEADER, form("a&".repeat(256)).header("x-api-key", k), TooMany, 1)
            .hooks_only(),
    ]);
    rows
}

fn multipart(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let part = |head: &str, content: &str| format!("--b\r\n{head}\r\n\r\n{content}\r\n");
    let field = |name: &str, content: &str| {
        part(&format!("Content-Disposition: form-data; name=\"{name}\""), content)
    };
    let sent = |body: String| {
        post("/").header("content-type", "multipart/form-data; boundary=b").body(body)
    };
    let whole = |parts: &[String]| sent(parts.concat() + "--b--\r\n");
    let key = || field("api_key", k);
    if !cfg!(feature = "multipart") {
        return vec![row("F126", BODY, whole(&[key()]), Missing, 0)];
    }
    let lf_only = format!("--b\nContent-Disposition: form-data; name=\"api_key\"\n\n{k}\n--b--\n");
    let named = |disposition: &str| part(&format!("Content-Disposition: {disposition}"), k);
    let mut rows = vec![
        row("F127", BODY, whole(&[key()]), Ok, 1),
        row("F127.rest", BODY, whole(&[field("a", "1"), key(), field("b", "2")]), Ok, 1).check(
            |seen| {
                if let Some(fields) = seen.part("POST") {
                    assert_eq!(fields, serde_json::json!({"a": "1", "b": "2"}));
                }
            },
        ),
        row("F127.none", BODY, whole(&[field("a", "1")]), Missing, 0),
        row(
            "F131.long-header",
            BODY,
            whole(&[
                part(
                    &format!(
                        "Content-Disposition: form-data; name=a\r\nX-A: {}",
                        "x".repeat(65_536)
                    ),
                    "1",
                ),
                key(),
            ]),
            TooLarge,
            0,
        ),
        row(
            "F131.headers",
            BODY,
            whole(&[
                part(
                    &format!("Content-Disposition: form-data; name=a{}", "\r\nX: y".repeat(1_000)),
                    "1",
                ),
                key(),
            ]),
            TooMany,
            0,
        ),
        row(
            "F131.parts",
            BODY.with_pre_auth(256 * 1024),
            whole(&vec![field("a", "1"); 1_001]),
            TooMany,
            0,
        )
        .in_process(),
        row("F132", BODY, whole(&[key(), field("a", &"x".repeat(16 * 1024))]), TooLarge, 0)
            .in_process(),
        row("F133", BODY, whole(&[key(), key()]), Ambiguous, 0),
        row("F133.empty", BODY, whole(&[field("api_key", ""), key()]), Ok, 1),
        row(
            "F133.dispositions",
            BODY,
            whole(&[part(
                "Content-Disposition: form-data; name=\"api_key\"\r\nContent-Disposition: form-data; name=\"a\"",
                k,
            )]),
            Malformed,
            0,
        ),
        row(
            "F133.names",
            BODY,
            whole(&[named("form-data; name=\"api_key\"; name=\"a\"")]),
            Malformed,
            0,
        ),
        row(
            "F134",
            BODY,
            whole(&[named("form-data; name=\"api_key\"; filename=\"k.txt\"")]),
            Invalid,
            0,
        ),
        row(
            "F134.empty",
            BODY,
            whole(&[named("form-data; name=\"api_key\"; filename=\"\"")]),
            Invalid,
            0,
        ),
        row(
            "F134.extended",
            BODY,
            whole(&[named("form-data; name=\"api_key\"; filename*=UTF-8''k")]),
            Invalid,
            0,
        ),
        row(
            "F136.names",
            BODY,
            whole(&[
                key(),
                part(
                    "Content-Disposition: form-data; name=\"f\"; filename=\"../../etc/passwd\"",
                    "x",
                ),
            ]),
            Ok,
            1,
        )
        .check(|seen| {
            if let Some(fields) = seen.part("POST") {
                assert_eq!(fields["f"]["filename"], "../../etc/passwd");
            }
        }),
        row(
            "F136.mixed",
            BODY,
            whole(&[
                key(),
                part(
                    "Content-Disposition: form-data; name=\"m\"\r\nContent-Type: multipart/mixed; boundary=c",
                    "--c\r\n\r\nx\r\n--c--",
                ),
            ]),
            Ok,
            1,
        ),
        row("F137.lf", BODY, sent(lf_only), Malformed, 0),
        row("F137.around", BODY, sent(format!("preamble\r\n{}--b--\r\nepilogue", key())), Ok, 1),
        row("F137.in-epilogue", BODY, sent(format!("--b--\r\n{}--b--\r\n", key())), Missing, 0),
    ];
    let open = key();
    for (id, body) in [
        ("open", open.clone()),
        ("head", "--b\r\nContent-Disposition: form-data; na".to_owned()),
        ("delimiter", format!("{open}--")),
        ("delimiter.name", format!("{open}--b")),
        ("delimiter.dash", format!("{open}--b-")),
    ] {
        rows.push(row(format!("F129.{id}"), BODY, sent(body), Malformed, 0));
    }
    for boundary in [
        "",
        "; boundary=",
        "; boundary=\"\"",
        &format!("; boundary={}", "b".repeat(71)),
        "; boundary=\"b ",
        "; boundary=\"b \"",
        "; boundary=b\"b",
        "; boundary=b; boundary=b",
        "; boundary=<b>",
    ] {
        let sent = post("/")
            .header("content-type", format!("multipart/form-data{boundary}"))
            .body(key() + "--b--\r\n");
        rows.push(row(format!("F128.{boundary}"), BODY, sent, Malformed, 0));
    }
    let body = key() + "--b--\r\n";
    let obs_text =
        post("/").header("content-type", b"multipart/form-data; boundary=b\xff").body(body.clone());
    rows.push(row("F128.ff", BODY, obs_text, MediaType, 0));
    let stray =
        post("/").header("x-api-key", k).header("content-type", "multipart/form-data").body(body);
    rows.push(row("F128.header", HEADER, stray, Malformed, 1).via(&[Via::Hooks]));
    rows
}
