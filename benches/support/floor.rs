//! The same work without a library: one header, one key format, one map, written out by hand as a single
//! function. What this costs, no general layer can go below.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use subtle::ConstantTimeEq;
use tower::Service;
use tower_webhook::key::{KeyId, KeyStore};

/// Who is calling, as the inner service finds it in the extensions.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose key it is.
    pub owner: SmolStr,
    /// Which key it is.
    pub id: SmolStr,
    /// What it may do.
    pub scopes: Option<Arc<[SmolStr]>>,
}

struct Record {
    digest: [u8; 32],
    owner: SmolStr,
    scopes: Option<Arc<[SmolStr]>>,
    expires_at: Option<u64>,
    disabled: bool,
}

/// A service with its check in front.
#[derive(Clone)]
pub struct Floor<S> {
    inner: S,
    keys: Arc<Keys>,
}

struct Keys {
    name: HeaderName,
    digits: [u8; 256],
    records: papaya::HashMap<[u8; 16], Record>,
    /// The headers of a refusal.
    refusal: HeaderMap,
}

impl<S> Floor<S> {
    /// A service that lets these keys in.
    #[must_use]
    pub fn new(texts: &[String], inner: S) -> Self {
        let records = papaya::HashMap::new();
        for text in texts {
            let (id, secret) = (&text.as_bytes()[4..20], &text.as_bytes()[21..59]);
            let (id, secret) =
                (id.try_into().expect("an id"), secret.try_into().expect("a secret"));
            let stored = Record {
                digest: digest(id, secret),
                owner: "owner-1".into(),
                scopes: None,
                expires_at: None,
                disabled: false,
            };
            records.pin().insert(*id, stored);
        }
        let mut digits = [62; 256];
        for (value, digit) in ('0'..='9').chain('A'..='Z').chain('a'..='z').enumerate() {
            digits[digit as usize] = value as u8;
        }
        let refusal = [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("www-authenticate", "ApiKey realm=\"webhook\", in=\"header\", name=\"x-api-key\""),
        ];
        let refusal = refusal
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let keys = Keys {
            name: HeaderName::from_static("x-api-key"),
            digits,
            records,
            refusal: refusal.into_iter().collect(),
        };
        Self { inner, keys: Arc::new(keys) }
    }
}

impl Keys {
    /// The id that a request presents, and what its secret hashes to.
    fn read<'a>(&self, request: &'a Request<Body>) -> Option<(&'a [u8; 16], [u8; 32])> {
        let mut values = request.headers().get_all(&self.name).iter();
        let text = values.next()?.as_bytes();
        if values.next().is_some() {
            return None;
        }
        let (signed, check) = text.strip_prefix(b"whk_")?.split_first_chunk::<55>()?;
        let check: &[u8; 6] = check.try_into().ok()?;
        let (id, rest) = signed.split_first_chunk::<16>()?;
        let secret: &[u8; 38] = rest.strip_prefix(b"_")?.try_into().ok()?;
        let base62 = |ok: bool, byte: &u8| ok & byte.is_ascii_alphanumeric();
        if !(id.iter().fold(true, base62) & secret.iter().fold(true, base62)) {
            return None;
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(b"whk_");
        checksum.update(signed);
        let sum = checksum.finalize();
        let mut given = 0_u64;
        for digit in check {
            given = given * 62 + u64::from(self.digits[usize::from(*digit)]);
        }
        if given != u64::from(sum) {
            return None;
        }
        Some((id, digest(id, secret)))
    }

    fn check(&self, request: &Request<Body>) -> Option<Caller> {
        let (id, digest) = self.read(request)?;
        let records = self.records.pin();
        let record = records.get(id)?;
        let now =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let live = !record.disabled && record.expires_at.is_none_or(|expiry| now() < expiry);
        (bool::from(digest.ct_eq(&record.digest)) && live).then(|| Caller {
            owner: record.owner.clone(),
            id: SmolStr::new(std::str::from_utf8(id).unwrap_or_default()),
            scopes: record.scopes.clone(),
        })
    }

    fn refuse(&self) -> Response<Body> {
        const DOCUMENT: &str = r#"{"status":401,"title":"Unauthorized"}"#;
        let mut response = Response::new(Body::from(DOCUMENT));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        *response.headers_mut() = self.refusal.clone();
        response
    }
}

impl<S> fmt::Debug for Floor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floor").finish_non_exhaustive()
    }
}

fn digest(id: &[u8; 16], secret: &[u8; 38]) -> [u8; 32] {
    let mut message = [0; 55];
    message[0] = 1;
    message[1..17].copy_from_slice(id);
    message[17..].copy_from_slice(secret);
    Sha256::digest(message).into()
}

impl<S> Service<Request<Body>> for Floor<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = FloorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.keys.check(&request) {
            Some(caller) => {
                request.headers_mut().remove(&self.keys.name);
                request.extensions_mut().insert(caller);
                FloorFuture::Inner { future: self.inner.call(request) }
            }
            None => FloorFuture::Refused { response: Some(self.keys.refuse()) },
        }
    }
}

/// The same with a store whose answer has to be waited for: the request waits in one box.
#[derive(Clone)]
pub struct FloorLater<S> {
    floor: Floor<S>,
    store: Arc<dyn KeyStore>,
}

impl<S> FloorLater<S> {
    /// A service that lets the keys of this store in.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>, inner: S) -> Self {
        Self { floor: Floor::new(&[], inner), store }
    }
}

impl<S> fmt::Debug for FloorLater<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloorLater").finish_non_exhaustive()
    }
}

impl<S> Service<Request<Body>> for FloorLater<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.floor.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let keys = Arc::clone(&self.floor.keys);
        let read = keys.read(&request).map(|(id, digest)| {
            let id = std::str::from_utf8(id).unwrap_or_default();
            (KeyId::new(id).expect("an id"), digest)
        });
        let Some((id, digest)) = read else {
            return Box::pin(async move { Ok(keys.refuse()) });
        };
        let store = Arc::clone(&self.store);
        let mut inner = self.floor.inner.clone();
        Box::pin(async move {
            let record = store.find(&id).await.ok().flatten();
            let good =
                record.filter(|record| bool::from(digest.ct_eq(record.digest().expose_bytes())));
            let Some(record) = good.filter(|record| !record.disabled()) else {
                return Ok(keys.refuse());
            };
            request.headers_mut().remove(&keys.name);
            request.extensions_mut().insert(Caller {
                owner: record.owner().as_str().into(),
                id: id.as_str().into(),
                scopes: None,
            });
            inner.call(request).await
        })
    }
}

pin_project! {
    /// The response of the inner service, or a refusal.
    #[project = FloorFutureProj]
    #[allow(missing_docs)]
    pub enum FloorFuture<F> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<Body>> },
    }
}

impl<F, E> Future for FloorFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FloorFutureProj::Inner { future } => future.poll(cx),
            FloorFutureProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}

impl<F> fmt::Debug for FloorFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloorFuture").finish_non_exhaustive()
    }
}
