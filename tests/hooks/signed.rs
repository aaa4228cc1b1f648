//! Signed deliveries: who is let in, what is answered without the executor, and that each delivery runs once.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tower::Layer;
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::identity::Identity;
use tower_webhook::replay::{
    Claim, ClaimId, MemoryReplayGuard, ReplayGuard, ReplayKey, StoredResponse,
};
use tower_webhook::signature::{
    Scheme, Sender, SenderLookup, SenderSource, Senders, SignatureVerifier, SignedDelivery, Signer,
    SigningSecret, handshakes, presets,
};

use super::*;

const SECRET: &str = "It's a Secret to Everybody";

fn secret() -> SigningSecret {
    SigningSecret::raw(SECRET).unwrap()
}

fn sender(scheme: Scheme) -> Sender {
    Sender::new(owner("sender"), scheme, [secret()]).unwrap()
}

fn signed(scheme: Scheme, body: &'static str, id: &str) -> Request<Body> {
    let request = Request::post("/hook").header("content-type", "application/json");
    let mut request = request.body(Bytes::from(body)).unwrap();
    let signer = Signer::new(scheme, &secret()).unwrap();
    signer.sign(&mut request, id, time::OffsetDateTime::now_utc()).unwrap();
    request.map(Full::new)
}

/// Answers with the number of the run and what is signed.
fn hooks(scheme: Scheme, counter: &Counter) -> Hooks {
    let calls = Arc::clone(&counter.0);
    let run = move |invocation: Invocation| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        let signed = invocation.extensions().get::<SignedDelivery>().cloned();
        async move { Outcome::json(&(call, signed)) }
    };
    Hooks::new(AuthLayer::signed(SignatureVerifier::new(sender(scheme))), run)
}

#[tokio::test]
async fn a_secret_that_is_sent_as_it_is_reaches_no_executor() {
    let run = async |invocation: Invocation| {
        assert!(!format!("{:?}", invocation.headers()).contains(SECRET));
        Outcome::json(invocation.envelope().as_str())
    };
    let verifier = SignatureVerifier::new(sender(presets::gitlab()));
    let hooks = Hooks::new(AuthLayer::signed(verifier), run);
    let response = call(&hooks, signed(presets::gitlab(), "{}", "d1")).await;
    assert_eq!(response.status(), 200);
    assert!(response.body().contains("content-type"), "{}", response.body());
    assert!(!response.body().contains("token"), "{}", response.body());
}

#[tokio::test]
async fn a_good_signature_is_let_in_and_any_other_is_a_401() {
    let counter = Counter::default();
    let hooks = hooks(presets::github(), &counter);
    let good = || signed(presets::github(), r#"{"a":1}"#, "d1");

    let response = call(&hooks, good()).await;
    assert_eq!(response.status(), 200);
    let said = r#"{"scheme":"github","covers":["body"],"secret":"","id":"d1","event":null,"signed":{"id":false,"event":false}}"#;
    assert_eq!(response.body(), &format!("[1,{said}]"));

    let name = "x-hub-signature-256";
    let mut missing = good();
    missing.headers_mut().remove(name);
    let mut twice = good();
    let value = twice.headers()[name].clone();
    twice.headers_mut().append(name, value);
    let mut other = good();
    other.headers_mut().insert(name, "sha1=00".parse().unwrap());
    let changed = good().map(|_| Full::from(r#"{"a":2}"#));
    let mut bodies = Vec::new();
    for request in [missing, twice, other, changed] {
        let response = call(&hooks, request).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
        bodies.push(response.into_body());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all refusals are alike");
    assert_eq!(counter.take(), 1);
}

#[cfg(feature = "ed25519")]
#[tokio::test]
async fn no_sender_brings_about_a_503_with_another_version() {
    let hooks = hooks(presets::svix(), &Counter::default());
    let mut request = signed(presets::svix(), "{}", "1");
    request.headers_mut().insert("svix-signature", "v1a,AAAA".parse().unwrap());
    assert_eq!(call(&hooks, request).await.status(), 401);
}

#[tokio::test]
async fn the_limit_comes_before_the_verdict() {
    let counter = Counter::default();
    let hooks = hooks(presets::github(), &counter).with_pre_auth_max_bytes(10);

    let response = call(&hooks, signed(presets::github(), "[1,2,3,4,5]", "1")).await;
    assert_eq!(response.status(), 413);
    let response = call(&hooks, signed(presets::github(), "[1,2,3,45]", "1")).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn the_default_limit_is_that_on_all_bodies() {
    let hooks = || hooks(presets::github(), &Counter::default());
    let body: &'static str = format!(r#"["{}"]"#, "x".repeat(50_000)).leak();
    let send = |hooks: Hooks| async move {
        call(&hooks, signed(presets::github(), body, "1")).await.status()
    };
    assert_eq!(send(hooks()).await, 200);
    assert_eq!(send(hooks().with_max_body_bytes(40_000)).await, 413);
    assert_eq!(send(hooks().with_pre_auth_max_bytes(40_000)).await, 413);
}

#[tokio::test]
async fn a_hook_has_a_limit_of_its_own() {
    let auth = || {
        AuthLayer::per_request(|head: RequestHead<'_>| {
            let policy = Policy::signed();
            Some(match head.original_path() {
                "/large" => policy.with_pre_auth_max_bytes(100),
                _ => policy,
            })
        })
        .with_signatures(SignatureVerifier::new(sender(presets::github())))
        .unwrap()
    };
    let send = |path: &str| {
        let mut request = signed(presets::github(), "[1,2,3,4,5]", "1");
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let hooks = Hooks::new(auth(), Counter::default().executor()).with_pre_auth_max_bytes(10);
    assert_eq!(call(&hooks, send("/large")).await.status(), 200);
    assert_eq!(call(&hooks, send("/hook")).await.status(), 413);
    // The limit on all bodies holds.
    assert_eq!(call(&hooks.with_max_body_bytes(10), send("/large")).await.status(), 413);
    let concealed = auth().with_uniform_unauthorized();
    let concealed = Hooks::new(concealed, Counter::default().executor());
    assert_eq!(call(&concealed, send("/large")).await.status(), 500);
}

/// Knows a tenant in the path, one without a secret, and fails on `/down`.
struct Tenants;

#[async_trait]
impl SenderSource for Tenants {
    async fn sender(&self, head: RequestHead<'_>) -> Result<SenderLookup, BoxError> {
        Ok(match head.original_path() {
            "/hook" => SenderLookup::Found(Arc::new(sender(presets::github()))),
            "/bare" => SenderLookup::NoSecret,
            "/down" => return Err("the table of tenants is down".into()),
            _ => SenderLookup::Unknown,
        })
    }
}

#[tokio::test]
async fn absent_unknown_and_outage_are_three_answers() {
    let auth = AuthLayer::signed(SignatureVerifier::new(Tenants));
    let hooks = Hooks::new(auth, Counter::default().executor());
    for (path, status) in [("/hook", 200), ("/bare", 503), ("/down", 503), ("/nope", 401)] {
        let mut request = signed(presets::github(), "{}", "1");
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(call(&hooks, request).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_is_signed_has_to_be_configured() {
    let verifier = SignatureVerifier::new(sender(presets::square()));
    let with = |verifier: SignatureVerifier| {
        Hooks::new(AuthLayer::signed(verifier), Counter::default().executor())
    };
    let mut request = Request::post("https://example.com/hook?a=%2F").body(Bytes::new()).unwrap();
    let signer = Signer::new(presets::square(), &secret()).unwrap();
    signer.sign(&mut request, "", time::OffsetDateTime::now_utc()).unwrap();
    *request.uri_mut() = "/hook?a=%2F".parse().unwrap();
    let request = request.map(Full::new);

    assert_eq!(call(&with(verifier.clone()), request.clone()).await.status(), 503);
    let public = verifier.clone().with_public_origin("https://example.com").unwrap();
    assert_eq!(call(&with(public), request.clone()).await.status(), 200);
    let other = verifier.clone().with_public_origin("https://example.org").unwrap();
    assert_eq!(call(&with(other), request).await.status(), 401);
    for origin in ["", "example.com", "ftp://a", "https://", "https://a/", "https://a?b"] {
        assert!(verifier.clone().with_public_origin(origin).is_err(), "{origin}");
    }
}

#[tokio::test]
async fn a_key_or_a_signature_opens_a_route_that_takes_both() {
    let keys = Keys::new().await;
    let policy = Policy::any_of([Policy::token(), Policy::signed()]);
    let auth = AuthLayer::new(policy)
        .unwrap()
        .with_keys(&keys.manager, [Placement::header("x-api-key").unwrap()])
        .unwrap()
        .with_signatures(SignatureVerifier::new(sender(presets::github())))
        .unwrap();
    let hooks = Hooks::new(auth, |invocation: Invocation| async move {
        Outcome::json(&invocation.identity().map(|identity| identity.owner().to_string()))
    });
    let with_key =
        |key: &str| Request::post("/").header("x-api-key", key).body(Body::default()).unwrap();

    let by_key = call(&hooks, with_key(&keys.text)).await;
    assert_eq!(by_key.body(), r#""alice""#);
    let by_signature = call(&hooks, signed(presets::github(), "{}", "1")).await;
    assert_eq!(by_signature.body(), r#""sender""#);
    assert_eq!(call(&hooks, with_key("junk")).await.status(), 401);
    for key in [keys.text.as_str(), "junk"] {
        let mut both = signed(presets::github(), "{}", "1");
        both.headers_mut().insert("x-api-key", key.parse().unwrap());
        assert_eq!(call(&hooks, both).await.status(), 400, "{key}");
    }
    assert_eq!(call(&hooks, post_to("/", "{}")).await.status(), 401);
}

#[tokio::test]
async fn a_handshake_is_answered_and_runs_nothing() {
    let counter = Counter::default();
    let calls = counter.executor();
    let slack = sender(presets::slack()).with_handshake(handshakes::slack());
    let meta = sender(presets::meta()).with_handshake(handshakes::meta("verify-me"));
    let zoom = sender(presets::zoom()).with_handshake(handshakes::zoom());
    let senders = Senders::new().with("slack", slack).unwrap();
    let senders = senders.with("meta", meta).unwrap().with("zoom", zoom).unwrap();
    let auth = AuthLayer::per_request(|head: RequestHead<'_>| {
        let hook = head.original_path().trim_start_matches('/').to_owned();
        // A scope that no sender has: a handshake does not need it.
        let policy = Policy::signed().with_hook(hook).with_owner(owner("bob"));
        Some(policy.with_methods([Method::GET, Method::POST]))
    });
    let auth = auth.with_signatures(SignatureVerifier::new(senders)).unwrap();
    let hooks = Hooks::new(auth, calls);

    let challenge = r#"{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
    let mut request = signed(presets::slack(), challenge, "");
    *request.uri_mut() = "/slack".parse().unwrap();
    let response = call(&hooks, request.clone()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    // Slack signs its handshake.
    request.headers_mut().remove("x-slack-signature");
    assert_eq!(call(&hooks, request).await.status(), 401);

    let get = |target: &str| Request::get(target).body(Body::default()).unwrap();
    let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token";
    let response = call(&hooks, get(&format!("/meta?{query}=verify-me"))).await;
    assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "1158201444"));
    assert_eq!(call(&hooks, get(&format!("/meta?{query}=guess"))).await.status(), 403);
    assert_eq!(call(&hooks, get("/meta")).await.status(), 401);
    let script = "hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=verify-me";
    assert_eq!(call(&hooks, get(&format!("/meta?{script}"))).await.status(), 400);

    let zoom = |token: &str| {
        let body = format!(
            r#"{{"event":"endpoint.url_validation","payload":{{"plainToken":"{token}"}}}}"#
        );
        post_to("/zoom", body)
    };
    let response = call(&hooks, zoom("qgg8vlvZRS6UYooatFL8Aw")).await;
    let expected = signature_of("qgg8vlvZRS6UYooatFL8Aw");
    assert!(response.body().contains(&expected), "{}", response.body());
    // These would be signatures of events.
    for token in ["v0:1700000000:{}", "", &"a".repeat(129), "a.b"] {
        assert_eq!(call(&hooks, zoom(token)).await.status(), 400, "{token}");
    }
    assert_eq!(counter.take(), 0);
}

/// HMAC-SHA256 in hex, by way of a scheme that signs the body alone.
fn signature_of(text: &'static str) -> String {
    let request = signed(presets::github(), text, "");
    request.headers()["x-hub-signature-256"].to_str().unwrap()["sha256=".len()..].to_owned()
}

#[tokio::test]
async fn a_delivery_that_was_answered_gets_the_same_answer() {
    let counter = Counter::default();
    let guard = MemoryReplayGuard::new(100).unwrap();
    let hooks = hooks(presets::svix(), &counter).with_replay_guard(guard, Duration::from_secs(60));

    let first = call(&hooks, signed(presets::svix(), "{}", "msg_1")).await;
    assert!(!first.headers().contains_key("x-replayed"));
    // The sender signs the second try anew. Its id is the same.
    let second = call(&hooks, signed(presets::svix(), "{}", "msg_1")).await;
    assert_eq!(second.headers()["x-replayed"], "true");
    assert_eq!(second.headers()["content-type"], first.headers()["content-type"]);
    assert_eq!((second.status(), second.body()), (first.status(), first.body()));
    assert_eq!(counter.take(), 1);
    call(&hooks, signed(presets::svix(), "{}", "msg_2")).await;
    assert_eq!(counter.take(), 1);
    // A bad signature claims and gets nothing.
    let forged = signed(presets::svix(), "{}", "msg_1").map(|_| Full::from("[]"));
    assert_eq!(call(&hooks, forged).await.status(), 401);
}

#[tokio::test]
async fn times_without_a_bound_are_as_long_as_they_get() {
    let counter = Counter::default();
    let guard = MemoryReplayGuard::new(100).unwrap();
    let scheme = || presets::svix().with_tolerance(Duration::MAX);
    let hooks = hooks(scheme(), &counter)
        .with_deadline(Duration::MAX)
        .with_replay_guard(guard, Duration::MAX);
    for _ in 0..2 {
        assert_eq!(call(&hooks, signed(scheme(), "{}", "msg_1")).await.status(), 200);
    }
    assert_eq!(counter.take(), 1);
}

#[tokio::test]
async fn an_unsigned_id_does_not_identify_a_delivery() {
    let counter = Counter::default();
    let guard = MemoryReplayGuard::new(100).unwrap();
    let hooks =
        hooks(presets::github(), &counter).with_replay_guard(guard, Duration::from_secs(60));

    // An attacker changes the id of a captured delivery, and takes the id of another one.
    for (body, id, runs) in [("{}", "1", 1), ("{}", "2", 0), ("[]", "1", 1)] {
        call(&hooks, signed(presets::github(), body, id)).await;
        assert_eq!(counter.take(), runs, "{body} {id}");
    }
}

#[tokio::test]
async fn the_id_of_one_event_does_not_identify_a_list() {
    let counter = Counter::default();
    let guard = MemoryReplayGuard::new(100).unwrap();
    let (wait, origin) = (Duration::from_secs(60), "https://example.com");
    let verifier = SignatureVerifier::new(sender(presets::hubspot())).with_public_origin(origin);
    let hooks = Hooks::new(AuthLayer::signed(verifier.unwrap()), counter.executor())
        .with_replay_guard(guard, wait);
    for (body, runs) in [
        (r#"[{"eventId":1}]"#, 1),
        (r#"[{"eventId":1},{"eventId":2}]"#, 1),
        (r#"[{"eventId":1}]"#, 0),
    ] {
        let mut request = Request::post("https://example.com/hook")
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .unwrap();
        let signer = Signer::new(presets::hubspot(), &secret()).unwrap();
        signer.sign(&mut request, "", time::OffsetDateTime::now_utc()).unwrap();
        *request.uri_mut() = "/hook".parse().unwrap();
        assert_eq!(call(&hooks, request.map(Full::new)).await.status(), 200, "{body}");
        assert_eq!(counter.take(), runs, "{body}");
    }
}

#[tokio::test]
async fn a_delivery_with_a_token_runs_each_time() {
    let counter = Counter::default();
    let guard = MemoryReplayGuard::new(100).unwrap();
    let hooks =
        hooks(presets::gitlab(), &counter).with_replay_guard(guard, Duration::from_secs(60));
    for _ in 0..2 {
        call(&hooks, signed(presets::gitlab(), "{}", "1")).await;
        assert_eq!(counter.take(), 1);
    }
}

#[tokio::test]
async fn a_delivery_that_the_executor_refuses_is_judged_again() {
    let counter = Counter::default();
    let calls = Arc::clone(&counter.0);
    let run = move |_: Invocation| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err(ExecutorError::invalid("no branch")),
                _ => Ok(Outcome::empty()),
            }
        }
    };
    let hooks = Hooks::new(AuthLayer::signed(SignatureVerifier::new(sender(presets::svix()))), run)
        .with_replay_guard(MemoryReplayGuard::new(100).unwrap(), Duration::from_secs(60));
    for expected in [422, 200, 200] {
        let response = call(&hooks, signed(presets::svix(), "{}", "msg_1")).await;
        assert_eq!(response.status(), expected);
    }
    assert_eq!(counter.take(), 2);
}

#[tokio::test]
async fn a_delivery_in_flight_is_a_409_and_a_failed_one_runs_again() {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let fails = Arc::new(Mutex::new(true));
    let run = {
        let (started, go_on, fails) =
            (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&fails));
        move |_: Invocation| {
            let (started, go_on, fails) =
                (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&fails));
            async move {
                started.notify_one();
                go_on.notified().await;
                match std::mem::replace(&mut *fails.lock().unwrap(), false) {
                    true => Err(ExecutorError::public("once")),
                    false => Ok(Outcome::empty()),
                }
            }
        }
    };
    let hooks = Hooks::new(AuthLayer::signed(SignatureVerifier::new(sender(presets::svix()))), run)
        .with_replay_guard(MemoryReplayGuard::new(100).unwrap(), Duration::from_secs(60));
    let send = || signed(presets::svix(), "{}", "msg_1");

    for expected in [502, 200] {
        let running = tokio::spawn({
            let hooks = hooks.clone();
            let request = send();
            async move { call(&hooks, request).await }
        });
        soon(started.notified()).await;
        let second = call(&hooks, send()).await;
        assert_eq!(second.status(), 409);
        assert!(second.headers().contains_key("retry-after"));
        go_on.notify_one();
        assert_eq!(running.await.unwrap().status(), expected);
    }
    assert_eq!(call(&hooks, send()).await.headers()["x-replayed"], "true");
}

/// Fails in the first step, or in the last.
struct Broken {
    claims: bool,
}

#[async_trait]
impl ReplayGuard for Broken {
    async fn claim(&self, _: &ReplayKey, _: Duration) -> Result<Claim, BoxError> {
        match self.claims {
            true => Ok(Claim::New(ClaimId::random()?)),
            false => Err("the guard is down".into()),
        }
    }

    async fn commit(
        &self,
        _: &ReplayKey,
        _: ClaimId,
        _: &StoredResponse,
        _: Duration,
    ) -> Result<bool, BoxError> {
        Err("the guard is down".into())
    }

    async fn abort(&self, _: &ReplayKey, _: ClaimId) -> Result<(), BoxError> {
        Err("the guard is down".into())
    }
}

#[tokio::test]
async fn a_guard_that_fails_is_a_503_before_the_run_only() {
    let counter = Counter::default();
    for (claims, status, runs) in [(false, 503, 0), (true, 200, 1)] {
        let hooks = hooks(presets::svix(), &counter)
            .with_replay_guard(Broken { claims }, Duration::from_secs(60));
        let response = call(&hooks, signed(presets::svix(), "{}", "1")).await;
        assert_eq!(response.status(), status);
        assert_eq!(counter.take(), runs);
    }
}

#[tokio::test]
async fn the_envelope_can_say_what_is_signed() {
    let counter = Counter::default();
    let auth = AuthLayer::per_request(|head: RequestHead<'_>| {
        Some(if head.original_path() == "/open" { Policy::public() } else { Policy::signed() })
    });
    let auth = auth.with_signatures(SignatureVerifier::new(sender(presets::github()))).unwrap();
    let hooks = Hooks::new(auth, counter.executor()).with_signature_member("SIGNED").unwrap();

    let response = call(&hooks, signed(presets::github(), "{}", "1")).await;
    assert!(response.body().contains(r#""SIGNED":{"scheme":"github","covers":["body"]"#));
    let response = call(&hooks, post_to("/open", "{}")).await;
    assert!(response.body().contains(r#""SIGNED":null"#), "{}", response.body());
    for name in ["GET", "CALLER"] {
        let hooks = hooks.clone().with_identity_member("CALLER").unwrap();
        assert!(hooks.with_signature_member(name).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_layer_verifies_the_body_that_its_service_reads() {
    let layer = AuthLayer::signed(SignatureVerifier::new(sender(presets::github())));
    let service = service_fn(|request: Request<tower_webhook::body::ReplayBody>| async move {
        let owner = Identity::of(request.extensions()).unwrap().unwrap().owner().to_string();
        let covers = request.extensions().get::<SignedDelivery>().unwrap().verified().covers();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let text = format!("{owner} {covers:?} {}", String::from_utf8_lossy(&body));
        Ok::<_, Infallible>(Response::new(Full::from(text)))
    });
    let buffered = layer.clone().with_buffer(BodyBufferLayer::new()).layer(service);
    let response = buffered.oneshot(signed(presets::github(), "[1]", "1")).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "sender {Body} [1]");

    // Without a buffer it is a fault of ours, and never a 401.
    let inner = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let response = layer.layer(inner).oneshot(signed(presets::github(), "[1]", "1")).await;
    assert_eq!(response.unwrap().status(), 500);
}
