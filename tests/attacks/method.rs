//! L: methods, and which hook a request is for.

use http::Method;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::key::NewKey;

use super::fixture::Fixture;
use super::request::{Sent, key, post, request};
use super::row::Code::{
    Ambiguous, Forbidden, Invalid, Method as Wrong, Missing, NotFound, Ok, Probe,
};
use super::row::{HEADER, OnWire, Row, Setup, Via, header, row};
use super::run::Corpus;
use crate::support::{owner, scope};

const POST: Setup = Setup::new("post", |f| with_methods(f, [Method::POST]));
const GET: Setup = Setup::new("get", |f| with_methods(f, [Method::GET]));
/// The default methods of hooks.
const DEFAULT: Setup = Setup::new("default", |f| AuthLayer::token(&f.manager, [header()]).unwrap());
const HOOKS: Setup = Setup::new("hooks", hooks);
const CONCEALED: Setup = Setup::new("concealed hooks", |f| hooks(f).with_uniform_unauthorized());

const PROBES: Setup = Setup::new("probes", |f| {
    let policy = Policy::token().with_methods([Method::POST]);
    let policy = policy.with_probe([Method::HEAD, Method::GET]).with_scope(scope("deploy"));
    AuthLayer::new(policy).unwrap().with_keys(&f.manager, [header()]).unwrap()
});
const PREFLIGHT: Setup =
    Setup::new("preflight", |f| with_methods(f, [Method::POST]).with_preflight_passed_on());
const CONCEALED_PREFLIGHT: Setup = Setup::new("concealed, with preflight", |f| {
    hooks(f).with_uniform_unauthorized().with_preflight_passed_on()
});

const LAYERS: &[Via] = &[Via::Layer, Via::Buffered];

fn with_methods(f: &Fixture, methods: [Method; 1]) -> AuthLayer {
    let policy = Policy::token().with_methods(methods);
    AuthLayer::new(policy).unwrap().with_keys(&f.manager, [header()]).unwrap()
}

fn hooks(f: &Fixture) -> AuthLayer {
    AuthLayer::per_request(|head: RequestHead<'_>| {
        let policy = Policy::token().with_methods([Method::POST]);
        match head.uri().path() {
            "/hook/1" => Some(policy.with_scope(scope("deploy"))),
            "/hook/2" => Some(policy.with_scope(scope("read"))),
            "/hook/3" => Some(policy.with_owner(owner("bob"))),
            "/public" => Some(Policy::public().with_methods([Method::POST])),
            _ => None,
        }
    })
    .with_keys(&f.manager, [header(), Placement::bearer()])
    .unwrap()
}

#[test]
fn the_method_and_the_hook_come_first() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let k = f.k.as_str();
    let (_, unscoped) = f.issue_now(NewKey::new("unscoped"));
    let mut rows = Vec::new();
    let with = |method: &str| request(method, "/").header("x-api-key", k);
    rows.push(row("L196", HEADER, with("HEAD"), Ok, 1).hooks_only());
    // The inner service of these tests answers HEAD with content, which only HTTP/1 servers hold back.
    rows.push(row("L196.layer", HEADER, with("HEAD"), Ok, 1).via(&[Via::Layer]).in_process());
    rows.push(row("L196.missing", HEADER, request("HEAD", "/"), Missing, 0));
    rows.push(row("L196.off", POST, with("HEAD"), Wrong("POST"), 0));
    rows.push(row("L196.get", GET, with("HEAD"), Wrong("GET"), 0));
    let preflight = |sent: Sent| {
        sent.header("origin", "https://a.example").header("access-control-request-method", "POST")
    };
    rows.push(row("L197", POST, request("OPTIONS", "/"), Wrong("POST"), 0));
    rows.push(row("L197.key", POST, with("OPTIONS"), Wrong("POST"), 0));
    rows.push(row("L197.preflight", POST, preflight(with("OPTIONS")), Wrong("POST"), 0));
    let passed = |id: &str, sent| row(id, PREFLIGHT, sent, Ok, 0).via(LAYERS);
    rows.extend([
        passed("L197.passed", preflight(request("OPTIONS", "/"))),
        passed("L197.passed.key", preflight(with("OPTIONS"))),
        passed("L197.passed.junk", preflight(request("OPTIONS", "/").header("x-api-key", "junk"))),
        row("L197.options", PREFLIGHT, with("OPTIONS"), Wrong("POST"), 0),
        row("L197.post", PREFLIGHT, preflight(post("/")), Missing, 0),
        row(
            "L197.origin",
            PREFLIGHT,
            with("OPTIONS").header("origin", "https://a.example"),
            Wrong("POST"),
            0,
        ),
        row("L197.concealed", CONCEALED_PREFLIGHT, preflight(request("OPTIONS", "/x")), Ok, 0)
            .via(LAYERS),
        row("L197.concealed.options", CONCEALED_PREFLIGHT, request("OPTIONS", "/x"), Missing, 0),
    ]);
    for method in ["HEAD", "GET"] {
        let id = |name: &str| format!("L200.{method}{name}");
        let none = request(method, "/");
        rows.extend([
            row(id(""), PROBES, with(method), Probe, 1),
            row(id(".missing"), PROBES, none, Missing, 0),
            row(id(".twice"), PROBES, with(method).header("x-api-key", k), Ambiguous, 0),
            row(id(".body"), PROBES, with(method).json("{"), Probe, 1).in_process(),
        ]);
    }
    rows.push(row(
        "L200.scope",
        PROBES,
        request("GET", "/").header("x-api-key", unscoped),
        Forbidden,
        1,
    ));
    let junk = request("GET", "/").header("x-api-key", "junk");
    rows.push(row("L200.junk", PROBES, junk, Invalid, 0));
    rows.push(row("L200.put", PROBES, with("PUT"), Wrong("POST, HEAD, GET"), 0));
    rows.push(row("L200.post", PROBES, with("POST"), Ok, 1));
    rows.push(row("L198", POST, with("TRACE"), Wrong("POST"), 0));
    rows.push(row("L198.connect", POST, with("CONNECT"), Wrong("POST"), 0).in_process());
    rows.push(row("L199", POST, with("GET"), Wrong("POST"), 0));
    rows.push(row("L199.reverse", GET, with("POST"), Wrong("GET"), 0));
    for method in ["post", "PoST", "POSTX", "M-SEARCH", "PATCH", "DELETE"] {
        rows.push(row(format!("L199.{method}"), POST, with(method), Wrong("POST"), 0));
    }
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "TRACE"] {
        let refused =
            row(format!("L199.{method}.default"), DEFAULT, with(method), Wrong("POST"), 0);
        rows.push(refused.hooks_only());
    }
    rows.push(row(
        "L199.override",
        POST,
        with("GET").header("x-http-method-override", "POST"),
        Wrong("POST"),
        0,
    ));

    let at = |path: &str| post(path).header("x-api-key", k);
    for path in [
        "/hook/01",
        "/hook/+1",
        "/hook/1.0",
        "/hook/%EF%BC%91",
        "/hook/-1",
        "/hook/1%00",
        "/hook/%31",
        "/hook/18446744073709551617",
        "/hook/1/",
        "//hook/1",
        "/hook//1",
        "/HOOK/1",
        "/hook/1;a=1",
        "/hook/./1",
        "/",
    ] {
        rows.push(row(format!("L203.{path}"), HOOKS, at(path), NotFound, 0));
        rows.push(row(format!("L203.{path}.missing"), HOOKS, post(path), NotFound, 0).in_process());
        rows.push(row(format!("L202.{path}"), CONCEALED, at(path), Invalid, 1).in_process());
    }
    rows.extend([
        row("L203", HOOKS, at("/hook/1"), Ok, 1),
        row("L203.query", HOOKS, at("/hook/1?id=2"), Ok, 1),
        row("L201", HOOKS, post("/hook/1?x=/public"), Missing, 0),
        row("L201.fragment", HOOKS, post("/hook/1#/public"), Missing, 0).h2(OnWire::Skip),
        row("L201.dots", HOOKS, post("/public/../hook/1"), NotFound, 0),
        row("L201.escaped", HOOKS, post("/public%2f..%2fhook/1"), NotFound, 0),
        row("L201.public", HOOKS, post("/public"), Ok, 0),
        row("L202", CONCEALED, at("/other"), Invalid, 1),
        row("L202.missing", CONCEALED, post("/other"), Missing, 0),
        row("L202.junk", CONCEALED, key("junk"), Invalid, 0),
        row("L202.method", CONCEALED, request("GET", "/hook/1"), Missing, 0),
        row(
            "L202.method.key",
            CONCEALED,
            request("GET", "/hook/1").header("x-api-key", k),
            Wrong("POST"),
            1,
        ),
        row("L202.known", CONCEALED, at("/hook/1"), Ok, 1),
        row("L204", HOOKS, at("/hook/2"), Forbidden, 1),
        row("L204.concealed", CONCEALED, at("/hook/2"), Invalid, 1),
        row("L204.owner", HOOKS, at("/hook/3"), Invalid, 1),
        row("L204.owner.concealed", CONCEALED, at("/hook/3"), Invalid, 1),
    ]);
    rows
}
