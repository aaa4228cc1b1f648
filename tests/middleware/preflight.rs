//! Preflight requests of CORS: passed on if that is set, and only true ones.

use std::future::Ready;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_http::cors::{Any, CorsLayer};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;

use crate::support::watched::Watched;
use crate::support::{Keys, Recorder, scope};

const ORIGIN: (&str, &str) = ("origin", "https://a.example");
const METHOD: (&str, &str) = ("access-control-request-method", "POST");

fn layer(keys: &Keys) -> AuthLayer {
    AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
        "/hook" => Some(Policy::token().with_methods([Method::POST])),
        _ => None,
    })
    .with_keys(
        &keys.manager,
        [
            Placement::header("x-api-key").unwrap(),
            Placement::query("token").unwrap(),
            Placement::body("api_key").unwrap(),
        ],
    )
    .unwrap()
    .with_scope(scope("deploy"))
    .unwrap()
}

fn request<B>(method: &str, target: &str, headers: &[(&str, &str)], body: B) -> Request<B> {
    let request = Request::builder().method(method).uri(target);
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    headers.iter().fold(request, add).body(body).unwrap()
}

#[tokio::test]
async fn only_true_preflights_are_passed_on() {
    let keys = Keys::new().await;
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
    let cases: [Case<'_>; 8] = [
        ("OPTIONS", &[ORIGIN, METHOD], true),
        ("OPTIONS", &[ORIGIN, METHOD, ("access-control-request-headers", "x-api-key")], true),
        ("OPTIONS", &[ORIGIN], false),
        ("OPTIONS", &[METHOD], false),
        ("OPTIONS", &[], false),
        ("POST", &[ORIGIN, METHOD], false),
        ("GET", &[ORIGIN, METHOD], false),
        ("options", &[ORIGIN, METHOD], false),
    ];
    for (method, headers, is_preflight) in cases {
        for target in ["/hook", "/none"] {
            for (is_set, conceal) in [(false, false), (true, false), (true, true)] {
                let auth = layer(&keys);
                let auth = if is_set { auth.with_preflight_passed_on() } else { auth };
                let auth = if conceal { auth.with_uniform_unauthorized() } else { auth };
                let expected = match (method, target) {
                    _ if is_preflight && is_set => 200,
                    _ if conceal => 401,
                    (_, "/none") => 404,
                    ("POST", _) => 401,
                    _ => 405,
                };
                let what = format!("{method} {target} {headers:?} {is_set} {conceal}");
                let inner = Recorder::default();
                let request = || request(method, target, headers, Full::<Bytes>::default());
                let plain = auth.layer(inner.clone()).oneshot(request()).await.unwrap().status();
                let seen = inner.take();
                let buffered = auth.with_buffer(BodyBufferLayer::new()).layer(inner.clone());
                let buffered = buffered.oneshot(request()).await.unwrap().status();
                assert_eq!(
                    [plain, buffered].map(|status| status.as_u16()),
                    [expected; 2],
                    "{what}"
                );
                for seen in seen.into_iter().chain(inner.take()) {
                    assert!(Identity::of(seen.extensions()).unwrap().is_none(), "{what}");
                }
            }
        }
    }
    assert_eq!(keys.store.take_finds(), 0);
}

#[tokio::test]
async fn a_preflight_is_cleaned_and_its_body_is_not_read() {
    let keys = Keys::new().await;
    let inner = Recorder::default();
    let auth = layer(&keys).with_preflight_passed_on();
    let (body, polls) = Watched::silent(100);
    let target = format!("/hook?token={}&a=1", keys.text);
    let headers = [ORIGIN, METHOD, ("x-api-key", &keys.text), ("content-type", "application/json")];
    let request = request("OPTIONS", &target, &headers, body);

    let service = auth.with_buffer(BodyBufferLayer::new()).layer(inner.clone());
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);

    let [seen] = <[_; 1]>::try_from(inner.take()).unwrap();
    assert_eq!((seen.uri().to_string().as_str(), polls.count()), ("/hook?a=1", 0));
    assert!(seen.body().is_empty() && !format!("{seen:?}").contains(&keys.text));
    assert!(!seen.headers().contains_key("x-api-key"));
    assert_eq!(seen.headers()["origin"], "https://a.example");
}

#[tokio::test]
async fn cors_inside_of_the_layer_can_answer_preflights() {
    let keys = Keys::new().await;
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::POST]);
    let service = layer(&keys).with_preflight_passed_on().layer(cors.layer(Recorder::default()));
    let preflight = request("OPTIONS", "/hook", &[ORIGIN, METHOD], Full::<Bytes>::default());

    let response = service.clone().oneshot(preflight).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-methods"], "POST");

    // The request after it is decided about, and its refusal has no CORS headers.
    let post = request("POST", "/hook", &[ORIGIN], Full::<Bytes>::default());
    let response = service.oneshot(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_hook_has_nothing_to_pass_a_preflight_on_to() {
    let keys = Keys::new().await;
    for (target, conceal) in [("/hook", false), ("/none", false), ("/hook", true), ("/none", true)]
    {
        let auth = layer(&keys).with_preflight_passed_on();
        let auth = if conceal { auth.with_uniform_unauthorized() } else { auth };
        let hooks = Hooks::new(auth, |_: Invocation| -> Ready<Result<Outcome, ExecutorError>> {
            panic!("the executor ran")
        });
        let request = request("OPTIONS", target, &[ORIGIN, METHOD], Full::<Bytes>::default());
        assert_eq!(hooks.oneshot(request).await.unwrap().status(), 500, "{target}");
    }
}
