//! The head is looked at before the body: a placement in the body spoils no other one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, request};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Credentials, Placement};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::key::NewKey;

use crate::support::watched::{Polls, Watched};
use crate::support::{Keys, Logins, Mode, Recorder, owner, scope};

const MEBIBYTE: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    WithBuffer,
    BufferOutside,
    Hooks,
}

const KINDS: [Kind; 3] = [Kind::WithBuffer, Kind::BufferOutside, Kind::Hooks];
/// The kinds that read the body themselves.
const READERS: [Kind; 2] = [Kind::WithBuffer, Kind::Hooks];

fn header() -> Placement {
    Placement::header("x-api-key").unwrap()
}

fn body() -> Placement {
    Placement::body("api_key").unwrap()
}

fn three() -> [Placement; 3] {
    [header(), Placement::query("token").unwrap(), body()]
}

/// The status, and the body that came through. The envelope, for a hook.
async fn run<B>(kind: Kind, auth: AuthLayer, request: Request<B>) -> (u16, Option<Bytes>)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let inner = Recorder::default();
    let envelopes = Arc::new(Mutex::new(Vec::new()));
    let buffer = BodyBufferLayer::new().with_max_bytes(MEBIBYTE);
    let status = match kind {
        Kind::WithBuffer => {
            let service = auth.with_buffer(buffer).layer(inner.clone());
            service.oneshot(request).await.unwrap().status()
        }
        Kind::BufferOutside => {
            let service = buffer.layer(auth.layer(inner.clone()));
            service.oneshot(request).await.unwrap().status()
        }
        Kind::Hooks => {
            let seen = Arc::clone(&envelopes);
            let hooks = Hooks::new(auth, move |invocation: Invocation| {
                let envelope = invocation.envelope().as_str().to_owned();
                seen.lock().unwrap().push(Bytes::from(envelope));
                std::future::ready(Outcome::json("done"))
            });
            let envelope = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
            let hooks = hooks.with_envelope(envelope).unwrap();
            hooks.with_max_body_bytes(MEBIBYTE).oneshot(request).await.unwrap().status()
        }
    };
    let through = inner.take().into_iter().map(Request::into_body);
    let mut through = through.chain(std::mem::take(&mut *envelopes.lock().unwrap()));
    (status.as_u16(), through.next())
}

/// A request whose media type is not named if it is empty.
fn post(target: &str, media: &str) -> request::Builder {
    let request = Request::post(target);
    if media.is_empty() { request } else { request.header("content-type", media) }
}

fn full(text: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(text.into())
}

#[tokio::test]
async fn an_unreadable_body_spoils_no_key_in_the_head() {
    let keys = Keys::new().await;
    let many = "a&".repeat(10);
    let multipart = if cfg!(feature = "multipart") { 400 } else { 415 };
    // Media type, coding, body, and what a hook says about it.
    let cases = [
        ("", "", "hello", 200),
        ("text/plain", "", "hello", 200),
        ("text/plain; charset=UTF-8", "", r#"{"api_key":"x"}"#, 200),
        ("application/octet-stream", "", "\u{1}\u{2}\u{3}", 200),
        ("application/x-ndjson", "", "{}\n{}", 200),
        ("image/svg+xml", "", "<svg/>", 200),
        ("application/json", "", "{", 400),
        ("application/json", "", "api_key=1", 400),
        ("application/cloudevents+json", "", r#"{"api_key":1,}"#, 400),
        ("application/json", "gzip", "\u{1f}", 415),
        ("application/json", "", "", 200),
        ("application/x-www-form-urlencoded", "br", many.as_str(), 415),
    ];
    for kind in KINDS {
        for (media, coding, body, by_hook) in cases {
            for in_query in [false, true] {
                let what = format!("{kind:?} {media} {coding} {body} {in_query}");
                let auth = AuthLayer::token(&keys.manager, three()).unwrap();
                let request = match in_query {
                    true => post(&format!("/?token={}", keys.text), media),
                    false => post("/", media).header("x-api-key", &keys.text),
                };
                let request = match coding {
                    "" => request,
                    coding => request.header("content-encoding", coding),
                };
                let request = request.body(full(body.to_owned())).unwrap();
                let (status, through) = run(kind, auth, request).await;

                if kind == Kind::Hooks {
                    assert_eq!(status, by_hook, "{what}");
                } else {
                    assert_eq!((status, through), (200, Some(body.to_owned().into())), "{what}");
                }
            }
        }
        // Multipart is a form with the feature, and any other media type without it.
        let request = post("/", "multipart/form-data; boundary=b").header("x-api-key", &keys.text);
        let auth = AuthLayer::token(&keys.manager, three()).unwrap();
        let (status, _) = run(kind, auth, request.body(full("--c--")).unwrap()).await;
        let is_passed_on = kind != Kind::Hooks && !cfg!(feature = "multipart");
        assert_eq!(status, if is_passed_on { 200 } else { multipart }, "{kind:?}");
    }
}

#[tokio::test]
async fn a_caller_who_is_known_by_the_head_has_the_full_limit() {
    let keys = Keys::new().await;
    let json = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    let auth = || AuthLayer::token(&keys.manager, [header(), body()]).unwrap();
    let watched: [fn(String) -> (Watched, Polls); 2] = [Watched::sized, Watched::chunked];
    for kind in READERS {
        for make in watched {
            for (length, expected) in [(100 * 1024, 200), (MEBIBYTE, 200), (MEBIBYTE + 1, 413)] {
                let (body, _) = make(json(length));
                let request = post("/", "application/json").header("x-api-key", &keys.text);
                let (status, through) = run(kind, auth(), request.body(body).unwrap()).await;
                assert_eq!(status, expected, "{kind:?} {length}");
                if kind == Kind::WithBuffer && expected == 200 {
                    assert_eq!(through.map(|bytes| bytes.len()), Some(length));
                }
            }
            // Without a credential in the head, the body falls under the small limit.
            for (length, expected) in [(16 * 1024, 401), (16 * 1024 + 1, 413), (100 * 1024, 413)] {
                let request = post("/", "application/json").body(make(json(length)).0).unwrap();
                assert_eq!(run(kind, auth(), request).await.0, expected, "{kind:?} {length}");
            }
            let large = format!(r#"{{"api_key":"{}","a":"{}"}}"#, keys.text, "x".repeat(102_400));
            let request = post("/", "application/json").body(make(large).0).unwrap();
            assert_eq!(run(kind, auth(), request).await.0, 413, "{kind:?}");
        }
    }
    let request = post("/", "application/json").header("x-api-key", &keys.text);
    let request = request.header("content-encoding", "gzip").body(full(json(100 * 1024))).unwrap();
    assert_eq!(run(Kind::WithBuffer, auth(), request).await.0, 200);
}

#[tokio::test]
async fn a_request_that_is_refused_by_its_head_is_not_polled() {
    let keys = Keys::new().await;
    let key = keys.text.as_str();
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Mode, u16, usize);
    let cases: Vec<Case<'_>> = vec![
        ("/", vec![("x-api-key", "junk")], Mode::Ready, 401, 0),
        ("/?token=junk", vec![], Mode::Ready, 401, 0),
        ("/", vec![("x-api-key", key), ("x-api-key", key)], Mode::Ready, 400, 0),
        ("/?token=junk", vec![("x-api-key", key)], Mode::Ready, 400, 0),
        ("/admin", vec![("x-api-key", key)], Mode::Ready, 403, 1),
        ("/bob", vec![("x-api-key", key)], Mode::Later, 401, 1),
        ("/", vec![("x-api-key", key)], Mode::Error, 503, 1),
    ];
    for kind in READERS {
        for (target, headers, mode, expected, finds) in &cases {
            let resolve = |head: RequestHead<'_>| {
                let policy = Policy::token().with_methods([Method::POST]);
                Some(match head.uri().path() {
                    "/admin" => policy.with_scope(scope("admin")),
                    "/bob" => policy.with_owner(owner("bob")),
                    _ => policy,
                })
            };
            let auth = AuthLayer::per_request(resolve).with_keys(&keys.manager, three()).unwrap();
            keys.store.set_mode(*mode);
            keys.store.take_finds();
            let (body, polls) = Watched::sized(format!(r#"{{"api_key":"{key}"}}"#));
            let mut request = post(target, "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (status, through) = run(kind, auth, request.body(body).unwrap()).await;
            let what = format!("{kind:?} {target} {headers:?} {mode:?}");
            assert_eq!((status, through), (*expected, None), "{what}");
            assert_eq!((polls.count(), keys.store.take_finds()), (0, *finds), "{what}");
        }
    }
}

#[tokio::test]
async fn a_second_credential_in_a_body_that_is_read_is_refused() {
    let keys = Keys::new().await;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let key = keys.text.as_str();
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let mut cases = vec![
        (json, format!(r#"{{"api_key":"{key}"}}"#), 400),
        (json, r#"{"a":1,"api_key":"junk"}"#.to_owned(), 400),
        (json, r#"{"api_key":7}"#.to_owned(), 400),
        ("application/vnd.x+json", r#"{"api\u005fkey":"x"}"#.to_owned(), 400),
        (form, format!("a=1&api%5Fkey={key}"), 400),
        // An empty value is none, and a field of another name is another field.
        (json, r#"{"api_key":"","a":1}"#.to_owned(), 200),
        (json, r#"{"api_key":null}"#.to_owned(), 200),
        (json, r#"{"a":{"api_key":"x"}}"#.to_owned(), 200),
        (form, "api_key=&API_KEY=x".to_owned(), 200),
        // Over a limit, or with two readings: it is not known whether there is a second one.
        (json, r#"{"api_key":"","api_key":"x"}"#.to_owned(), 400),
        (json, deep, 400),
        (form, "a&".repeat(300), 400),
        ("application/x-www-form-urlencoded; charset=latin1", "api_key=x".to_owned(), 415),
        ("application/json, text/plain", "{}".to_owned(), 400),
    ];
    if cfg!(feature = "multipart") {
        let part = "--b\r\ncontent-disposition: form-data; name=\"api_key\"\r\n\r\nx\r\n--b--\r\n";
        cases.push(("multipart/form-data; boundary=b", part.to_owned(), 400));
    }
    for kind in KINDS {
        for (media, body, expected) in &cases {
            let auth = AuthLayer::token(&keys.manager, three()).unwrap();
            let request = post("/", media).header("x-api-key", key);
            let request = request.body(full(body.clone())).unwrap();
            keys.store.take_finds();
            let (status, through) = run(kind, auth, request).await;
            assert_eq!(status, *expected, "{kind:?} {media} {body}");
            assert_eq!(through.is_some(), *expected == 200, "{kind:?} {media} {body}");
            assert_eq!(keys.store.take_finds(), 1);

            // A bad one in the head decides before the body is looked at.
            let auth = AuthLayer::token(&keys.manager, three()).unwrap();
            let request = post("/", media).header("x-api-key", "junk");
            let request = request.body(full(body.clone())).unwrap();
            assert_eq!(run(kind, auth, request).await.0, 401, "{kind:?} {media} {body}");
        }
    }
}

#[tokio::test]
async fn the_first_in_the_list_wins_where_that_is_set() {
    let keys = Keys::new().await;
    let key = keys.text.as_str();
    let large = "x".repeat(20_000);
    for kind in KINDS {
        // The order of placements, the value of the header, that of the member, padding, the answer.
        for (is_header_first, in_header, in_body, padding, expected) in [
            (true, key, "junk", "", 200),
            (true, key, key, "", 200),
            (true, key, "junk", large.as_str(), 200),
            (true, "junk", key, "", 401),
            (true, "", key, "", 200),
            (false, key, "junk", "", 401),
            (false, "junk", key, "", 200),
            (false, key, "", "", 200),
            (false, key, "", large.as_str(), 413),
        ] {
            let placements = match is_header_first {
                true => [header(), body()],
                false => [body(), header()],
            };
            let credentials = Credentials::new(placements).unwrap();
            let credentials = credentials.with_insecure_first_credential_wins();
            let auth = AuthLayer::token(&keys.manager, credentials).unwrap();
            let request = post("/", "application/json").header("x-api-key", in_header);
            let sent = format!(r#"{{"a":"{padding}","api_key":"{in_body}"}}"#);
            let (status, through) = run(kind, auth, request.body(full(sent)).unwrap()).await;
            let is_outside = kind == Kind::BufferOutside && expected == 413;
            let expected = if is_outside { 200 } else { expected };
            let what = format!("{kind:?} {is_header_first} {in_header} {in_body}");
            assert_eq!(status, expected, "{what}");
            let through = through.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(through.is_none_or(|text| !text.contains("api_key")), "{what}");
        }
    }
}

/// Keys in a header and the body, logins in another header and another member of the body.
fn both(keys: &Keys) -> AuthLayer {
    let resolve = |head: RequestHead<'_>| match head.uri().path() {
        "/token" => Some(Policy::token().with_methods([Method::POST])),
        "/user" => Some(Policy::user().with_methods([Method::POST])),
        _ => None,
    };
    let logins = [Placement::header("x-login").unwrap(), Placement::body("password").unwrap()];
    AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, [header(), body()])
        .unwrap()
        .with_authenticator(Logins, logins)
        .unwrap()
}

#[tokio::test]
async fn one_of_the_other_kind_in_the_body_is_removed() {
    let keys = Keys::new().await;
    for kind in KINDS {
        for concealed in [false, true] {
            for (path, name, value) in
                [("/token", "x-api-key", keys.text.as_str()), ("/user", "x-login", "sesame")]
            {
                let auth = both(&keys);
                let auth = if concealed { auth.with_uniform_unauthorized() } else { auth };
                for (sent, expected) in [
                    (r#"{"a":1,"password":"canary"}"#, path == "/token"),
                    (r#"{"a":1,"api_key":"canary"}"#, path == "/user"),
                ] {
                    let request = post(path, "application/json").header(name, value);
                    let request = request.body(full(sent)).unwrap();
                    let (status, through) = run(kind, auth.clone(), request).await;
                    let what = format!("{kind:?} {concealed} {path} {sent}");
                    assert_eq!(status, if expected { 200 } else { 400 }, "{what}");
                    let text = through.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    assert!(text.is_none_or(|text| !text.contains("canary")), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_concealed_hook_reads_no_more_than_an_unknown_one() {
    let keys = Keys::new().await;
    let large = || format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000));
    let key = keys.text.as_str();
    // What the head holds, whether the body is polled, and the answers of the two hooks.
    let cases = [
        (vec![], true, 401, 401),
        (vec![("x-api-key", "junk")], false, 401, 401),
        (vec![("x-login", "guess")], false, 401, 401),
        (vec![("x-api-key", key), ("x-login", "sesame")], false, 401, 401),
        (vec![("x-api-key", key), ("x-api-key", key)], false, 401, 401),
        (vec![("x-api-key", key)], false, 200, 401),
        (vec![("x-login", "sesame")], false, 401, 200),
    ];
    for kind in READERS {
        for (headers, is_polled, by_token, by_user) in &cases {
            for (path, expected) in [("/none", 401), ("/token", *by_token), ("/user", *by_user)] {
                let what = format!("{kind:?} {path} {headers:?}");
                let (body, polls) = Watched::chunked(large());
                let mut request = post(path, "application/json");
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let auth = both(&keys).with_uniform_unauthorized();
                let (status, _) = run(kind, auth, request.body(body).unwrap()).await;
                assert_eq!(status, expected, "{what}");
                assert_eq!(polls.count() > 0, *is_polled || expected == 200, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_its_body_arrives_opens_nothing() {
    let keys = Keys::new().await;
    for kind in READERS {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes)), receiver))
        });
        let issued = keys.manager.generate(&owner("alice"), NewKey::new("k")).await.unwrap();
        keys.store.take_finds();
        let request = post("/", "application/json");
        let request = request.header("x-api-key", issued.secret().expose_secret());
        let request = request.body(http_body_util::StreamBody::new(frames).boxed_unsync()).unwrap();
        let auth = AuthLayer::token(&keys.manager, three()).unwrap();
        let response = tokio::spawn(run(kind, auth, request));
        // The store is asked before the body is there.
        while keys.store.take_finds() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sender.send(Bytes::from_static(b"{}")).await.unwrap();
        keys.manager.revoke(&owner("alice"), issued.record().id()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        drop(sender);
        assert_eq!(response.await.unwrap(), (401, None), "{kind:?}");
    }
}
