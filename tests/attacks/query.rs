//! C: a key in the query.

use tower_webhook::credential::Placement;

use super::fixture::Fixture;
use super::request::{Sent, get, key, post};
use super::row::Code::{
    Ambiguous, Invalid, Malformed, MediaType, Method, Missing, Ok, TooLarge, TooMany,
};
use super::row::{HEADER, OnWire, Row, Setup, Via, header, row, token};
use super::run::Corpus;

const QUERY: Setup = Setup::new("query", |f| token(f, [query()]));
const SMALL: Setup = QUERY.with_max_body(16);
const BOTH: Setup = Setup::new("header and query", |f| token(f, [header(), query()]));

/// The query is for streams alone, of browsers that can set no header.
const STREAMS: Setup = Setup::new("streams", |f| {
    let query = query().only_if(|head| {
        let accept = head.headers().get(http::header::ACCEPT);
        *head.method() == http::Method::GET
            && accept.is_some_and(|accept| accept == "text/event-stream")
    });
    token(f, [header(), query])
});

fn query() -> Placement {
    Placement::query("api_key").unwrap()
}

#[test]
fn a_key_in_the_query() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let escaped: String = k.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let twice_escaped = escaped.replace('%', "%25");
    let mut rows = Vec::new();
    let at_query = || format!("/?api_key={k}");
    let stream = |sent: Sent| sent.header("accept", "text/event-stream");
    rows.extend([
        row("C75", STREAMS, stream(get(at_query())), Ok, 1),
        row("C75.method", STREAMS, stream(post(at_query())), Missing, 0),
        row("C75.accept", STREAMS, get(at_query()), Missing, 0),
        row("C75.both", STREAMS, stream(get(at_query())).header("x-api-key", k), Ambiguous, 0),
        row("C75.beside", STREAMS, post(at_query()).header("x-api-key", k), Ok, 1),
    ]);
    for (id, query, expected, finds) in [
        ("C54", format!("api_key={k}"), Ok, 1),
        ("C56", format!("api_key=&api_key={k}"), Ok, 1),
        ("C56.twice", format!("api_key={k}&api_key={k}"), Ambiguous, 0),
        ("C56.junk", format!("api_key=junk&api_key={k}"), Ambiguous, 0),
        ("C57", "api_key".to_owned(), Missing, 0),
        ("C57.equals", "api_key=".to_owned(), Missing, 0),
        ("C57.equals-twice", format!("api_key=={k}"), Invalid, 0),
        ("C58", format!("%61pi_key={k}"), Ok, 1),
        ("C58.value", format!("api_key={escaped}"), Ok, 1),
        ("C59", format!("%61pi_key={k}&api_key={k}"), Ambiguous, 0),
        ("C61.value", format!("api_key={twice_escaped}"), Invalid, 0),
        ("C61.name", format!("%2561pi_key={k}"), Missing, 0),
        ("C62.space", format!("api_key={k}%20"), Invalid, 0),
        ("C62.plus", format!("api_key={k}+"), Invalid, 0),
        ("C62.plus-before", format!("api_key=+{k}"), Invalid, 0),
        ("C62.tab", format!("api_key=%09{k}"), Invalid, 0),
        ("C63.zz", format!("api_key={k}%zz"), Invalid, 0),
        ("C63.2", format!("api_key={k}%2"), Invalid, 0),
        ("C63.percent", format!("api_key={k}%"), Invalid, 0),
        ("C64.ff", format!("api_key={}%FF", &k[1..]), Invalid, 0),
        ("C64.replacement", format!("api_key={}%EF%BF%BD", &k[3..]), Invalid, 0),
        ("C64.overlong", format!("api_key={k}%C0%AF"), Invalid, 0),
        ("C64.surrogate", format!("api_key={k}%ED%A0%80"), Invalid, 0),
        ("C64.nul", format!("api_key={k}%00"), Invalid, 0),
        ("C66.list", format!("api_key[]={k}"), Missing, 0),
        ("C66.index", format!("api_key[0]={k}"), Missing, 0),
        ("C66.member", format!("api_key.x={k}"), Missing, 0),
        ("C66.nested", format!("data[api_key]={k}"), Missing, 0),
        ("C67.upper", format!("API_KEY={k}"), Missing, 0),
        ("C67.dash", format!("api-key={k}"), Missing, 0),
        ("C67.nul", format!("api_key%00={k}"), Missing, 0),
        ("C67.space", format!("%20api_key={k}"), Missing, 0),
        ("C68", format!("a=1;api_key={k}"), Missing, 0),
        ("C69", format!("a=1?api_key={k}"), Missing, 0),
        ("C69.escaped", format!("a=b%26api_key={k}"), Missing, 0),
        ("C71.256", "a=1&".repeat(255) + &format!("api_key={k}"), Ok, 1),
        ("C71.257", "a=1&".repeat(256) + &format!("api_key={k}"), TooMany, 0),
        ("C71.257.first", format!("api_key={k}") + &"&a=1".repeat(256), TooMany, 0),
        ("C71.10000", "a&".repeat(7_000), TooMany, 0),
        ("C71.empty", "=&=&".repeat(200), TooMany, 0),
        ("C71.few", "=&=&".to_owned(), Missing, 0),
    ] {
        rows.push(row(id, QUERY, post(format!("/?{query}")), expected, finds));
    }
    for (id, query, expected) in [
        ("C71.60K", "&".repeat(60_000), TooMany),
        ("C72", format!("a={}", "x".repeat(60_000)), Missing),
    ] {
        rows.push(row(id, QUERY, post(format!("/?{query}")), expected, 0).h2(OnWire::Refused));
    }
    let too_long = post(format!("/?a={}", "x".repeat(70_000)));
    rows.push(row("C72.70K", QUERY, too_long, Missing, 0).via(&[]).h1(OnWire::Refused));
    // The rest of the query keeps its order and its spelling.
    for (id, before, after) in [
        ("C63.other", "a=%zz&api_key=K&b=%2&c=%", "a=%zz&b=%2&c=%"),
        ("C77", "b=%31&&api_key=K&a=x+y&=&b&%61=", "b=%31&&a=x+y&=&b&%61="),
        ("C77.first", "api_key=K&z=1&a=2", "z=1&a=2"),
        ("C77.last", "z=1&a=2&api_key=K", "z=1&a=2"),
        ("C77.empty", "z=1&api_key=&a=2&api_key=K", "z=1&a=2"),
    ] {
        let sent = get(format!("/?{}", before.replace('K', k)));
        rows.push(row(id, QUERY, sent, Ok, 1).check(move |seen| {
            assert_eq!(seen.uri().query(), Some(after));
        }));
    }
    let to = |target: String| post(format!("/?api_key={target}"));
    rows.extend([
        row("C54.alone", QUERY, to(k.to_owned()), Ok, 1)
            .check(|seen| assert_eq!(seen.uri().path_and_query().unwrap(), "/")),
        row("C73", BOTH, to(k.to_owned()).header("x-api-key", k), Ambiguous, 0),
        row("C73.other", BOTH, to(f.k2.clone()).header("x-api-key", k), Ambiguous, 0),
        row("C73.empty", BOTH, to(String::new()).header("x-api-key", k), Ok, 1),
        row("C74", HEADER, to(k.to_owned()), Missing, 0),
        row("C74.redacted", HEADER, key(k), Ok, 1),
        row(
            "C76.405",
            QUERY,
            {
                let mut sent = to(k.to_owned());
                sent.method = "TRACE".to_owned();
                sent
            },
            Method("GET, HEAD, POST, PUT, DELETE"),
            0,
        ),
        row("C76.413", SMALL, to(k.to_owned()).json("{\"a\":\"0123456789\"}"), TooLarge, 1)
            .via(&[Via::Hooks, Via::Buffered]),
        row(
            "C76.415",
            QUERY,
            to(k.to_owned()).header("content-type", "a/b/c").body("x"),
            MediaType,
            1,
        )
        .hooks_only(),
        row("C76.400", QUERY, to(k.to_owned()).json("{"), Malformed, 1).hooks_only(),
    ]);
    rows
}
