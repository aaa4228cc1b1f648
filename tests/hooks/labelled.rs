//! Credentials in bodies that are JSON by a setting of the envelope: they count as in `application/json`.

use tower::Layer;
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::content::ContentLimits;
use tower_webhook::content::json::JsonLimits;
use tower_webhook::credential::Credentials;
use tower_webhook::envelope::{ByteOrderMark, ReadAs};

use super::bodies::{tolerant, typed, with_body};
use super::*;
use crate::support::watched::{Polls, Watched};
use crate::support::{Logins, Recorder};

/// Each is read as JSON by [`tolerant`].
const LABELS: [&str; 5] =
    ["text/json", "Text/JSON; Charset=utf-8", "text/plain", "text/plain; charset=\"UTF-8\"", ""];

fn placements() -> [Placement; 2] {
    [Placement::header("x-api-key").unwrap(), Placement::body("api_key").unwrap()]
}

/// Hooks `/public` and others, which ask for a key; the executor answers with envelope and body.
fn hooks(keys: &Keys) -> Hooks {
    let resolve = |head: RequestHead<'_>| {
        let name = head.uri().path().trim_start_matches('/');
        let policy = if name == "public" { Policy::public() } else { Policy::token() };
        Some(policy.with_hook(name))
    };
    let auth = AuthLayer::per_request(resolve).with_keys(&keys.manager, placements()).unwrap();
    let run = |invocation: Invocation| async move {
        let body = String::from_utf8_lossy(invocation.body()).into_owned();
        Outcome::json(&(invocation.envelope().as_str(), body))
    };
    Hooks::new(auth, run).with_envelope(tolerant()).unwrap()
}

fn in_body(secret: &str) -> String {
    format!(r#"{{"a":1.0,"api_key":"{secret}"}}"#)
}

fn with_key(mut request: Request<Body>, key: &str) -> Request<Body> {
    request.headers_mut().insert("x-api-key", key.parse().unwrap());
    request
}

fn code(response: &Response<String>) -> String {
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_in_json_of_another_label_authenticates() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys);
    for media in LABELS {
        for mark in ["", "\u{feff}"] {
            let body = |key: &str| format!("{mark}{}", in_body(key));
            let response = call(&hooks, typed("/token", media, body(&keys.text))).await;
            assert_eq!(response.status(), 200, "{media} {}", response.body());
            assert!(response.body().contains(r#"\"JSON\":{\"a\":1.0}"#), "{}", response.body());
            assert!(!response.body().contains(&keys.text), "{media}: {}", response.body());

            for key in ["junk", ""] {
                let response = call(&hooks, typed("/token", media, body(key))).await;
                assert_eq!(response.status(), 401, "{media} {key}");
            }
            let response = call(&hooks, typed("/token", media, format!("{mark}[{{}}]"))).await;
            assert_eq!(response.status(), 401, "{media}");
            let twice = format!(r#"{mark}{{"api_key":["{}"]}}"#, keys.text);
            assert_eq!(call(&hooks, typed("/token", media, twice)).await.status(), 401, "{media}");
        }
    }
}

#[tokio::test]
async fn a_second_key_in_json_of_another_label_is_a_400() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys);
    for media in LABELS {
        for second in [keys.text.as_str(), "junk"] {
            for mark in ["", "\u{feff}"] {
                let body = format!("{mark}{}", in_body(second));
                let request = || typed("/token", media, body.clone());
                let response = call(&hooks, with_key(request(), &keys.text)).await;
                assert_eq!(response.status(), 400, "{media} {second}");
                assert_eq!(code(&response), "invalid_request", "{media}");
                // What is in the head is decided about first.
                assert_eq!(call(&hooks, with_key(request(), "junk")).await.status(), 401);
            }
        }
        let response =
            call(&hooks, with_key(typed("/token", media, in_body("")), &keys.text)).await;
        assert_eq!(response.status(), 200, "{media}");
    }
}

#[tokio::test]
async fn what_is_no_json_object_by_a_setting_has_no_key() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys).with_envelope(tolerant().with_json_fields(["payload"])).unwrap();
    let key = in_body(&keys.text);
    let form = "application/x-www-form-urlencoded";
    let repeated = format!(r#"{{"api_key":"{0}","api_key":"{0}"}}"#, keys.text);
    for (media, body) in [
        ("text/plain", "hello".to_owned()),
        ("", format!("api_key={}", keys.text)),
        ("text/plain", format!("{key} x")),
        // Two readers would find different members, so it is a text for the envelope as well.
        ("text/plain", repeated),
        ("", format!("\u{feff}\u{feff}{key}")),
        ("text/plain; charset=utf-16", key.clone()),
        ("text/xml", key.clone()),
        ("application/octet-stream", key.clone()),
        ("application/x-ndjson", key.clone()),
        ("application/x-ndjson", format!("{key}\n{key}\n")),
        (form, format!("payload={key}")),
    ] {
        let request = || typed("/token", media, body.clone());
        assert_eq!(call(&hooks, request()).await.status(), 401, "{media} {body}");
        let response = call(&hooks, with_key(request(), &keys.text)).await;
        assert_eq!(response.status(), 200, "{media} {body} {}", response.body());
    }
}

#[tokio::test]
async fn json_by_a_setting_is_malformed_as_json_is() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys);
    for body in [r#"{"api_key":"#, " ", "\u{feff}", "hello", r#"{"api_key":"a","api_key":"b"}"#] {
        for media in ["application/json", "text/json"] {
            for request in [
                typed("/token", media, body),
                with_key(typed("/token", media, body), &keys.text),
                typed("/public", media, body),
            ] {
                let response = call(&hooks, request).await;
                assert_eq!(response.status(), 400, "{media} {body}");
                assert_eq!(code(&response), "malformed_body", "{media} {body}");
            }
        }
    }
    for media in ["application/json; charset=utf-16", "text/json; charset=utf-16"] {
        let response = call(&hooks, typed("/token", media, in_body(&keys.text))).await;
        assert_eq!(response.status(), 415, "{media}");
    }
}

#[tokio::test]
async fn a_credential_in_json_of_another_label_is_removed() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys);
    for media in LABELS {
        for secret in [keys.text.as_str(), "canary"] {
            for value in [format!(r#""{secret}""#), format!(r#"{{"deep":["{secret}"]}}"#)] {
                let body = format!("\u{feff}{{ \"a\":1.0 ,\"\\u0061pi_key\" : {value}}}");
                let response = call(&hooks, typed("/public", media, body)).await;
                assert_eq!(response.status(), 200, "{media} {}", response.body());
                assert!(!response.body().contains(secret), "{media}: {}", response.body());
                assert!(response.body().contains(r#"\"a\":1.0"#), "{media}: {}", response.body());
            }
        }
    }
    // What the envelope shows as JSON, and placements do not read, cannot be cleaned.
    let small = ContentLimits::new().with_json(JsonLimits::new().with_nodes(3));
    let credentials = Credentials::new(placements()).unwrap().with_content_limits(small);
    let auth = AuthLayer::public().with_keys(&keys.manager, credentials).unwrap();
    let counter = Counter::default();
    let hooks = Hooks::new(auth, counter.executor()).with_envelope(tolerant()).unwrap();
    for media in LABELS {
        let body = r#"{"a":[1,2,3],"api_key":"canary"}"#;
        assert_eq!(call(&hooks, typed("/", media, body)).await.status(), 400, "{media}");
    }
    assert_eq!(counter.take(), 0);
}

#[tokio::test]
async fn a_byte_order_mark_decides_as_in_the_envelope() {
    let keys = Keys::new().await;
    let body = format!("\u{feff}{}", in_body(&keys.text));
    for (mark, expected) in [(ByteOrderMark::Refused, 400), (ByteOrderMark::Kept, 200)] {
        let hooks = hooks(&keys).with_envelope(tolerant().with_byte_order_mark(mark)).unwrap();
        let request = with_key(typed("/token", "text/plain", body.clone()), &keys.text);
        assert_eq!(call(&hooks, request).await.status(), expected, "{mark:?}");
    }
}

#[tokio::test]
async fn each_hook_reads_bodies_as_its_own_envelope_does() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys)
        .with_envelope(with_body())
        .unwrap()
        .with_envelope_for("sns", tolerant())
        .unwrap()
        .with_envelope_for("absent", with_body().with_absent_media_type(ReadAs::Json))
        .unwrap();
    for (target, media, [alone, second]) in [
        ("/sns", "text/plain", [200, 400]),
        ("/sns", "", [200, 400]),
        ("/absent", "", [200, 400]),
        ("/absent", "text/plain", [401, 200]),
        ("/token", "", [401, 200]),
        ("/token", "text/json", [401, 200]),
        ("/token", "application/json", [200, 400]),
    ] {
        let request = || typed(target, media, in_body(&keys.text));
        assert_eq!(call(&hooks, request()).await.status(), alone, "{target} {media}");
        let response = call(&hooks, with_key(request(), &keys.text)).await;
        assert_eq!(response.status(), second, "{target} {media}");
    }
}

/// The status, and whether the body was polled.
async fn watch(
    hooks: &Hooks,
    target: &str,
    media: &str,
    key: Option<&str>,
    body: (Watched, Polls),
) -> (u16, bool) {
    let (body, polls) = body;
    let mut request = Request::post(target).header("content-type", media);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let response = soon(hooks.clone().oneshot(request.body(body).unwrap())).await.unwrap();
    (response.status().as_u16(), polls.count() > 0)
}

#[tokio::test]
async fn json_by_a_setting_has_the_limit_for_unknown_callers() {
    let keys = Keys::new().await;
    let hooks = hooks(&keys).with_pre_auth_max_bytes(200).with_max_body_bytes(1000);
    let body = |len: usize| format!("{:len$}", in_body(&keys.text));
    let text = |len: usize| format!(r#"{:len$}"#, "{}");
    for media in ["application/json", "text/json", "text/plain"] {
        let makes: [fn(String) -> (Watched, Polls); 2] = [Watched::sized, Watched::chunked];
        for make in makes {
            let watch = |key, body| watch(&hooks, "/token", media, key, make(body));
            assert_eq!(watch(None, body(200)).await, (200, true), "{media}");
            assert_eq!(watch(None, text(200)).await, (401, true), "{media}");
            assert_eq!(watch(None, body(201)).await.0, 413, "{media}");
            assert_eq!(watch(Some(&keys.text), text(1000)).await, (200, true), "{media}");
            assert_eq!(watch(Some(&keys.text), text(1001)).await.0, 413, "{media}");
            assert_eq!(watch(Some("junk"), body(200)).await.0, 401, "{media}");
        }
    }
    // Nothing in them can be a credential, so nothing is waited for.
    for media in ["text/xml", "application/x-ndjson", "text/plain; charset=utf-16"] {
        let answer = watch(&hooks, "/token", media, None, Watched::silent(100)).await;
        assert_eq!(answer.0, 401, "{media}");
    }
}

#[tokio::test]
async fn concealed_hooks_are_alike_with_envelopes_of_their_own() {
    let keys = Keys::new().await;
    let resolve = |head: RequestHead<'_>| match head.uri().path() {
        "/sns" => Some(Policy::token().with_hook("sns")),
        "/plain" => Some(Policy::token().with_hook("plain")),
        _ => None,
    };
    let auth = AuthLayer::per_request(resolve)
        .with_uniform_unauthorized()
        .with_keys(&keys.manager, placements())
        .unwrap();
    let hooks = Hooks::new(auth, Counter::default().executor())
        .with_envelope(with_body())
        .unwrap()
        .with_envelope_for("sns", tolerant())
        .unwrap();
    for target in ["/sns", "/plain", "/none"] {
        for body in ["{", "{}", r#"{"api_key":"junk"}"#] {
            for media in ["text/json", "text/plain", "application/json"] {
                let answer = watch(&hooks, target, media, None, Watched::chunked(body)).await;
                assert_eq!(answer, (401, true), "{target} {media} {body}");
            }
        }
    }
    for (target, expected) in [("/sns", 200), ("/plain", 401), ("/none", 401)] {
        let response = call(&hooks, typed(target, "text/plain", in_body(&keys.text))).await;
        assert_eq!(response.status(), expected, "{target}");
    }
}

#[tokio::test]
async fn a_password_in_json_of_another_label_is_read_too() {
    let auth = AuthLayer::user(Logins, placements()).unwrap();
    let hooks = Hooks::new(auth, Counter::default().executor()).with_envelope(tolerant()).unwrap();
    for media in LABELS {
        let response = call(&hooks, typed("/", media, in_body("sesame"))).await;
        assert_eq!(response.status(), 200, "{media}");
        assert!(response.body().contains(r#""JSON":{"a":1.0}"#), "{}", response.body());
        let request = with_key(typed("/", media, in_body("sesame")), "sesame");
        assert_eq!(call(&hooks, request).await.status(), 400, "{media}");
    }
}

#[tokio::test]
async fn a_layer_without_envelope_goes_by_the_media_type() {
    let keys = Keys::new().await;
    let recorder = Recorder::default();
    let auth = AuthLayer::token(&keys.manager, placements()).unwrap();
    let service = auth.with_buffer(BodyBufferLayer::new()).layer(recorder.clone());
    for media in LABELS {
        let response = service.clone().oneshot(typed("/", media, in_body(&keys.text))).await;
        assert_eq!(response.unwrap().status(), 401, "{media}");
        let request = with_key(typed("/", media, in_body("other")), &keys.text);
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200, "{media}");
        let [seen] = <[_; 1]>::try_from(recorder.take()).unwrap();
        assert_eq!(seen.body(), &in_body("other"), "{media}");
    }
}
