//! Stores that count, wait or fail, services that record, and a fixed clock. Each test target uses a part of it.

#![allow(dead_code)]

pub(crate) mod folder;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod watched;
pub(crate) mod wire;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use time::OffsetDateTime;
use time::macros::datetime;
use tower_service::Service;
use tower_webhook::auth::{Authentication, Authenticator, User};
use tower_webhook::credential::PresentedCredential;
use tower_webhook::key::{
    KeyId, KeyManager, KeyRecord, KeyStore, NewKey, Owner, PageCursor, Scope, Scopes, StoreError,
    WriteOutcome,
};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::{BoxError, Clock, RequestHead};

/// The time of all tests with a clock of their own.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

/// What a loaded machine may add to a time that a test measures.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

pub(crate) fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

/// Accepts `sesame` as alice.
pub(crate) struct Logins;

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        Ok(match candidate.map(PresentedCredential::expose_text) {
            Some(Some("sesame")) => Authentication::Accepted(User::new(owner("alice"))),
            Some(_) => Authentication::Refused,
            None => Authentication::Missing,
        })
    }
}

/// What a [`TestStore`] does when it is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Answers at once, through the fast path.
    #[default]
    Ready,
    /// Answers after having been pending once.
    Later,
    /// Fails.
    Error,
    /// Never answers.
    Hang,
    /// Never answers about an id without a record.
    HangIfUnknown,
    /// Panics.
    Panic,
}

type Happening = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A memory store that counts look-ups and misbehaves on demand. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct TestStore {
    /// The same records, without counts and faults.
    pub(crate) memory: Arc<MemoryKeyStore>,
    pub(crate) finds: Arc<AtomicUsize>,
    mode: Arc<Mutex<Mode>>,
    last_id: Arc<Mutex<Option<KeyId>>>,
    running: Arc<AtomicUsize>,
    before_replace: Arc<Mutex<Option<Happening>>>,
}

impl TestStore {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode: Arc::new(Mutex::new(mode)), ..Self::default() }
    }

    /// The id that was asked for last.
    pub(crate) fn last_id(&self) -> Option<KeyId> {
        self.last_id.lock().unwrap().clone()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    /// Runs this once, after the record was read and before it is replaced.
    pub(crate) fn before_replace(&self, happening: impl Future<Output = ()> + Send + 'static) {
        *self.before_replace.lock().unwrap() = Some(Box::pin(happening));
    }

    /// Whether what was to run before a change has run.
    pub(crate) fn is_over(&self) -> bool {
        self.before_replace.lock().unwrap().is_none()
    }

    /// How many look-ups are under way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// How often a record was asked for since the last call.
    pub(crate) fn take_finds(&self) -> usize {
        self.finds.swap(0, Ordering::SeqCst)
    }
}

/// Counts a look-up until it is dropped.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl KeyStore for TestStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        *self.last_id.lock().unwrap() = Some(id.clone());
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(&self.running);
        match self.mode() {
            Mode::Later => tokio::task::yield_now().await,
            Mode::Error => return Err(StoreError::new("connection to 10.0.0.1 refused")),
            Mode::Hang => std::future::pending().await,
            Mode::HangIfUnknown if self.memory.find(id).await?.is_none() => {
                std::future::pending().await
            }
            Mode::Ready | Mode::HangIfUnknown => {}
            Mode::Panic => panic!("the store panicked"),
        }
        self.memory.find(id).await
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        if self.mode() != Mode::Ready {
            return false;
        }
        self.finds.fetch_add(1, Ordering::SeqCst);
        *self.last_id.lock().unwrap() = Some(id.clone());
        self.memory.try_find_now(id, visit)
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.memory.insert(record).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let happening = self.before_replace.lock().unwrap().take();
        if let Some(happening) = happening {
            happening.await;
        }
        self.memory.replace(record, expected).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.memory.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.memory.list(owner, after, limit).await
    }
}

/// A manager over a [`TestStore`] at [`NOW`], and a key of alice with the scope `deploy`.
pub(crate) struct Keys {
    pub(crate) store: TestStore,
    pub(crate) manager: KeyManager,
    pub(crate) id: KeyId,
    pub(crate) text: String,
}

impl Keys {
    pub(crate) async fn new() -> Self {
        let store = TestStore::default();
        let manager = KeyManager::new(store.clone()).with_clock(Clock::from_fn(|| NOW));
        let draft = NewKey::new("test").with_scopes(Scopes::new([scope("deploy")]));
        let issued = manager.generate(&owner("alice"), draft).await.unwrap();
        let id = issued.record().id().clone();
        let text = issued.secret().expose_secret().to_owned();
        store.take_finds();
        Self { store, manager, id, text }
    }
}

/// A service that keeps the requests it is given, and answers `ok`.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl<B> Service<Request<B>> for Recorder
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let requests = Arc::clone(&self.requests);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            requests.lock().unwrap().push(Request::from_parts(parts, bytes));
            Ok(Response::new(Full::from("ok")))
        })
    }
}

/// What is logged on this thread while it is captured, at every level.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Captures until the guard is dropped.
    pub(crate) fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let logs = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || logs.clone())
            .finish();
        set_default(subscriber)
    }

    /// Captures one JSON object for each event, until the guard is dropped.
    pub(crate) fn capture_json(&self) -> tracing::subscriber::DefaultGuard {
        let logs = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || logs.clone())
            .finish();
        set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn set_default(subscriber: impl Into<tracing::Dispatch>) -> tracing::subscriber::DefaultGuard {
    // With a single dispatcher, `tracing` caches the interest of the first thread that meets an event. A
    // second dispatcher makes it ask all of them.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()));
    tracing::dispatcher::set_default(&subscriber.into())
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
