use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer;
use super::command::{Command, Done};
use super::route::Route;
use crate::auth::BoxError;
use crate::body::{BodyLimits, ReadBody, is_identity_coded};
use crate::catch_panic::CatchPanic;
use crate::config::ConfigError;
use crate::content::MediaType;
use crate::identity::Identity;
use crate::key::KeyManager;
use crate::leaf::{ResponseBody, ResponseFuture};
use crate::rejection::{Rejection, RejectionKind, Respond, without_content};
use crate::timer::{SystemTimer, Timer, within};

/// Leaf service through which callers manage their own keys.
///
/// See the [module docs](super) for its calls and an example. Cheap to clone.
#[derive(Clone)]
pub struct ManagementApi {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    keys: KeyManager,
    /// Without a slash at the end.
    base: Box<str>,
    body: BodyLimits,
    store_deadline: Duration,
    respond: Respond,
    timer: Arc<dyn Timer>,
}

impl ManagementApi {
    /// A service for the keys of this manager, which callers know under this path: `/keys`, or `/`.
    ///
    /// The path is in front of the ids in `Location`, and is taken off the path of a request where it
    /// is still on it. A router that has taken it off already (axum's `nest_service`) is fine as well.
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not begin with `/`, or has other characters than letters,
    /// digits and `-._~:@!$&'()*+,;=/`.
    pub fn new(keys: KeyManager, base_path: impl AsRef<str>) -> Result<Self, ConfigError> {
        let base = base_path.as_ref();
        let in_path =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=/".contains(&byte);
        if !base.starts_with('/') || base.starts_with("//") || !base.bytes().all(in_path) {
            return Err(ConfigError::new("the base path is no path, or has encoded characters"));
        }
        let mut respond = Respond::new();
        respond.set_accept("application/json");
        Ok(Self {
            shared: Arc::new(Shared {
                keys,
                base: base.trim_end_matches('/').into(),
                body: BodyLimits { max_bytes: 16 * 1024, ..BodyLimits::default() },
                store_deadline: Duration::from_secs(5),
                respond,
                timer: Arc::new(SystemTimer::new()),
            }),
        })
    }

    /// The largest body of a request, in bytes. The default is 16 KiB.
    #[must_use]
    pub fn with_max_body_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.body.max_bytes = max_bytes)
    }

    /// The time in which a body has to arrive. The default is 10 seconds.
    #[must_use]
    pub fn with_body_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.body.deadline = deadline)
    }

    /// How long the store may take for one request. The default is 5 seconds.
    ///
    /// After that the request is refused with 503, and it is not known whether something was changed.
    #[must_use]
    pub fn with_store_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.store_deadline = deadline)
    }

    /// What measures the deadlines.
    #[must_use]
    pub fn with_timer(self, timer: impl Timer) -> Self {
        self.with(|shared| shared.timer = Arc::new(timer))
    }

    /// Replaces the body of refusals, as
    /// [`AuthLayer::with_rejection_response`](crate::auth::AuthLayer::with_rejection_response) does.
    /// What is wrong with a request is in [`Rejection::violations`].
    #[must_use]
    pub fn with_rejection_response(
        self,
        response: impl Fn(&Rejection) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|shared| shared.respond.set_body(response))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<B> Service<Request<B>> for ManagementApi
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    /// Always ready.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let shared = Arc::clone(&self.shared);
        ResponseFuture::new(async move {
            let (parts, body) = request.into_parts();
            let response = match shared.serve(&parts, body).await {
                Ok(response) => response,
                Err(rejection) => shared.respond.response(&rejection),
            };
            let is_head = parts.method == Method::HEAD;
            if is_head { without_content(response) } else { response }
        })
    }
}

impl Shared {
    async fn serve<B>(&self, parts: &Parts, body: B) -> Result<Response<Bytes>, Rejection>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let caller = match Identity::of(&parts.extensions) {
            Ok(Some(identity)) => identity.clone(),
            Ok(None) => return Err(Rejection::new(RejectionKind::Forbidden)),
            Err(error) => {
                return Err(Rejection::new(RejectionKind::NotWired).with_source(error));
            }
        };
        let route = Route::find(self.below_base(parts.uri.path()), &parts.method)?;
        let body = if route.has_body() { self.read(parts, body).await? } else { Bytes::new() };
        let now = self.keys.clock().now();
        let query = parts.uri.query();
        let command = Command::read(route, &parts.headers, query, &body, &caller, now)?;
        let done = self.execute(command, caller).await?;
        Ok(answer::response(&done, &self.base, self.keys.clock().now()))
    }

    /// The path of a request without the base path.
    fn below_base<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(&*self.base) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// A browser lets a page of another site send a body as a form or as plain text, or none at all, and
    /// asks before it sends JSON. So every change but `DELETE`, about which it asks as well, is JSON.
    async fn read<B>(&self, parts: &Parts, body: B) -> Result<Bytes, Rejection>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        match MediaType::from_headers(&parts.headers) {
            Ok(MediaType::Json) => {}
            Ok(_) => return Err(Rejection::new(RejectionKind::UnsupportedMediaType)),
            Err(error) => return Err((&error).into()),
        }
        if !is_identity_coded(&parts.headers) {
            return Err(Rejection::new(RejectionKind::UnsupportedContentCoding));
        }
        let read = ReadBody::new(body, &parts.headers, self.body, Arc::clone(&self.timer));
        match read.await {
            Ok(collected) => Ok(collected.bytes),
            Err(error) => Err(error.into_rejection(parts.version)),
        }
    }

    /// The store is the app's code: it may hang or panic.
    async fn execute(&self, command: Command, caller: Identity) -> Result<Done, Rejection> {
        let unavailable = |reason| Rejection::new(RejectionKind::Unavailable).with_source(reason);
        let keys = self.keys.clone();
        let Ok(execution) = CatchPanic::new(|| Box::pin(command.execute(keys, caller))) else {
            return Err(unavailable("the key store panicked"));
        };
        match within(&*self.timer, self.store_deadline, execution).await {
            Some(Ok(done)) => done,
            Some(Err(_panicked)) => Err(unavailable("the key store panicked")),
            None => Err(unavailable("the key store did not answer within its deadline")),
        }
    }
}

impl fmt::Debug for ManagementApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementApi")
            .field("keys", &self.shared.keys)
            .field("base", &self.shared.base)
            .finish_non_exhaustive()
    }
}
