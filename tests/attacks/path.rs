//! D: a key in the path.

use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;

use super::fixture::Fixture;
use super::request::{get, post};
use super::row::Code::{Ambiguous, Invalid, NotFound, Ok};
use super::row::{OnWire, Row, Setup, row};
use super::run::Corpus;

const PATH: Setup = Setup::new("path", |f| hooks(f, [path()]));
const BOTH: Setup =
    Setup::new("path and query", |f| hooks(f, [path(), Placement::query("api_key").unwrap()]));

fn path() -> Placement {
    Placement::path("/hook/{key}").unwrap()
}

/// One hook, whose only name is its key.
fn hooks(f: &Fixture, placements: impl IntoIterator<Item = Placement>) -> AuthLayer {
    let resolver = |head: RequestHead<'_>| {
        let rest = head.uri().path().strip_prefix("/hook/")?;
        let is_hook = !rest.is_empty() && !rest.contains('/');
        is_hook.then(|| Policy::token().with_methods([http::Method::GET, http::Method::POST]))
    };
    AuthLayer::per_request(resolver).with_keys(&f.manager, placements).unwrap()
}

#[test]
fn a_key_in_the_path() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let mut rows = Vec::new();
    for (id, target, expected, finds) in [
        ("D78", format!("/hook/{k}"), Ok, 1),
        ("D79.slash", format!("/hook/{k}/"), NotFound, 0),
        ("D79.empty-segment", format!("/hook//{k}"), NotFound, 0),
        ("D79.empty-first", format!("//hook/{k}"), NotFound, 0),
        ("D79.case", format!("/Hook/{k}"), NotFound, 0),
        ("D79.short", "/hook".to_owned(), NotFound, 0),
        ("D79.none", "/hook/".to_owned(), NotFound, 0),
        ("D81", "/hook/..".to_owned(), Invalid, 0),
        ("D81.escaped", "/hook/%2e%2e".to_owned(), Invalid, 0),
        ("D81.dot", "/hook/.".to_owned(), Invalid, 0),
        ("D82.slash", format!("/hook/{k}%2Fx"), Invalid, 0),
        ("D82.backslash", format!("/hook/{k}%5Cx"), Invalid, 0),
        ("D82.before", format!("/hook/%2F{k}"), Invalid, 0),
        ("D83", format!("/hook/{k};a=1"), Invalid, 0),
        ("D83.before", format!("/hook;a=1/{k}"), NotFound, 0),
        ("D84", format!("/hook/{k}%00"), Invalid, 0),
        ("D84.alone", "/hook/%00".to_owned(), Invalid, 0),
        ("D86.space", format!("/hook/{k}%20"), Invalid, 0),
        ("D86.plus", format!("/hook/{k}+"), Invalid, 0),
        ("D86.crlf", format!("/hook/{k}%0d%0aX:1"), Invalid, 0),
        ("D86.cut-escape", format!("/hook/{k}%"), Invalid, 0),
        ("D86.ff", format!("/hook/{}%FF", &k[1..]), Invalid, 0),
        ("D87", format!("/hook/%77{}", &k[1..]), Ok, 1),
        ("D87.twice", format!("/hook/%2577{}", &k[1..]), Invalid, 0),
        ("D88", format!("/hook/{}", "x".repeat(8192)), Invalid, 0),
        ("D88.segments", "/hook".to_owned() + &"/x".repeat(1000), NotFound, 0),
        ("D91", format!("/hook/{k}?a=1"), Ok, 1),
    ] {
        rows.push(row(id, PATH, post(target.clone()), expected, finds));
        rows.push(row(format!("{id}.get"), PATH, get(target), expected, finds).in_process());
    }
    let absolute = post(format!("http://other.example/hook/{k}"));
    let stray = get(format!("/hook/{k}?api_key={k}&a=%31"));
    rows.extend([
        row("D89", PATH, absolute, Ok, 1).h2(OnWire::Skip),
        row("D91.stray", PATH, stray.clone(), Ok, 1).stray(),
        row("D92", BOTH, stray, Ambiguous, 0),
        row("D92.path", BOTH, get(format!("/hook/{k}?a=1")), Ok, 1),
    ]);
    rows
}

#[test]
fn a_template_without_a_credential_is_no_placement() {
    for template in
        ["", "hook/{key}", "/hook", "/hook/{a}/{b}", "/{*key}", "/hook/{key", "/x{key}y{key}"]
    {
        assert!(Placement::path(template).is_err(), "D94, {template}");
    }
}
