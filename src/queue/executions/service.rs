use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use super::list::{ListInput, MAX_PAGE_LEN};
use super::route::Route;
use super::view::{self, Viewer};
use crate::ConfigError;
use crate::hook::ResponseFuture;
use crate::identity::Identity;
use crate::key::Scope;
use crate::queue::{Job, JobChange, JobCursor, JobId, JobQueue};
use crate::rejection::{
    NoPlacements, Rejection, RejectionKind, Respond, ResponseBody, without_content,
};
use crate::trace::{self, JobAction};
use crate::util::{CatchPanic, Panicked, base_path, below, timeout};

/// Leaf service that shows jobs, repeats dead ones, and removes them.
///
/// | call | answer |
/// |---|---|
/// | `GET /{id}` | 200, `{"id","hook","state","attempts","created_at","started_at","ended_at","outcome","error"}` |
/// | `GET /?state=dead&hook=deploy&limit=50&after=..` | 200, `{"executions":[..],"next":..}`, the newest first; `next` is the `after` of the next page, or `null` |
/// | `POST /{id}/retry` | 202 with the job, which is queued again; 409 if it is not dead |
/// | `DELETE /{id}` | 204; 409 while it runs |
///
/// `state` is `queued` (also between two attempts), `running`, `succeeded` or `dead`. Times are RFC 3339. An unknown id
/// is a 404, and so is that of another caller. A queue that cannot answer is a 503 with `Retry-After`. Refusals are
/// [problem documents](crate::rejection).
///
/// Put it behind an [`AuthLayer`](crate::auth::AuthLayer), which proves the caller:
///
/// | caller | sees |
/// |---|---|
/// | with the [operator's scope](Self::with_operator_scope) | all jobs, with a member `owner`: a name, or `null` |
/// | with an identity | the jobs of its owner, and jobs without one, by their ids |
/// | without one, on a public route | jobs without an owner, by their ids |
///
/// # Security
///
/// The id of a job without an owner is what lets a client see it, repeat it and remove it. It has 128 bits, but one that
/// is [derived](JobId::derived) from a key can be guessed by who can guess the key.
///
/// `POST /{id}/retry` has no body. With a credential that browsers send on their own (a cookie, Basic), put a CSRF layer
/// in front, such as that of tower-http.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use tower::Layer;
/// use tower_webhook::auth::AuthLayer;
/// # use tower_webhook::key::{KeyManager, Scope};
/// # use tower_webhook::store::MemoryKeyStore;
/// use tower_webhook::queue::{Executions, MemoryQueue};
///
/// # fn app(keys: KeyManager, queue: MemoryQueue) -> Result<(), Box<dyn std::error::Error>> {
/// let executions =
///     Executions::nested(queue, "/executions")?.with_operator_scope(Scope::new("operate")?);
/// let auth = AuthLayer::bearer(&keys)?;
/// let router: Router = Router::new().nest_service("/executions", auth.layer(executions));
/// # Ok(())
/// # }
/// # app(KeyManager::new(MemoryKeyStore::new()), MemoryQueue::new()).unwrap();
/// ```
#[derive(Clone)]
pub struct Executions {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    queue: Arc<dyn JobQueue>,
    /// Without a trailing slash.
    base: Box<str>,
    /// Whether paths of requests begin with the base path.
    base_is_on_path: bool,
    operator: Option<Scope>,
    public_list: bool,
    deadline: Duration,
    respond: Respond,
}

impl Executions {
    /// A service at this path: `/executions`, or `/`. Requests have their whole path, as on hyper, or on axum behind two
    /// `route_service`, of `/executions` and `/executions/{*rest}`. Behind `nest_service` they do not, and each would be a
    /// 404: that is for [`nested`](Self::nested).
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not begin with `/`, or has other characters than letters, digits and
    /// `-._~:@!$&'()*+,;=/`.
    pub fn new(queue: impl JobQueue, base_path: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::at(queue, base_path.as_ref(), true)
    }

    /// A service at this path behind a router that strips the path, as axum's `nest_service` does. The base path is for
    /// `Location` only.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn nested(queue: impl JobQueue, base_path: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::at(queue, base_path.as_ref(), false)
    }

    fn at(queue: impl JobQueue, base: &str, base_is_on_path: bool) -> Result<Self, ConfigError> {
        let shared = Shared {
            queue: Arc::new(queue),
            base: base_path(base)?,
            base_is_on_path,
            operator: None,
            public_list: false,
            deadline: Duration::from_secs(5),
            respond: Respond::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Callers with this scope are operators: they see, repeat and remove all jobs. Without this setting there are none.
    ///
    /// # Security
    ///
    /// A key has the scopes that it was given. A [`User`](crate::auth::User) and the sender of a signature have all scopes,
    /// and are operators, unless their `with_scopes` says otherwise.
    #[must_use]
    pub fn with_operator_scope(self, scope: Scope) -> Self {
        self.with(|shared| shared.operator = Some(scope))
    }

    /// Lists the jobs without an owner for callers without an identity, who need their ids otherwise.
    ///
    /// # Security
    ///
    /// Everyone whom the layer lets in sees the outcomes of these jobs, and can repeat and remove them. A list reads over
    /// the jobs of callers with an identity: where there are many of those, it is slow, or a 503 at the
    /// [deadline](Self::with_deadline).
    #[must_use]
    pub fn with_insecure_public_list(self) -> Self {
        self.with(|shared| shared.public_list = true)
    }

    /// Sets the timeout of the queue for one request. The default is 5 seconds. After that the response is 503.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.deadline = deadline)
    }

    pub(super) fn base(&self) -> &str {
        &self.shared.base
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<B> Service<Request<B>> for Executions
where
    B: Send + 'static,
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
        let (parts, _body) = request.into_parts();
        ResponseFuture::new(async move {
            let asked = shared.respond.asked((&parts).into(), &NoPlacements);
            let response = match shared.serve(&parts).await {
                Ok(response) if parts.method == Method::HEAD => without_content(response),
                Ok(response) => response,
                Err(rejection) => shared.respond.response(&rejection, &asked),
            };
            response.map(|bytes| ResponseBody::service(Full::new(bytes)))
        })
    }
}

impl Shared {
    async fn serve(&self, parts: &Parts) -> Result<Response<Bytes>, Rejection> {
        let caller = Identity::of(&parts.extensions)
            .map_err(|error| Rejection::new(RejectionKind::Misconfigured).with_source(error))?;
        let path = parts.uri.path();
        let path = if self.base_is_on_path { below(&self.base, path) } else { Some(path) };
        let path = path.ok_or(Rejection::new(RejectionKind::NotFound))?;
        let route = Route::find(path, &parts.method)?;
        let serve = async {
            match route {
                Route::List => self.list(parts.uri.query(), caller).await,
                Route::Show(id) => {
                    let job = self.visible(&id, caller).await?;
                    Ok(json(StatusCode::OK, view::job(&job, self.views_as(caller))))
                }
                Route::Retry(id) => self.retry(&id, caller).await,
                Route::Remove(id) => {
                    let job = self.visible(&id, caller).await?;
                    changed(self.queue.remove(&id).await.map_err(unavailable)?)?;
                    trace::job_changed(JobAction::Remove, &job, caller);
                    Ok(json(StatusCode::NO_CONTENT, String::new()))
                }
            }
        };
        let panicked = |_: Panicked| unavailable("the queue panicked");
        let mut serve = CatchPanic::new(|| Box::pin(serve)).map_err(panicked)?;
        match timeout(self.deadline, &mut serve).await {
            Some(done) => done.map_err(panicked)?,
            None => Err(unavailable("the queue did not answer within its deadline")),
        }
    }

    async fn list(
        &self,
        query: Option<&str>,
        caller: Option<&Identity>,
    ) -> Result<Response<Bytes>, Rejection> {
        let ListInput { mut filter, after, limit } = ListInput::read(query)?;
        match caller {
            Some(caller) if self.is_operator(caller) => {}
            Some(caller) => filter.owner = Some(caller.owner().clone()),
            None if self.public_list => {}
            None => return Err(Rejection::new(RejectionKind::Forbidden)),
        }
        // One more, to know whether there is another page. Jobs that the caller does not see are read over.
        let (mut jobs, mut cursor, mut len) = (Vec::new(), after, limit.saturating_add(1));
        loop {
            let page = self.queue.list(&filter, cursor.as_ref(), len).await.map_err(unavailable)?;
            let is_last = page.len() < len;
            cursor = page.last().map(JobCursor::from);
            jobs.extend(page.into_iter().filter(|job| self.sees(job, caller)));
            if is_last || jobs.len() > limit {
                break;
            }
            len = MAX_PAGE_LEN;
        }
        let has_more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().map(JobCursor::from).filter(|_| has_more);
        Ok(json(StatusCode::OK, view::page(&jobs, next.as_ref(), self.views_as(caller))))
    }

    async fn retry(
        &self,
        id: &JobId,
        caller: Option<&Identity>,
    ) -> Result<Response<Bytes>, Rejection> {
        let job = self.visible(id, caller).await?;
        changed(self.queue.retry(id).await.map_err(unavailable)?)?;
        trace::job_changed(JobAction::Retry, &job, caller);
        let job = self.visible(id, caller).await?;
        let mut response = json(StatusCode::ACCEPTED, view::job(&job, self.views_as(caller)));
        // The characters of a base path and of an id are those of a header.
        if let Ok(location) = HeaderValue::try_from(format!("{}/{id}", self.base)) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }

    /// The job, if the caller may see it.
    async fn visible(&self, id: &JobId, caller: Option<&Identity>) -> Result<Job, Rejection> {
        let job = self.queue.state(id).await.map_err(unavailable)?;
        let job = job.filter(|job| self.sees(job, caller));
        job.ok_or(Rejection::new(RejectionKind::NotFound))
    }

    fn sees(&self, job: &Job, caller: Option<&Identity>) -> bool {
        match (&job.owner, caller) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(owner), Some(caller)) => owner == caller.owner() || self.is_operator(caller),
        }
    }

    fn views_as(&self, caller: Option<&Identity>) -> Viewer {
        match caller {
            Some(caller) if self.is_operator(caller) => Viewer::Operator,
            _ => Viewer::Caller,
        }
    }

    fn is_operator(&self, caller: &Identity) -> bool {
        self.operator.as_ref().is_some_and(|scope| caller.has_scope(scope))
    }
}

fn unavailable(error: impl Into<crate::BoxError>) -> Rejection {
    Rejection::new(RejectionKind::Unavailable).with_source(error)
}

fn changed(change: JobChange) -> Result<(), Rejection> {
    match change {
        JobChange::Changed => Ok(()),
        JobChange::NotFound => Err(Rejection::new(RejectionKind::NotFound)),
        JobChange::WrongState => Err(Rejection::new(RejectionKind::Conflict)
            .with_detail("The execution is in a state that does not allow this.")),
    }
}

fn json(status: StatusCode, text: String) -> Response<Bytes> {
    let has_text = !text.is_empty();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if has_text {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

impl fmt::Debug for Executions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executions")
            .field("base", &self.shared.base)
            .field("operator", &self.shared.operator)
            .field("public_list", &self.shared.public_list)
            .finish_non_exhaustive()
    }
}
