//! The value of a configured place reaches no inner service, no envelope and no log: for every kind of layer, list of
//! placements, policy and place.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::content::ContentLimits;
use tower_webhook::credential::{Credentials, Placement, PresentedCredential};
use tower_webhook::hook::{Hooks, Invocation, Outcome};

use crate::support::{Keys, Recorder, owner};

/// Accepts every credential.
struct Everyone;

#[async_trait]
impl Authenticator for Everyone {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        _candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        Ok(Authentication::Accepted(User::new(owner("alice"))))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    WithBuffer,
    BufferOutside,
    BufferInside,
    Hooks,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum List {
    Keys,
    Users,
    Stripped,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Access {
    Public,
    User,
    Token,
}

const PLACES: [&str; 12] = [
    "header",
    "bearer",
    "basic",
    "own scheme",
    "condition",
    "websocket",
    "cookie",
    "query",
    "path",
    "json",
    "form",
    "multipart",
];

fn placement(place: &str) -> Placement {
    match place {
        "header" => Placement::header("x-canary").unwrap(),
        "bearer" => Placement::bearer(),
        "basic" => Placement::basic(),
        "websocket" => Placement::websocket_protocol(),
        "own scheme" => Placement::authorization("Canary").unwrap(),
        "condition" => Placement::header("x-canary").unwrap().only_if(|_| false),
        "cookie" => Placement::cookie("canary").unwrap(),
        "query" => Placement::query("canary").unwrap(),
        "path" => Placement::path("/h/{key}").unwrap(),
        _ => Placement::body("canary").unwrap(),
    }
}

/// A request with the canary in its place and, where the policy asks for more, a proof beside it.
fn request(place: &str, canary: &str, proof: Option<(&str, &str)>) -> Request<Full<Bytes>> {
    let target = match place {
        "query" => format!("/x?canary={canary}&a=1"),
        "path" => format!("/h/{canary}"),
        _ => "/x".to_owned(),
    };
    let mut request = Request::builder().method(Method::POST).uri(target);
    let (media, body) = match place {
        "form" => ("application/x-www-form-urlencoded", format!("a=1&canary={canary}")),
        "multipart" => (
            "multipart/form-data; boundary=b",
            format!(
                "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
                 --b\r\ncontent-disposition: form-data; name=\"canary\"\r\n\r\n{canary}\r\n--b--\r\n"
            ),
        ),
        "json" => ("application/json", format!(r#"{{"a":1,"canary":"{canary}"}}"#)),
        _ => ("application/json", r#"{"a":1}"#.to_owned()),
    };
    request = request.header("content-type", media);
    request = match place {
        "header" | "condition" => request.header("x-canary", canary),
        "websocket" => request.header("sec-websocket-protocol", format!("chat, key.{canary}")),
        "own scheme" => request.header("authorization", format!("canary {canary}")),
        "bearer" => request.header("authorization", format!("Bearer {canary}")),
        "basic" => {
            let pair = STANDARD.encode(format!("user:{canary}"));
            request.header("authorization", format!("Basic {pair}"))
        }
        "cookie" => request.header("cookie", format!("a=1; canary={canary}")),
        _ => request,
    };
    if let Some((name, value)) = proof {
        request = request.header(name, value);
    }
    request.body(body.into()).unwrap()
}

/// The layer, and whether the canary is what the policy asks for.
fn layer(keys: &Keys, list: List, access: Access, place: &str) -> (AuthLayer, bool) {
    let policy = match access {
        Access::Public => Policy::public(),
        Access::User => Policy::user(),
        Access::Token => Policy::token(),
    };
    let of = |own: List, name: &str| match list == own {
        true => vec![placement(place)],
        false => vec![Placement::header(name).unwrap()],
    };
    let layer = AuthLayer::per_request(move |_: RequestHead<'_>| {
        Some(policy.clone().with_methods([Method::POST]))
    })
    .with_keys(&keys.manager, of(List::Keys, "x-key"))
    .unwrap()
    .with_authenticator(Everyone, of(List::Users, "x-user"))
    .unwrap();
    let layer = match list {
        List::Stripped => layer.with_removed([placement(place)]).unwrap(),
        _ => layer,
    };
    let is_proof = (list, access) == (List::Keys, Access::Token)
        || (list, access) == (List::Users, Access::User);
    (layer, is_proof)
}

/// Everything that came through, as text, and the status.
async fn run(kind: Kind, auth: AuthLayer, request: Request<Full<Bytes>>) -> (u16, String) {
    let inner = Recorder::default();
    let invocations = Arc::new(Mutex::new(Vec::new()));
    let buffer = BodyBufferLayer::new;
    let response = match kind {
        Kind::Plain => text(auth.layer(inner.clone()).oneshot(request).await.unwrap()).await,
        Kind::WithBuffer => {
            let service = auth.with_buffer(buffer()).layer(inner.clone());
            text(service.oneshot(request).await.unwrap()).await
        }
        Kind::BufferOutside => {
            let service = buffer().layer(auth.layer(inner.clone()));
            text(service.oneshot(request).await.unwrap()).await
        }
        Kind::BufferInside => {
            let service = auth.layer(buffer().layer(inner.clone()));
            text(service.oneshot(request).await.unwrap()).await
        }
        Kind::Hooks => {
            let seen = Arc::clone(&invocations);
            let hooks = Hooks::new(auth, move |invocation: Invocation| {
                seen.lock().unwrap().push(invocation);
                std::future::ready(Outcome::json("done"))
            });
            text(hooks.oneshot(request).await.unwrap()).await
        }
    };
    let mut seen = response.1;
    for request in inner.take() {
        seen += &format!("{} {:?} ", request.uri(), request.headers());
        for value in request.headers().values() {
            seen += &String::from_utf8_lossy(value.as_bytes());
        }
        seen += &String::from_utf8_lossy(request.body());
        if let Some(body) = request.extensions().get::<BufferedBody>() {
            seen += &String::from_utf8_lossy(&body.bytes());
        }
        seen += " through";
    }
    for invocation in invocations.lock().unwrap().drain(..) {
        seen += &format!("{} {invocation:?} {}", invocation.uri(), invocation.envelope().as_str());
        seen += " through";
    }
    (response.0, seen)
}

async fn text<B>(response: Response<B>) -> (u16, String)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let status = response.status().as_u16();
    let headers = format!("{:?}", response.headers());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers + &String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn no_place_keeps_what_it_holds() {
    let keys = Keys::new().await;
    let canary = keys.text.as_str();
    let encoded = STANDARD.encode(format!("user:{canary}"));
    #[cfg(feature = "tracing")]
    let (logs, guard) = {
        let logs = crate::support::Logs::default();
        let guard = logs.capture();
        (logs, guard)
    };
    let mut passed = 0;
    for kind in
        [Kind::Plain, Kind::WithBuffer, Kind::BufferOutside, Kind::BufferInside, Kind::Hooks]
    {
        for list in [List::Keys, List::Users, List::Stripped] {
            for access in [Access::Public, Access::User, Access::Token] {
                for place in PLACES {
                    let what = format!("{kind:?} {list:?} {access:?} {place}");
                    let (auth, is_proof) = layer(&keys, list, access, place);
                    let proof = match access {
                        _ if is_proof => None,
                        Access::Public => None,
                        Access::User => Some(("x-user", "alice")),
                        Access::Token => Some(("x-key", canary)),
                    };
                    let (status, seen) = run(kind, auth, request(place, canary, proof)).await;

                    let is_body = ["json", "form", "multipart"].contains(&place);
                    let is_read = place != "multipart" || cfg!(feature = "multipart");
                    let is_field =
                        ["header", "bearer", "basic", "own scheme", "websocket"].contains(&place);
                    let is_mixed = !is_proof && list != List::Stripped && access != Access::Public;
                    let is_unbuffered = matches!(kind, Kind::Plain | Kind::BufferInside);
                    let reads_body = ["json", "form", "multipart"].contains(&place);
                    let expected = match () {
                        () if reads_body && is_read && is_unbuffered => 500,
                        () if is_field && is_mixed => 400,
                        () if is_body && !is_read && is_proof => 401,
                        () if place == "condition" && is_proof => 401,
                        () if is_body && !is_read && kind == Kind::Hooks => 415,
                        () => 200,
                    };
                    assert_eq!(status, expected, "{what}: {seen}");
                    assert_eq!(seen.ends_with("through"), expected == 200, "{what}: {seen}");
                    let is_removed = is_read || !is_body;
                    if is_removed {
                        assert!(!seen.contains(canary), "{what}: {seen}");
                        assert!(!seen.contains(&encoded), "{what}: {seen}");
                    }
                    passed += usize::from(expected == 200);
                }
            }
        }
    }
    assert!(passed > 250, "{passed}");
    #[cfg(feature = "tracing")]
    {
        drop(guard);
        let logged = logs.text();
        assert!(logged.contains("request accepted"), "{logged}");
        assert!(!logged.contains(canary) && !logged.contains(&encoded), "{logged}");
    }
}

#[tokio::test]
async fn a_faulty_body_is_refused_on_public_routes_too() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let many = "a&".repeat(300);
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    // Media type, body, what the layer says, what a hook says.
    let mut cases = vec![
        (json, r#"{"canary":1,"canary":2}"#, 400, 400),
        (json, r#"{"a":{"b":1,"b":2}}"#, 400, 400),
        (json, &deep, 400, 400),
        (json, "\u{feff}{\"canary\":1}", 200, 200),
        (json, "\u{feff}\u{feff}{\"canary\":1}", 400, 400),
        (json, r#"{"canary":"\ud800"}"#, 400, 400),
        (json, r#"{"canary":1,}"#, 200, 400),
        // Some readers stop behind the first value.
        (json, r#"{"canary":1}x"#, 400, 400),
        (json, r#"{"canary":1}{}"#, 400, 400),
        (json, "[1] 2", 400, 400),
        ("application/json, text/plain", "{}", 400, 400),
        ("a/b/c", "{}", 415, 415),
        (form, &many, 400, 400),
        ("application/x-www-form-urlencoded; charset=latin1", "canary=1", 415, 415),
        ("text/plain", "canary=1", 200, 415),
    ];
    if cfg!(feature = "multipart") {
        cases.extend([
            ("multipart/form-data", "canary=1", 400, 400),
            ("multipart/form-data; boundary=b", "canary=1", 400, 400),
        ]);
    }
    for (media, body, by_layer, by_hooks) in cases {
        for (kind, expected) in [(Kind::WithBuffer, by_layer), (Kind::Hooks, by_hooks)] {
            let auth = AuthLayer::public().with_removed([placement("json")]).unwrap();
            let request = Request::post("/").header("content-type", media);
            let request = request.body(Full::from(body.to_owned())).unwrap();
            let (status, seen) = run(kind, auth, request).await;
            assert_eq!(status, expected, "{kind:?} {media} {body}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_coded_body_has_no_place_and_passes() {
    let keys = Keys::new().await;
    let placements = || [Placement::header("x-key").unwrap(), placement("json")];
    let auth = || AuthLayer::token(&keys.manager, placements()).unwrap();
    let request = |key: Option<&str>| {
        let mut request = Request::post("/")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip");
        if let Some(key) = key {
            request = request.header("x-key", key);
        }
        request.body(Full::from(r#"{"canary":"x"}"#)).unwrap()
    };

    for kind in [Kind::Plain, Kind::WithBuffer, Kind::BufferOutside, Kind::BufferInside] {
        let (status, seen) = run(kind, auth(), request(Some(&keys.text))).await;
        assert_eq!(status, 200, "{kind:?}");
        assert!(seen.contains(r#"{"canary":"x"}"#), "{kind:?}: {seen}");
        assert_eq!(run(kind, auth(), request(None)).await.0, 401, "{kind:?}");
    }
    // A hook reads bodies, and decodes none.
    assert_eq!(run(Kind::Hooks, auth(), request(Some(&keys.text))).await.0, 415);
    assert_eq!(run(Kind::Hooks, auth(), request(None)).await.0, 401);
}

#[tokio::test]
async fn removal_keeps_the_limits_of_the_search() {
    let keys = Keys::new().await;
    let limits = ContentLimits::new().with_fields(2);
    let credentials = Credentials::new([placement("form")]).unwrap().with_content_limits(limits);
    let auth =
        AuthLayer::new(Policy::public()).unwrap().with_keys(&keys.manager, credentials).unwrap();
    for kind in [Kind::WithBuffer, Kind::BufferOutside, Kind::Hooks] {
        for (body, expected) in [("a=1&canary=2", 200), ("a=1&b=2&canary=3", 400)] {
            let request =
                Request::post("/").header("content-type", "application/x-www-form-urlencoded");
            let request = request.body(Full::from(body)).unwrap();
            let (status, seen) = run(kind, auth.clone(), request).await;
            assert_eq!(status, expected, "{kind:?} {body}: {seen}");
            assert!(!seen.contains("canary="), "{kind:?} {body}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_body_sent_with_get_is_cleaned_too() {
    let keys = Keys::new().await;
    let placements = || [Placement::header("x-key").unwrap(), placement("json")];
    for kind in [Kind::WithBuffer, Kind::BufferOutside] {
        let auth = AuthLayer::token(&keys.manager, placements()).unwrap();
        let request = Request::get("/")
            .header("content-type", "application/json")
            .header("x-key", &keys.text)
            .body(Full::from(r#"{"a":1,"canary":"secret"}"#))
            .unwrap();
        let (status, seen) = run(kind, auth, request).await;
        assert_eq!(status, 200);
        assert!(seen.contains(r#"{"a":1}"#) && !seen.contains("secret"), "{kind:?}: {seen}");
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_cleaned_is_refused() {
    let auth = || AuthLayer::public().with_removed([placement("path")]).unwrap();
    for (length, expected) in [(65_520, 200), (65_533, 414)] {
        let head = "/h/s3cret?";
        let target = format!("{head}{}", "a".repeat(length - head.len()));
        let request = Request::post(target).body(Full::<Bytes>::default()).unwrap();
        let (status, seen) = run(Kind::Plain, auth(), request).await;
        assert_eq!(status, expected, "{length}");
        assert!(!seen.contains("s3cret"), "{length}");
    }
}

#[tokio::test]
async fn a_hook_that_reads_coded_bodies_cleans_them() {
    let auth = || AuthLayer::public().with_removed([placement("json")]).unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let executions = Arc::clone(&seen);
    let hooks = Hooks::new(auth(), move |invocation: Invocation| {
        *executions.lock().unwrap() += invocation.envelope().as_str();
        std::future::ready(Outcome::json("done"))
    })
    .with_encoded_bodies();
    let request = Request::post("/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Full::<Bytes>::from(r#"{"a":1,"canary":"secret"}"#))
        .unwrap();
    assert_eq!(hooks.oneshot(request).await.unwrap().status(), 200);
    let seen = seen.lock().unwrap();
    assert!(seen.contains(r#"{"a":1}"#) && !seen.contains("secret"), "{seen}");
}

#[tokio::test]
async fn a_custom_place_is_cleaned_in_the_request_as_it_is() {
    let custom = Placement::custom(|_| Vec::new()).with_scrub(|request| {
        if request.method() == Method::POST && request.version() == http::Version::HTTP_2 {
            request.headers_mut().remove("x-c");
        }
    });
    let auth = AuthLayer::public().with_removed([custom]).unwrap();
    let request = Request::post("/").version(http::Version::HTTP_2).header("x-c", "secret");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let (status, seen) = run(Kind::Plain, auth, request).await;
    assert_eq!(status, 200);
    assert!(!seen.contains("secret"), "{seen}");
}

#[tokio::test]
async fn a_trailer_of_the_name_of_a_header_is_removed() {
    let auth = AuthLayer::public().with_removed([placement("header")]).unwrap();
    let trailers = http::HeaderMap::from_iter([
        ("x-canary".parse().unwrap(), "secret".parse().unwrap()),
        ("x-sum".parse().unwrap(), "1".parse().unwrap()),
    ]);
    let body = Full::<Bytes>::from("text").with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = Request::post("/").body(body).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let trailers = Arc::clone(&seen);
    let inner = tower::service_fn(move |request: Request<_>| {
        let body: &BufferedBody = request.extensions().get().unwrap();
        *trailers.lock().unwrap() = body.trailers();
        let _: &tower_webhook::body::ReplayBody = request.body();
        async { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let service = auth.with_buffer(BodyBufferLayer::new()).layer(inner);
    service.oneshot(request).await.unwrap();
    let trailers = seen.lock().unwrap().take().unwrap();
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
}

#[tokio::test]
async fn a_cookie_with_an_encoded_name_is_that_cookie() {
    for cookie in ["canar%79=secret", "a=1; %63anary=secret", " canary =secret"] {
        let auth = AuthLayer::public().with_removed([placement("cookie")]).unwrap();
        let request = Request::post("/").header("cookie", cookie);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let (status, seen) = run(Kind::Plain, auth, request).await;
        assert_eq!(status, 200);
        assert!(!seen.contains("secret"), "{cookie}: {seen}");
    }
}
