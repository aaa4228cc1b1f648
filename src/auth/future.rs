use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Policy;
use super::admit::{self, Admission, Decided, Verifying};
use super::gate::Gate;
use crate::rejection::{Rejection, RejectionKind, ResponseBody};

/// The decision about a head by code of the app.
pub(super) type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

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
        Inner { #[pin] future: S::Future, by_target: bool },
        Response { response: Option<Response<ResponseBody<ResBody>>> },
        Error { error: Option<S::Error> },
        Waiting { waiting: Box<Waiting<S, B>> },
    }
}

/// A request that cannot be passed on yet.
pub(super) struct Waiting<S, B> {
    gate: Arc<Gate>,
    service: S,
    undecided: Option<Undecided<B>>,
    /// What goes to the service, once it is decided and the service is ready.
    request: Option<Request<B>>,
    by_target: bool,
    /// How much longer the service has time to become ready.
    patience: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

enum Undecided<B> {
    /// The store is asked about a key.
    ByStore { policy: Policy, verifying: Verifying },
    /// Code of the app is asked, which is shown the head. The body waits for it.
    ByApp { decision: Deciding, body: B },
}

impl<S, B> Waiting<S, B> {
    /// A request that waits for the answer of the store.
    pub(super) fn for_store(
        gate: Arc<Gate>,
        service: S,
        request: Request<B>,
        policy: Policy,
        verifying: Verifying,
    ) -> Box<Self> {
        let undecided = Some(Undecided::ByStore { policy, verifying });
        let request = Some(request);
        Box::new(Self { gate, service, undecided, request, by_target: false, patience: None })
    }

    /// A request that waits for the answer of the app.
    pub(super) fn for_app(gate: Arc<Gate>, service: S, decision: Deciding, body: B) -> Box<Self> {
        let undecided = Some(Undecided::ByApp { decision, body });
        Box::new(Self { gate, service, undecided, request: None, by_target: false, patience: None })
    }

    /// A request that waits for the inner service.
    pub(super) fn for_service(
        gate: Arc<Gate>,
        service: S,
        request: Request<B>,
        by_target: bool,
    ) -> Box<Self> {
        let request = Some(request);
        Box::new(Self { gate, service, undecided: None, request, by_target, patience: None })
    }
}

impl<S, B, ResBody> ResponseFuture<S, B, ResBody>
where
    S: Service<Request<B>>,
{
    pub(super) const fn inner(future: S::Future, by_target: bool) -> Self {
        Self { state: State::Inner { future, by_target } }
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
                StateProj::Inner { future, by_target } => {
                    let mut response = ready!(future.poll(cx))?;
                    if *by_target {
                        admit::protect_target(response.headers_mut());
                    }
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
    #[expect(clippy::expect_used, reason = "a future must not be polled after completion")]
    fn poll<ResBody>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<State<S, B, ResBody>, S::Error>>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
    {
        if let Err(rejection) = ready!(self.poll_decision(cx)) {
            return Poll::Ready(Ok(self.refuse(&rejection)));
        }
        if self.service.poll_ready(cx)?.is_pending() {
            let patience = self.patience.get_or_insert_with(|| self.gate.patience());
            ready!(patience.as_mut().poll(cx));
            let rejection = Rejection::new(RejectionKind::AtCapacity);
            let rejection = match &self.request {
                Some(request) => rejection.in_answer_to(request.method()),
                None => rejection,
            };
            return Poll::Ready(Ok(self.refuse(&rejection)));
        }
        let request = self.request.take().expect("polled after completion");
        let future = self.service.call(request);
        Poll::Ready(Ok(State::Inner { future, by_target: self.by_target }))
    }

    /// Decides about the request if that is still to be done, and makes it ready to be passed on.
    fn poll_decision(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        match &mut self.undecided {
            None => {}
            Some(Undecided::ByStore { policy, verifying }) => {
                let verdict = ready!(verifying.poll(cx));
                if let Some(request) = &mut self.request {
                    let mut admission = Admission::default();
                    let method = request.method();
                    let decision = self.gate.verified(policy, method, verdict, &mut admission);
                    decision.map_err(|rejection| rejection.in_answer_to(method))?;
                    self.by_target = admission.by_target();
                    self.gate.enter(request, admission);
                }
            }
            Some(Undecided::ByApp { decision, .. }) => {
                let (mut parts, decision) = ready!(decision.as_mut().poll(cx));
                let admission =
                    decision.map_err(|rejection| rejection.in_answer_to(&parts.method))?;
                self.by_target = admission.by_target();
                self.gate.enter(&mut parts, admission);
                if let Some(Undecided::ByApp { body, .. }) = self.undecided.take() {
                    self.request = Some(Request::from_parts(parts, body));
                }
            }
        }
        self.undecided = None;
        Poll::Ready(Ok(()))
    }

    fn refuse<ResBody>(&self, rejection: &Rejection) -> State<S, B, ResBody>
    where
        S: Service<Request<B>>,
    {
        State::Response { response: Some(self.gate.respond().refuse(rejection)) }
    }
}

impl<S, B, ResBody> fmt::Debug for ResponseFuture<S, B, ResBody>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
