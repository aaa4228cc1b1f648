//! Which bodies a hook takes, and how the others are refused.

use tower_webhook::envelope::{ByteOrderMark, ReadAs};

use super::*;

/// A POST to the target, with or without a media type.
pub(crate) fn typed(target: &str, media: &str, body: impl Into<Bytes>) -> Request<Body> {
    let mut request = Request::post(target);
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    request.body(Full::new(body.into())).unwrap()
}

fn problem(response: &Response<String>) -> serde_json::Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    serde_json::from_str(response.body()).unwrap()
}

pub(crate) fn with_body() -> EnvelopeBuilder {
    EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap()
}

pub(crate) fn tolerant() -> EnvelopeBuilder {
    with_body()
        .with_media_types(["text/json"], ReadAs::Json)
        .unwrap()
        .with_media_types(["text/plain"], ReadAs::JsonIfValid)
        .unwrap()
        .with_media_types(["application/x-ndjson"], ReadAs::JsonLines)
        .unwrap()
        .with_absent_media_type(ReadAs::JsonIfValid)
}

#[tokio::test]
async fn a_body_that_would_be_lost_is_a_415() {
    let counter = Counter::default();
    let hooks = Hooks::new(AuthLayer::public(), counter.executor());
    let post_off = EnvelopeBuilder::new().without_part(EnvelopePart::Post);
    let without_form =
        Hooks::new(AuthLayer::public(), counter.executor()).with_envelope(post_off).unwrap();
    let form = "application/x-www-form-urlencoded";
    for (hooks, media, body) in [
        (&hooks, "text/plain; charset=UTF-8", &br#"{"Type":"SubscriptionConfirmation"}"#[..]),
        (&hooks, "application/x-ndjson", b"{}\n{}\n"),
        (&hooks, "", b"{}"),
        (&hooks, "image/png", b"\x89PNG"),
        (&without_form, form, b"a=1"),
    ] {
        let response = call(hooks, typed("/", media, body)).await;
        assert_eq!(response.status(), 415, "{media}");
        let accept = response.headers()["accept"].to_str().unwrap();
        assert!(accept.starts_with("application/json"), "{accept}");
        assert_eq!(accept.contains(form), media != form, "{accept}");
        assert_eq!(problem(&response)["detail"], format!("a body is taken as {accept}"));
        assert_eq!(counter.take(), 0, "{media}");
        // Zero bytes are no body.
        assert_eq!(call(hooks, typed("/", media, "")).await.status(), 200, "{media}");
        assert_eq!(counter.take(), 1);
    }
    let nothing = [EnvelopePart::Json, EnvelopePart::Post]
        .into_iter()
        .fold(EnvelopeBuilder::new(), EnvelopeBuilder::without_part);
    let hooks = Hooks::new(AuthLayer::public(), counter.executor()).with_envelope(nothing).unwrap();
    let response = call(&hooks, post_to("/", "{}")).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["accept"]),
        (415, &"".parse().unwrap())
    );
    assert_eq!(problem(&response)["detail"], "no body is taken here");
}

#[tokio::test]
async fn another_charset_is_a_415_that_says_so() {
    let hooks = Hooks::new(AuthLayer::public(), Counter::default().executor());
    for media in ["application/json; charset=utf-16", "application/vnd.a+json;charset=ISO-8859-1"] {
        let response = call(&hooks, typed("/", media, "{}")).await;
        assert_eq!(response.status(), 415, "{media}");
        assert!(response.headers()["accept"].to_str().unwrap().contains("application/json"));
        assert_eq!(problem(&response)["detail"], "the charset of JSON and forms is UTF-8");
    }
    let response = call(&hooks, typed("/", "application/json; Charset=\"UTF-8\"", "{}")).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_byte_order_mark_is_dropped_or_named_as_the_cause() {
    let hooks = Hooks::new(AuthLayer::public(), Counter::default().executor());
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    for (media, body, expected) in [
        (json, "\u{feff}{\"a\":1.0}", r#""JSON":{"a":1.0}"#),
        (form, "\u{feff}a=1", r#""POST":{"a":"1"}"#),
    ] {
        let response = call(&hooks, typed("/", media, body)).await;
        assert_eq!(response.status(), 200, "{media}");
        assert!(response.body().contains(expected), "{}", response.body());
    }
    let refused = EnvelopeBuilder::new().with_byte_order_mark(ByteOrderMark::Refused);
    let strict = hooks.clone().with_envelope(refused).unwrap();
    for (hooks, media, body) in [
        (&hooks, json, "\u{feff}\u{feff}{}"),
        (&strict, json, "\u{feff}{}"),
        (&strict, form, "\u{feff}a=1"),
    ] {
        let response = call(hooks, typed("/", media, body)).await;
        assert_eq!(response.status(), 400, "{media}");
        assert_eq!(problem(&response)["code"], "malformed_body");
        assert_eq!(problem(&response)["detail"], "the body begins with a byte order mark");
    }
}

#[tokio::test]
async fn blanks_are_no_json_and_no_absent_body() {
    let keys = Keys::new().await;
    let placements = [Placement::header("x-api-key").unwrap(), Placement::body("api_key").unwrap()];
    let auth = AuthLayer::token(&keys.manager, placements).unwrap();
    let counter = Counter::default();
    for hooks in
        [Hooks::new(AuthLayer::public(), counter.executor()), Hooks::new(auth, counter.executor())]
    {
        for body in [" ", "\r\n", "\t \n", "\u{feff}", "\u{feff}\n"] {
            let mut request = post_to("/", body);
            request.headers_mut().insert("x-api-key", keys.text.parse().unwrap());
            let response = call(&hooks, request).await;
            assert_eq!(response.status(), 400, "{body:?}");
            assert_eq!(problem(&response)["code"], "malformed_body");
        }
    }
    assert_eq!(counter.take(), 0);
}

#[tokio::test]
async fn fields_that_are_not_utf8_are_a_400() {
    let counter = Counter::default();
    let hooks = Hooks::new(AuthLayer::public(), counter.executor());
    let form = "application/x-www-form-urlencoded";
    for request in [
        typed("/?a=%FF", "", ""),
        typed("/", form, &b"a=\xff"[..]),
        typed("/", form, "a=%FF"),
        typed("/", form, "%C3=1"),
    ] {
        let response = call(&hooks, request).await;
        assert_eq!(response.status(), 400);
        assert_eq!(problem(&response)["code"], "invalid_utf8");
    }
    assert_eq!(counter.take(), 0);
    let replaced = EnvelopeBuilder::new().with_insecure_replacement_characters();
    let hooks = hooks.with_envelope(replaced).unwrap();
    let response = call(&hooks, typed("/?a=%FF", form, "b=%FF")).await;
    let expected = "{\"GET\":{\"a\":\"\u{fffd}\"},\"POST\":{\"b\":\"\u{fffd}\"}";
    assert!(response.body().starts_with(expected), "{}", response.body());
}

#[tokio::test]
async fn one_hook_can_take_what_another_refuses() {
    let resolve = |head: RequestHead<'_>| {
        Some(Policy::public().with_hook(head.uri().path().trim_start_matches('/')))
    };
    let hooks = Hooks::new(AuthLayer::per_request(resolve), Counter::default().executor())
        .with_envelope_for("sns", tolerant())
        .unwrap();
    let notification = r#"{"Type":"Notification","Message":"1.0"}"#;
    let request = |target| typed(target, "text/plain; charset=UTF-8", notification);
    let response = call(&hooks, request("/sns")).await;
    assert!(response.body().contains(&format!(r#""JSON":{notification},"#)), "{}", response.body());
    assert_eq!(call(&hooks, request("/other")).await.status(), 415);
    let response = call(&hooks, typed("/sns", "application/x-ndjson", "{\"n\":1.10}\n\n2\n")).await;
    assert!(response.body().contains(r#""JSON":[{"n":1.10},2],"#), "{}", response.body());
}
