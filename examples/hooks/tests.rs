//! The hooks without a network. `tests/clients/hooks.py` plays more cases over one.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::app::{Credentials, app};

const PUSH: &str = include_str!("../payloads/github-push.json");
const DEPLOYED: &str = r#"{"commits":20,"deployed":"refs/heads/main"}"#;

async fn answer(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

fn push(uri: &str) -> http::request::Builder {
    Request::post(uri).header("content-type", "application/json")
}

#[tokio::test]
async fn the_key_opens_the_hook_from_every_place() {
    let (app, Credentials { key, .. }) = app().await.unwrap();
    let body = || Body::from(PUSH);
    let requests = [
        push("/hook/deploy").header("x-webhook-token", &key).body(body()),
        push("/hook/deploy").header("authorization", format!("Bearer {key}")).body(body()),
        push(&format!("/hook/deploy?token={key}")).body(body()),
        push(&format!("/hook/deploy/{key}")).body(body()),
    ];
    for request in requests {
        let (status, body) = answer(&app, request.unwrap()).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, DEPLOYED));
    }

    let body = format!(r#"{{"token":"{key}","ref":"v1"}}"#);
    let (status, body) = answer(&app, push("/hook/deploy").body(body.into()).unwrap()).await;
    let expected = r#"{"commits":0,"deployed":"v1"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::OK, expected));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_five_calls_at_once_and_then_one_each_12_seconds() {
    let (app, Credentials { key, hourly, .. }) = app().await.unwrap();
    let call = async |key: &str| {
        let request = push("/hook/limited").header("x-webhook-token", key);
        let response = app.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
        let retry_after = response.headers().get("retry-after").cloned();
        (response.status().as_u16(), retry_after.map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(call(&hourly).await.0, 200);
    assert_eq!(call(&hourly).await, (429, Some("3600".to_owned())));
    for _ in 0..5 {
        assert_eq!(call("wrong").await.0, 401);
        assert_eq!(call(&key).await.0, 200);
    }
    assert_eq!(call(&key).await, (429, Some("12".to_owned())));
    tokio::time::advance(std::time::Duration::from_secs(12)).await;
    assert_eq!(call(&key).await.0, 200);
    assert_eq!(call(&key).await.0, 429);
    assert_eq!(call("wrong").await.0, 401);
}

const NO_PUSH: &str = r#""detail":"the payload is no push""#;

#[tokio::test]
async fn a_push_comes_as_json_or_in_a_form() {
    let (app, Credentials { key, .. }) = app().await.unwrap();
    let main = r#"{"commits":0,"deployed":"refs/heads/main"}"#;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let cases = [
        (json, "{}", StatusCode::OK, main),
        (json, "", StatusCode::OK, main),
        (form, "payload={\"ref\":\"v1\"}", StatusCode::OK, r#"{"commits":0,"deployed":"v1"}"#),
        (form, "a=1", StatusCode::OK, main),
        (json, "[1]", StatusCode::UNPROCESSABLE_ENTITY, NO_PUSH),
        (json, r#"["v1",[1,2]]"#, StatusCode::UNPROCESSABLE_ENTITY, NO_PUSH),
        (form, "payload=x", StatusCode::UNPROCESSABLE_ENTITY, NO_PUSH),
    ];
    for (media, body, expected, result) in cases {
        let request = Request::post("/hook/deploy").header("content-type", media);
        let request = request.header("x-webhook-token", &key).body(Body::from(body)).unwrap();
        let (status, text) = answer(&app, request).await;
        assert_eq!(status, expected, "{body}");
        assert!(text == result || result == NO_PUSH && text.contains(NO_PUSH), "{body}: {text}");
    }
}

#[tokio::test]
async fn a_path_that_is_no_hook_is_refused_like_the_rest() {
    let (app, Credentials { key, .. }) = app().await.unwrap();
    for path in
        ["/", "/nope", "/hook", "/hook/", "/hook/deploy/", "/hook/deploy//", "//hook/deploy"]
    {
        let request = push(path).header("x-webhook-token", &key).body(Body::empty()).unwrap();
        let (status, body) = answer(&app, request).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(body.contains(r#""code":"not_found""#), "{path}");
    }
}

#[tokio::test]
async fn the_public_and_the_user_hook_answer() {
    let (app, Credentials { login, .. }) = app().await.unwrap();

    let request = Request::get("/hook/status").body(Body::empty()).unwrap();
    let (status, body) = answer(&app, request).await;
    let expected = r#"{"healthy":true}"#;
    assert_eq!((status, body.as_str()), (StatusCode::OK, expected));

    use base64::Engine as _;
    let user = format!("alice:{login}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(user);
    let request = Request::post("/hook/report")
        .header("authorization", format!("Basic {encoded}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("week=47"))
        .unwrap();
    let (status, body) = answer(&app, request).await;
    let expected = r#"{"week":"47"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::OK, expected));
}

#[tokio::test]
async fn refusals_are_as_printed() {
    let (app, credentials) = app().await.unwrap();
    let Credentials { key, expired, revoked, without_scope, hourly: _, login } = credentials;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let cases = [
        (push("/hook/deploy"), StatusCode::UNAUTHORIZED),
        (push("/hook/deploy").header("x-webhook-token", "wrong"), StatusCode::UNAUTHORIZED),
        (push("/hook/deploy").header("x-webhook-token", &login), StatusCode::UNAUTHORIZED),
        (push("/hook/deploy").header("x-webhook-token", &expired), StatusCode::UNAUTHORIZED),
        (push("/hook/deploy").header("x-webhook-token", &revoked), StatusCode::UNAUTHORIZED),
        (push("/hook/deploy").header("x-webhook-token", &without_scope), StatusCode::FORBIDDEN),
        (
            push(&format!("/hook/deploy?token={key}")).header("x-webhook-token", &key),
            StatusCode::BAD_REQUEST,
        ),
        (Request::get("/hook/deploy"), StatusCode::METHOD_NOT_ALLOWED),
        (Request::get("/hook/unknown"), StatusCode::NOT_FOUND),
        (push("/hook/report").header("x-webhook-token", &key), StatusCode::UNAUTHORIZED),
    ];
    for (request, expected) in cases {
        let (status, _) = answer(&app, request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(status, expected);
    }
}
