//! How the end of an execution becomes a response, in each shape.

use std::time::Duration;

use http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tower_webhook::hook::{Failure, FailureKind, ResponseFormat};

use super::*;
use crate::support::wire::{exchange, serve};

/// What an executor does, named by the path.
async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let value = |text: &str| HeaderValue::try_from(text).unwrap();
    match invocation.uri().path() {
        "/json" => Outcome::json(&("a", 1.5)),
        "/text" => Outcome::json_text(r#"{"n": 1e400}"#),
        "/empty" => Ok(Outcome::empty()),
        "/accepted" => Ok(Outcome::accepted()),
        "/raw" => Ok(Outcome::raw("<a/>")),
        "/xml" => Outcome::raw("<a/>").with_header(CONTENT_TYPE, value("text/xml")),
        "/created" => Outcome::json(&1)?
            .with_status(StatusCode::CREATED)?
            .with_header(LOCATION, value("/jobs/1"))?
            .with_header(ETAG, value("\"1\""))?
            .with_header(HeaderName::from_static("x-job"), value("1")),
        "/limited" => Outcome::json(&"slower")?
            .with_status(StatusCode::TOO_MANY_REQUESTS)?
            .with_header(RETRY_AFTER, value("120")),
        "/nothing" => Outcome::json(&"no")?.with_status(StatusCode::NO_CONTENT),
        "/reset" => Outcome::raw("no").with_status(StatusCode::RESET_CONTENT),
        "/unchanged" => Outcome::raw("no")
            .with_header(ETAG, value("\"1\""))?
            .with_status(StatusCode::NOT_MODIFIED),
        "/busy" => Err(ExecutorError::busy(Duration::from_millis(29_001)).with_source("10.0.0.1")),
        "/unavailable" => Outcome::json(&"later")?.with_status(StatusCode::SERVICE_UNAVAILABLE),
        "/private" => Err("connection to 10.0.0.1 refused".into()),
        "/io" => Err(std::io::Error::other("10.0.0.1").into()),
        "/public" => Err(ExecutorError::public("no \"ref\"\n in the payload")),
        "/invalid" => Err(ExecutorError::invalid("no branch").with_source("10.0.0.1")),
        "/oversized" => Err(ExecutorError::input_too_large("over 3 files")),
        "/both" => Err(ExecutorError::public("not now").with_source("10.0.0.1")),
        "/keys" => Outcome::json(&std::collections::HashMap::from([((1, 2), 10_001)])),
        "/nan" => Outcome::json(&f64::NAN),
        "/malformed" => Outcome::json_text("{10.0.0.1}"),
        "/cookie" => Outcome::empty().with_header(http::header::SET_COOKIE, value("10.0.0.1")),
        "/unauthorized" => Outcome::empty().with_status(StatusCode::UNAUTHORIZED),
        "/large" => Outcome::json(&"x".repeat(999)),
        "/fits" => Outcome::json(&"x".repeat(998)),
        "/large-raw" => Ok(Outcome::raw(vec![b'x'; 1001])),
        other => panic!("no case {other}"),
    }
}

fn hooks(shape: ResponseFormat) -> Hooks {
    Hooks::new(AuthLayer::public(), run).with_max_response_bytes(1000).with_response_format(shape)
}

const JSON: &str = "application/json";

#[tokio::test]
async fn the_status_member_tells_how_it_ended() {
    let failed = r#"{"status":1,"err":"execution failed"}"#;
    let internal = r#"{"status":1,"err":"internal error"}"#;
    let fits = format!(r#"{{"status":0,"result":"{}"}}"#, "x".repeat(998));
    let cases = [
        ("/json", 200, JSON, r#"{"status":0,"result":["a",1.5]}"#),
        ("/text", 200, JSON, r#"{"status":0,"result":{"n": 1e400}}"#),
        ("/empty", 200, JSON, r#"{"status":0,"result":null}"#),
        ("/accepted", 202, "", ""),
        ("/raw", 200, "application/octet-stream", "<a/>"),
        ("/xml", 200, "text/xml", "<a/>"),
        ("/created", 201, JSON, r#"{"status":0,"result":1}"#),
        ("/unavailable", 503, JSON, r#"{"status":0,"result":"later"}"#),
        ("/private", 200, JSON, failed),
        ("/io", 200, JSON, failed),
        ("/public", 200, JSON, r#"{"status":1,"err":"no \"ref\"\n in the payload"}"#),
        ("/both", 200, JSON, r#"{"status":1,"err":"not now"}"#),
        ("/invalid", 200, JSON, r#"{"status":1,"err":"no branch"}"#),
        ("/oversized", 200, JSON, r#"{"status":1,"err":"over 3 files"}"#),
        ("/keys", 200, JSON, failed),
        ("/nan", 200, JSON, r#"{"status":0,"result":null}"#),
        ("/malformed", 200, JSON, failed),
        ("/cookie", 200, JSON, failed),
        ("/unauthorized", 200, JSON, failed),
        ("/large", 200, JSON, internal),
        ("/fits", 200, JSON, &fits),
        ("/large-raw", 200, JSON, internal),
    ];
    for (path, status, media, body) in cases {
        let response = call(&hooks(ResponseFormat::status_json()), post_to(path, "")).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.body(), body, "{path}");
        let found =
            response.headers().get(CONTENT_TYPE).map_or("", |media| media.to_str().unwrap());
        assert_eq!(found, media, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn plain_http_has_a_status_for_each_end() {
    let cases = [
        ("/json", 200, r#"["a",1.5]"#),
        ("/text", 200, r#"{"n": 1e400}"#),
        ("/empty", 200, "null"),
        ("/accepted", 202, ""),
        ("/raw", 200, "<a/>"),
        ("/created", 201, "1"),
        ("/unavailable", 503, "\"later\""),
        ("/private", 502, "executor_failed"),
        ("/public", 502, "executor_failed"),
        ("/keys", 502, "executor_failed"),
        ("/invalid", 422, "invalid"),
        ("/oversized", 413, "content_too_large"),
        ("/large", 500, "internal"),
        ("/large-raw", 500, "internal"),
    ];
    for (path, status, expected) in cases {
        let response = call(&hooks(ResponseFormat::http()), post_to(path, "")).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert!(!response.headers().contains_key("www-authenticate"), "{path}");
        let is_problem = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|media| media == "application/problem+json");
        if is_problem {
            let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
            assert_eq!(problem["code"], expected, "{path}");
            assert_eq!(problem["status"], status, "{path}");
        } else {
            assert_eq!(response.body(), expected, "{path}");
        }
        assert!(!response.body().contains("10.0.0.1"), "{path}");
        assert_eq!(is_problem, [413, 422, 500, 502].contains(&status), "{path}");
    }
}

#[tokio::test]
async fn the_headers_of_an_outcome_are_sent_in_both_shapes() {
    for shape in [ResponseFormat::status_json(), ResponseFormat::http()] {
        let response = call(&hooks(shape), post_to("/created", "")).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["location"], "/jobs/1");
        assert_eq!(response.headers()["etag"], "\"1\"");
        assert_eq!(response.headers()["x-job"], "1");
    }
}

#[tokio::test]
async fn a_custom_shape_sets_everything_and_keeps_the_protections() {
    let shape = ResponseFormat::custom(|end| {
        let (status, text) = match end {
            Ok(outcome) => (201, outcome.as_json().unwrap_or("-").to_owned()),
            Err(failure) => {
                let source = failure.error().and_then(ExecutorError::source);
                assert!(source.is_some_and(|source| source.to_string().contains("10.0.0.1")));
                (418, failure.text().to_owned())
            }
        };
        Response::builder()
            .status(status)
            .header("cache-control", "public")
            .body(text.into())
            .unwrap()
    });
    let cases = [("/json", 201, r#"["a",1.5]"#), ("/raw", 201, "-"), ("/both", 418, "not now")];
    for (path, status, text) in cases {
        let response = call(&hooks(shape.clone()), post_to(path, "")).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), text);
        assert_eq!(response.headers()["cache-control"], "public");
    }

    // A response to a credential in the target is private in every shape.
    let keys = Keys::new().await;
    let placements = || [Placement::query("key").unwrap()];
    for shape in [shape, ResponseFormat::status_json(), ResponseFormat::http()] {
        let hooks = Hooks::new(AuthLayer::token(&keys.manager, placements()).unwrap(), run);
        let hooks = hooks.with_response_format(shape);
        for path in ["/json", "/accepted", "/raw"] {
            let response = call(&hooks, post_to(&format!("{path}?key={}", keys.text), "")).await;
            assert_eq!(response.headers()["cache-control"], "private, no-store", "{path}");
            assert_eq!(response.headers()["referrer-policy"], "no-referrer", "{path}");
        }
    }
}

#[tokio::test]
async fn refusals_are_never_shaped() {
    let keys = Keys::new().await;
    let shapes = [
        ResponseFormat::status_json(),
        ResponseFormat::http(),
        ResponseFormat::custom(|_| panic!("a refusal was shaped")),
    ];
    for shape in shapes {
        let hooks =
            Hooks::new(auth(&keys), run).with_max_body_bytes(10).with_response_format(shape);
        for (request, expected) in [
            (post_to("/token", ""), 401),
            (post_to("/token?key=junk", ""), 401),
            (post_to(&format!("/token?key={0}&key={0}", keys.text), ""), 400),
            (post_to(&format!("/scope?key={}", keys.text), ""), 403),
            (post_to("/other", ""), 404),
            (Request::get("/public").body(Body::default()).unwrap(), 405),
            (post_to("/public", "{"), 400),
            (post_to("/public", "0123456789!"), 413),
            (post_to(&format!("/user?key={}", keys.text), ""), 500),
        ] {
            let response = call(&hooks, request).await;
            assert_eq!(response.status(), expected);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
            assert_eq!(problem["status"], expected);
        }
    }

    // The closure of the layer makes the bodies of all of them, and their status is kept.
    let auth = auth(&keys).with_rejection_response(|rejection, _head| {
        Response::new(format!("refused: {}", rejection.code()).into())
    });
    let hooks = Hooks::new(auth, run).with_response_format(ResponseFormat::http());
    for (request, status, code) in [
        (post_to("/other", ""), 404, "not_found"),
        (post_to("/public", "{"), 400, "malformed_body"),
    ] {
        let response = call(&hooks, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), &format!("refused: {code}"));
    }
}

#[tokio::test]
async fn plain_http_is_the_default() {
    let hooks = Hooks::new(AuthLayer::public(), run);
    assert_eq!(call(&hooks, post_to("/json", "")).await.body(), r#"["a",1.5]"#);
    let response = call(&hooks, post_to("/public", "")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(problem["detail"], "no \"ref\"\n in the payload");
}

#[tokio::test]
async fn what_an_executor_refuses_is_a_refusal() {
    let auth = AuthLayer::public().with_rejection_response(|rejection, _head| {
        Response::new(format!("{}: {:?}", rejection.code(), rejection.detail()).into())
    });
    let response = call(&Hooks::new(auth, run), post_to("/invalid", "")).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(response.body(), r#"invalid: Some("no branch")"#);
    let shape = ResponseFormat::custom(|end| {
        let failure = end.unwrap_err();
        Response::new(format!("{}: {}", failure.kind().as_str(), failure.text()).into())
    });
    for (path, text) in
        [("/invalid", "invalid: no branch"), ("/oversized", "input_too_large: over 3 files")]
    {
        assert_eq!(call(&hooks(shape.clone()), post_to(path, "")).await.body(), text);
    }
}

#[tokio::test]
async fn a_busy_executor_says_when_to_come_back() {
    for shape in [ResponseFormat::http(), ResponseFormat::status_json()] {
        let response = call(&hooks(shape), post_to("/busy", "")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "30");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(response.body().contains("temporarily_unavailable"), "{}", response.body());
        assert!(!response.body().contains("10.0.0.1"));
    }
    let shape = ResponseFormat::custom(|end| {
        let failure = end.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Busy);
        Response::new(format!("{:?}", failure.retry_after()).into())
    });
    assert_eq!(call(&hooks(shape), post_to("/busy", "")).await.body(), "Some(29.001s)");
}

#[tokio::test]
async fn an_executor_can_ask_for_a_pause() {
    let response = call(&hooks(ResponseFormat::http()), post_to("/limited", "")).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[RETRY_AFTER], "120");
    assert_eq!(response.body(), "\"slower\"");
}

#[tokio::test]
async fn a_status_without_content_has_none() {
    let custom = |_: Result<&Outcome, &Failure>| {
        Response::builder().status(204).header(CONTENT_TYPE, "a/b").body("no".into()).unwrap()
    };
    let http = hooks(ResponseFormat::http());
    let responses = [
        (call(&http, post_to("/nothing", "")).await, 204),
        (call(&http, post_to("/reset", "")).await, 205),
        (call(&http, post_to("/unchanged", "")).await, 304),
        (call(&hooks(ResponseFormat::custom(custom)), post_to("/json", "")).await, 204),
        (call(&hooks(ResponseFormat::status_json()), post_to("/nothing", "")).await, 204),
    ];
    for (response, status) in responses {
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), "", "{status}");
        assert!(!response.headers().contains_key(CONTENT_TYPE), "{status}");
        assert_eq!(response.headers().contains_key(ETAG), status == 304);
    }
}

#[tokio::test]
async fn a_204_over_the_wire_ends_with_its_head() {
    let head_or_post = AuthLayer::per_request(|_: RequestHead<'_>| {
        Some(Policy::public().with_methods([Method::POST, Method::HEAD]))
    });
    let address = serve(Hooks::new(head_or_post, run)).await;
    for method in ["POST", "HEAD"] {
        let sent = format!("{method} /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let received = exchange(address, sent).await;
        assert!(received.starts_with("HTTP/1.1 204 "), "{received}");
        assert!(received.ends_with("\r\n\r\n"), "{received}");
        assert!(!received.to_ascii_lowercase().contains("content-length"), "{received}");
    }
}
