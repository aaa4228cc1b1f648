//! Probes pass the whole decision and are answered by the layer; extended `CONNECT` counts as `GET`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tower::{Layer, Service, ServiceExt};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::key::NewKey;

use crate::support::watched::Watched;
use crate::support::wire::{connect_http2, read_response, serve, soon};
use crate::support::{Keys, Mode, Recorder, owner, scope};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    WithBuffer,
    Hooks,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::WithBuffer, Kind::Hooks];

fn placements() -> [Placement; 3] {
    [
        Placement::header("x-api-key").unwrap(),
        Placement::query("token").unwrap(),
        Placement::body("api_key").unwrap(),
    ]
}

fn layer(keys: &Keys, policy: &Policy) -> AuthLayer {
    AuthLayer::new(policy.clone()).unwrap().with_keys(&keys.manager, placements()).unwrap()
}

/// Status, headers, content, and how often the inner service or the executor ran.
async fn run(
    kind: Kind,
    auth: AuthLayer,
    request: Request<Watched>,
) -> (u16, HeaderMap, Bytes, usize) {
    async fn finish<B>(response: Response<B>) -> (u16, HeaderMap, Bytes)
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, bytes)
    }
    let inner = Recorder::default();
    let executions = Arc::new(AtomicUsize::new(0));
    let (status, headers, bytes) = match kind {
        Kind::Plain => finish(auth.layer(inner.clone()).oneshot(request).await.unwrap()).await,
        Kind::WithBuffer => {
            let service = auth.with_buffer(BodyBufferLayer::new()).layer(inner.clone());
            finish(service.oneshot(request).await.unwrap()).await
        }
        Kind::Hooks => {
            let count = Arc::clone(&executions);
            let hooks = Hooks::new(auth, move |_: Invocation| {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Outcome::json("done"))
            });
            finish(hooks.oneshot(request).await.unwrap()).await
        }
    };
    (status, headers, bytes, inner.take().len() + executions.load(Ordering::SeqCst))
}

fn request(method: &Method, target: &str, key: &str) -> Request<Watched> {
    let mut request = Request::builder().method(method).uri(target);
    if !key.is_empty() {
        request = request.header("x-api-key", key);
    }
    // A body that is announced is not waited for.
    request.header("content-type", "application/json").body(Watched::silent(10).0).unwrap()
}

#[tokio::test]
async fn a_probe_is_decided_about_and_goes_no_further() {
    let keys = Keys::new().await;
    let bob = keys.manager.generate(&owner("bob"), NewKey::new("b")).await.unwrap();
    let bob = bob.secret().expose_secret();
    let key = keys.text.as_str();
    let policy = Policy::token()
        .with_methods([Method::POST])
        .with_probe([Method::HEAD, Method::GET])
        .with_owner(owner("alice"));
    let scoped = policy.clone().with_scope(scope("admin"));
    for kind in KINDS {
        for mode in [Mode::Ready, Mode::Later] {
            keys.store.set_mode(mode);
            for method in [Method::HEAD, Method::GET] {
                for (policy, presented, expected) in [
                    (&policy, key, 200),
                    (&policy, "", 401),
                    (&policy, "junk", 401),
                    (&policy, bob, 401),
                    (&scoped, key, 403),
                ] {
                    let request = request(&method, "/", presented);
                    let answer = run(kind, layer(&keys, policy), request).await;
                    let (status, headers, bytes, runs) = answer;
                    let what = format!("{kind:?} {mode:?} {method} {presented}");
                    assert_eq!((status, runs), (expected, 0), "{what}");
                    assert_eq!(headers["cache-control"], "no-store", "{what}");
                    if expected == 200 {
                        assert!(bytes.is_empty() && headers.len() == 1, "{what}: {headers:?}");
                    }
                }
            }
        }
        // A key in the target protects the answer.
        keys.store.set_mode(Mode::Ready);
        let request = request(&Method::HEAD, &format!("/?token={key}"), "");
        let (status, headers, ..) = run(kind, layer(&keys, &policy), request).await;
        assert_eq!(status, 200);
        assert_eq!(headers["cache-control"], "private, no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        keys.store.set_mode(Mode::Error);
        let request = self::request(&Method::HEAD, "/", key);
        assert_eq!(run(kind, layer(&keys, &policy), request).await.0, 503);
    }
}

#[tokio::test]
async fn allow_lists_what_is_served_and_what_is_a_probe() {
    let keys = Keys::new().await;
    let served = Policy::token().with_methods([Method::POST, Method::PUT]);
    let both = served.clone().with_probe([Method::HEAD]);
    for kind in KINDS {
        for (policy, method, allow) in [
            (&served, Method::HEAD, "POST, PUT"),
            (&both, Method::GET, "POST, PUT, HEAD"),
            (&both, Method::OPTIONS, "POST, PUT, HEAD"),
        ] {
            let request = request(&method, "/", &keys.text);
            let (status, headers, _, runs) = run(kind, layer(&keys, policy), request).await;
            assert_eq!((status, runs), (405, 0), "{kind:?} {method}");
            assert_eq!(headers["allow"], allow, "{kind:?} {method}");
        }
    }
    // A policy that names no methods has those of the service, and its probes.
    let policy = Policy::token().with_probe([Method::HEAD]);
    for kind in KINDS {
        let request = request(&Method::HEAD, "/", &keys.text);
        let (status, _, _, runs) = run(kind, layer(&keys, &policy), request).await;
        assert_eq!((status, runs), (200, 0), "{kind:?}");
        let get = Request::get("/").header("x-api-key", &keys.text);
        let get = get.body(Watched::sized("").0).unwrap();
        let (status, headers, _, runs) = run(kind, layer(&keys, &policy), get).await;
        let expected = if kind == Kind::Hooks { (405, 0) } else { (200, 1) };
        assert_eq!((status, runs), expected, "{kind:?}");
        assert_eq!(headers.get("allow").is_some_and(|allow| allow == "POST, HEAD"), status == 405);
    }
}

#[tokio::test]
async fn a_public_route_can_be_probed() {
    let keys = Keys::new().await;
    let policy = Policy::public().with_methods([Method::GET]).with_probe([Method::HEAD]);
    for kind in KINDS {
        let request = request(&Method::HEAD, "/health", "junk");
        let (status, headers, bytes, runs) = run(kind, layer(&keys, &policy), request).await;
        assert_eq!((status, runs), (200, 0), "{kind:?}");
        assert!(bytes.is_empty() && headers["cache-control"] == "no-store");
        let get = Request::get("/health").body(Watched::sized("").0).unwrap();
        let (status, _, _, runs) = run(kind, layer(&keys, &policy), get).await;
        assert_eq!((status, runs), (200, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn a_probe_does_not_wait_for_the_service() {
    #[derive(Clone)]
    struct Busy;
    impl<B> Service<Request<B>> for Busy {
        type Response = Response<Full<Bytes>>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(
            &mut self,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            panic!("asked for its readiness")
        }

        fn call(&mut self, _: Request<B>) -> Self::Future {
            panic!("called")
        }
    }
    let keys = Keys::new().await;
    let policy = Policy::token().with_methods([Method::POST]).with_probe([Method::HEAD]);
    for mode in [Mode::Ready, Mode::Later] {
        keys.store.set_mode(mode);
        let mut service = layer(&keys, &policy).layer(Busy);
        let request = request(&Method::HEAD, "/", &keys.text);
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), 200, "{mode:?}");
    }
}

#[tokio::test]
async fn a_concealed_hook_answers_probes_of_its_callers_alone() {
    let keys = Keys::new().await;
    let layer = || {
        AuthLayer::per_request(|head: RequestHead<'_>| match head.uri().path() {
            "/hook" => {
                Some(Policy::token().with_methods([Method::POST]).with_probe([Method::HEAD]))
            }
            _ => None,
        })
        .with_keys(&keys.manager, placements())
        .unwrap()
        .with_uniform_unauthorized()
    };
    for kind in KINDS {
        let mut answers = Vec::new();
        for (target, key) in [("/hook", "junk"), ("/hook", ""), ("/none", "junk"), ("/none", "")] {
            let request = request(&Method::HEAD, target, key);
            let (status, headers, ..) = run(kind, layer(), request).await;
            answers.push((status, headers));
        }
        assert_eq!(answers[0].0, 401);
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        for (target, expected) in [("/hook", 200), ("/none", 401)] {
            let request = request(&Method::HEAD, target, &keys.text);
            assert_eq!(run(kind, layer(), request).await.0, expected, "{kind:?} {target}");
        }
    }
}

#[test]
fn a_probe_that_cannot_be_one_is_a_fault() {
    let served = || Policy::token().with_methods([Method::GET]);
    let faults = [
        Policy::token().with_probe([Method::POST]),
        Policy::token().with_probe([Method::HEAD, Method::OPTIONS]),
        Policy::token().with_probe([]),
        served().with_probe([Method::GET]),
        Policy::token().with_probe([Method::GET]).with_methods([Method::GET, Method::POST]),
        Policy::token().with_probe([Method::HEAD]).with_probe([Method::GET]),
    ];
    for policy in faults {
        assert!(AuthLayer::new(policy.clone()).is_err(), "{policy:?}");
    }
    assert!(AuthLayer::new(served().with_probe([Method::HEAD])).is_ok());
}

#[tokio::test]
async fn a_fault_of_a_resolved_policy_is_a_500() {
    let keys = Keys::new().await;
    let auth = AuthLayer::per_request(|_: RequestHead<'_>| {
        Some(Policy::token().with_methods([Method::HEAD]).with_probe([Method::HEAD]))
    });
    let auth = auth.with_keys(&keys.manager, placements()).unwrap();
    for kind in KINDS {
        let request = request(&Method::HEAD, "/", &keys.text);
        assert_eq!(run(kind, auth.clone(), request).await.0, 500, "{kind:?}");
    }
}

#[tokio::test]
async fn extended_connect_is_served_where_get_is() {
    let keys = Keys::new().await;
    let get = Policy::token().with_methods([Method::GET]);
    let post = Policy::token().with_methods([Method::POST]);
    let probe = post.clone().with_probe([Method::GET]);
    let extended = "https://a.example/ws";
    for conceal in [false, true] {
        for (policy, method, target, version, expected) in [
            (&get, Method::CONNECT, extended, Version::HTTP_2, 200),
            (&get, Method::CONNECT, extended, Version::HTTP_3, 200),
            (&get, Method::CONNECT, "a.example:443", Version::HTTP_2, 405),
            (&get, Method::CONNECT, "a.example:443", Version::HTTP_11, 405),
            // HTTP/1.1 has `Upgrade` for it.
            (&get, Method::CONNECT, extended, Version::HTTP_11, 405),
            (&get, Method::CONNECT, "/ws", Version::HTTP_11, 405),
            (&post, Method::CONNECT, extended, Version::HTTP_2, 405),
            // A success of CONNECT opens a tunnel.
            (&probe, Method::CONNECT, extended, Version::HTTP_2, 405),
            (&get, Method::POST, extended, Version::HTTP_2, 405),
        ] {
            let auth = layer(&keys, policy);
            let auth = if conceal { auth.with_uniform_unauthorized() } else { auth };
            let request = Request::builder().method(method.clone()).uri(target).version(version);
            let request = request.header("x-api-key", &keys.text).body(Watched::sized("").0);
            let (status, _, _, runs) = run(Kind::Plain, auth, request.unwrap()).await;
            let what = format!("{conceal} {method} {target} {version:?}");
            assert_eq!((status, runs), (expected, usize::from(expected == 200)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_websocket_over_http2_is_a_get() {
    let keys = Keys::new().await;
    for (method, expected) in [(Method::GET, 200), (Method::POST, 405)] {
        let auth = layer(&keys, &Policy::token().with_methods([method]));
        let inner = tower::service_fn(async |request: Request<hyper::body::Incoming>| {
            assert_eq!((request.method(), request.uri().path()), (&Method::CONNECT, "/ws"));
            Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
        });
        let address = serve(auth.layer(inner)).await;
        let mut client = connect_http2::<Full<Bytes>>(address).await;
        let target = format!("http://{address}/ws");
        // The settings of the server come with the first answer.
        let first = Request::put(&target).body(Full::default()).unwrap();
        assert_eq!(soon(client.send_request(first)).await.unwrap().status(), 405);

        for (key, expected) in [(keys.text.as_str(), expected), ("junk", expected.max(401))] {
            let connect = Request::connect(&target).version(Version::HTTP_2);
            let connect = connect.header("x-api-key", key);
            let mut connect = connect.body(Full::default()).unwrap();
            connect.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
            let response = soon(client.send_request(connect)).await.unwrap();
            assert_eq!(response.status(), expected, "{key}");
        }
    }
}

#[tokio::test]
async fn a_probe_over_a_socket_leaves_the_connection_as_it_was() {
    let keys = Keys::new().await;
    let policy = Policy::token().with_methods([Method::POST]);
    let policy = policy.with_probe([Method::HEAD, Method::GET]);
    let hooks = Hooks::new(layer(&keys, &policy), |_: Invocation| {
        std::future::ready(Outcome::json("done"))
    });
    let address = serve(hooks).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for method in ["HEAD", "GET", "HEAD"] {
        let head = format!("{method} /?token={} HTTP/1.1\r\nhost: a\r\n\r\n", keys.text);
        stream.write_all(head.as_bytes()).await.unwrap();
        let response = read_response(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.contains("cache-control: private, no-store\r\n"), "{response}");
    }
}
