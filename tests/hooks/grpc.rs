//! Hooks that are called by gRPC clients.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::rejection::{Rejection, RejectionKind};

use super::{Body, call};
use crate::support::{Keys, scope};

fn post(media_type: &str, key: &str) -> Request<Body> {
    let request = Request::post("/").header("content-type", media_type);
    request.header("authorization", format!("Bearer {key}")).body(Body::default()).unwrap()
}

fn code(response: &Response<String>) -> &str {
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().is_empty());
    response.headers()["grpc-status"].to_str().unwrap()
}

/// Every failure of an execution, and what refuses one before it.
#[tokio::test]
async fn what_an_executor_brings_about_has_a_code() {
    let auth = || AuthLayer::public().with_grpc_rejections();
    let busy = |_: Invocation| async { Err(ExecutorError::busy(Duration::from_millis(1500))) };
    let invalid = |_: Invocation| async { Err(ExecutorError::invalid("no branch")) };
    let fails = |_: Invocation| async { Err(ExecutorError::from("down")) };
    let hangs = |_: Invocation| std::future::pending::<Result<Outcome, ExecutorError>>();
    let panics = |_: Invocation| async { panic!("a fault of the app") };
    let large = |_: Invocation| async { Outcome::json(&"0123456789") };
    let cases = [
        (Hooks::new(auth(), busy), "14"),
        (Hooks::new(auth(), invalid), "3"),
        (Hooks::new(auth(), fails), "2"),
        (Hooks::new(auth(), hangs).with_deadline(Duration::from_millis(5)), "4"),
        (Hooks::new(auth(), panics), "13"),
        (Hooks::new(auth(), large).with_max_response_bytes(5), "13"),
    ];
    for (hooks, expected) in cases {
        let hooks = hooks.with_response_format(ResponseFormat::http());
        let response = call(&hooks, post("application/grpc", "")).await;
        assert_eq!(code(&response), expected);
        if expected == "3" {
            assert_eq!(response.headers()["grpc-message"], "no branch");
        }
        let pushback = response.headers().get("grpc-retry-pushback-ms");
        assert_eq!(
            pushback.map(|pushback| pushback.to_str().unwrap()),
            match expected {
                // In whole seconds, like `Retry-After`.
                "14" => Some("2000"),
                _ => None,
            }
        );
    }
}

#[tokio::test]
async fn the_setting_of_the_layer_is_that_of_the_hooks() {
    let keys = Keys::new().await;
    let auth = AuthLayer::new(Policy::token().with_scope(scope("admin")))
        .unwrap()
        .with_keys(&keys.manager, tower_webhook::Placement::bearer())
        .unwrap();
    let run = |_: Invocation| async { Ok(Outcome::empty()) };
    let off = Hooks::new(auth.clone(), run);
    let on = Hooks::new(auth.with_grpc_rejections(), run);
    for media_type in ["application/grpc+proto", "application/grpc-web-text"] {
        for (key, status, expected) in [("junk", 401, "16"), (&keys.text, 403, "7")] {
            let response = call(&off, post(media_type, key)).await;
            assert_eq!(response.status(), status);
            let response = call(&on, post(media_type, key)).await;
            assert_eq!(code(&response), expected);
            assert_eq!(response.headers()["content-type"], media_type);
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(rejection.kind() == RejectionKind::Forbidden, status == 403);
        }
    }
}
