//! What an executor is given beside the envelope.

use http::HeaderValue;

use super::*;

/// The headers and the body that an executor gets, and the shape of its envelope.
#[derive(Clone, Default)]
struct Seen(Arc<std::sync::Mutex<Option<Invocation>>>);

impl Seen {
    fn executor(&self) -> impl Executor + Clone {
        let seen = Arc::clone(&self.0);
        move |invocation: Invocation| {
            *seen.lock().unwrap() = Some(invocation);
            std::future::ready(Ok(Outcome::empty()))
        }
    }

    fn take(&self) -> Invocation {
        self.0.lock().unwrap().take().unwrap()
    }
}

#[tokio::test]
async fn the_executor_gets_all_headers_but_credentials() {
    let keys = Keys::new().await;
    let seen = Seen::default();
    let excluded = EnvelopeBuilder::new()
        .with_excluded_headers([http::HeaderName::from_static("x-signature")]);
    let hooks = Hooks::new(auth(&keys), seen.executor()).with_envelope(excluded).unwrap();
    let mut request = post_to("/token", "{}");
    for (name, value) in [
        ("x-api-key", keys.text.as_str()),
        ("x_api_key", "s3cret"),
        ("authorization", "Basic s3cret"),
        ("proxy-authorization", "s3cret"),
        ("proxy_authorization", "s3cret"),
        ("cookie", "s3cret"),
        ("x-signature", "s3cret"),
        ("x-github-event", "push"),
        ("connection", "keep-alive"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-copy", keys.text.as_str()),
    ] {
        let name = http::HeaderName::from_static(name);
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
    request.headers_mut().insert("x-latin", latin.clone());
    assert_eq!(call(&hooks, request).await.status(), 200);

    let invocation = seen.take();
    let headers = invocation.headers();
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = ["connection", "content-type", "x-copy", "x-github-event", "x-latin", "x-many"];
    assert_eq!(names, expected);
    assert_eq!(headers.get_all("x-many").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["x-latin"], latin);
    assert!(headers["x-copy"].to_str().unwrap().ends_with("_[redacted]"));
    let shown = format!("{invocation:?} {invocation:#?}");
    assert!(!shown.contains("push") && !shown.contains(&keys.text), "{shown}");
}

#[tokio::test]
async fn the_executor_gets_the_body_as_it_was_sent() {
    let seen = Seen::default();
    let envelope = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
    let hooks = Hooks::new(AuthLayer::public(), seen.executor()).with_envelope(envelope).unwrap();
    for (media, body) in [
        ("application/json", &b" {\"a\" : 1.10}\r\n"[..]),
        ("image/png", b"\x89PNG\0\xff"),
        ("text/plain", b""),
    ] {
        let mut request = post_to("/", body);
        request.headers_mut().insert("content-type", media.parse().unwrap());
        assert_eq!(call(&hooks, request).await.status(), 200, "{media}");
        let invocation = seen.take();
        assert_eq!(invocation.body(), body, "{media}");
        assert!(!format!("{invocation:?}").contains("PNG"));
    }
}

#[tokio::test]
async fn the_body_for_an_executor_has_no_credential() {
    let keys = Keys::new().await;
    let seen = Seen::default();
    let auth = AuthLayer::token(&keys.manager, Placement::body("api_key").unwrap()).unwrap();
    let hooks = Hooks::new(auth, seen.executor());
    for (media, before, after) in [
        ("application/json", r#"{ "api_key":"K", "a":1.0 }"#, r#"{ "a":1.0 }"#),
        ("application/x-www-form-urlencoded", "a=%31&api_key=K", "a=%31"),
    ] {
        let mut request = post_to("/", before.replace('K', &keys.text));
        request.headers_mut().insert("content-type", media.parse().unwrap());
        assert_eq!(call(&hooks, request).await.status(), 200, "{media}");
        assert_eq!(seen.take().body(), after);
    }
}

#[tokio::test]
async fn each_hook_can_have_an_envelope_of_its_own() {
    let resolve = |head: RequestHead<'_>| {
        Some(Policy::public().with_hook(head.uri().path().trim_start_matches('/')))
    };
    let named = |name| EnvelopeBuilder::new().with_part(EnvelopePart::Json, name).unwrap();
    let hooks = || {
        Hooks::new(AuthLayer::per_request(resolve), Counter::default().executor())
            .with_envelope(named("other"))
            .unwrap()
            .with_envelope_for("logs", named("log"))
            .unwrap()
    };
    for (path, name) in [("/logs", "log"), ("/deploy", "other"), ("/logs2", "other")] {
        let response = call(&hooks(), post_to(path, "{}")).await;
        assert!(response.body().contains(&format!(r#""{name}":{{}}"#)), "{}", response.body());
    }
    assert!(hooks().with_envelope_for("logs", named("again")).is_err());
    assert!(hooks().with_identity_member("log").is_err());
    let hooks = hooks().with_identity_member("caller").unwrap();
    assert!(hooks.with_envelope_for("deploy", named("caller")).is_err());
}

#[tokio::test]
async fn a_body_may_have_one_mebibyte_by_default() {
    let hooks = Hooks::new(AuthLayer::public(), Seen::default().executor());
    for (length, status) in [(1024 * 1024, 200), (1024 * 1024 + 1, 413)] {
        let body = format!("\"{}\"", "x".repeat(length - 2));
        assert_eq!(call(&hooks, post_to("/", body)).await.status(), status, "{length}");
    }
}
