//! K: a key in a cookie, which HTTP/2 may split into several fields.

use tower_webhook::credential::Placement;

use super::fixture::Fixture;
use super::request::{Sent, post};
use super::row::Code::{Ambiguous, Invalid, Missing, Ok};
use super::row::{Row, Setup, row, token};
use super::run::Corpus;

const COOKIE: Setup = Setup::new("cookie", |f| token(f, [Placement::cookie("api_key").unwrap()]));

#[test]
fn a_key_in_a_cookie() {
    Corpus::run(rows);
}

fn cookies(lines: &[String]) -> Sent {
    lines.iter().fold(post("/"), |sent, line| sent.header("cookie", line))
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let pair = format!("api_key={k}");
    let mut rows = Vec::new();
    for (id, lines, expected, finds, left) in [
        ("K186.one", vec![pair.clone()], Ok, 1, vec![]),
        ("K186.among", vec![format!("a=1; {pair}; b=2")], Ok, 1, vec!["a=1; b=2"]),
        ("K186.tight", vec![format!("a=1;{pair};b=2")], Ok, 1, vec!["a=1; b=2"]),
        ("K186.crumbs", vec!["a=1".into(), pair.clone(), "b=2".into()], Ok, 1, vec!["a=1", "b=2"]),
        ("K186.twice", vec![format!("{pair}; {pair}")], Ambiguous, 0, vec![]),
        ("K186.crumbs.twice", vec![pair.clone(), pair.clone()], Ambiguous, 0, vec![]),
        ("K186.junk", vec!["api_key=junk".into(), pair.clone()], Ambiguous, 0, vec![]),
        ("K186.empty", vec![format!("api_key=; {pair}")], Ok, 1, vec![]),
        ("K186.none", vec!["a=1".into()], Missing, 0, vec![]),
        ("K186.upper", vec![format!("API_KEY={k}")], Missing, 0, vec![]),
        ("K186.longer", vec![format!("xapi_key={k}")], Missing, 0, vec![]),
        ("K186.prefix", vec![format!("api_key2={k}")], Missing, 0, vec![]),
        ("K186.comma", vec![format!("a=1, {pair}")], Missing, 0, vec![]),
        ("K186.quoted", vec![format!("api_key=\"{k}\"")], Invalid, 0, vec![]),
        ("K186.escaped", vec![format!("api_key=%77{}", &k[1..])], Invalid, 0, vec![]),
        ("K186.tail", vec![format!("{pair}; a")], Ok, 1, vec!["a"]),
    ] {
        rows.push(row(id, COOKIE, cookies(&lines), expected, finds).check(move |seen| {
            if let Some(request) = seen.request() {
                let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
                assert_eq!(cookies, left, "{id}");
            }
        }));
    }
    rows
}
