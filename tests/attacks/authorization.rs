//! B: a key in `Authorization`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use tower_webhook::credential::{Credentials, Placement};

use super::fixture::Fixture;
use super::request::{Sent, key, post};
use super::row::Code::{Ambiguous, Invalid, Missing, Ok};
use super::row::{HEADER, OnWire, Row, Setup, header, row, token};
use super::run::Corpus;

const BEARER: Setup = Setup::new("bearer", |f| token(f, [Placement::bearer()]));
const BASIC: Setup = Setup::new("basic", |f| token(f, [Placement::basic()]));
const BOTH: Setup = Setup::new("header and bearer", |f| token(f, [header(), Placement::bearer()]));
const SCHEMES: Setup = Setup::new("schemes", |f| {
    token(f, [Placement::authorization("ApiKey").unwrap(), Placement::bearer()])
});
const COPIES: Setup = Setup::new("equal copies", |f| {
    let placements = [Placement::authorization("ApiKey").unwrap(), Placement::bearer()];
    token(f, Credentials::new(placements).unwrap().with_insecure_equal_copies())
});
const SECRET_TOKEN: Setup =
    Setup::new("secret-token", |f| token(f, [Placement::bearer().with_secret_token_uri()]));
const REALM: Setup =
    Setup::new("realm", |f| token(f, [Placement::bearer()]).with_realm(r#"a "b" \c"#).unwrap());

fn authorization(value: impl AsRef<[u8]>) -> Sent {
    post("/").header("Authorization", value)
}

#[test]
fn a_key_in_the_authorization_header() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let mut rows = Vec::new();
    let mut bearer = |id: &str, value: String, expected, finds| {
        rows.push(row(id, BEARER, authorization(value), expected, finds));
    };
    bearer("B37", format!("Bearer {k}"), Ok, 1);
    bearer("B38.lower", format!("bearer {k}"), Ok, 1);
    bearer("B38.upper", format!("BEARER {k}"), Ok, 1);
    bearer("B39", format!("Bearer   {k}"), Ok, 1);
    bearer("B39.after", format!("Bearer {k}  "), Ok, 1);
    bearer("B41", format!("Bearer{k}"), Missing, 0);
    bearer("B41.colon", format!("Bearer:{k}"), Missing, 0);
    bearer("B41.equals", format!("Bearer={k}"), Missing, 0);
    bearer("B41.x", format!("bearerX {k}"), Missing, 0);
    bearer("B41.tab", format!("Bearer\t{k}"), Missing, 0);
    bearer("B42", "Bearer".to_owned(), Missing, 0);
    bearer("B42.blank", "Bearer ".to_owned(), Missing, 0);
    bearer("B43", format!("Bearer {k} x"), Invalid, 0);
    bearer("B54", format!("Bearer {k}, Bearer {k}"), Ambiguous, 0);
    bearer("B54.basic", format!("Bearer {k}, Basic x"), Ambiguous, 0);
    bearer("B54.foreign", format!("Bearer {k}, Digest x"), Invalid, 0);
    bearer("B54.first", format!("Basic x,bearer {k}"), Ambiguous, 0);
    bearer("B43.quoted", format!("Bearer \"{k}\""), Invalid, 0);
    bearer("B43.parameter", format!("Bearer token={k}"), Invalid, 0);
    bearer("B44", k.to_owned(), Missing, 0);
    for scheme in ["Digest", "Negotiate", "Token", "ApiKey", "Basic"] {
        bearer(&format!("B47.{scheme}"), format!("{scheme} {k}"), Missing, 0);
    }
    bearer("B52.off", format!("Bearer secret-token:{k}"), Invalid, 0);

    let mut basic = |id: &str, value: String, expected, finds| {
        let sent = authorization(format!("Basic {value}"));
        rows.push(row(id, BASIC, sent, expected, finds));
    };
    basic("B46.password", STANDARD.encode(format!("user:{k}")), Ok, 1);
    basic("B46.no-user", STANDARD.encode(format!(":{k}")), Ok, 1);
    basic("B46.user", STANDARD.encode(format!("{k}:")), Ok, 1);
    basic("B46.colon", STANDARD.encode(format!("user:{k}:")), Invalid, 0);
    basic("B46.no-base64", "%%%".to_owned(), Invalid, 0);
    basic("B46.clear", format!("user:{k}"), Invalid, 0);
    let unpadded = STANDARD_NO_PAD.encode(format!("us:{k}"));
    assert_ne!(unpadded.len() % 4, 0);
    basic("B46.padding", unpadded, Invalid, 0);
    let url_safe = URL_SAFE.encode(format!("\u{7ff}\u{7ff}??>>:{k}"));
    assert!(url_safe.contains(['-', '_']));
    basic("B46.url-safe", url_safe, Invalid, 0);
    basic("B46.no-colon", STANDARD.encode(k), Invalid, 0);
    basic("B46.no-utf-8", STANDARD.encode([b"\xff:", k.as_bytes()].concat()), Invalid, 0);
    basic("B46.nul", STANDARD.encode(format!("user:{k}\0")), Invalid, 0);
    basic("B46.trailing", STANDARD.encode(format!("user:{k}")) + "\t=", Invalid, 0);
    basic("B46.empty", String::new(), Missing, 0);
    let long = authorization(format!("Basic {}", STANDARD.encode("x".repeat(75_000))));
    rows.push(row("B46.100K", BASIC, long, Invalid, 0).h2(OnWire::Refused));

    let twice =
        |first: String, second: String| authorization(first).header("authorization", second);
    let good = || format!("Bearer {k}");
    rows.extend([
        row("B48", BEARER, twice(good(), good()), Ambiguous, 0),
        row("B48.basic", BEARER, twice(good(), "Basic eDp4".to_owned()), Ambiguous, 0),
        row("B48.foreign", BEARER, twice("Digest x".to_owned(), good()), Ambiguous, 0),
        row("B48.both", BOTH, authorization(good()).header("x-api-key", k), Ambiguous, 0),
        row("B48.either", BOTH, authorization(good()), Ok, 1),
        row("B48.junk", BOTH, authorization("Bearer junk"), Invalid, 0),
        row("B48.header-junk", BOTH, key("junk"), Invalid, 0),
        row("B49", HEADER, key(k).header("authorization", "Bearer foreign"), Ok, 1).check(|seen| {
            assert!(seen.envelope().is_none_or(|envelope| !envelope.contains("foreign")));
        }),
        row("B51", BEARER, post("/").header("proxy-authorization", good()), Missing, 0),
        row(
            "B51.stripped",
            HEADER,
            key(k).header("proxy-authorization", format!("Bearer {}", f.k2)),
            Ok,
            1,
        )
        .stray(),
        row("B52", SECRET_TOKEN, authorization(format!("Bearer secret-token:{k}")), Ok, 1),
        row("B52.without", SECRET_TOKEN, authorization(good()), Ok, 1),
        row(
            "B52.twice",
            SECRET_TOKEN,
            authorization(format!("Bearer secret-token:secret-token:{k}")),
            Invalid,
            0,
        ),
        row("B55", SCHEMES, authorization(format!("ApiKey {k}")), Ok, 1),
        row("B55.lower", SCHEMES, authorization(format!("apikey  {k}")), Ok, 1),
        row("B55.bearer", SCHEMES, authorization(good()), Ok, 1),
        row("B55.bare", SCHEMES, authorization("ApiKey"), Missing, 0),
        row("B55.joined", SCHEMES, authorization(format!("ApiKey{k}")), Missing, 0),
        row("B55.other", SCHEMES, authorization(format!("Token {k}")), Missing, 0),
        row("B55.junk", SCHEMES, authorization("ApiKey junk"), Invalid, 0),
        row("B55.twice", SCHEMES, twice(good(), format!("ApiKey {k}")), Ambiguous, 0),
        row("B55.list", SCHEMES, authorization(format!("ApiKey {k}, Bearer x")), Ambiguous, 0),
        row("B54.copies", COPIES, authorization(format!("Bearer {k}, bearer {k}")), Ok, 1),
        row("B54.copies.lines", COPIES, twice(good(), good()), Ok, 1),
        row("B54.copies.own", COPIES, authorization(format!("ApiKey {k},ApiKey {k}")), Ok, 1),
        row("B54.copies.mixed", COPIES, twice(good(), format!("ApiKey {k}")), Ambiguous, 0),
        row(
            "B54.copies.mixed.list",
            COPIES,
            authorization(format!("ApiKey {k}, Bearer {k}")),
            Ambiguous,
            0,
        ),
        row(
            "B54.copies.two",
            COPIES,
            authorization(format!("Bearer {k}, Bearer {}", f.k2)),
            Ambiguous,
            0,
        ),
        row("B53", REALM, authorization("Bearer junk"), Invalid, 0),
    ]);
    rows
}
