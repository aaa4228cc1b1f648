//! The way in for a request that has been decided about.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};

use super::{Admission, Decision, Verdict};
use crate::auth::config::AuthConfig;
use crate::auth::future::{Entered, Refusal};
use crate::auth::policy::{Access, Policy};
use crate::body;
use crate::identity;
use crate::rejection::{Rejection, ResponseBody};
use crate::request_head::HeadMut;
use crate::trace;

impl AuthConfig {
    /// Lets a request in whose key has been looked up, if it may.
    pub(in crate::auth) fn enter_verified<B>(
        &self,
        mut request: Request<B>,
        policy: Policy,
        verdict: Verdict,
        since: Instant,
    ) -> Result<Entered<B>, Refusal> {
        let mut admission = Admission::default();
        let decision = self.verified(&policy, (&request).into(), verdict, &mut admission);
        let by_target = admission.by_target();
        decision
            .and_then(|()| self.enter(&policy, &mut request, admission))
            .map_err(|rejection| Refusal::from(rejection).in_answer_to(self, (&request).into()))?;
        Ok(Entered { request, policy, by_target, since })
    }

    /// Lets the head of a request in, if it may, and finds out its policy where that is not known yet.
    pub(in crate::auth) async fn enter_head(
        self: Arc<Self>,
        policy: Option<Policy>,
        mut parts: Parts,
    ) -> Result<Entered<()>, Refusal> {
        match self.decide_head(policy, &mut parts).await {
            Ok((policy, by_target, since)) => {
                Ok(Entered { request: Request::from_parts(parts, ()), policy, by_target, since })
            }
            Err(rejection) => Err(Refusal::from(rejection).in_answer_to(&self, (&parts).into())),
        }
    }

    async fn decide_head(
        &self,
        policy: Option<Policy>,
        parts: &mut Parts,
    ) -> Result<(Policy, bool, Instant), Rejection> {
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
        let by_target = admission.by_target();
        self.enter(&policy, parts, admission)?;
        Ok((policy, by_target, since))
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
        let Admission { identity, extensions } = admission;
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
pub(in crate::auth) fn probe_answer<B>(by_target: bool) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::refusal(Bytes::new()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if by_target {
        protect_target(response.headers_mut());
    }
    response
}

/// Protects the response to a request that had its credential in the target (RFC 6750, section 2.3).
pub(in crate::auth) fn protect_target(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
