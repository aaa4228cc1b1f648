//! Slow bodies, slow services and code of the app that does not answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt};
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, PolicyResolver, User};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{Placement, PresentedCredential, Secret};
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyUpdate, NewKey, Scopes};

use crate::support::{Keys, Mode, Recorder, owner, scope};

fn header() -> [Placement; 1] {
    [Placement::header("x-api-key").unwrap()]
}

/// A body whose frames a test sends, and which ends when the sender is dropped.
struct Slow(mpsc::Receiver<Bytes>);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn slow_body() -> (mpsc::Sender<Bytes>, Slow) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, Slow(receiver))
}

/// What happens to the key while its request is under way.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Revoke,
    Disable,
    Delete,
    Rotate,
    /// Rotated, and the old secret counts for another hour.
    Overlap,
    Narrow,
    /// Deleted, and the same text taken over again under the same id.
    Reincarnate,
    StoreDown,
}

async fn change(keys: &Keys, change: Change) {
    let alice = owner("alice");
    match change {
        Change::None => {}
        Change::Revoke => drop(keys.manager.revoke(&alice, &keys.id).await.unwrap()),
        Change::Disable => {
            let update = KeyUpdate::new().with_disabled(true);
            drop(keys.manager.update(&alice, &keys.id, update).await.unwrap());
        }
        Change::Delete => {
            keys.manager.delete(&alice, std::slice::from_ref(&keys.id)).await.unwrap()
        }
        Change::Rotate => {
            drop(keys.manager.rotate(&alice, &keys.id, time::Duration::ZERO).await.unwrap());
        }
        Change::Overlap => {
            drop(keys.manager.rotate(&alice, &keys.id, time::Duration::HOUR).await.unwrap());
        }
        Change::Narrow => {
            let scopes = Scopes::new([scope("read")]);
            let update = KeyUpdate::new().with_scopes(scopes);
            drop(keys.manager.update(&alice, &keys.id, update).await.unwrap());
        }
        Change::Reincarnate => {
            keys.manager.delete(&alice, std::slice::from_ref(&keys.id)).await.unwrap();
            let later = keys.manager.clone().with_clock(tower_webhook::Clock::from_fn(|| {
                crate::support::NOW + time::Duration::MINUTE
            }));
            let new = NewKey::new("again").with_scopes(Scopes::new([scope("deploy")]));
            drop(later.import(&alice, Secret::new(keys.text.as_str()), new).await.unwrap());
        }
        Change::StoreDown => keys.store.set_mode(Mode::Error),
    }
}

#[tokio::test]
async fn a_slow_request_is_verified_again_before_anything_runs() {
    let mut cases = tokio::task::JoinSet::new();
    for (happens, late) in [
        (Change::None, 200),
        (Change::Revoke, 401),
        (Change::Disable, 401),
        (Change::Delete, 401),
        (Change::Rotate, 401),
        (Change::Overlap, 200),
        (Change::Narrow, 403),
        (Change::Reincarnate, 401),
        (Change::StoreDown, 503),
    ] {
        for by_hooks in [false, true] {
            cases.spawn(slow_request(happens, late, by_hooks));
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

/// One request whose body takes more than a second, in which the key changes.
async fn slow_request(happens: Change, late: u16, by_hooks: bool) {
    let keys = Keys::new().await;
    let auth = AuthLayer::token(&keys.manager, header()).unwrap();
    let auth = auth.with_scope(scope("deploy")).unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let (sender, body) = slow_body();
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.header("x-api-key", &keys.text).body(body).unwrap();
    let counted = Arc::clone(&runs);
    let response = if by_hooks {
        let hooks = Hooks::new(auth, move |_: Invocation| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Outcome::json("done"))
        });
        tokio::spawn(async move { hooks.oneshot(request).await.unwrap().status() })
    } else {
        let inner = tower::service_fn(move |request: Request<_>| {
            let identity: &Identity = request.extensions().get().unwrap();
            assert!(identity.has_scope(&scope("deploy")));
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        let service = auth.with_buffer(BodyBufferLayer::new()).layer(inner);
        tokio::spawn(async move { service.oneshot(request).await.unwrap().status() })
    };
    sender.send(Bytes::from_static(b"{")).await.unwrap();
    // The verdict comes before the body.
    while keys.store.finds.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    change(&keys, happens).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 0, "{happens:?}");
    sender.send(Bytes::from_static(b"}")).await.unwrap();
    drop(sender);

    assert_eq!(response.await.unwrap(), late, "{happens:?} by hooks: {by_hooks}");
    assert_eq!(runs.load(Ordering::SeqCst), usize::from(late == 200), "{happens:?}");
}

#[tokio::test]
async fn a_request_that_does_not_wait_is_looked_up_once() {
    let keys = Keys::new().await;
    for mode in [Mode::Ready, Mode::Later] {
        keys.store.set_mode(mode);
        let auth = AuthLayer::token(&keys.manager, header()).unwrap();
        let request = Request::post("/").header("x-api-key", &keys.text);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let service = auth.with_buffer(BodyBufferLayer::new()).layer(Recorder::default());
        assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
        assert_eq!(keys.store.take_finds(), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_the_service_is_verified_again() {
    let keys = Keys::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let inner = tower::service_fn(move |_: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let limited = ConcurrencyLimitLayer::new(1).layer(inner);
    let mut service = AuthLayer::token(&keys.manager, header()).unwrap().layer(limited);
    let request = || {
        let request = Request::post("/").header("x-api-key", &keys.text);
        request.body(Full::<Bytes>::default()).unwrap()
    };

    let first = tokio::spawn(service.call(request()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = tokio::spawn(service.call(request()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    keys.manager.revoke(&owner("alice"), &keys.id).await.unwrap();

    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// Takes its time, and lets everyone in.
struct Slowly;

#[async_trait]
impl Authenticator for Slowly {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        _candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        Ok(Authentication::Missing)
    }
}

#[tokio::test]
async fn a_verdict_from_before_any_wait_is_not_relied_on() {
    type Build = fn(&Keys) -> BoxedService;
    let layers: [(&str, Build); 5] = [
        ("an authenticator that is asked beside the store", |keys| {
            let auth = AuthLayer::per_request(|_: RequestHead<'_>| Some(Policy::token()))
                .with_keys(&keys.manager, header())
                .unwrap()
                .with_authenticator(Slowly, [])
                .unwrap()
                .with_uniform_unauthorized();
            boxed(auth.layer(Recorder::default()))
        }),
        ("a buffer between two layers", |keys| {
            let auth = AuthLayer::token(&keys.manager, header()).unwrap();
            boxed(auth.layer(BodyBufferLayer::new().layer(auth.layer(Recorder::default()))))
        }),
        ("a buffer between two layers that conceal", |keys| {
            let auth = AuthLayer::token(&keys.manager, header()).unwrap();
            let auth = auth.with_uniform_unauthorized();
            boxed(auth.layer(BodyBufferLayer::new().layer(auth.layer(Recorder::default()))))
        }),
        ("a public layer inside", |keys| {
            let auth = AuthLayer::token(&keys.manager, header()).unwrap();
            let public = AuthLayer::public().with_buffer(BodyBufferLayer::new());
            boxed(auth.layer(public.layer(Recorder::default())))
        }),
        ("a public hook inside", |keys| {
            let auth = AuthLayer::token(&keys.manager, header()).unwrap();
            let run = |_: Invocation| std::future::ready(Outcome::json("done"));
            boxed(auth.layer(Hooks::new(AuthLayer::public(), run)))
        }),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for (what, make) in layers {
        for (revoked, expected) in [(false, 200), (true, 401)] {
            cases.spawn(async move {
                let keys = Keys::new().await;
                let (sender, body) = slow_body();
                let request = Request::post("/").header("x-api-key", &keys.text);
                let service = make(&keys);
                let response = tokio::spawn(service.oneshot(request.body(body).unwrap()));
                while keys.store.finds.load(Ordering::SeqCst) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if revoked {
                    change(&keys, Change::Revoke).await;
                }
                tokio::time::sleep(Duration::from_millis(1100)).await;
                drop(sender);
                assert_eq!(response.await.unwrap().unwrap(), expected, "{what}, {revoked}");
            });
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

type BoxedService = tower::util::BoxCloneService<Request<Slow>, StatusCode, Infallible>;

fn boxed<S, B>(service: S) -> BoxedService
where
    S: Service<Request<Slow>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let status = service.map_response(|response: Response<B>| response.status());
    tower::util::BoxCloneService::new(status)
}

/// Code of the app that does not answer, or panics.
#[derive(Clone, Copy, Debug)]
enum App {
    Hangs,
    PanicsAtOnce,
    PanicsLater,
}

#[async_trait]
impl Authenticator for App {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        _candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        self.run().await;
        Ok(Authentication::Accepted(User::new(owner("alice"))))
    }
}

#[async_trait]
impl PolicyResolver for App {
    async fn resolve(&self, _head: RequestHead<'_>) -> Result<Option<Policy>, BoxError> {
        self.run().await;
        Ok(Some(Policy::public()))
    }

    fn resolve_ready(&self, _head: RequestHead<'_>) -> Option<Result<Option<Policy>, BoxError>> {
        match self {
            Self::PanicsAtOnce => panic!("the resolver broke"),
            Self::Hangs | Self::PanicsLater => None,
        }
    }
}

impl App {
    async fn run(self) {
        match self {
            Self::Hangs => std::future::pending().await,
            Self::PanicsAtOnce => panic!("the app broke"),
            Self::PanicsLater => {
                tokio::task::yield_now().await;
                panic!("the app broke");
            }
        }
    }
}

#[tokio::test]
async fn code_of_the_app_has_a_deadline_and_its_panic_is_a_500() {
    for (app, expected) in [(App::Hangs, 503), (App::PanicsAtOnce, 500), (App::PanicsLater, 500)] {
        for concealed in [false, true] {
            let by_resolver = AuthLayer::per_request(app);
            let by_authenticator = AuthLayer::user(app, [Placement::basic()]).unwrap();
            for auth in [by_resolver, by_authenticator] {
                let auth = auth.with_decision_deadline(Duration::from_millis(50));
                let auth = if concealed { auth.with_uniform_unauthorized() } else { auth };
                let request = || {
                    let request = Request::post("/").header("authorization", "Basic YTpi");
                    request.body(Full::<Bytes>::default()).unwrap()
                };
                let statuses = [
                    auth.layer(Recorder::default()).oneshot(request()).await.unwrap().status(),
                    auth.clone()
                        .with_buffer(BodyBufferLayer::new())
                        .layer(Recorder::default())
                        .oneshot(request())
                        .await
                        .unwrap()
                        .status(),
                    Hooks::new(auth, |_: Invocation| std::future::ready(Outcome::json("done")))
                        .oneshot(request())
                        .await
                        .unwrap()
                        .status(),
                ];
                assert_eq!(statuses.map(|status| status.as_u16()), [expected; 3], "{app:?}");
            }
        }
    }
}
