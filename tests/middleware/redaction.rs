//! No secret in what is printed: `Debug`, `Display`, chains of errors, panics and logs.

use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{
    AuthLayer, Authentication, Authenticator, BufferedAuthLayer, Policy, User,
};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::content::{ContentLimits, MediaType, find_field, form, json};
use tower_webhook::credential::{Credentials, Placement, PresentedCredential, Secret};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::identity::Identity;
use tower_webhook::key::{
    GenerateError, KeyDigest, KeyDraft, KeyFormat, KeyHasher, KeyId, KeyManager, KeyRecord,
    KeyUpdate, NewKey, OpaqueFormat, Owner, Pepper, PrefixedFormat, Scope, Scopes,
};
use tower_webhook::store::MemoryKeyStore;

use crate::support::wire::soon;
use crate::support::{Keys, Logs, Mode, NOW, Recorder, owner, scope};

/// Bytes of a pepper, and a text for each place of a secret or a payload.
const PEPPER: &[u8; 32] = b"a-pepper-of-thirty-two-bytes-ok!";
const CANARY: &str = "opensesame";

/// What must not be printed.
struct Canaries(Vec<String>);

impl Canaries {
    fn new(keys: &[&str]) -> Self {
        let mut canaries = vec![CANARY.to_owned(), String::from_utf8(PEPPER.to_vec()).unwrap()];
        canaries.extend([format!("{PEPPER:?}"), format!("{:?}", CANARY.as_bytes())]);
        for key in keys {
            canaries.push((*key).to_owned());
            // The secret part of a prefixed key, without its checksum.
            if let Some((_, secret)) = key.rsplit_once('_') {
                canaries.push(secret[..38].to_owned());
            }
        }
        Self(canaries)
    }

    fn digest(&mut self, digest: &KeyDigest) {
        let bytes = digest.expose_bytes();
        self.0.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        self.0.push(bytes.iter().map(|byte| format!("{byte:02X}")).collect());
        self.0.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
    }

    #[track_caller]
    fn check_text(&self, text: &str) {
        // `{:#?}` of bytes has one of them on a line.
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for canary in &self.0 {
            assert!(!text.contains(canary.as_str()), "{canary} is in {text}");
            assert!(!joined.contains(canary.as_str()), "{canary} is in {text}");
        }
    }

    #[track_caller]
    fn check(&self, value: &dyn Debug) {
        self.check_text(&format!("{value:?}"));
        self.check_text(&format!("{value:#?}"));
    }

    /// `Debug` and `Display` of an error and of all that are behind it.
    #[track_caller]
    fn check_error(&self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.check(&error);
            self.check_text(&error.to_string());
            next = error.source();
        }
    }
}

#[tokio::test]
async fn types_around_keys_print_no_secret() {
    let pepper = Pepper::new("2026", PEPPER).unwrap();
    let hasher = KeyHasher::peppered(pepper.clone())
        .with_previous_pepper(Pepper::new("2025", PEPPER).unwrap())
        .unwrap();
    let manager = KeyManager::new(MemoryKeyStore::new()).with_hasher(hasher.clone());
    let alice = owner("alice");
    let first = manager.generate(&alice, NewKey::new("test").with_metadata("{}")).await.unwrap();
    let id = first.record().id().clone();
    let second = manager.rotate(&alice, &id, time::Duration::HOUR).await.unwrap();
    let (first_text, second_text) =
        (first.secret().expose_secret().to_owned(), second.secret().expose_secret().to_owned());
    let mut canaries = Canaries::new(&[&first_text, &second_text]);
    for record in [first.record(), second.record()] {
        canaries.digest(record.digest());
        record.previous_digest().into_iter().for_each(|digest| canaries.digest(digest));
    }

    let prefixed = PrefixedFormat::default();
    let opaque = OpaqueFormat::new().with_pepper(pepper.clone());
    let verifier = manager.verifier();
    let values: [&dyn Debug; 20] = [
        &Secret::new(CANARY),
        &pepper,
        &hasher,
        &manager,
        &verifier,
        &first,
        &second,
        &first.record(),
        &second.record(),
        &second.record().digest(),
        &prefixed,
        &opaque,
        &prefixed.parse(&first_text),
        &opaque.parse(CANARY),
        &KeyDraft::new(&alice, NOW).with_id(&id),
        &NewKey::new("test").with_metadata(CANARY),
        &KeyUpdate::new().with_metadata(Some(CANARY)),
        &manager.list(&alice, None, 10).await.unwrap(),
        &verifier.begin(second_text.as_bytes()),
        &verifier.verify(second_text.as_bytes()).await.unwrap(),
    ];
    values.iter().for_each(|value| canaries.check(value));
    // A record is written without the key, and with its digest.
    assert!(!second.record().encode().contains(&second_text[30..]));
}

#[tokio::test]
async fn errors_about_keys_print_no_input() {
    let keys = Keys::new().await;
    let alice = owner("alice");
    let canaries = Canaries::new(&[&keys.text]);
    let bad = format!("{CANARY} \u{1}\n");
    let long = CANARY.repeat(1000);

    let mut other = keys.text.clone();
    other.replace_range(30..31, if &keys.text[30..31] == "a" { "b" } else { "a" });
    let imported = |text: &str| keys.manager.import(&alice, Secret::new(text), NewKey::new("test"));
    let errors: [Box<dyn Error>; 14] = [
        Box::new(Owner::new("").unwrap_err()),
        Box::new(Owner::new(&long).unwrap_err()),
        Box::new(KeyId::new(&bad).unwrap_err()),
        Box::new(Scope::new(&bad).unwrap_err()),
        Box::new(Scopes::parse([&bad]).unwrap_err()),
        Box::new(KeyDigest::from_parts(CANARY, Some(CANARY), CANARY.as_bytes()).unwrap_err()),
        Box::new(KeyRecord::decode(&bad).unwrap_err()),
        Box::new(KeyRecord::decode(format!(r#"{{"id":"{CANARY}","v":1}}"#)).unwrap_err()),
        Box::new(imported(CANARY).await.unwrap_err()),
        Box::new(imported(&keys.text).await.unwrap_err()),
        Box::new(keys.manager.generate(&alice, NewKey::new(&long)).await.unwrap_err()),
        Box::new(Pepper::new(CANARY, CANARY).unwrap_err()),
        Box::new(GenerateError::new("no randomness")),
        Box::new(keys.manager.verifier().verify(bad.as_bytes()).await.unwrap_err()),
    ];
    errors.iter().for_each(|error| canaries.check_error(error.as_ref()));

    for mode in [Mode::Ready, Mode::Later, Mode::Error, Mode::Panic, Mode::Hang] {
        keys.store.set_mode(mode);
        let verifier = keys.manager.verifier().with_store_deadline(Duration::from_millis(10));
        for text in [&keys.text, &other, &bad] {
            canaries.check(&verifier.begin(text.as_bytes()));
            match verifier.verify(text.as_bytes()).await {
                Ok(verified) => canaries.check(&verified),
                Err(error) => canaries.check_error(&error),
            }
        }
    }
}

fn places() -> [Placement; 7] {
    [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::cookie("session").unwrap(),
        Placement::query("key").unwrap(),
        Placement::path("/hook/{key}").unwrap(),
        Placement::body("api_key").unwrap(),
        Placement::custom(|_| vec![Secret::new(CANARY)]),
    ]
}

/// One request for each place, with the secret in it.
fn requests(secret: &str) -> Vec<Request<Full<Bytes>>> {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("alice:{secret}"));
    let json = Request::post("/hook").header("content-type", "application/json");
    let form = Request::post("/hook").header("content-type", "application/x-www-form-urlencoded");
    let (in_json, in_form) =
        (format!(r#"{{"api_key":"{secret}","a":1}}"#), format!("api_key={secret}&a=1"));
    vec![
        Request::post("/hook").header("x-api-key", secret).body(Full::default()).unwrap(),
        Request::post("/hook")
            .header("authorization", format!("Bearer {secret}"))
            .body(Full::default())
            .unwrap(),
        Request::post("/hook")
            .header("authorization", format!("Basic {basic}"))
            .body(Full::default())
            .unwrap(),
        Request::post("/hook")
            .header("cookie", format!("a=1; session={secret}"))
            .body(Full::default())
            .unwrap(),
        Request::post(format!("/hook?a=1&key={secret}")).body(Full::default()).unwrap(),
        Request::post(format!("/hook/{secret}")).body(Full::default()).unwrap(),
        json.body(Full::from(in_json)).unwrap(),
        form.body(Full::from(in_form)).unwrap(),
    ]
}

#[tokio::test]
async fn types_around_requests_print_no_secret() {
    let canaries = Canaries::new(&[]);
    for request in requests(CANARY) {
        canaries.check(&RequestHead::from(&request));
        let placements = places().into_iter().take(6);
        let credentials = Credentials::new(placements).unwrap();
        canaries.check(&credentials);
        match credentials.find((&request).into()) {
            Ok(candidate) => canaries.check(&candidate),
            Err(error) => canaries.check_error(&error),
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let input = EnvelopeInput::new(&head, &body);
        canaries.check(&input);
        let envelope = EnvelopeBuilder::new().build(&input).unwrap();
        canaries.check(&envelope);
        canaries.check_error(&envelope.parse::<u8>().unwrap_err());
        let media = MediaType::from_headers(&head.headers);
        canaries.check(&media);
        if let Ok(media) = media {
            canaries.check(&find_field(&media, &body, "api_key", &ContentLimits::new()));
        }
        canaries.check(&form::pairs(&body));
        canaries.check(&form::pairs(&body).collect::<Vec<_>>());
        canaries.check(&json::validate(&body, &json::JsonLimits::new()));
    }
    places().iter().for_each(|place| canaries.check(place));

    // Content that is malformed, right behind the secret.
    let malformed = Request::post(format!("/?{}", "a&".repeat(300)))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (head, ()) = malformed.into_parts();
    let body = format!(r#"{{"{CANARY}":"{CANARY}","{CANARY}":1}}"#);
    let error = EnvelopeBuilder::new().build(&EnvelopeInput::new(&head, body.as_bytes()));
    canaries.check_error(&error.unwrap_err());
    canaries.check_error(&json::validate(body.as_bytes(), &json::JsonLimits::new()).unwrap_err());

    // What an executor gives.
    let outcome = Outcome::json(CANARY).unwrap();
    canaries.check(&outcome);
    canaries.check(&Outcome::raw(CANARY));
    canaries.check(&Outcome::json_text(format!("{{{CANARY}")).err());
    let hooks = Hooks::new(AuthLayer::public(), |_: Invocation| async { Ok(Outcome::raw(CANARY)) });
    let request = Request::post("/").body(Full::<Bytes>::default()).unwrap();
    canaries.check(&hooks.oneshot(request).await.unwrap().into_body());
}

/// Looks at everything that it is given, and refuses.
struct Curious(Arc<Canaries>);

#[async_trait]
impl Authenticator for Curious {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        self.0.check(&head);
        self.0.check(&candidate);
        self.0.check(head.headers());
        let basic = candidate.is_some_and(|candidate| candidate.username() == Some("alice"));
        Ok(if basic {
            Authentication::Accepted(User::new(owner("alice")))
        } else {
            Authentication::Refused
        })
    }
}

#[tokio::test]
async fn layers_and_what_they_lend_out_print_no_secret() {
    let keys = Keys::new().await;
    let canaries = Arc::new(Canaries::new(&[&keys.text]));
    let seen = Arc::clone(&canaries);
    let resolve = move |head: RequestHead<'_>| {
        // Headers are marked before code of the app sees them.
        seen.check(head.headers());
        seen.check(&head);
        let basic = head.headers().get("authorization").is_some_and(|value| value.len() > 80);
        Some(if basic { Policy::user() } else { Policy::token().with_scope(scope("deploy")) })
    };
    let seen = Arc::clone(&canaries);
    let layer = AuthLayer::per_request(resolve)
        .with_keys(&keys.manager, places().into_iter().take(6))
        .unwrap()
        .with_authenticator(Curious(Arc::clone(&canaries)), [Placement::basic()])
        .unwrap()
        .with_rejection_response(move |rejection, head| {
            seen.check(rejection);
            seen.check(&head);
            seen.check(head.headers());
            seen.check(head.uri());
            if let Some(source) = rejection.source() {
                seen.check_error(source);
            }
            Default::default()
        });
    let buffered: BufferedAuthLayer = layer.clone().with_buffer(BodyBufferLayer::new());
    canaries.check(&layer);
    canaries.check(&buffered);

    for secret in [keys.text.as_str(), "junk", CANARY] {
        for mode in [Mode::Ready, Mode::Later, Mode::Error] {
            keys.store.set_mode(mode);
            for request in requests(secret) {
                let inner = Recorder::default();
                let mut service = buffered.layer(inner.clone());
                let mut response = service.call(request);
                canaries.check(&response);
                let response = soon(&mut response).await.unwrap();
                canaries.check(&response);
                let body = response.into_body();
                canaries.check(&body);
                canaries.check(&body.collect().await.unwrap().to_bytes());
                for request in inner.take() {
                    canaries.check(&request);
                    canaries.check(&request.extensions().get::<BufferedBody>());
                    canaries.check(&Identity::of(request.extensions()));
                    assert_eq!(secret, keys.text);
                }
            }
        }
    }
}

#[tokio::test]
async fn hooks_print_no_secret() {
    let keys = Keys::new().await;
    let canaries = Arc::new(Canaries::new(&[&keys.text]));
    let seen = Arc::clone(&canaries);
    let run = move |invocation: Invocation| {
        seen.check(&invocation);
        async move {
            let error = ExecutorError::from(std::io::Error::other("the disk is full"));
            Err::<Outcome, _>(error.with_source("the disk is full"))
        }
    };
    let seen = Arc::clone(&canaries);
    let shape = ResponseFormat::custom(move |end| {
        seen.check(&end);
        Default::default()
    });
    let placements = places().into_iter().take(6);
    let auth = AuthLayer::token(&keys.manager, placements).unwrap();
    let hooks = Hooks::new(auth, run).with_response_format(shape.clone());
    canaries.check(&hooks);
    canaries.check(&shape);
    let mut accepted = 0;
    for secret in [keys.text.as_str(), CANARY] {
        for request in requests(secret) {
            let response = hooks.clone().call(request);
            canaries.check(&response);
            let response = soon(response).await.unwrap();
            accepted += usize::from(response.status() == StatusCode::OK);
            canaries.check(&response);
        }
    }
    // Every place but the one of `Basic`, which is none of this layer's.
    assert_eq!(accepted, 7);
}

#[tokio::test]
async fn a_panic_for_misuse_has_a_fixed_text() {
    let keys = Keys::new().await;
    keys.store.set_mode(Mode::Later);
    let verifier = keys.manager.verifier();
    let layer = AuthLayer::token(verifier, [Placement::header("x-api-key").unwrap()]).unwrap();
    for key in [keys.text.as_str(), CANARY] {
        let request = Request::post("/").header("x-api-key", key);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let mut response = layer.layer(Recorder::default()).call(request);
        (&mut response).await.unwrap();

        let polled_again = std::panic::AssertUnwindSafe(|| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = std::pin::Pin::new(&mut response).poll(&mut context);
        });
        if let Err(payload) = std::panic::catch_unwind(polled_again) {
            let text = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap();
            assert!(!text.contains(key), "{text}");
        }
    }
}

#[tokio::test]
async fn logs_have_no_secret_even_where_requests_are_logged_whole() {
    let keys = Keys::new().await;
    let canaries = Canaries::new(&[&keys.text]);
    let seen = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&seen);
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(tracing::Level::ERROR).include_headers(true))
        .on_request(DefaultOnRequest::new().level(tracing::Level::INFO))
        .on_response(DefaultOnResponse::new().level(tracing::Level::INFO).include_headers(true));
    let auth = AuthLayer::token(&keys.manager, places().into_iter().take(6)).unwrap();
    let service = ServiceBuilder::new()
        .layer(auth.clone().with_buffer(BodyBufferLayer::new()))
        .layer(trace.clone())
        .map_request(move |request| {
            *counted.lock().unwrap() += 1;
            request
        })
        .service(Recorder::default());
    let run = |invocation: Invocation| async move {
        match invocation.uri().query() {
            Some(_) => Err(ExecutorError::public("no")),
            None => Ok(Outcome::empty()),
        }
    };
    let hooks = Hooks::new(auth, run);

    let logs = Logs::default();
    {
        let _guard = logs.capture();
        for secret in [keys.text.as_str(), CANARY, &format!("whk_{CANARY}")] {
            for mode in [Mode::Ready, Mode::Later, Mode::Error, Mode::Panic] {
                keys.store.set_mode(mode);
                for request in requests(secret) {
                    let response = service.clone().oneshot(request).await.unwrap();
                    response.into_body().collect().await.unwrap();
                }
                for request in requests(secret) {
                    hooks.clone().oneshot(request).await.unwrap();
                }
            }
        }
    }
    let logs = logs.text();
    canaries.check_text(&logs);
    // The requests were logged, and so were the refusals and their reasons.
    assert_eq!(*seen.lock().unwrap(), 14);
    assert_eq!(logs.matches("started processing request").count(), 14);
    assert!(logs.contains("headers={"), "{logs}");
    if cfg!(feature = "tracing") {
        for text in ["missing", "malformed", "unavailable", "executor_fail", keys.id.as_str()] {
            assert!(logs.contains(text), "no {text} in {logs}");
        }
    } else {
        assert!(!logs.contains("auth.reason"));
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn spans_around_the_auth_layer_have_no_key() {
    let keys = Keys::new().await;
    let canaries = Canaries::new(&[&keys.text]);
    let auth = AuthLayer::token(&keys.manager, places().into_iter().take(6)).unwrap();
    let make_span = tower_webhook::trace::request_span((&auth).into());
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http().make_span_with(make_span))
        .layer(auth.with_buffer(BodyBufferLayer::new()))
        .service(Recorder::default());

    let logs = Logs::default();
    {
        let _guard = logs.capture();
        for request in requests(&keys.text) {
            service.clone().oneshot(request).await.unwrap();
        }
    }
    let logs = logs.text();
    canaries.check_text(&logs);
    assert!(logs.contains(r#"url.path="/hook/"#), "{logs}");
    assert_eq!(logs.matches("authn_login_success").count(), 7);
}
