use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::answer;
use super::caller::Caller;
use super::command::Command;
use super::route::Route;
use crate::BoxError;
use crate::body::{BodyLimits, ReadBody, is_identity_coded};
use crate::content::MediaType;
use crate::error::ConfigError;
use crate::hook::ResponseFuture;
use crate::identity::Identity;
use crate::key::KeyManager;
use crate::rejection::{
    Asked, Rejection, RejectionKind, Respond, ResponseBody, SharedChallenges, without_content,
};
use crate::request_head::RequestHead;
use crate::store::LastUsedSource;
use crate::util::{CatchPanic, Panicked, base_path, below, timeout};

/// Service through which callers manage their own keys.
///
/// See the [module docs](super) for its calls and an example. Cheap to clone.
#[derive(Clone)]
pub struct ManagementApi {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    keys: KeyManager,
    /// Without a trailing slash.
    base: Box<str>,
    /// Whether paths of requests begin with the base path.
    base_is_on_path: bool,
    body: BodyLimits,
    store_deadline: Duration,
    last_used: Option<Arc<dyn LastUsedSource>>,
    respond: Respond,
}

impl ManagementApi {
    /// A service at this path: `/keys`, or `/`. Requests have their whole path, as on hyper or behind
    /// axum's `route_service`.
    ///
    /// A path that does not begin with the base path is not found. `Location` begins with the base path.
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not begin with `/`, or has other characters than letters,
    /// digits and `-._~:@!$&'()*+,;=/`.
    ///
    /// # Examples
    ///
    /// On hyper the service is the whole server, or one that other code has chosen by the path. On axum it
    /// needs two routes:
    ///
    /// ```
    /// use axum::Router;
    /// use tower::Layer;
    /// use tower_webhook::auth::AuthLayer;
    /// # use tower_webhook::credential::Placement;
    /// # use tower_webhook::key::KeyManager;
    /// # use tower_webhook::store::MemoryKeyStore;
    /// use tower_webhook::management::ManagementApi;
    ///
    /// # fn app(keys: KeyManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let auth = AuthLayer::token(&keys, [Placement::bearer()])?;
    /// let api = auth.layer(ManagementApi::new(keys, "/keys")?);
    /// let router: Router =
    ///     Router::new().route_service("/keys", api.clone()).route_service("/keys/{*rest}", api);
    /// # Ok(())
    /// # }
    /// # app(KeyManager::new(MemoryKeyStore::new())).unwrap();
    /// ```
    pub fn new(keys: KeyManager, base_path: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::at(keys, base_path.as_ref(), true)
    }

    /// A service at this path behind a router that strips the path, as axum's `nest_service` does.
    ///
    /// Requests have the rest of their path. The base path is for `Location` only: give the whole path that
    /// clients use. With feature `axum`, the prefixes of nested routers are added to it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::Router;
    /// use tower::Layer;
    /// use tower_webhook::auth::AuthLayer;
    /// # use tower_webhook::credential::Placement;
    /// # use tower_webhook::key::KeyManager;
    /// # use tower_webhook::store::MemoryKeyStore;
    /// use tower_webhook::management::ManagementApi;
    ///
    /// # fn app(keys: KeyManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let auth = AuthLayer::token(&keys, [Placement::bearer()])?;
    /// let api = auth.layer(ManagementApi::nested(keys, "/keys")?);
    /// let router: Router = Router::new().nest_service("/keys", api);
    /// # Ok(())
    /// # }
    /// # app(KeyManager::new(MemoryKeyStore::new())).unwrap();
    /// ```
    pub fn nested(keys: KeyManager, base_path: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::at(keys, base_path.as_ref(), false)
    }

    fn at(keys: KeyManager, base: &str, base_is_on_path: bool) -> Result<Self, ConfigError> {
        let mut respond = Respond::new();
        respond.set_accept("application/json");
        Ok(Self {
            shared: Arc::new(Shared {
                keys,
                base: base_path(base)?,
                base_is_on_path,
                body: BodyLimits { max_bytes: 16 * 1024, ..BodyLimits::default() },
                store_deadline: Duration::from_secs(5),
                last_used: None,
                respond,
            }),
        })
    }

    /// Sets the maximum size of a body in bytes. The default is 16 KiB.
    #[must_use]
    pub fn with_max_body_bytes(self, max_bytes: usize) -> Self {
        self.with(|shared| shared.body.max_bytes = max_bytes)
    }

    /// Sets the time in which a body must arrive. The default is 10 seconds.
    #[must_use]
    pub fn with_body_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.body.deadline = deadline)
    }

    /// Sets the timeout of the store for one request. The default is 5 seconds.
    ///
    /// After that the response is 503, and it is unknown whether something was changed.
    #[must_use]
    pub fn with_store_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.store_deadline = deadline)
    }

    /// Shows when keys were last used, in the responses to `GET`: a [`LastUsedTracker`](crate::store::LastUsedTracker), or
    /// a store, whose times are up to a minute late.
    ///
    /// The source is part of the store: if it fails or is too slow, the response is 503.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::key::KeyManager;
    /// use tower_webhook::management::ManagementApi;
    /// use tower_webhook::store::{LastUsedSink, LastUsedTracker};
    /// # use tower_webhook::key::KeyStore;
    ///
    /// # fn api<S: KeyStore + LastUsedSink + Clone>(store: S) -> Result<(), tower_webhook::ConfigError> {
    /// let keys = KeyManager::new(store.clone());
    /// let usage = LastUsedTracker::new(store);
    /// tokio::spawn(usage.run());
    ///
    /// let auth = AuthLayer::bearer(keys.verifier().with_last_used(usage.clone()))?;
    /// let api = ManagementApi::nested(keys, "/keys")?.with_last_used(usage);
    /// # let _ = (auth, api);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_last_used(self, source: impl LastUsedSource) -> Self {
        self.with(|shared| shared.last_used = Some(Arc::new(source)))
    }

    /// Replaces the body of refusals, as
    /// [`AuthLayer::with_rejection_response`](crate::auth::AuthLayer::with_rejection_response) does.
    /// What is wrong with a request is in [`Rejection::violations`]. The layer around this service has taken the
    /// credentials out of the head already.
    #[must_use]
    pub fn with_rejection_response(
        self,
        response: impl Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|shared| shared.respond.set_body(response))
    }

    /// The base path, without a trailing slash.
    pub(super) fn base(&self) -> &str {
        &self.shared.base
    }

    pub(super) fn max_body_bytes(&self) -> usize {
        self.shared.body.max_bytes
    }

    /// Whether the bodies of refusals are the app's.
    pub(super) fn replaces_refusals(&self) -> bool {
        self.shared.respond.replaces_bodies()
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
    type Response = Response<ResponseBody<Full<Bytes>>>;
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
            let is_head = parts.method == Method::HEAD;
            let asked = shared.respond.asked((&parts).into(), &shared.keys);
            let caller = Identity::of(&parts.extensions).ok().flatten();
            let challenges = caller.and_then(Identity::challenges).cloned();
            let response = match shared.serve(parts, body).await {
                Ok(response) if is_head => without_content(response),
                Ok(response) => response,
                Err(rejection) => shared.refusal(&rejection, &asked, challenges),
            };
            response.map(|bytes| ResponseBody::service(Full::new(bytes)))
        })
    }
}

impl Shared {
    async fn serve<B>(&self, parts: Parts, body: B) -> Result<Response<Bytes>, Rejection>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let identity = match Identity::of(&parts.extensions) {
            Ok(Some(identity)) => identity.clone(),
            Ok(None) => return Err(Rejection::new(RejectionKind::Forbidden)),
            Err(error) => {
                return Err(Rejection::new(RejectionKind::Misconfigured).with_source(error));
            }
        };
        let route = Route::find(self.below_base(parts.uri.path())?, &parts.method)?;
        let body = if route.has_body() { self.read(&parts, body).await? } else { Bytes::new() };
        let (keys, base) = (self.keys.clone(), self.public_base(&parts).to_owned());
        let usage = self.last_used.clone();
        let effect = self.call_store(async move {
            let caller = if route.changes() {
                Caller::now(identity).await?
            } else {
                Caller::admitted(identity)
            };
            let (query, now) = (parts.uri.query(), keys.clock().now());
            let command = Command::read(route, &parts.headers, query, &body, &caller, now)?;
            command.execute(&keys, usage.as_deref(), &caller).await
        });
        Ok(answer::response(&effect.await?, &base, self.keys.clock().now()))
    }

    /// The base path as the client sees it. Behind nested axum routers the path of the request is longer: the
    /// only call with a `Location` is made at the base path itself.
    fn public_base<'a>(&'a self, parts: &'a Parts) -> &'a str {
        #[cfg(feature = "axum")]
        if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
            let path = original.path().trim_end_matches('/');
            if path.ends_with(&*self.base) {
                return path;
            }
        }
        let _ = parts;
        &self.base
    }

    /// The path of a request without the base path.
    fn below_base<'a>(&self, path: &'a str) -> Result<&'a str, Rejection> {
        if !self.base_is_on_path {
            return Ok(path);
        }
        below(&self.base, path).ok_or(Rejection::new(RejectionKind::NotFound))
    }

    /// CSRF protection. A page of another site can send a form, plain text or no body without a CORS preflight,
    /// but not JSON. So every change is JSON, except for `DELETE`, which needs a preflight as well.
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
        let read = ReadBody::new(body, &parts.headers, self.body);
        match read.await {
            Ok(collected) => Ok(collected.bytes),
            Err(error) => Err(error.into_rejection(parts.version)),
        }
    }

    /// Contains a panic of the store, which is code of the app, and limits its time.
    async fn call_store<T>(
        &self,
        call: impl Future<Output = Result<T, Rejection>> + Send,
    ) -> Result<T, Rejection> {
        let unavailable = |reason| Rejection::new(RejectionKind::Unavailable).with_source(reason);
        let panicked = |_: Panicked| unavailable("the key store panicked");
        let mut call = CatchPanic::new(|| Box::pin(call)).map_err(panicked)?;
        match timeout(self.store_deadline, &mut call).await {
            Some(done) => done.map_err(panicked)?,
            None => Err(unavailable("the key store did not answer within its deadline")),
        }
    }

    /// A caller whose key has ended meanwhile gets the challenges of the layer that let it in.
    fn refusal(
        &self,
        rejection: &Rejection,
        asked: &Asked,
        challenges: Option<SharedChallenges>,
    ) -> Response<Bytes> {
        let is_unauthorized = rejection.kind().is_unauthorized();
        let Some(challenges) = challenges.filter(|_| is_unauthorized) else {
            return self.respond.response(rejection, asked);
        };
        let mut respond = self.respond.clone();
        respond.set_challenges(challenges);
        respond.response(rejection, asked)
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
