//! The way in for a request that has been decided about.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Request, Response};

use super::{Admission, Decision};
use crate::auth::config::AuthConfig;
use crate::auth::future::{Entered, Refusal};
use crate::auth::marks::Marks;
use crate::auth::policy::{Access, Policy};
use crate::body;
use crate::identity;
use crate::rejection::{Rejection, ResponseBody};
use crate::request_head::HeadMut;
use crate::trace;

impl AuthConfig {
    /// Lets a request in whose caller was decided about and counted.
    ///
    /// # Errors
    ///
    /// Returns a refusal if the decision is one, or if a place cannot be cleaned.
    pub(in crate::auth) fn enter_decided<B>(
        &self,
        mut request: Request<B>,
        policy: Policy,
        decision: Decision,
        mut admission: Admission,
        since: Instant,
    ) -> Result<Entered<B>, Refusal> {
        let marks = admission.take_marks();
        match decision.and_then(|()| self.enter(&policy, &mut request, admission)) {
            Ok(()) => Ok(Entered { request, policy, marks, since }),
            Err(rejection) => {
                let refusal = Refusal::from(marks.mark_refusal(rejection));
                Err(refusal.in_answer_to(self, (&request).into()))
            }
        }
    }

    /// Counts the call of a caller who may call, and lets the head of the request in.
    pub(in crate::auth) async fn enter_limited(
        self: Arc<Self>,
        policy: Policy,
        parts: Parts,
        mut admission: Admission,
        since: Instant,
    ) -> Result<Entered<()>, Refusal> {
        let decision = self.limit(&policy, &mut admission).await;
        self.enter_decided(Request::from_parts(parts, ()), policy, decision, admission, since)
    }

    /// Lets the head of a request in, if it may, and finds out its policy where that is not known yet.
    pub(in crate::auth) async fn enter_head(
        self: Arc<Self>,
        policy: Option<Policy>,
        mut parts: Parts,
    ) -> Result<Entered<()>, Refusal> {
        match self.decide_head(policy, &mut parts).await {
            Ok((policy, admission, since)) => {
                self.enter_limited(policy, parts, admission, since).await
            }
            Err(rejection) => Err(Refusal::from(rejection).in_answer_to(&self, (&parts).into())),
        }
    }

    async fn decide_head(
        &self,
        policy: Option<Policy>,
        parts: &mut Parts,
    ) -> Result<(Policy, Admission, Instant), Rejection> {
        let policy = match policy {
            Some(policy) => policy,
            None => self.resolve((&*parts).into()).await?,
        };
        policy.name_hook(parts);
        if self.skips_body(&policy) {
            body::discard(parts);
        }
        let mut admission = Admission::default();
        let since = Instant::now();
        self.admit(&policy, (&*parts).into(), &mut admission).await?;
        Ok((policy, admission, since))
    }

    /// Whether no credential is looked for in the body, because the policy leaves it unread. Where hooks are
    /// concealed, the bodies of all of them are treated alike until the caller is known.
    #[inline]
    pub(in crate::auth) fn skips_body(&self, policy: &Policy) -> bool {
        policy.is_without_body() && !(self.conceal && policy.access() != Access::Public)
    }

    /// Takes every credential out of an admitted request, and puts the identity in. A probe goes no further.
    ///
    /// # Errors
    ///
    /// Returns a rejection if a place cannot be cleaned.
    pub(in crate::auth) fn enter(
        &self,
        policy: &Policy,
        head: &mut impl HeadMut,
        admission: Admission,
    ) -> Decision {
        let Admission { identity, extensions, .. } = admission;
        if policy.is_probe(head.head().method()) {
            trace::accepted(identity.as_ref(), policy.hook());
            identity::insert(head.extensions_mut(), identity);
            return Ok(());
        }
        if policy.is_without_body() {
            body::discard(head);
        }
        self.check_body(policy, identity.as_ref(), head)?;
        for credentials in self.all_credentials() {
            credentials.scrub_head(head, self.reading(policy.hook()))?;
        }
        #[cfg(feature = "management")]
        let identity = identity.map(|identity| identity.with_challenges(self.respond.challenges()));
        trace::accepted(identity.as_ref(), policy.hook());
        if let Some(extensions) = extensions {
            head.extensions_mut().extend(extensions);
        }
        identity::insert(head.extensions_mut(), identity);
        Ok(())
    }
}

/// The answer to a probe of a caller who may call.
pub(in crate::auth) fn probe_answer<B>(marks: &Marks) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::refusal(Bytes::new()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    marks.mark(response.headers_mut());
    response
}
