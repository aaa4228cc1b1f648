//! Requests as data, and a body that counts what is read from it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::OriginalUri;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body::{Frame, SizeHint};

/// A request in the spelling of its sender.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Payload,
}

#[derive(Clone)]
pub(super) enum Payload {
    /// With its length announced.
    Whole(Bytes),
    /// Without an announcement.
    Steps(Vec<Step>),
}

/// What a body does when it is polled.
#[derive(Clone)]
pub(super) enum Step {
    Data(Bytes),
    Trailer(&'static str, String),
    /// The same frame again and again.
    Endless(Bytes),
    Silence,
    Error,
    Panic,
}

pub(super) fn request(method: &str, target: impl Into<String>) -> Sent {
    Sent {
        method: method.to_owned(),
        target: target.into(),
        headers: Vec::new(),
        body: Payload::Whole(Bytes::new()),
    }
}

pub(super) fn post(target: impl Into<String>) -> Sent {
    request("POST", target)
}

pub(super) fn get(target: impl Into<String>) -> Sent {
    request("GET", target)
}

/// A POST with nothing but the header of the placement.
pub(super) fn key(value: impl AsRef<[u8]>) -> Sent {
    post("/").header("x-api-key", value)
}

impl Sent {
    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Payload::Whole(body.into());
        self
    }

    pub(super) fn steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.body = Payload::Steps(steps.into_iter().collect());
        self
    }

    pub(super) fn json(self, text: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(text)
    }

    pub(super) fn form(self, text: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded").body(text)
    }

    /// The same request with other headers first, and other cases of letters. Lines of one name keep
    /// their order.
    pub(super) fn reordered(&self) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &self.headers {
            if !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                names.insert(0, name.clone());
            }
        }
        let mut headers = Vec::new();
        for name in names {
            let lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(&name));
            headers.extend(lines.map(|(name, value)| (name.to_ascii_uppercase(), value.clone())));
        }
        Self { headers, ..self.clone() }
    }

    /// The same request with headers that mean nothing here.
    pub(super) fn with_unrelated_headers(mut self) -> Self {
        for (name, value) in [
            ("X-Request-Id", "7"),
            ("accept-language", "de"),
            ("x-api-key-hint", "none"),
            ("x-forwarded-for", "192.0.2.1"),
        ] {
            self.headers.insert(0, (name.to_owned(), value.into()));
        }
        self
    }

    /// The lines of the head, with the length that a client would announce.
    pub(super) fn lines(&self) -> Vec<(String, Vec<u8>)> {
        let mut lines = self.headers.clone();
        let is_announced =
            lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if let Payload::Whole(bytes) = &self.body
            && !is_announced
            && (!bytes.is_empty() || self.method == "POST")
        {
            lines.push(("content-length".to_owned(), bytes.len().to_string().into()));
        }
        lines
    }

    pub(super) fn header_map(&self) -> HeaderMap {
        let line = |(name, value): &(String, Vec<u8>)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap())
        };
        self.lines().iter().map(line).collect()
    }

    /// The request as a server would hand it on.
    pub(super) fn build(&self, watch: &Watch) -> Request<Body> {
        let uri: Uri = self.target.parse().unwrap_or_else(|_| panic!("target {:?}", self.target));
        let mut request = Request::new(Body::new(self.test_body(watch)));
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.header_map();
        request.extensions_mut().insert(OriginalUri(uri));
        request
    }

    pub(super) fn test_body(&self, watch: &Watch) -> TestBody {
        let (steps, exact) = match &self.body {
            Payload::Whole(bytes) if bytes.is_empty() => (VecDeque::new(), Some(0)),
            Payload::Whole(bytes) => {
                (VecDeque::from([Step::Data(bytes.clone())]), Some(bytes.len()))
            }
            Payload::Steps(steps) => (steps.iter().cloned().collect(), None),
        };
        TestBody { steps, exact, is_over: false, watch: watch.clone() }
    }
}

/// What was taken from a body.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Counts>);

#[derive(Default)]
struct Counts {
    polls: AtomicUsize,
    bytes: AtomicUsize,
    largest_frame: AtomicUsize,
    polled_after_end: AtomicBool,
}

impl Watch {
    pub(super) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }

    pub(super) fn largest_frame(&self) -> usize {
        self.0.largest_frame.load(Ordering::SeqCst)
    }

    pub(super) fn polled_after_end(&self) -> bool {
        self.0.polled_after_end.load(Ordering::SeqCst)
    }
}

pub(super) struct TestBody {
    steps: VecDeque<Step>,
    exact: Option<usize>,
    is_over: bool,
    watch: Watch,
}

impl http_body::Body for TestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let counts = Arc::clone(&self.watch.0);
        counts.polls.fetch_add(1, Ordering::SeqCst);
        if self.is_over {
            counts.polled_after_end.store(true, Ordering::SeqCst);
        }
        let data = match self.steps.pop_front() {
            Some(Step::Data(data)) => data,
            Some(Step::Endless(data)) => {
                self.steps.push_front(Step::Endless(data.clone()));
                data
            }
            Some(Step::Trailer(name, value)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert(name, value.parse().unwrap());
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            Some(Step::Silence) => {
                self.steps.push_front(Step::Silence);
                return Poll::Pending;
            }
            Some(Step::Panic) => {
                self.is_over = true;
                // Without the message that a panic leaves on the terminal.
                std::panic::resume_unwind(Box::new("the body panics"));
            }
            Some(Step::Error) => {
                self.is_over = true;
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
            }
            None => {
                self.is_over = true;
                return Poll::Ready(None);
            }
        };
        counts.bytes.fetch_add(data.len(), Ordering::SeqCst);
        counts.largest_frame.fetch_max(data.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.exact == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match self.exact {
            Some(exact) => SizeHint::with_exact(exact as u64),
            None => SizeHint::default(),
        }
    }
}
