//! The runner: each row in process and over sockets, with the rules that hold for all rows.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::OriginalUri;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tower_service::Service;
use tower_webhook::auth::AuthLayer;
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::credential::PlacementKind;
use tower_webhook::hook::{Hooks, Invocation, Outcome};
use tower_webhook::identity::Identity;

use super::KNOWN_GAPS;
use super::fixture::Fixture;
use super::log::{self, Logged};
use super::request::{Sent, Watch};
use super::row::{Code, OnWire, Row, Via};
use super::rules;
use super::wire::{Server, Subject};
use crate::support::{Mode, Recorder};

/// What each row is.
const CATALOGUE: &str = include_str!("README.md");

/// No row takes longer.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the inner service or the executor was given.
pub(super) enum Seen {
    Request(Box<Request<Bytes>>),
    Invocation(Box<Invocation>),
}

impl Seen {
    pub(super) fn uri(&self) -> &Uri {
        match self {
            Self::Request(request) => request.uri(),
            Self::Invocation(invocation) => invocation.uri(),
        }
    }

    pub(super) fn request(&self) -> Option<&Request<Bytes>> {
        match self {
            Self::Request(request) => Some(request),
            Self::Invocation(_) => None,
        }
    }

    pub(super) fn envelope(&self) -> Option<&str> {
        match self {
            Self::Request(_) => None,
            Self::Invocation(invocation) => Some(invocation.envelope().as_str()),
        }
    }

    /// The part of an envelope, as JSON.
    pub(super) fn part(&self, name: &str) -> Option<serde_json::Value> {
        let envelope: serde_json::Value = serde_json::from_str(self.envelope()?).unwrap();
        Some(envelope[name].clone())
    }

    fn extensions(&self) -> &http::Extensions {
        match self {
            Self::Request(request) => request.extensions(),
            Self::Invocation(invocation) => invocation.extensions(),
        }
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Request(request) => Identity::of(request.extensions()).unwrap(),
            Self::Invocation(invocation) => invocation.identity(),
        }
    }

    pub(super) fn is_by_target(&self) -> bool {
        let placement = self.identity().and_then(Identity::placement);
        matches!(placement, Some(PlacementKind::Query | PlacementKind::Path))
    }

    /// Everything in it that could hold a key.
    pub(super) fn texts(&self) -> Vec<(&'static str, String)> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut texts = vec![
            ("the target", self.uri().to_string()),
            ("the identity", format!("{:?}", self.identity())),
        ];
        if cfg!(feature = "axum") {
            let original = self.extensions().get::<OriginalUri>().expect("an original target");
            texts.push(("the original target", original.0.to_string()));
        }
        if let Some(body) = self.extensions().get::<BufferedBody>() {
            texts.push(("the buffered body", lossy(&body.bytes()) + &format!("{body:?}")));
        }
        match self {
            Self::Request(request) => {
                let headers = request.headers().iter();
                let headers =
                    headers.map(|(name, value)| format!("{name}: {}", lossy(value.as_bytes())));
                texts.push(("the headers", headers.collect()));
                texts.push(("the body", lossy(request.body())));
                texts.push(("the request's Debug", format!("{request:?}")));
            }
            Self::Invocation(invocation) => {
                texts.push(("the envelope", invocation.envelope().as_str().to_owned()));
                texts.push(("the invocation's Debug", format!("{invocation:?}")));
            }
        }
        texts
    }
}

/// What came of one run of a row.
pub(super) struct Answer {
    pub(super) response: Response<Bytes>,
    pub(super) version: Version,
    pub(super) seen: Vec<Seen>,
    pub(super) finds: usize,
    pub(super) logged: Logged,
    /// The `Debug` of the service.
    pub(super) debug: String,
    pub(super) took: Duration,
    /// In process only.
    pub(super) taken: Option<Watch>,
    pub(super) peak: Option<u64>,
}

impl Answer {
    /// Without what the transport adds and what is random on purpose.
    fn comparable(&self) -> (u16, HeaderMap, Bytes) {
        let mut headers = self.response.headers().clone();
        for name in ["date", "content-length", "connection", "retry-after"] {
            headers.remove(name);
        }
        (self.response.status().as_u16(), headers, self.response.body().clone())
    }
}

/// All that a subject has let through.
#[derive(Clone, Default)]
struct Inner {
    requests: Recorder,
    invocations: Arc<Mutex<Vec<Invocation>>>,
}

impl Inner {
    fn take(&self) -> Vec<Seen> {
        let requests = self.requests.take().into_iter().map(Box::new).map(Seen::Request);
        let invocations = std::mem::take(&mut *self.invocations.lock().unwrap());
        requests.chain(invocations.into_iter().map(Box::new).map(Seen::Invocation)).collect()
    }
}

pub(super) struct Corpus {
    runtime: Runtime,
    fixture: Fixture,
    server: Server,
    /// All refusals of bad credentials under one configuration look like the first one.
    invalid: HashMap<(&'static str, bool), (u16, HeaderMap, Bytes)>,
    problems: Vec<String>,
}

impl Corpus {
    /// Runs the rows of a section.
    pub(super) fn run(rows: impl FnOnce(&Fixture) -> Vec<Row>) {
        log::listen();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fixture = runtime.block_on(Fixture::new());
        let server = runtime.block_on(Server::start());
        let rows = rows(&fixture);
        let (invalid, problems) = (HashMap::new(), Vec::new());
        let mut corpus = Self { runtime, fixture, server, invalid, problems };
        rows.iter().for_each(|row| corpus.check(row));
        assert!(corpus.problems.is_empty(), "{}", corpus.problems.join("\n"));
    }

    fn check(&mut self, row: &Row) {
        let before = self.problems.len();
        let number = row.id.split('.').next().unwrap();
        if !CATALOGUE.contains(&format!("| {number} |")) {
            self.problems.push(format!("README.md does not say what {number} is"));
        }
        for via in row.vias {
            self.check_via(row, *via);
        }
        let failed = self.problems.len() > before;
        match KNOWN_GAPS.iter().any(|(id, _)| *id == row.id) {
            true if failed => self.problems.truncate(before),
            true => self.problems.push(format!("{} is no gap any more", row.id)),
            false => {}
        }
    }

    fn check_via(&mut self, row: &Row, via: Via) {
        let inner = Inner::default();
        let (subject, debug) = self.subject(row, via, &inner);

        self.fixture.store.set_mode(Mode::Ready);
        let first = self.in_process(row, &row.sent, &subject, &debug, &inner);
        self.check_answer(row, via, "in process", &first);
        let again = self.in_process(row, &row.sent.reordered(), &subject, &debug, &inner);
        self.check_answer(row, via, "again", &again);
        self.check_same(row, via, "again", &first, &again);
        let envelopes = |answer: &Answer| -> Vec<String> {
            answer.seen.iter().filter_map(Seen::envelope).map(str::to_owned).collect()
        };
        if envelopes(&first) != envelopes(&again) {
            self.problem(row, via, "again", "not the same envelope");
        }
        self.fixture.store.set_mode(Mode::Later);
        let other = row.sent.reordered().with_unrelated_headers();
        let other = self.in_process(row, &other, &subject, &debug, &inner);
        self.check_answer(row, via, "reordered, with a slow store", &other);
        self.check_same(row, via, "reordered, with a slow store", &first, &other);

        self.server.serve(subject);
        for (over, on_wire) in [("HTTP/1", row.h1), ("HTTP/2", row.h2)] {
            if on_wire == OnWire::Skip {
                continue;
            }
            let sent = match over {
                "HTTP/1" => row.sent.reordered(),
                _ => row.sent.clone(),
            };
            let answer = self.over(over, &sent, &debug, &inner);
            if answer.is_none() {
                self.fixture.store.take_finds();
                log::take();
            }
            match (on_wire, answer) {
                (OnWire::Same, Some(answer)) => {
                    self.check_answer(row, via, over, &answer);
                    self.check_same(row, via, over, &first, &answer);
                }
                (OnWire::Same, None) => self.problem(row, via, over, "no answer"),
                (_, Some(answer)) if !answer.response.status().is_client_error() => {
                    let status = answer.response.status();
                    self.problem(row, via, over, format!("{status}, not refused by the server"));
                }
                _ if !inner.take().is_empty() => self.problem(row, via, over, "let through"),
                _ => {}
            }
        }
    }

    fn subject(&self, row: &Row, via: Via, inner: &Inner) -> (Subject, String) {
        let setup = row.setup;
        let auth: AuthLayer = (setup.layer)(&self.fixture);
        match via {
            Via::Hooks => {
                let invocations = Arc::clone(&inner.invocations);
                let execute = move |invocation: Invocation| {
                    invocations.lock().unwrap().push(invocation);
                    std::future::ready(Outcome::json("done"))
                };
                let hooks = Hooks::new(auth, execute)
                    .with_envelope((setup.envelope)())
                    .unwrap()
                    .with_max_body_bytes(setup.max_body)
                    .with_pre_auth_max_bytes(setup.pre_auth)
                    .with_body_deadline(setup.deadline);
                let debug = format!("{hooks:?}");
                (boxed(hooks), debug)
            }
            Via::Layer if row.is_stray => {
                let service = auth.layer(inner.requests.clone());
                let debug = format!("{auth:?}");
                (boxed(service), debug)
            }
            Via::Layer => {
                // Everything that the inner service could log is logged.
                let spans = DefaultMakeSpan::new().include_headers(true);
                let trace = TraceLayer::new_for_http().make_span_with(spans);
                let service = auth.layer(trace.layer(inner.requests.clone()));
                let debug = format!("{auth:?}");
                (boxed(service), debug)
            }
            Via::Buffered => {
                let buffer = BodyBufferLayer::new()
                    .with_max_bytes(setup.max_body)
                    .with_deadline(setup.deadline);
                let layer = auth.with_buffer(buffer).with_pre_auth_max_bytes(setup.pre_auth);
                let service = layer.layer(inner.requests.clone());
                let debug = format!("{layer:?}");
                (boxed(service), debug)
            }
        }
    }

    fn in_process(
        &self,
        row: &Row,
        sent: &Sent,
        subject: &Subject,
        debug: &str,
        inner: &Inner,
    ) -> Answer {
        let watch = Watch::default();
        let request = sent.build(&watch);
        let subject = subject.clone();
        let mut response = None;
        let started = Instant::now();
        let allocated = allocation_counter::measure(|| {
            let answer = async { collect(subject.oneshot(request).await.unwrap()).await };
            response = Some(self.block_on(&row.id, answer));
        });
        let response = response.unwrap();
        let version = Version::HTTP_11;
        let mut answer = self.answer(response, version, debug, inner, started);
        answer.taken = Some(watch);
        answer.peak = Some(allocated.bytes_max);
        answer
    }

    fn over(&self, over: &str, sent: &Sent, debug: &str, inner: &Inner) -> Option<Answer> {
        let started = Instant::now();
        let (response, version) = match over {
            "HTTP/1" => (self.block_on(over, self.server.over_http_1(sent))?, Version::HTTP_11),
            _ => (self.block_on(over, self.server.over_http_2(sent))?, Version::HTTP_2),
        };
        Some(self.answer(response, version, debug, inner, started))
    }

    fn answer(
        &self,
        response: Response<Bytes>,
        version: Version,
        debug: &str,
        inner: &Inner,
        started: Instant,
    ) -> Answer {
        Answer {
            response,
            version,
            seen: inner.take(),
            finds: self.fixture.store.take_finds(),
            logged: log::take(),
            debug: debug.to_owned(),
            took: started.elapsed(),
            taken: None,
            peak: None,
        }
    }

    fn block_on<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(DEADLINE, future).await };
        self.runtime.block_on(within).unwrap_or_else(|_| panic!("{what} hangs"))
    }

    fn check_answer(&mut self, row: &Row, via: Via, how: &str, answer: &Answer) {
        let mut problems = rules::check(row, via, answer, &self.fixture);
        if row.expected == Code::Invalid && answer.response.status() == 401 {
            let comparable = answer.comparable();
            let key = (row.setup.name, rules::has_bearer(&row.sent));
            if *self.invalid.entry(key).or_insert_with(|| comparable.clone()) != comparable {
                problems.push("looks unlike another refusal of a bad credential".to_owned());
            }
        }
        if answer.took > DEADLINE {
            problems.push(format!("took {:?}", answer.took));
        }
        if let (Some(check), true) = (&row.check, problems.is_empty()) {
            answer.seen.iter().for_each(check);
        }
        for problem in problems {
            self.problem(row, via, how, problem);
        }
    }

    fn check_same(&mut self, row: &Row, via: Via, how: &str, first: &Answer, other: &Answer) {
        if first.comparable() != other.comparable() {
            let (first, other) = (&first.response, &other.response);
            self.problem(row, via, how, format!("not the same answer: {first:?} {other:?}"));
        }
    }

    fn problem(&mut self, row: &Row, via: Via, how: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("{} via {via:?}, {how}: {problem}", row.id));
    }
}

pub(super) fn boxed<S, B>(service: S) -> Subject
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    Subject::new(service.map_response(|response: Response<B>| response.map(Body::new)))
}

async fn collect(response: Response<Body>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}
