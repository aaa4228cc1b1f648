//! The same work without a library: one header, one key format, one map, written out by hand as a single
//! function. What this costs, no general layer can go below.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use ctutils::Choice;
use http::{HeaderName, Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use tower::Service;

use crate::requests::Inner;

// The fast parts of the library, which somebody who writes the rest by hand would write as well.
#[path = "../../src/key/crc32.rs"]
#[allow(dead_code, unreachable_pub)]
mod crc32;
#[path = "../../src/key/id_hasher.rs"]
#[allow(dead_code, unreachable_pub)]
mod id_hasher;

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

/// The service of the bench, with its check in front.
#[derive(Clone)]
pub struct Floor {
    inner: Inner,
    name: HeaderName,
    /// The checksum of the prefix.
    start: crc32::Crc32,
    digits: Arc<[u8; 256]>,
    keys: Arc<papaya::HashMap<[u8; 16], Record, id_hasher::IdHasher>>,
}

impl Floor {
    /// A service that lets these keys in.
    #[must_use]
    pub fn new(texts: &[String]) -> Self {
        let keys = papaya::HashMap::with_hasher(id_hasher::IdHasher::default());
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
            keys.pin().insert(*id, stored);
        }
        let mut digits = [62; 256];
        for (value, digit) in ('0'..='9').chain('A'..='Z').chain('a'..='z').enumerate() {
            digits[digit as usize] = value as u8;
        }
        let start = crc32::Crc32::new().update(b"whk_");
        let name = HeaderName::from_static("x-api-key");
        Self { inner: Inner, name, keys: Arc::new(keys), start, digits: Arc::new(digits) }
    }

    fn check(&self, request: &Request<Body>) -> Option<Caller> {
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
        let sum = self.start.update_fixed(signed).finish();
        let mut given = 0_u64;
        for digit in check {
            given = given * 62 + u64::from(self.digits[usize::from(*digit)]);
        }
        if given != u64::from(sum) {
            return None;
        }
        let digest = digest(id, secret);
        let keys = self.keys.pin();
        let record = keys.get(id)?;
        let mut same = Choice::TRUE;
        for (left, right) in digest.as_chunks::<8>().0.iter().zip(record.digest.as_chunks::<8>().0)
        {
            let (left, right) = (u64::from_ne_bytes(*left), u64::from_ne_bytes(*right));
            same = same.and(Choice::from_u64_eq(left, right));
        }
        let now =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let live = !record.disabled && record.expires_at.is_none_or(|expiry| now() < expiry);
        (same.to_bool() && live).then(|| Caller {
            owner: record.owner.clone(),
            id: SmolStr::new(std::str::from_utf8(id).unwrap_or_default()),
            scopes: record.scopes.clone(),
        })
    }
}

impl fmt::Debug for Floor {
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

impl Service<Request<Body>> for Floor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.check(&request) {
            Some(caller) => {
                request.headers_mut().remove(&self.name);
                request.extensions_mut().insert(caller);
                self.inner.call(request)
            }
            None => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                ready(Ok(black_box(response)))
            }
        }
    }
}
