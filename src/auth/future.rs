use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::Policy;
use super::authorize::{self, Admission, Verdict, Verifying};
use super::config::AuthConfig;
use super::marks::Marks;
use super::measure::{End, Stopwatch};
use crate::body::VERDICT_LIFETIME;
use crate::identity::{self, Identity};
use crate::rejection::{Asked, Rejection, RejectionKind, Respond, ResponseBody};
use crate::request_head::RequestHead;

/// A request on its way in: decided about, cleaned, and with the identity in its extensions.
pub(super) struct Entered<B> {
    pub(super) request: Request<B>,
    pub(super) policy: Policy,
    pub(super) marks: Marks,
    /// When the decision about the caller began.
    pub(super) since: Instant,
}

impl Entered<()> {
    fn with_body<B>(self, body: B) -> Entered<B> {
        let Self { request, policy, marks, since } = self;
        Entered { request: request.map(|()| body), policy, marks, since }
    }
}

/// A request that has to be waited for before it can go in.
pub(super) type Entering<B> = Pin<Box<dyn Future<Output = Result<Entered<B>, Refusal>> + Send>>;

/// A refusal, and what makes the response of it.
pub(super) struct Refusal {
    pub(super) rejection: Rejection,
    /// `None`: the layer.
    pub(super) respond: Option<Arc<Respond>>,
    /// Nothing is known of the request unless [`in_answer_to`](Self::in_answer_to) was called.
    pub(super) asked: Asked,
}

impl Refusal {
    /// Says which request is answered.
    pub(super) fn in_answer_to(mut self, config: &AuthConfig, head: RequestHead<'_>) -> Self {
        let respond = self.respond.as_deref().unwrap_or(config.respond());
        self.asked = respond.asked(head, config);
        self
    }

    fn response<B>(&self, config: &AuthConfig) -> Response<ResponseBody<B>> {
        let respond = self.respond.as_deref().unwrap_or(config.respond());
        respond.refuse(&self.rejection, &self.asked)
    }
}

pin_project! {
    /// Response future of [`Auth`](super::Auth).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResBody>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, ResBody>,
    }
}

pin_project! {
    /// What has to wait is boxed, so that the future of a request that does not wait stays small.
    #[project = StateProj]
    enum State<S, B, ResBody>
    where
        S: Service<Request<B>>,
    {
        Inner { #[pin] future: S::Future, marks: Marks },
        Response { response: Option<Response<ResponseBody<ResBody>>> },
        Error { error: Option<S::Error> },
        Waiting { waiting: Box<Waiting<S, B>> },
    }
}

/// A request that cannot be passed on yet. Its steps, in order: the decision, the readiness of the inner
/// service, and if both together took long, the record of the key once more.
pub(super) struct Waiting<S, B> {
    config: Arc<AuthConfig>,
    service: S,
    step: Step<B>,
    stopwatch: Stopwatch,
}

#[derive(Default)]
enum Step<B> {
    /// The store is asked about a key.
    Verifying { request: Request<B>, policy: Policy, verifying: Verifying, since: Instant },
    /// Code of the app is asked, which is shown the head. The body waits for it.
    Deciding { deciding: Entering<()>, body: B },
    /// The body has to be read.
    Entering(Entering<B>),
    /// The inner service is not ready. The timeout starts with the first `Pending`.
    Readying { entered: Entered<B>, ready_timeout: Option<Pin<Box<Sleep>>> },
    /// The inner service is ready, and the record is looked up again.
    Renewing { entered: Entered<B>, renewal: Renewal },
    #[default]
    Done,
}

/// The verdict about a caller who was let in a while ago.
type Renewal = Pin<Box<dyn Future<Output = Verdict> + Send>>;

impl<S, B> Waiting<S, B> {
    /// A request that waits for the answer of the store.
    pub(super) fn for_store(
        config: Arc<AuthConfig>,
        service: S,
        request: Request<B>,
        policy: Policy,
        verifying: Verifying,
        stopwatch: Stopwatch,
    ) -> Box<Self> {
        let step = Step::Verifying { request, policy, verifying, since: Instant::now() };
        Box::new(Self { config, service, step, stopwatch })
    }

    /// A request that waits for code of the app.
    pub(super) fn for_app(
        config: Arc<AuthConfig>,
        service: S,
        deciding: Entering<()>,
        body: B,
        stopwatch: Stopwatch,
    ) -> Box<Self> {
        Box::new(Self { config, service, step: Step::Deciding { deciding, body }, stopwatch })
    }

    /// A request that waits for its body.
    pub(super) fn for_entry(
        config: Arc<AuthConfig>,
        service: S,
        entering: Entering<B>,
        stopwatch: Stopwatch,
    ) -> Box<Self> {
        Box::new(Self { config, service, step: Step::Entering(entering), stopwatch })
    }

    /// A request that waits for the inner service.
    pub(super) fn for_service(
        config: Arc<AuthConfig>,
        service: S,
        entered: Entered<B>,
        stopwatch: Stopwatch,
    ) -> Box<Self> {
        let step = Step::Readying { entered, ready_timeout: None };
        Box::new(Self { config, service, step, stopwatch })
    }
}

impl<S, B, ResBody> ResponseFuture<S, B, ResBody>
where
    S: Service<Request<B>>,
{
    pub(super) const fn inner(future: S::Future, marks: Marks) -> Self {
        Self { state: State::Inner { future, marks } }
    }

    pub(super) const fn response(response: Response<ResponseBody<ResBody>>) -> Self {
        Self { state: State::Response { response: Some(response) } }
    }

    pub(super) const fn error(error: S::Error) -> Self {
        Self { state: State::Error { error: Some(error) } }
    }

    pub(super) const fn waiting(waiting: Box<Waiting<S, B>>) -> Self {
        Self { state: State::Waiting { waiting } }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B, ResBody>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    #[expect(clippy::expect_used, reason = "a future must not be polled after completion")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let next = match this.state.as_mut().project() {
                StateProj::Inner { future, marks } => {
                    let mut response = ready!(future.poll(cx))?;
                    marks.mark(response.headers_mut());
                    return Poll::Ready(Ok(response.map(ResponseBody::service)));
                }
                StateProj::Response { response } => {
                    return Poll::Ready(Ok(response.take().expect("polled after completion")));
                }
                StateProj::Error { error } => {
                    return Poll::Ready(Err(error.take().expect("polled after completion")));
                }
                StateProj::Waiting { waiting } => ready!(waiting.poll(cx)),
            };
            this.state.set(next?);
        }
    }
}

impl<S, B> Waiting<S, B> {
    fn poll<ResBody>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<State<S, B, ResBody>, S::Error>>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
    {
        loop {
            let next = match ready!(self.poll_step(cx))? {
                Ok(next) => next,
                Err(refusal) => {
                    let kind = || End::Refused(refusal.rejection.kind());
                    self.config.measure(&mut self.stopwatch, refusal.asked.hook(), kind);
                    let response = Some(refusal.response(&self.config));
                    return Poll::Ready(Ok(State::Response { response }));
                }
            };
            match next {
                Next::Step(step) => self.step = step,
                Next::Answer(entered) => {
                    self.measure_accepted(&entered);
                    let response = Some(authorize::probe_answer(&entered.marks));
                    return Poll::Ready(Ok(State::Response { response }));
                }
                Next::Call(entered) => {
                    if !self.config.leaves_accepted {
                        self.measure_accepted(&entered);
                    }
                    let Entered { request, marks, .. } = entered;
                    let future = self.service.call(request);
                    return Poll::Ready(Ok(State::Inner { future, marks }));
                }
            }
        }
    }

    fn poll_step<ResBody>(&mut self, cx: &mut Context<'_>) -> Poll<Stepped<B, S::Error>>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
    {
        match &mut self.step {
            Step::Verifying { verifying, .. } => {
                let verdict = ready!(verifying.poll(cx));
                let Step::Verifying { request, policy, since, .. } = mem::take(&mut self.step)
                else {
                    return Poll::Ready(Ok(Err(polled_again())));
                };
                Poll::Ready(Ok(self.verified(request, policy, verdict, since)))
            }
            Step::Deciding { deciding, .. } => {
                let entered = ready!(deciding.as_mut().poll(cx));
                let Step::Deciding { body, .. } = mem::take(&mut self.step) else {
                    return Poll::Ready(Ok(Err(polled_again())));
                };
                let entered = entered.map(|entered| entered.with_body(body));
                Poll::Ready(Ok(entered.map(Next::of)))
            }
            Step::Entering(entering) => {
                let entered = ready!(entering.as_mut().poll(cx));
                Poll::Ready(Ok(entered.map(Next::of)))
            }
            Step::Readying { entered, ready_timeout } => {
                if self.service.poll_ready(cx)?.is_pending() {
                    let ready_timeout =
                        ready_timeout.get_or_insert_with(|| self.config.ready_timeout());
                    ready!(ready_timeout.as_mut().poll(cx));
                    let rejection = Rejection::new(RejectionKind::AtCapacity);
                    let refusal = Refusal::from(entered.marks.mark_refusal(rejection));
                    let head = RequestHead::from(&entered.request);
                    return Poll::Ready(Ok(Err(refusal.in_answer_to(&self.config, head))));
                }
                let Step::Readying { entered, .. } = mem::take(&mut self.step) else {
                    return Poll::Ready(Ok(Err(polled_again())));
                };
                Poll::Ready(Ok(Ok(self.pass_on(entered))))
            }
            Step::Renewing { entered, renewal } => {
                let Entered { request, marks, .. } = entered;
                match ready!(renewal.as_mut().poll(cx)) {
                    Ok(identity) => identity::insert(request.extensions_mut(), Some(identity)),
                    Err(rejection) => {
                        let refusal = Refusal::from(marks.mark_refusal(rejection));
                        let head = RequestHead::from(&*request);
                        return Poll::Ready(Ok(Err(refusal.in_answer_to(&self.config, head))));
                    }
                }
                let Step::Renewing { entered, .. } = mem::take(&mut self.step) else {
                    return Poll::Ready(Ok(Err(polled_again())));
                };
                Poll::Ready(Ok(Ok(Next::Call(entered))))
            }
            Step::Done => Poll::Ready(Ok(Err(polled_again()))),
        }
    }

    /// What comes after the store has answered: the limits, which may have to be waited for too.
    fn verified(
        &self,
        request: Request<B>,
        policy: Policy,
        verdict: Verdict,
        since: Instant,
    ) -> Result<Next<B>, Refusal> {
        let mut admission = Admission::default();
        let verified = self.config.verified(&policy, (&request).into(), verdict, &mut admission);
        let decision = match verified {
            Ok(()) => self.config.limit_ready(&policy, &mut admission),
            Err(rejection) => Some(Err(rejection)),
        };
        match decision {
            Some(decision) => {
                let entered =
                    self.config.enter_decided(request, policy, decision, admission, since);
                entered.map(Next::of)
            }
            None => {
                let (parts, body) = request.into_parts();
                let config = Arc::clone(&self.config);
                let deciding = Box::pin(config.enter_limited(policy, parts, admission, since));
                Ok(Next::Step(Step::Deciding { deciding, body }))
            }
        }
    }

    /// What comes after the inner service is ready.
    fn pass_on(&self, entered: Entered<B>) -> Next<B> {
        let identity = entered.request.extensions().get::<Identity>().cloned();
        match identity {
            Some(identity) if entered.since.elapsed() > VERDICT_LIFETIME => {
                let (config, policy) = (Arc::clone(&self.config), entered.policy.clone());
                let renewal = async move { config.admit_still(&policy, &identity).await };
                Next::Step(Step::Renewing { entered, renewal: Box::pin(renewal) })
            }
            _ => Next::Call(entered),
        }
    }

    fn measure_accepted(&mut self, entered: &Entered<B>) {
        let Entered { request, policy, .. } = entered;
        let accepted = || End::accepted(policy, request.extensions());
        self.config.measure(&mut self.stopwatch, policy.hook(), accepted);
    }
}

/// What a step leads to: an error of the inner service, a refusal, or what comes next.
type Stepped<B, E> = Result<Result<Next<B>, Refusal>, E>;

enum Next<B> {
    Step(Step<B>),
    Call(Entered<B>),
    /// A probe, which the inner service has no part in.
    Answer(Entered<B>),
}

impl<B> Next<B> {
    fn of(entered: Entered<B>) -> Self {
        if entered.policy.is_probe(entered.request.method()) {
            return Self::Answer(entered);
        }
        Self::Step(Step::Readying { entered, ready_timeout: None })
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, respond: None, asked: Asked::default() }
    }
}

/// The answer of a future that is polled after its end.
fn polled_again() -> Refusal {
    Rejection::new(RejectionKind::Internal).with_source("polled after completion").into()
}

impl<S, B, ResBody> fmt::Debug for ResponseFuture<S, B, ResBody>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
