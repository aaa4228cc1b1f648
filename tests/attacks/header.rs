//! A: a key in a header of its own.

use http::Method;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, Placement, PlacementKind};

use super::fixture::{Fixture, ID_LEN, SECRET_LEN, forge, with_char};
use super::request::{Sent, key, post};
use super::row::Code::{Ambiguous, Invalid, Missing, NoSubprotocol, Ok};
use super::row::{HEADER, OnWire, Row, Setup, header, row, token};
use super::run::Corpus;
use crate::support::owner;

const PUBLIC: Setup =
    Setup::new("public", |f| AuthLayer::public().with_keys(&f.manager, [header()]).unwrap());

const COPIES: Setup = Setup::new("equal copies", |f| {
    token(f, Credentials::new([header()]).unwrap().with_insecure_equal_copies())
});
const ONE_KEY: Setup = Setup::new("one key", |f| {
    let policy = Policy::token().with_methods([Method::POST]).with_key(f.id.clone());
    AuthLayer::new(policy).unwrap().with_keys(&f.manager, [header()]).unwrap()
});
const UNSPLIT: Setup = Setup::new("unsplit", |f| {
    token(f, Credentials::new([header()]).unwrap().with_insecure_unsplit_values())
});
const WEBSOCKET: Setup = Setup::new("websocket", |f| token(f, [Placement::websocket_protocol()]));

const WEBSOCKET_COPIES: Setup = Setup::new("websocket, equal copies", |f| {
    let credentials = Credentials::new([Placement::websocket_protocol()]).unwrap();
    token(f, credentials.with_insecure_equal_copies())
});

fn protocols(value: impl AsRef<[u8]>) -> Sent {
    post("/").header("sec-websocket-protocol", value)
}

#[test]
fn a_key_in_a_header() {
    Corpus::run(rows);
}

#[test]
fn a_key_with_one_other_character() {
    Corpus::run(|f| {
        (0..f.k.len())
            .map(|index| {
                let other = if f.k.as_bytes()[index] == b'x' { 'y' } else { 'x' };
                row(format!("A22.{index}"), HEADER, key(with_char(&f.k, index, other)), Invalid, 0)
            })
            .collect()
    });
}

#[test]
fn a_key_of_another_length() {
    Corpus::run(|f| {
        let k = &f.k;
        let mut rows = Vec::new();
        for length in [1, 2, 15, 64, 66, 69, 71, 91, 92, 128, 129, 4096] {
            let cut = format!("{k}{}", "x".repeat(length))[..length].to_owned();
            rows.push(row(format!("A17.{length}"), HEADER, key(cut), Invalid, 0));
            rows.push(row(format!("A17.x{length}"), HEADER, key("x".repeat(length)), Invalid, 0));
        }
        rows.push(row("A18.64K", HEADER, key("x".repeat(65_536)), Invalid, 0).h2(OnWire::Refused));
        rows.push(
            row("A18.500K", HEADER, key("x".repeat(500_000)), Invalid, 0)
                .h1(OnWire::Refused)
                .h2(OnWire::Refused),
        );
        for character in ["_", ".", ":"] {
            let value = character.repeat(100_000);
            rows.push(
                row(format!("A19.{character}"), HEADER, key(value), Invalid, 0).h2(OnWire::Refused),
            );
        }
        let alphabet = ('0'..='9').chain('A'..='Z').chain('a'..='z').chain("_-".chars());
        for character in alphabet {
            rows.push(row(
                format!("A21.{character}"),
                HEADER,
                key(format!("{k}{character}")),
                Invalid,
                0,
            ));
        }
        rows.push(row("A21.twice", HEADER, key(format!("{k}{k}")), Invalid, 0));
        rows
    });
}

fn rows(f: &Fixture) -> Vec<Row> {
    let (k, k2) = (f.k.as_str(), f.k2.as_str());
    let (id, secret) = (f.id.as_str(), f.secret());
    let inside = |text: &str| format!("{}{text}{}", &k[..30], &k[30..]);
    let mut rows = vec![
        row("A1", HEADER, key(k), Ok, 1).check(|seen| {
            let identity = seen.identity().unwrap();
            assert_eq!(identity.owner(), &owner("alice"));
            assert_eq!(identity.placement(), Some(PlacementKind::Header));
        }),
        row("A1.none", HEADER, post("/"), Missing, 0),
        row("A1.empty", HEADER, key(""), Missing, 0),
        row("A1.blank", HEADER, key(" \t "), Missing, 0),
        row("A3", HEADER, key(format!("  {k} \t ")), Ok, 1),
        row("A4", HEADER, key(k).header("x-api-key", k), Ambiguous, 0),
        row("A6", HEADER, key("junk").header("x-api-key", k), Ambiguous, 0),
        row("A6.last", HEADER, key(k).header("x-api-key", "junk"), Ambiguous, 0),
        row("A6.other", HEADER, key(k).header("x-api-key", k2), Ambiguous, 0),
        row("A7", HEADER, key(k).header("x-api-key", ""), Ok, 1),
        row("A7.first", HEADER, key(" ").header("x-api-key", k), Ok, 1),
        row(
            "A8",
            HEADER,
            (0..90).fold(post("/"), |sent, _| sent.header("x-api-key", k)),
            Ambiguous,
            0,
        ),
        row(
            "A8.more",
            HEADER,
            (0..1000).fold(post("/"), |sent, _| sent.header("x-api-key", k)),
            Ambiguous,
            0,
        )
        .h1(OnWire::Refused)
        .h2(OnWire::Refused),
        row("A12", HEADER, key(inside("\t")), Invalid, 0),
        row("A16.upper", HEADER, key(k.to_uppercase()), Invalid, 0),
        row("A16.lower", HEADER, key(with_char(k, 0, 'W')), Invalid, 0),
        row("A23", HEADER, key(forge("whk", &"0".repeat(ID_LEN), secret)), Invalid, 1),
        row("A24.all", HEADER, key(forge("whk", id, &"0".repeat(SECRET_LEN))), Invalid, 1),
        row("A24.none", HEADER, key(forge("whk", id, "")), Invalid, 0),
        row(
            "A24.other",
            HEADER,
            key(forge("whk", id, &k2[k2.len() - 44..k2.len() - 6])),
            Invalid,
            1,
        ),
        row("A26", HEADER, key(forge("whk_test", id, secret)), Invalid, 0),
        row("A26.same-length", HEADER, key(forge("abc", id, secret)), Invalid, 0),
        row("A28.jac", HEADER, key("5f1d7a84c9b2e3f001234567:1700000000:x7Gh2kLm9QpR"), Invalid, 0),
        row("A28.github", HEADER, key(format!("ghp_{}", "a".repeat(36))), Invalid, 0),
        row("A28.stripe", HEADER, key(format!("sk_live_{}", "a".repeat(24))), Invalid, 0),
        row("A28.slack", HEADER, key("xoxb-1234567890-1234567890-abcdefghijklmnop"), Invalid, 0),
        row("A28.jwt", HEADER, key("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."), Invalid, 0),
        row("A29", HEADER, post("/").header("X_Api_Key", k), Missing, 0),
        row("A29.stripped", HEADER, key(k).header("x_api_key", k2), Ok, 1).stray().check(|seen| {
            if let Some(headers) = seen.part("HEADERS") {
                assert!(headers.get("x_api_key").is_none(), "{headers}");
            }
        }),
        row("A31", HEADER, key(k).header("connection", "x-api-key"), Ok, 1).h2(OnWire::Skip),
        row("A34", PUBLIC, key(k), Ok, 0),
        row("A34.twice", PUBLIC, key(k).header("x-api-key", k2), Ok, 0),
    ];
    for (index, value) in
        [format!("{k}, {k}"), format!("{k},{k}"), format!("{k}, , {k2}")].iter().enumerate()
    {
        rows.push(row(format!("A37.{index}"), HEADER, key(value), Ambiguous, 0));
        let sent = key(value);
        let expected = if index < 2 { Ok } else { Ambiguous };
        rows.push(row(format!("A37.{index}.copies"), COPIES, sent, expected, (index < 2).into()));
        rows.push(row(format!("A37.{index}.unsplit"), UNSPLIT, key(value), Invalid, 0));
    }
    rows.extend([
        row("A37.one-key", ONE_KEY, key(k), Ok, 1),
        row("A37.one-key.both", ONE_KEY, key(format!("{k}, {k2}")), Ambiguous, 0),
        row("A37.one-key.others", ONE_KEY, key(format!("{k2}, {k2}")), Ambiguous, 0),
        row("A38", WEBSOCKET, protocols(format!("chat, key.{k}")), Ok, 1).check(|seen| {
            if let Some(request) = seen.request() {
                assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
            }
        }),
        row("A38.junk", WEBSOCKET, protocols("chat, key.junk"), Invalid, 0),
        row("A38.none", WEBSOCKET, protocols("chat, key."), Missing, 0),
        row("A38.alone", WEBSOCKET, protocols(format!("key.{k}")), NoSubprotocol, 0),
        row("A38.twice", WEBSOCKET, protocols(format!("a, key.{k}, key.{k}")), Ambiguous, 0),
        row("A38.copies", WEBSOCKET_COPIES, protocols(format!("a, key.{k}, key.{k}")), Ok, 1),
        row(
            "A38.copies.alone",
            WEBSOCKET_COPIES,
            protocols(format!("key.{k}, key.{k}")),
            NoSubprotocol,
            0,
        ),
        row(
            "A38.copies.two",
            WEBSOCKET_COPIES,
            protocols(format!("a, key.{k}, key.{k2}")),
            Ambiguous,
            0,
        ),
    ]);
    for (index, value) in [
        format!("{k},"),
        format!(",{k}"),
        format!("{k};{k}"),
        format!("{k} {k}"),
        format!("\"{k}\""),
        format!("'{k}'"),
        format!("<{k}>"),
        format!("{k}="),
        format!("{k}:"),
        format!("Bearer {k}"),
    ]
    .iter()
    .enumerate()
    {
        rows.push(row(format!("A9-11.{index}"), HEADER, key(value), Invalid, 0));
    }
    for byte in [0xff, 0x80, 0xc3] {
        let mut value = k.as_bytes().to_vec();
        value.insert(30, byte);
        rows.push(row(format!("A13.{byte:x}"), HEADER, key(&value), Invalid, 0));
        value.remove(0);
        rows.push(row(format!("A13.{byte:x}.same-length"), HEADER, key(&value), Invalid, 0));
    }
    for text in ["é", "ａ", "а", "\u{200b}", "\u{202e}", "e\u{301}"] {
        rows.push(row(format!("A14.{text:?}"), HEADER, key(inside(text)), Invalid, 0));
        let start = format!("{}{text}", &k[..k.len() - text.len()]);
        rows.push(row(format!("A14.{text:?}.same-length"), HEADER, key(start), Invalid, 0));
    }
    for (index, character) in k.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
        let flipped = match character.is_ascii_lowercase() {
            true => character.to_ascii_uppercase(),
            false => character.to_ascii_lowercase(),
        };
        let value = with_char(k, index, flipped);
        rows.push(row(format!("A16.{index}"), HEADER, key(value), Invalid, 0).in_process());
    }
    for index in [0, SECRET_LEN - 1] {
        let other = if secret.as_bytes()[index] == b'x' { 'y' } else { 'x' };
        let forged = forge("whk", id, &with_char(secret, index, other));
        rows.push(row(format!("A24.{index}"), HEADER, key(forged), Invalid, 1));
    }
    for separator in ["-", ".", ":", "%5F"] {
        rows.push(row(
            format!("A27.{separator}"),
            HEADER,
            key(k.replace('_', separator)),
            Invalid,
            0,
        ));
    }
    for (name, value) in [
        ("X-Webhook-Owner", "mallory"),
        ("X-User", "mallory"),
        ("X-Middleware-Subrequest", "src/middleware"),
        ("X-Original-URL", "/public"),
        ("X-Rewrite-URL", "/public"),
        ("X-Forwarded-Uri", "/public"),
        ("X-Forwarded-Prefix", "/public"),
        ("X-Forwarded-User", "mallory"),
        ("X-HTTP-Method-Override", "GET"),
    ] {
        let without = post("/").header(name, value);
        rows.push(row(format!("A32-33.{name}"), HEADER, without.clone(), Missing, 0));
        let with = without.header("x-api-key", k);
        rows.push(row(format!("A32-33.{name}.key"), HEADER, with, Ok, 1).check(|seen| {
            assert_eq!(seen.identity().unwrap().owner(), &owner("alice"));
        }));
    }
    for name in ["Cookie", "Referer", "User-Agent", "Via", "X-Other"] {
        let sent = post("/").header(name, format!("https://example.org/?key={k};"));
        rows.push(row(format!("A36.{name}"), HEADER, sent.clone(), Missing, 0));
        // Hooks remove keys from headers that are not configured.
        let sent = sent.header("x-api-key", k2);
        rows.push(row(format!("A36.{name}.redacted"), HEADER, sent, Ok, 1).stray());
    }
    rows
}

#[test]
fn a_line_break_is_no_part_of_a_header_value() {
    for value in ["key\n", "key\r\nx-other: 1", "key\0", "\u{7f}"] {
        assert!(http::HeaderValue::from_str(value).is_err(), "A21, {value:?}");
    }
}
