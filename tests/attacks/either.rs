//! T: policies that take a key or a user, and policies that take both.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::key::{NewKey, Scopes};
use tower_webhook::{BoxError, RequestHead};

use super::fixture::{Fixture, forge, with_char};
use super::request::{Sent, key, post};
use super::row::Code::{self, Ambiguous, Forbidden, Invalid, Missing, Ok, Unavailable};
use super::row::{Row, Setup, header, row};
use super::run::Corpus;
use crate::support::{owner, scope};

/// `sesame` is alice, `weak` is alice without scopes, `bob` is bob, and `down` fails. A trusting one takes any other text
/// for alice too.
struct Logins {
    is_trusting: bool,
}

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let text = candidate.and_then(PresentedCredential::expose_text).unwrap_or_default();
        let alice = User::new(owner("alice"));
        Result::Ok(match text {
            "sesame" => Authentication::Accepted(alice),
            "weak" => Authentication::Accepted(alice.with_scopes(Scopes::NONE)),
            "bob" => Authentication::Accepted(User::new(owner("bob"))),
            "down" => return Err("the directory is down".into()),
            _ if self.is_trusting => Authentication::Accepted(alice),
            _ => Authentication::Refused,
        })
    }
}

fn any() -> Policy {
    Policy::any_of([Policy::token(), Policy::user()]).with_methods([Method::POST])
}

fn all() -> Policy {
    Policy::all_of([Policy::token(), Policy::user()]).with_methods([Method::POST])
}

/// Both lists read `Authorization: Bearer`.
fn layer(f: &Fixture, policy: Policy, is_trusting: bool) -> AuthLayer {
    let keys = [header(), Placement::bearer(), Placement::query("token").unwrap()];
    let cookie = Placement::cookie("session").unwrap();
    AuthLayer::new(policy)
        .unwrap()
        .with_keys(&f.manager, keys)
        .unwrap()
        .with_authenticator(
            Logins { is_trusting },
            [Placement::basic(), Placement::bearer(), cookie],
        )
        .unwrap()
}

/// Each kind has a field in the body of its own.
fn layer_with_body(f: &Fixture, policy: Policy) -> AuthLayer {
    let (api_key, password) =
        (Placement::body("api_key").unwrap(), Placement::body("password").unwrap());
    AuthLayer::new(policy)
        .unwrap()
        .with_keys(&f.manager, [header(), api_key])
        .unwrap()
        .with_authenticator(Logins { is_trusting: false }, [Placement::basic(), password])
        .unwrap()
}

const ANY: Setup = Setup::new("any", |f| layer(f, any().with_scope(scope("deploy")), false));
const ALL: Setup = Setup::new("all", |f| layer(f, all().with_scope(scope("deploy")), false));
const TRUSTING: Setup = Setup::new("trusting", |f| layer(f, all(), true));
const ANY_OF_ALICE: Setup =
    Setup::new("any of alice", |f| layer(f, any().with_owner(owner("alice")), false));
const CONCEALED_ALL: Setup = Setup::new("concealed all", |f| {
    layer(f, all().with_owner(owner("bob")), false).with_uniform_unauthorized()
});
const ANY_IN_BODY: Setup = Setup::new("any in a body", |f| layer_with_body(f, any())).in_body();
const ALL_IN_BODY: Setup = Setup::new("all in a body", |f| layer_with_body(f, all())).in_body();

#[test]
fn a_key_or_a_user() {
    Corpus::run(any_rows);
}

#[test]
fn a_key_and_a_user() {
    Corpus::run(all_rows);
}

type Columns = (&'static str, Setup, Sent, Code, usize);

/// A row of which no password comes through.
fn quiet((id, setup, sent, code, finds): Columns) -> Row {
    row(id, setup, sent, code, finds).check(|seen| {
        for (place, text) in seen.texts() {
            assert!(!text.contains("sesame"), "a password is in {place}: {text}");
        }
    })
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("alice:{password}")))
}

fn user(password: &str) -> Sent {
    post("/").header("authorization", basic(password))
}

fn bearer(text: &str) -> Sent {
    post("/").header("authorization", format!("Bearer {text}"))
}

fn both(key_text: &str, password: &str) -> Sent {
    key(key_text).header("authorization", basic(password))
}

fn any_rows(f: &Fixture) -> Vec<Row> {
    let (k, k2) = (f.k.as_str(), f.k2.as_str());
    let in_query = |sent: Sent| Sent { target: format!("/?token={k}"), ..sent };
    let with_cookie = |sent: Sent| sent.header("cookie", "session=sesame");
    let joined = format!("{}, Bearer {k}", basic("sesame"));
    let (_, weak) = f.issue_now(NewKey::new("weak"));
    let unknown = forge("whk", "0000000000000000", f.secret());
    let mistyped = with_char(k, k.len() - 1, if k.ends_with('0') { '1' } else { '0' });
    let key_field = format!(r#"{{"api_key":"{k}"}}"#);
    let user_field = r#"{"password":"sesame"}"#;
    let rows: Vec<Columns> = vec![
        ("T253.key", ANY, key(k), Ok, 1),
        ("T253.bearer", ANY, bearer(k), Ok, 1),
        ("T253.query", ANY, in_query(post("/")), Ok, 1),
        ("T253.user", ANY, user("sesame"), Ok, 0),
        ("T253.user.bearer", ANY, bearer("sesame"), Ok, 0),
        ("T253.user.cookie", ANY, with_cookie(post("/")), Ok, 0),
        ("T254", ANY, post("/"), Missing, 0),
        ("T254.empty", ANY, key("").header("cookie", "session="), Missing, 0),
        ("T254.key", ANY, key("junk"), Invalid, 0),
        ("T254.user", ANY, user("guess"), Invalid, 0),
        ("T254.cookie", ANY, post("/").header("cookie", "session=guess"), Invalid, 0),
        ("T254.bearer", ANY, bearer("junk"), Invalid, 0),
        ("T254.mistyped", ANY, bearer(&mistyped), Invalid, 0),
        ("T254.unknown", ANY, bearer(&unknown), Invalid, 1),
        ("T255.each", ANY, both(k, "sesame"), Ambiguous, 0),
        ("T255.each.bad", ANY, both("junk", "sesame"), Ambiguous, 0),
        ("T255.each.bad.user", ANY, both(k, "guess"), Ambiguous, 0),
        ("T255.each.bearer", ANY, key(k).header("authorization", "Bearer sesame"), Ambiguous, 0),
        ("T255.each.cookie", ANY, with_cookie(key(k)), Ambiguous, 0),
        ("T255.each.query", ANY, in_query(user("sesame")), Ambiguous, 0),
        ("T255.each.joined", ANY, post("/").header("authorization", &joined), Ambiguous, 0),
        ("T255.keys", ANY, key(k).header("authorization", format!("Bearer {k2}")), Ambiguous, 0),
        ("T255.users", ANY, with_cookie(user("sesame")), Ambiguous, 0),
        ("T258.user", ANY, user("weak"), Forbidden, 0),
        ("T258.key", ANY, key(&weak), Forbidden, 1),
        ("T258.down", ANY, user("down"), Unavailable, 0),
        ("T258.owner", ANY_OF_ALICE, user("bob"), Forbidden, 0),
        ("T253.body", ANY_IN_BODY, post("/").json(key_field.clone()), Ok, 1),
        ("T253.body.user", ANY_IN_BODY, post("/").json(user_field), Ok, 0),
        ("T256", ANY_IN_BODY, key(k).json(user_field), Ambiguous, 1),
        ("T256.same", ANY_IN_BODY, key(k).json(key_field.clone()), Ambiguous, 1),
        ("T256.user", ANY_IN_BODY, user("sesame").json(key_field.clone()), Ambiguous, 0),
    ];
    let rows = rows.into_iter().map(quiet);
    let bad = [
        row("T256.bad", ANY_IN_BODY, key("junk").json(user_field), Invalid, 0).unread(),
        row("T256.bad.user", ANY_IN_BODY, user("guess").json(key_field.clone()), Invalid, 0)
            .unread(),
        row("T255.body", ANY_IN_BODY, both(k, "sesame").json("{"), Ambiguous, 0).unread(),
        row(
            "T257",
            ANY_IN_BODY,
            post("/").json(format!(r#"{{"api_key":"{k}","password":"sesame"}}"#)),
            Ambiguous,
            0,
        ),
    ];
    rows.chain(bad).collect()
}

fn all_rows(f: &Fixture) -> Vec<Row> {
    let (k, k2) = (f.k.as_str(), f.k2.as_str());
    let key_field = format!(r#"{{"api_key":"{k}"}}"#);
    let user_field = r#"{"password":"sesame"}"#;
    let (_, weak) = f.issue_now(NewKey::new("weak"));
    let keys = format!("{k}, {k2}");
    let put = |sent: Sent| Sent { method: "PUT".to_owned(), ..sent };
    let rows: Vec<Columns> = vec![
        ("T259", ALL, both(k, "sesame"), Ok, 1),
        ("T259.cookie", ALL, key(k).header("cookie", "session=sesame"), Ok, 1),
        ("T259.body", ALL_IN_BODY, key(k).json(user_field), Ok, 1),
        ("T259.body.key", ALL_IN_BODY, user("sesame").json(key_field.clone()), Ok, 1),
        (
            "T259.body.both",
            ALL_IN_BODY,
            post("/").json(format!(r#"{{"api_key":"{k}","password":"sesame"}}"#)),
            Ok,
            1,
        ),
        ("T260", ALL, post("/"), Missing, 0),
        ("T260.key", ALL, key(k), Missing, 1),
        ("T260.user", ALL, user("sesame"), Missing, 0),
        ("T260.bad.key", ALL, both("junk", "sesame"), Invalid, 0),
        ("T260.bad.user", ALL, both(k, "guess"), Invalid, 1),
        ("T260.body", ALL_IN_BODY, key(k).json("{}"), Missing, 1),
        // It is in both lists, and so it is none of each, with an authenticator that takes any text too.
        ("T261", ALL, bearer(k), Missing, 0),
        ("T261.trusting", TRUSTING, bearer(k), Missing, 0),
        ("T261.trusting.both", TRUSTING, both(k, "anything"), Ok, 1),
        ("T262.keys", ALL, key(k).header("x-api-key", k2), Ambiguous, 0),
        ("T262.joined", ALL, both(&keys, "sesame"), Ambiguous, 0),
        ("T262.users", ALL, both(k, "sesame").header("cookie", "session=sesame"), Ambiguous, 0),
        ("T263", ALL_IN_BODY, both(k, "sesame").json(key_field.clone()), Ambiguous, 1),
        ("T263.user", ALL_IN_BODY, both(k, "sesame").json(user_field), Ambiguous, 1),
        ("T264.user", ALL, both(k, "weak"), Forbidden, 1),
        ("T264.key", ALL, both(&weak, "sesame"), Forbidden, 1),
        ("T264.down", ALL, both(k, "down"), Unavailable, 1),
        ("T265", CONCEALED_ALL, both(k, "bob"), Invalid, 1),
        ("T265.method", CONCEALED_ALL, put(both(k, "bob")), Invalid, 1),
        ("T265.method.user", CONCEALED_ALL, put(user("bob")), Invalid, 0),
    ];
    let rows = rows.into_iter().map(quiet);
    // Two of one kind are refused without a look at the body, in which the other kind may be.
    let unread = [
        row("T262.body", ALL_IN_BODY, key(k).header("x-api-key", k2).json("{"), Ambiguous, 0),
        row("T262.body.joined", ALL_IN_BODY, key(&keys).json("{"), Ambiguous, 0),
        row(
            "T262.body.users",
            ALL_IN_BODY,
            user("sesame").header("authorization", basic("a")).json("{"),
            Ambiguous,
            0,
        ),
    ];
    rows.chain(unread.map(Row::unread)).collect()
}
