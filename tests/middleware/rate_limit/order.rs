//! Where in the order of checks a call is counted.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::time::advance;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;

use super::{Answer, KINDS, Kind, Spy, call, layer, limited, limits, post, resolve};
use crate::support::watched::Watched;
use crate::support::{Keys, Logins, Mode};

#[tokio::test(start_paused = true)]
async fn a_burst_is_let_in_and_what_is_beyond_is_a_429() {
    let keys = Keys::new().await;
    for kind in KINDS {
        for (store, answer) in [
            (Mode::Ready, Answer::Ready),
            (Mode::Ready, Answer::Later),
            (Mode::Later, Answer::Ready),
            (Mode::Later, Answer::Later),
        ] {
            keys.store.set_mode(store);
            let context = format!("{kind:?} {store:?} {answer:?}");
            let spy = Spy::default().answers(answer);
            let auth = limited(&keys, &spy);
            let ask = async || call(kind, &auth, post("/deploy", &keys.text)).await;
            for _ in 0..5 {
                assert_eq!(ask().await.status(), 200, "{context}");
            }
            let refused = ask().await;
            assert_eq!(refused.status(), 429, "{context}");
            assert_eq!(refused.headers()["retry-after"], "12", "{context}");
            assert!(refused.headers().get("www-authenticate").is_none(), "{context}");
            assert_eq!(refused.headers()["cache-control"], "no-store", "{context}");
            let text = str::from_utf8(refused.body()).unwrap();
            assert!(text.contains(r#""code":"rate_limited""#), "{context} {text}");
            assert!(text.contains(r#""status":429"#), "{context} {text}");

            advance(Duration::from_millis(11_999)).await;
            let refused = ask().await;
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()["retry-after"]),
                (429, &"1".parse().unwrap())
            );
            advance(Duration::from_millis(1)).await;
            assert_eq!(ask().await.status(), 200, "{context}");
            assert_eq!(ask().await.status(), 429, "{context}");
            assert_eq!(spy.take(), vec![format!("key:{}", keys.id); 9], "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn junk_reaches_no_bucket() {
    let keys = Keys::new().await;
    let junk = format!("{}000000", &keys.text[..keys.text.len() - 6]);
    let other = Keys::new().await.text;
    for kind in KINDS {
        for answer in [Answer::Ready, Answer::Later] {
            let spy = Spy::default().answers(answer);
            let auth = limited(&keys, &spy);
            let two = Request::post("/deploy").header("x-api-key", &keys.text);
            let two = two.header("authorization", format!("Bearer {}", keys.text));
            for _ in 0..10 {
                for (request, expected) in [
                    (post("/deploy", &junk), 401),
                    (post("/deploy", &other), 401),
                    (post("/deploy", ""), 401),
                    (post("/admin", &keys.text), 403),
                    (post("/nothing", &keys.text), 404),
                    (Request::put("/deploy").body(Full::default()).unwrap(), 405),
                ] {
                    let response = call(kind, &auth, request).await;
                    assert_eq!(response.status(), expected, "{kind:?}");
                }
            }
            let response = call(kind, &auth, two.body(Full::<Bytes>::default()).unwrap()).await;
            assert_eq!(response.status(), 400, "{kind:?}");
            assert_eq!(spy.take(), [""; 0], "{kind:?}");
            // Nothing of that was counted.
            for _ in 0..5 {
                assert_eq!(call(kind, &auth, post("/deploy", &keys.text)).await.status(), 200);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refused_call_is_not_polled() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let spy = Spy::default();
        let auth = limited(&keys, &spy);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let (body, polls) = Watched::sized("{\"a\": 1}");
            let request = Request::post("/deploy").header("x-api-key", &keys.text);
            let request = request.header("content-type", "application/json").body(body).unwrap();
            let before = call_undrained(kind, &auth, request).await;
            seen.push((before, polls.count() > 0));
        }
        assert_eq!(seen[..5], [(200, true); 5], "{kind:?}");
        assert_eq!(seen[5], (429, false), "{kind:?}");
    }
}

/// Without the reading of what a refused upload has left.
async fn call_undrained(kind: Kind, auth: &AuthLayer, request: Request<Watched>) -> u16 {
    use tower::ServiceExt;
    use tower_webhook::drain::DrainLayer;
    use tower_webhook::hook::{Hooks, Invocation, Outcome};

    if kind == Kind::Hooks {
        let run = |_: Invocation| std::future::ready(Outcome::json("done"));
        let hooks = Hooks::new(auth.clone(), run).with_drain(DrainLayer::new().with_max_bytes(0));
        return hooks.oneshot(request).await.unwrap().status().as_u16();
    }
    call(kind, auth, request).await.status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_credential_in_the_body_is_limited_after_its_verdict() {
    let keys = Keys::new().await;
    for kind in [Kind::WithBuffer, Kind::Hooks] {
        let spy = Spy::default();
        let auth = AuthLayer::per_request(resolve)
            .with_keys(&keys.manager, [Placement::body("key").unwrap()])
            .unwrap()
            .with_rate_limits(limits(&spy))
            .unwrap();
        let ask = async |key: &str| {
            let request = Request::post("/deploy").header("content-type", "application/json");
            let body = Full::from(format!(r#"{{"key":"{key}"}}"#));
            call(kind, &auth, request.body(body).unwrap()).await.status().as_u16()
        };
        for expected in [200, 200, 200, 200, 200, 429] {
            assert_eq!(ask("junk").await, 401, "{kind:?}");
            assert_eq!(ask(&keys.text).await, expected, "{kind:?}");
        }
        assert_eq!(spy.take().len(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_count_and_public_calls_do_not() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let spy = Spy::default();
        let auth = limited(&keys, &spy);
        let probe = || {
            let request = Request::head("/probe").header("x-api-key", &keys.text);
            request.body(Full::<Bytes>::default()).unwrap()
        };
        for expected in [200, 200, 200, 200, 200, 429] {
            assert_eq!(call(kind, &auth, probe()).await.status(), expected, "{kind:?}");
        }
        assert_eq!(call(kind, &auth, post("/deploy", &keys.text)).await.status(), 429);
        spy.take();
        for _ in 0..10 {
            assert_eq!(call(kind, &auth, post("/public", &keys.text)).await.status(), 200);
        }
        assert_eq!(spy.take(), [""; 0], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn preflights_are_not_counted() {
    let keys = Keys::new().await;
    let spy = Spy::default();
    let auth = limited(&keys, &spy).with_preflight_passed_on();
    for _ in 0..10 {
        let request = Request::builder().method(Method::OPTIONS).uri("/deploy");
        let request = request
            .header("origin", "https://example.com")
            .header("access-control-request-method", "POST")
            .header("x-api-key", &keys.text);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        assert_eq!(call(Kind::Plain, &auth, request).await.status(), 200);
    }
    assert_eq!(spy.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_concealed_hook_says_429_to_good_credentials_alone() {
    let keys = Keys::new().await;
    let junk = format!("{}000000", &keys.text[..keys.text.len() - 6]);
    for kind in KINDS {
        let spy = Spy::default();
        let auth = limited(&keys, &spy).with_uniform_unauthorized();
        for expected in [200, 200, 200, 200, 200, 429] {
            let response = call(kind, &auth, post("/deploy", &keys.text)).await;
            assert_eq!(response.status(), expected, "{kind:?}");
        }
        for request in
            [post("/deploy", &junk), post("/admin", &keys.text), post("/nothing", &keys.text)]
        {
            let response = call(kind, &auth, request).await;
            assert_eq!(response.status(), 401, "{kind:?}");
            assert!(response.headers().get("ratelimit").is_none(), "{kind:?}");
        }
        assert_eq!(spy.take().len(), 6, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inner_layers_count_again_only_with_limits_of_their_own() {
    let keys = Keys::new().await;
    let (spy, own) = (Spy::default(), Spy::default());
    let outer = || limited(&keys, &spy);
    let ask = async |outer: AuthLayer, inner: AuthLayer| {
        use tower::{Layer, ServiceExt};
        let service = outer.layer(inner.layer(crate::support::Recorder::default()));
        service.oneshot(post("/deploy", &keys.text)).await.unwrap().status().as_u16()
    };
    let clone = outer();
    assert_eq!(ask(clone.clone(), clone.clone()).await, 200);
    assert_eq!(spy.take().len(), 1);
    assert_eq!(ask(clone, layer(&keys)).await, 200);
    assert_eq!(spy.take().len(), 1);
    let inner = layer(&keys).with_rate_limits(limits(&own)).unwrap();
    assert_eq!(ask(outer(), inner.clone()).await, 200);
    assert_eq!((spy.take().len(), own.take().len()), (1, 1));
    // Around a layer with limits, one without.
    assert_eq!(ask(layer(&keys), inner).await, 200);
    assert_eq!((spy.take().len(), own.take().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn another_caller_inside_is_counted_in_a_bucket_of_its_own() {
    use tower::{Layer, ServiceExt};

    let keys = Keys::new().await;
    let spy = Spy::default();
    let shared = limits(&spy);
    let users = AuthLayer::user(Logins, [Placement::cookie("session").unwrap()]).unwrap();
    let users = users.with_rate_limits(shared.clone()).unwrap();
    let for_keys = AuthLayer::header("x-api-key", &keys.manager).unwrap();
    let for_keys = for_keys.with_rate_limits(shared).unwrap();
    let service = users.layer(for_keys.layer(crate::support::Recorder::default()));
    let mut request = post("/deploy", &keys.text);
    request.headers_mut().insert("cookie", "session=sesame".parse().unwrap());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(spy.take(), ["user:alice".to_owned(), format!("key:{}", keys.id)]);
}
