//! H: how a body is framed, how long it is, and how long it takes.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;

use super::fixture::Fixture;
use super::request::{Sent, Step, key, post, request};
use super::row::Code::{self, Internal, Invalid, Malformed, Missing, Ok, Timeout, TooLarge};
use super::row::{OnWire, Row, Setup, Via, WITH_BODY, header, row};
use super::run::Corpus;

const LIMIT: usize = 1024;
const LIMITED: Setup = WITH_BODY.with_max_body(LIMIT);
const IMPATIENT: Setup = LIMITED.with_deadline(Duration::from_millis(50));

/// The body is not needed.
const UNNEEDED: Setup = Setup::new("unneeded", |f| {
    let policy = Policy::token().with_methods([Method::POST]).without_body();
    let placements = [header(), Placement::body("api_key").unwrap()];
    AuthLayer::new(policy).unwrap().with_keys(&f.manager, placements).unwrap()
});

const READERS: &[Via] = &[Via::Hooks, Via::Buffered];

#[test]
fn bodies_that_are_large_slow_or_broken() {
    Corpus::run(rows);
}

fn data(length: usize) -> Step {
    Step::Data(Bytes::from(vec![b'x'; length]))
}

/// The inner service sees no body, and nothing that says something about one.
fn unneeded(id: &str, sent: Sent, expected: Code, finds: usize) -> Row {
    row(id, UNNEEDED, sent, expected, finds).via(READERS).unread().check(|seen| {
        let Some(request) = seen.request() else { return };
        assert!(request.body().is_empty());
        for name in ["content-type", "content-length", "content-encoding", "transfer-encoding"] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
    })
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let of = |length: usize| key(k).body(vec![b'x'; length]);
    let in_steps = |steps: Vec<Step>| key(k).steps(steps);
    let announced =
        |lines: &[&str]| lines.iter().fold(of(3), |sent, line| sent.header("content-length", line));
    let single = |length: usize| Step::Data(Bytes::from(vec![b'x'; length]));
    let mut rows = vec![
        row("H146", LIMITED, of(LIMIT), Ok, 1),
        unneeded("H150", key(k).json("{"), Ok, 1),
        unneeded("H150.key", post("/").json(format!("{{\"api_key\":\"{k}\"}}")), Missing, 0),
        unneeded("H150.second", key(k).json(format!("{{\"api_key\":\"{}\"}}", f.k2)), Ok, 1),
        unneeded("H150.label", key(k).header("content-type", "a, b").body("x"), Ok, 1),
        unneeded("H150.coding", key(k).header("content-encoding", "gzip").body("x"), Ok, 1),
        unneeded("H150.silence", in_steps(vec![Step::Silence]), Ok, 1).in_process(),
        unneeded("H150.endless", in_steps(vec![Step::Endless(Bytes::from("x"))]), Ok, 1)
            .in_process(),
        unneeded("H150.error", in_steps(vec![Step::Error]), Ok, 1).in_process(),
        row("H146.more", LIMITED, of(LIMIT + 1), TooLarge, 1).unread(),
        row("H147.63", LIMITED, announced(&["9223372036854775808"]), TooLarge, 1)
            .unread()
            .h2(OnWire::Skip),
        row("H147.64", LIMITED, announced(&["18446744073709551616"]), TooLarge, 1)
            .unread()
            .h1(OnWire::Refused)
            .h2(OnWire::Skip),
        row("H147.equal", LIMITED, announced(&["3", "3"]), Ok, 1).h2(OnWire::Skip),
        row("H147.short", LIMITED, announced(&["2"]), Malformed, 1)
            .h1(OnWire::Skip)
            .h2(OnWire::Refused),
        row("K184", LIMITED, announced(&["4"]), Malformed, 1).h1(OnWire::Skip).h2(OnWire::Refused),
        row("H148", LIMITED, in_steps(vec![data(LIMIT - 1), data(2)]), TooLarge, 1),
        row("H148.exact", LIMITED, in_steps(vec![data(LIMIT - 1), data(1)]), Ok, 1),
        row("H148.one", LIMITED, in_steps(vec![data(LIMIT * 4)]), TooLarge, 1),
        row(
            "H149",
            LIMITED,
            in_steps(vec![Step::Endless(Bytes::from(vec![b'x'; 100]))]),
            TooLarge,
            1,
        ),
        row("H151", IMPATIENT, in_steps(vec![Step::Silence]), Timeout, 1),
        row("H151.half", IMPATIENT, in_steps(vec![data(10), Step::Silence]), Timeout, 1),
        row(
            "H152.fin",
            LIMITED,
            key(k).header("content-length", "100").steps([data(50)]),
            Malformed,
            1,
        )
        .in_process(),
        row("H153", LIMITED, in_steps(vec![data(10), Step::Error]), Malformed, 1).in_process(),
        row("H153.first", LIMITED, in_steps(vec![Step::Error]), Malformed, 1).in_process(),
        row("H154", WITH_BODY, in_steps(vec![single(1); 100_000]), Ok, 1).in_process(),
        row("H154.empty", LIMITED, in_steps(vec![single(0); 100_000]), Ok, 1).in_process(),
        row(
            "H154.empty.endless",
            IMPATIENT,
            in_steps(vec![Step::Endless(Bytes::new())]),
            Timeout,
            1,
        )
        .in_process(),
        row("H156", LIMITED, key("junk").header("content-length", "104857600"), Invalid, 0)
            .h2(OnWire::Skip),
        row("H156.missing", LIMITED, post("/").header("content-length", "104857600"), Missing, 0)
            .h2(OnWire::Skip),
        row(
            "H158",
            LIMITED,
            in_steps(vec![data(10), Step::Trailer("x-api-key", f.k2.clone())]),
            Ok,
            1,
        ),
        row("H161", LIMITED, in_steps(vec![Step::Panic]), Internal, 1).in_process(),
        row("H161.half", LIMITED, in_steps(vec![data(10), Step::Panic]), Internal, 1).in_process(),
    ];
    for lines in [&["-1"][..], &["+3"], &["0x3"], &["3", "4"], &["3, 3"], &[""], &["3 3"]] {
        let refused = row(format!("H147.{lines:?}"), LIMITED, announced(lines), Malformed, 1);
        // Servers differ about a list of equal lengths.
        let h1 = if lines == ["3, 3"] { OnWire::Skip } else { OnWire::Refused };
        rows.push(refused.unread().h1(h1).h2(OnWire::Skip));
    }
    let mut rows: Vec<Row> = rows.into_iter().map(|row| row.via(READERS)).collect();
    let trailer = post("/").steps([data(10), Step::Trailer("x-api-key", k.to_owned())]);
    rows.push(row("K187", WITH_BODY, trailer, Missing, 0));
    for method in ["GET", "DELETE", "PUT"] {
        let sent = Sent { method: method.to_owned(), ..of(10) };
        rows.push(row(format!("H159.{method}"), WITH_BODY, sent, Ok, 1));
        let sent = request(method, "/").header("x-api-key", k);
        rows.push(row(format!("H159.{method}.none"), WITH_BODY, sent, Ok, 1));
    }
    rows
}
