//! Q: a configuration that cannot work, or is not safe, is an error before the first request.

use http::Method;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, Placement};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::key::{Pepper, PrefixedFormat};

use super::fixture::Fixture;
use super::row::header;

#[tokio::test]
async fn a_configuration_that_is_not_safe_is_refused() {
    let f = Fixture::new().await;
    let token = |placements: Vec<Placement>| AuthLayer::token(&f.manager, placements);
    let bearer = || AuthLayer::token(&f.manager, [Placement::bearer()]).unwrap();

    // Placements that read one place, and none at all.
    for placements in [
        vec![],
        vec![header(), header()],
        vec![header(), Placement::header("X-API-KEY").unwrap()],
        vec![Placement::bearer(), Placement::bearer()],
        vec![Placement::bearer(), Placement::header("authorization").unwrap()],
        vec![Placement::query("k").unwrap(), Placement::query("k").unwrap()],
        vec![Placement::body("k").unwrap(), Placement::body("k").unwrap()],
    ] {
        assert!(Credentials::new(placements.clone()).is_err(), "{placements:?}");
        assert!(token(placements).is_err());
    }
    // Names that carry no credential.
    for name in [
        "",
        "x api",
        "x:api",
        "é",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
    ] {
        assert!(Placement::header(name).is_err(), "{name}");
    }
    for name in ["", "a b", "a=b", "a;b", "a,b"] {
        assert!(Placement::cookie(name).is_err(), "{name}");
    }
    assert!(Placement::query("").is_err());
    assert!(Placement::body("").is_err());
    // Secrets of the program that are short or missing.
    for length in [0, 1, 16, 31] {
        assert!(Pepper::new("p1", vec![7; length]).is_err(), "{length}");
    }
    assert!(Pepper::new("", [7; 32]).is_err());
    for prefix in ["", "a", "1a", "A", "a-b", "a b", "é"] {
        assert!(PrefixedFormat::new(prefix).is_err(), "{prefix}");
    }
    // Texts that no header can hold.
    for realm in ["a\nb", "a\r\nX: y", "é", "\u{7f}", "\0"] {
        assert!(bearer().with_realm(realm).is_err(), "{realm:?}");
    }
    // Limits that let nothing through.
    assert!(AuthLayer::new(Policy::token().with_methods([] as [Method; 0])).is_err());
    let run = |_: Invocation| async { Ok::<_, ExecutorError>(Outcome::empty()) };
    assert!(Hooks::new(bearer(), run).with_max_executions(0).is_err());
}

#[test]
fn the_errors_of_a_configuration_repeat_none_of_it() {
    let errors = [
        Placement::header("opensesame opensesame").unwrap_err().to_string(),
        Placement::cookie("opensesame=").unwrap_err().to_string(),
        Placement::path("opensesame").unwrap_err().to_string(),
        Pepper::new("p1", b"opensesame").unwrap_err().to_string(),
        PrefixedFormat::new("open-sesame-opensesame").unwrap_err().to_string(),
    ];
    for error in errors {
        assert!(!error.contains("opensesame"), "{error}");
    }
}
