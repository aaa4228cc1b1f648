//! The wire rules: what is answered to good, bad and repeated deliveries of every provider.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tower::ServiceExt;
use tower_webhook::signature::Signer;

use crate::app::app;
use crate::instructions;
use crate::providers::{Provider, from_environment, made_up};

const PUBLIC_URL: &str = "https://example.com";

fn providers() -> (Vec<Provider>, Router) {
    let providers = made_up(&|_| None).unwrap();
    let app = app(&providers, PUBLIC_URL).unwrap();
    (providers, app)
}

async fn call(app: &Router, request: Request<Bytes>) -> Response<Bytes> {
    let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, to_bytes(body, 1024 * 1024).await.unwrap())
}

fn signed(provider: &Provider, body: &str, id: &str, late: Duration) -> Request<Bytes> {
    let url = format!("{PUBLIC_URL}/{}", provider.slug);
    let mut request = Request::post(url).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let signer = provider.signer.as_ref().unwrap();
    signer.sign(&mut request, id, OffsetDateTime::now_utc() - late).unwrap();
    request
}

#[tokio::test]
async fn every_provider_is_verified_and_its_delivery_runs_once() {
    let (providers, app) = providers();
    assert_eq!(providers.len(), 26);
    for provider in &providers {
        let slug = provider.slug;
        let good = || signed(provider, r#"{"webhookTimestamp":0}"#, "id-1", Duration::ZERO);
        let first = good();

        let response = call(&app, first.clone()).await;
        assert_eq!(response.status(), 200, "{slug}");
        let said: Value = serde_json::from_slice(response.body()).unwrap();
        assert!(said["covers"].is_array() && said["signed"]["id"].is_boolean(), "{slug}: {said}");

        let again = call(&app, first.clone()).await;
        assert_eq!(again.body(), response.body(), "{slug}");
        let is_replayed = again.headers().contains_key("x-replayed");
        assert_eq!(is_replayed, said["covers"] != json!([]), "{slug}");

        let mut unsigned = first;
        unsigned.headers_mut().clear();
        *unsigned.body_mut() = Bytes::from_static(b"{}");
        assert_eq!(call(&app, unsigned).await.status(), 401, "{slug}");
    }
}

#[tokio::test]
async fn a_time_out_of_tolerance_is_a_401() {
    let (providers, app) = providers();
    for provider in providers.iter().filter(|provider| provider.scheme.tolerance().is_some()) {
        let late = provider.scheme.tolerance().unwrap() + Duration::from_secs(2);
        let request = signed(provider, r#"{"webhookTimestamp":0}"#, "1", late);
        assert_eq!(call(&app, request).await.status(), 401, "{}", provider.slug);
    }
}

#[tokio::test]
async fn bodies_are_bytes_of_any_kind_up_to_25_mib() {
    let (providers, app) = providers();
    let github = providers.iter().find(|provider| provider.slug == "github").unwrap();
    let send = |body: Vec<u8>, media: &'static str, coding: Option<&'static str>| {
        let mut request = Request::post(format!("{PUBLIC_URL}/github"));
        request = request.header("content-type", media);
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        let mut request = request.body(Bytes::from(body)).unwrap();
        let signer = github.signer.as_ref().unwrap();
        signer.sign(&mut request, "1", OffsetDateTime::now_utc()).unwrap();
        call(&app, request)
    };
    for (body, media, coding) in [
        (&b"\xff\xfe\0"[..], "application/json", None),
        (b"{\"a\":1,\"a\":2", "application/json", None),
        (b"%ff=%", "application/x-www-form-urlencoded", None),
        (b"", "multipart/form-data", None),
        (b"\x1f\x8b", "image/png; x", Some("gzip")),
    ] {
        let response = send(body.to_vec(), media, coding).await;
        assert_eq!(response.status(), 200, "{media}: {:?}", response.body());
    }
    let limit = 25 * 1024 * 1024;
    assert_eq!(send(vec![b'a'; limit], "text/plain", None).await.status(), 200);
    assert_eq!(send(vec![b'a'; limit + 1], "text/plain", None).await.status(), 413);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let (_, app) = providers();
    for (method, path, status, allow) in [
        ("GET", "/github", StatusCode::METHOD_NOT_ALLOWED, Some("POST")),
        ("PUT", "/dropbox", StatusCode::METHOD_NOT_ALLOWED, Some("POST, GET")),
        ("POST", "/nope", StatusCode::NOT_FOUND, None),
        ("POST", "/", StatusCode::NOT_FOUND, None),
        ("POST", "/github/", StatusCode::NOT_FOUND, None),
    ] {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        let response = call(&app, request).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let shown = response.headers().get("allow").map(|allow| allow.to_str().unwrap());
        assert_eq!(shown, allow, "{method} {path}");
    }
}

#[tokio::test]
async fn secrets_have_the_form_of_the_provider() {
    let variable = |name: &str| {
        let value = match name {
            "STRIPE_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_another_one",
            "STANDARD_WEBHOOKS_SECRET" | "GITLAB_SECRET" => {
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            }
            "GITLAB_MODE" => "standard",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let mut providers = from_environment(&variable).unwrap();
    let slugs: Vec<_> = providers.iter().map(|provider| provider.slug).collect();
    assert_eq!(slugs, ["gitlab", "stripe", "standard-webhooks"]);
    let app = app(&providers, PUBLIC_URL).unwrap();
    for provider in &mut providers {
        for secret in provider.secrets.clone() {
            let signer = Signer::new(provider.scheme.clone(), &secret).unwrap();
            provider.signer = Some(signer);
            let request = signed(provider, "{}", "1", Duration::ZERO);
            assert_eq!(call(&app, request).await.status(), 200, "{}", provider.slug);
        }
    }
    let request = Request::post("/github").body(Bytes::new()).unwrap();
    assert_eq!(call(&app, request).await.status(), 404);

    let broken = |name: &str| (name == "SVIX_SECRET").then(|| "not base64!".to_owned());
    let error = from_environment(&broken).err().unwrap().to_string();
    assert_eq!(error, "SVIX_SECRET: a signing secret is not base64");
}

#[tokio::test]
async fn every_printed_line_is_for_one_provider() {
    let (providers, _) = providers();
    let text = instructions::text("127.0.0.1:3000", PUBLIC_URL, &providers).unwrap();
    for provider in &providers {
        let line = format!("  curl -s 'http://127.0.0.1:3000/{}", provider.slug);
        assert!(text.contains(&line), "{line}");
    }
}
