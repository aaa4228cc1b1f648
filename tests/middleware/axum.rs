//! On axum: what the layer guards at each place in a router, what handlers see, and other layers beside it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Form, MatchedPath, OriginalUri, RawPathParams};
use axum::routing::{any_service, get, post, post_service};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;

use crate::support::Keys;
use crate::support::wire::soon;

fn layer(keys: &Keys, placements: impl IntoIterator<Item = Placement>) -> AuthLayer {
    AuthLayer::token(&keys.manager, placements).unwrap()
}

fn header() -> [Placement; 1] {
    [Placement::header("x-api-key").unwrap()]
}

async fn answer<S, B>(service: S, request: Request<Body>) -> (StatusCode, String)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let response = soon(service.oneshot(request)).await.unwrap();
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn post_to(target: &str) -> Request<Body> {
    Request::post(target).body(Body::empty()).unwrap()
}

fn get_from(target: &str) -> Request<Body> {
    Request::get(target).body(Body::empty()).unwrap()
}

async fn ok() -> &'static str {
    "ok"
}

#[tokio::test]
async fn what_is_guarded_is_what_the_table_says() {
    let keys = Keys::new().await;
    let layer = layer(&keys, header());
    let before = || {
        Router::new()
            .route("/before", post(ok))
            .nest("/nest", Router::new().route("/in", post(ok)))
            .merge(Router::new().route("/merged", post(ok)))
    };
    let after = |app: Router| app.route("/after", post(ok));
    let around = layer.layer(after(before()));
    let apps = [
        ("route_layer", after(before().route_layer(layer.clone()))),
        ("layer", after(before().layer(layer.clone()))),
        ("around", Router::new().fallback_service(around)),
        ("layer, then fallback", after(before().layer(layer.clone()).fallback(ok))),
        ("fallback, then layer", after(before().fallback(ok).layer(layer.clone()))),
        ("fallback, then route_layer", after(before().fallback(ok).route_layer(layer.clone()))),
        (
            "in the nest",
            Router::new()
                .route("/before", post(ok))
                .nest("/nest", Router::new().route("/in", post(ok)).layer(layer.clone())),
        ),
        ("on one method", Router::new().route("/before", post(ok).layer(layer.clone()).get(ok))),
    ];
    // What a stranger gets, in the order of the table above.
    let expected: [(Request<Body>, [u16; 8]); 7] = [
        (post_to("/before"), [401, 401, 401, 401, 401, 401, 200, 401]),
        (post_to("/merged"), [401, 401, 401, 401, 401, 401, 404, 404]),
        (post_to("/nest/in"), [401, 401, 401, 401, 401, 401, 401, 404]),
        (post_to("/after"), [200, 200, 401, 200, 200, 200, 404, 404]),
        (post_to("/missing"), [404, 401, 401, 200, 401, 200, 404, 404]),
        // A nest without a fallback of its own has that of the router around it.
        (post_to("/nest/missing"), [404, 401, 401, 200, 401, 200, 404, 404]),
        (get_from("/before"), [401, 401, 401, 401, 401, 401, 405, 200]),
    ];
    for (request, statuses) in expected {
        for ((place, app), expected) in apps.iter().zip(statuses) {
            let mut copy = Request::new(Body::empty());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            let (status, _) = answer(app.clone(), copy).await;
            assert_eq!(status, expected, "{place}: {} {}", request.method(), request.uri());
        }
    }

    // With the key, every route of every app answers.
    for (place, app) in apps {
        let mut request = post_to(if place == "in the nest" { "/nest/in" } else { "/before" });
        request.headers_mut().insert("x-api-key", keys.text.parse().unwrap());
        assert_eq!(answer(app, request).await, (StatusCode::OK, "ok".to_owned()), "{place}");
    }
}

/// Everything that a handler can know about the target.
async fn target(
    uri: Uri,
    OriginalUri(original): OriginalUri,
    matched: Option<MatchedPath>,
    params: RawPathParams,
) -> String {
    let params: Vec<_> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let matched = matched.as_ref().map_or("-", MatchedPath::as_str);
    format!("{uri} {original} {matched} {}", params.join("&"))
}

#[tokio::test]
async fn around_the_router_no_copy_of_the_target_has_the_key() {
    let keys = Keys::new().await;
    let placements =
        [Placement::query("key").unwrap(), Placement::path("/hook/{id}/{key}").unwrap()];
    let app = Router::new()
        .route("/hook/{id}", post(target))
        .route("/hook/{id}/{key}", post(target))
        .nest("/nest", Router::new().route("/{id}", post(target)));
    let app = layer(&keys, placements).layer(app);
    let key = &keys.text;
    let cases = [
        (
            format!("/hook/1/{key}?a=1"),
            "/hook/1/redacted?a=1 /hook/1/redacted?a=1 /hook/{id}/{key} id=1&key=redacted",
        ),
        (format!("/hook/1?key={key}&a=1"), "/hook/1?a=1 /hook/1?a=1 /hook/{id} id=1"),
        (format!("/nest/1?key={key}"), "/1 /nest/1 /nest/{id} id=1"),
    ];
    for (sent, expected) in cases {
        assert_eq!(answer(app.clone(), post_to(&sent)).await, (StatusCode::OK, expected.into()));
    }
}

#[tokio::test]
async fn on_a_route_only_captured_parameters_keep_the_key() {
    let keys = Keys::new().await;
    let placements =
        [Placement::query("key").unwrap(), Placement::path("/hook/{id}/{key}").unwrap()];
    let app = Router::new()
        .route("/hook/{id}", post(target))
        .route("/hook/{id}/{key}", post(target))
        .route_layer(layer(&keys, placements));
    let key = &keys.text;

    // The router has matched before the layer runs, and its parameters are out of reach.
    let (status, seen) = answer(app.clone(), post_to(&format!("/hook/1/{key}"))).await;
    assert_eq!(status, StatusCode::OK);
    let [uri, original, matched, params] =
        <[_; 4]>::try_from(seen.split(' ').collect::<Vec<_>>()).unwrap();
    assert_eq!((uri, matched), ("/hook/1/redacted", "/hook/{id}/{key}"));
    assert_eq!(params, format!("id=1&key={key}"));
    assert_eq!(original.contains(key.as_str()), cfg!(not(feature = "axum")));

    let (_, seen) = answer(app, post_to(&format!("/hook/1?key={key}&a=1"))).await;
    let clean = "/hook/1?a=1 /hook/1?a=1 /hook/{id} id=1";
    assert_eq!(seen == clean, cfg!(feature = "axum"), "{seen}");
    assert!(seen.starts_with("/hook/1?a=1 ") && seen.ends_with(" id=1"));
}

#[tokio::test]
async fn inside_a_nest_placements_see_the_rest_of_the_path() {
    let keys = Keys::new().await;
    let key = &keys.text;
    let inside = |placement: Placement| {
        let inner = Router::new().route("/{id}", post(target)).route("/{id}/{key}", post(target));
        Router::new().nest("/hook", inner.layer(layer(&keys, [placement])))
    };
    let cases = [
        (Placement::query("key").unwrap(), format!("/hook/1?a=1&key={key}"), Some("/1?a=1 ")),
        (Placement::path("/{id}/{key}").unwrap(), format!("/hook/1/{key}"), Some("/1/redacted ")),
        (Placement::path("/hook/{id}/{key}").unwrap(), format!("/hook/1/{key}"), None),
    ];
    for (placement, sent, expected) in cases {
        let (status, seen) = answer(inside(placement), post_to(&sent)).await;
        let Some(expected) = expected else {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            continue;
        };
        assert_eq!(status, StatusCode::OK, "{sent}");
        assert!(seen.starts_with(expected), "{seen}");
        let original = seen.split(' ').nth(1).unwrap();
        assert!(original.starts_with("/hook/1"), "{seen}");
        assert_eq!(original.contains(key.as_str()), cfg!(not(feature = "axum")), "{seen}");
    }
}

#[cfg(feature = "axum")]
mod extractors {
    use axum::response::IntoResponse;
    use tower_webhook::identity::MissingAuthLayer;

    use super::*;

    async fn required(identity: Identity) -> String {
        format!("{} {:?}", identity.owner(), identity.key_id().unwrap())
    }

    async fn optional(identity: Option<Identity>) -> String {
        identity.map_or("anonymous".to_owned(), |identity| identity.owner().to_string())
    }

    async fn caught(identity: Result<Identity, MissingAuthLayer>) -> impl IntoResponse {
        identity.map(|_| "ok").map_err(|error| (StatusCode::IM_A_TEAPOT, error.to_string()))
    }

    fn app() -> Router {
        Router::new()
            .route("/required", post(required))
            .route("/optional", post(optional))
            .route("/caught", post(caught))
    }

    fn with_key(path: &str, key: &str) -> Request<Body> {
        Request::post(path).header("x-api-key", key).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn an_identity_is_extracted() {
        let keys = Keys::new().await;
        let token = app().layer(layer(&keys, header()));
        let public = app().layer(AuthLayer::public());
        let cases = [
            (&token, "/required", 200, Some(format!("alice {:?}", keys.id))),
            (&token, "/optional", 200, Some("alice".to_owned())),
            (&token, "/caught", 200, Some("ok".to_owned())),
            (&public, "/optional", 200, Some("anonymous".to_owned())),
            // A handler that insists on a caller, on a route that has none, is a mistake of the app.
            (&public, "/required", 500, None),
            (&public, "/caught", 418, None),
        ];
        for (app, path, status, expected) in cases {
            let (found, text) = answer(app.clone(), with_key(path, &keys.text)).await;
            assert_eq!(found, status, "{path}: {text}");
            assert!(expected.is_none_or(|expected| text == expected), "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn a_missing_layer_is_a_500_with_a_line_in_the_log() {
        let keys = Keys::new().await;
        // On a route that was added after the layer, the layer is missing.
        let late = Router::new().layer(layer(&keys, header())).merge(app());
        for app in [app(), late] {
            for path in ["/required", "/optional"] {
                let logs = crate::support::Logs::default();
                let guard = logs.capture();
                let (status, text) = answer(app.clone(), with_key(path, &keys.text)).await;
                drop(guard);
                assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
                assert!(text.contains(r#""code":"internal""#) && !text.contains("AuthLayer"));
                let logs = logs.text();
                let says_why = logs.contains("ERROR") && logs.contains("no `AuthLayer` has seen");
                assert_eq!(says_why, cfg!(feature = "tracing"), "{logs}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_in_the_body_is_read_and_removed_under_a_router() {
    async fn form(
        Extension(identity): Extension<Identity>,
        Extension(buffered): Extension<BufferedBody>,
        Form(fields): Form<Vec<(String, String)>>,
    ) -> String {
        assert_eq!(buffered.bytes(), "a=1&b=2");
        format!("{} {fields:?}", identity.owner())
    }

    let keys = Keys::new().await;
    let app = Router::new()
        .route("/", post(form))
        .layer(layer(&keys, [Placement::body("key").unwrap()]).with_buffer(BodyBufferLayer::new()));
    let request = |body: String| {
        Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap()
    };

    let good = request(format!("a=1&key={}&b=2", keys.text));
    let expected = r#"alice [("a", "1"), ("b", "2")]"#;
    assert_eq!(answer(app.clone(), good).await, (StatusCode::OK, expected.to_owned()));
    for (body, expected) in [
        ("a=1".to_owned(), 401),
        ("a=1&key=junk".to_owned(), 401),
        (format!("key={0}&key={0}", keys.text), 400),
        (format!("key={}&a={}", keys.text, "x".repeat(16 * 1024)), 413),
    ] {
        assert_eq!(answer(app.clone(), request(body)).await.0, expected);
    }
}

#[tokio::test]
async fn it_works_beside_the_layers_of_tower_http() {
    let keys = Keys::new().await;
    let app = || Router::new().route("/", post(|body: Bytes| async move { body }));
    let buffered = || layer(&keys, header()).with_buffer(BodyBufferLayer::new());
    let apps = [
        app().layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(RequestBodyLimitLayer::new(10))
                .layer(buffered()),
        ),
        app().layer(
            ServiceBuilder::new()
                .layer(buffered())
                .layer(RequestBodyLimitLayer::new(10))
                .layer(TraceLayer::new_for_http()),
        ),
        app().layer(layer(&keys, header())).layer(RequestBodyLimitLayer::new(10)),
        app()
            .layer(RequestBodyLimitLayer::new(10))
            .layer(layer(&keys, header()))
            .layer(TraceLayer::new_for_http()),
    ];
    for app in apps {
        let request = |key: &str, body: &'static str, announced: bool| {
            let request = Request::post("/").header("x-api-key", key);
            let body = match announced {
                true => return request.header("content-length", body.len()).body(body.into()),
                false => futures_util::stream::iter([Ok::<_, std::io::Error>(body)]),
            };
            request.body(Body::from_stream(body))
        };
        for announced in [true, false] {
            let good = request(&keys.text, "0123456789", announced).unwrap();
            assert_eq!(answer(app.clone(), good).await, (StatusCode::OK, "0123456789".to_owned()));
            let bad = request("junk", "0123456789", announced).unwrap();
            assert_eq!(answer(app.clone(), bad).await.0, StatusCode::UNAUTHORIZED);
            let large = request(&keys.text, "0123456789!", announced).unwrap();
            let (status, _) = answer(app.clone(), large).await;
            // A body that the limit of another layer cuts is a broken body.
            let statuses = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::BAD_REQUEST];
            assert!(statuses[..=usize::from(!announced)].contains(&status), "{status}");
        }
    }
}

async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    Outcome::json(&format!("{} {}", invocation.method(), invocation.uri()))
}

#[tokio::test]
async fn hooks_are_a_service_of_a_route() {
    let keys = Keys::new().await;
    let placements = [Placement::header("x-api-key").unwrap(), Placement::query("token").unwrap()];
    let hooks = Hooks::new(layer(&keys, placements), run);
    let apps = [
        Router::new().route_service("/hook/{name}", hooks.clone()),
        Router::new().route("/hook/{name}", any_service(hooks.clone())),
        Router::new().nest("/hook", Router::new().route_service("/{name}", hooks.clone())),
        Router::new().fallback_service(hooks.clone()),
        Router::new()
            .route_service("/hook/{name}", hooks.clone())
            .layer(TraceLayer::new_for_http()),
    ];
    for app in apps {
        for (method, key, expected) in [
            (Method::POST, keys.text.as_str(), 200),
            (Method::POST, "junk", 401),
            (Method::GET, keys.text.as_str(), 405),
            (Method::HEAD, keys.text.as_str(), 405),
            (Method::OPTIONS, keys.text.as_str(), 405),
            (Method::TRACE, keys.text.as_str(), 405),
        ] {
            let request = Request::builder().method(&method).uri("/hook/deploy");
            let request = request.header("x-api-key", key).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), expected, "{method}");
            assert_eq!(response.headers().contains_key("allow"), expected == 405);
            assert!(response.headers().get("allow").is_none_or(|allow| allow == "POST"));
        }
    }

    // A method that the router does not pass on is the router's to refuse.
    let app = Router::new().route("/hook/{name}", post_service(hooks));
    let (status, text) = answer(app.clone(), get_from("/hook/deploy")).await;
    assert_eq!((status, text.as_str()), (StatusCode::METHOD_NOT_ALLOWED, ""));
    let request = post_to(&format!("/hook/deploy?a=1&token={}", keys.text));
    let (_, text) = answer(app, request).await;
    assert_eq!(text, r#""POST /hook/deploy?a=1""#);
}

mod readme {
    use tower_webhook::key::{KeyManager, NewKey};
    use tower_webhook::store::MemoryKeyStore;

    use super::*;
    use crate::support::owner;

    async fn deploy(Extension(identity): Extension<Identity>) -> String {
        format!("hello {}", identity.owner())
    }

    #[tokio::test]
    async fn keys_on_an_app() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let issued = keys.generate(&owner("alice"), NewKey::new("laptop")).await.unwrap();
        let key = issued.secret().expose_secret();
        let placements = [Placement::header("x-api-key").unwrap(), Placement::bearer()];
        let auth = AuthLayer::token(&keys, placements).unwrap();
        let app = Router::new().route("/deploy", post(deploy)).route_layer(auth);

        let with = |name: &str, value: &str| {
            Request::post("/deploy").header(name, value).body(Body::empty()).unwrap()
        };
        let hello = (StatusCode::OK, "hello alice".to_owned());
        assert_eq!(answer(app.clone(), with("x-api-key", key)).await, hello);
        let bearer = format!("Bearer {key}");
        assert_eq!(answer(app.clone(), with("authorization", &bearer)).await, hello);

        let refused = with("authorization", "Bearer junk");
        let response = app.clone().oneshot(refused).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        let bearer = r#"Bearer realm="webhook", error="invalid_token""#;
        assert_eq!(challenges, [bearer]);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&401.into(), &"unauthorized".into()));
    }

    fn resolve(head: RequestHead<'_>) -> Option<Policy> {
        match head.uri().path() {
            "/hook/status" => Some(Policy::public().with_methods([Method::GET])),
            "/hook/deploy" => Some(Policy::token().with_hook("deploy")),
            _ => None,
        }
    }

    #[tokio::test]
    async fn webhooks() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let issued = keys.generate(&owner("alice"), NewKey::new("laptop")).await.unwrap();
        let key = issued.secret().expose_secret();
        let placements =
            [Placement::header("x-webhook-token").unwrap(), Placement::query("token").unwrap()];
        let auth = AuthLayer::per_request(resolve).with_keys(&keys, placements).unwrap();
        let app = Router::new().route_service("/hook/{name}", Hooks::new(auth, run));

        let cases = [
            (get_from("/hook/status"), 200),
            (post_to("/hook/status"), 405),
            (post_to(&format!("/hook/deploy?token={key}")), 200),
            (post_to("/hook/deploy"), 401),
            (post_to("/hook/other"), 404),
            (get_from("/hook/deploy"), 405),
        ];
        for (request, expected) in cases {
            let name = format!("{} {}", request.method(), request.uri().path());
            let (status, text) = answer(app.clone(), request).await;
            assert_eq!(status, expected, "{name}");
            let result = format!(r#""{name}""#);
            assert_eq!(text == result, expected == 200, "{text}");
        }
    }
}

#[tokio::test]
async fn get_routes_answer_head_with_the_headers_of_a_refusal() {
    let keys = Keys::new().await;
    let app = Router::new().route("/", get(ok)).layer(layer(&keys, header()));
    let request = Request::head("/").body(Body::empty()).unwrap();

    let response = app.oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key("www-authenticate"));
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(body.is_empty());
}
