use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue};

use crate::credential::PlacementKind;
use crate::identity::Identity;
use crate::rate_limit::RateLimitFields;
use crate::rejection::Rejection;

/// What a response says because of the request that it answers.
#[derive(Debug, Default)]
pub(super) struct Marks {
    caching: Caching,
    rate_limit: Option<Box<RateLimitFields>>,
}

/// In the order of their strictness.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Caching {
    /// There was no credential, or one in `Authorization`, which keeps shared caches away (RFC 9111, section 3.5).
    #[default]
    AsItIs,
    /// The credential was in a place that caches do not know: no shared cache may store the response, unless the app
    /// says so (RFC 9111, section 5.2.2.7).
    Private,
    /// The credential was in the target (RFC 6750, section 2.3).
    InTarget,
}

impl Marks {
    pub(super) fn new(
        identity: Option<&Identity>,
        rate_limit: Option<Box<RateLimitFields>>,
    ) -> Self {
        let placements = identity.into_iter().flat_map(Identity::all).map(Identity::placement);
        Self { caching: placements.map(Caching::of).max().unwrap_or_default(), rate_limit }
    }

    /// Marks the response of an inner service, or to a probe.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        match self.caching {
            Caching::AsItIs => {}
            Caching::Private => {
                headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
            }
            Caching::InTarget => {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
                headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            }
        }
        if let Some(fields) = &self.rate_limit {
            fields.append_to(headers);
        }
    }

    /// Marks a refusal of a call that was counted. No cache stores it anyway.
    pub(super) fn mark_refusal(&self, rejection: Rejection) -> Rejection {
        match &self.rate_limit {
            Some(fields) => rejection.with_rate_limit(fields.as_ref().clone()),
            None => rejection,
        }
    }
}

impl Caching {
    const fn of(placement: Option<PlacementKind>) -> Self {
        use PlacementKind::{
            Authorization, Basic, Bearer, Body, Cookie, Custom, Header, Path, Query,
            WebSocketProtocol,
        };

        match placement {
            Some(Authorization | Basic | Bearer) => Self::AsItIs,
            Some(Query | Path) => Self::InTarget,
            // An authenticator without placements looks wherever it likes.
            Some(Header | Cookie | Body | Custom | WebSocketProtocol) | None => Self::Private,
        }
    }
}
