//! [`Identity`] as an axum extractor (feature `axum`).
//!
//! Both extractors answer 500, with a line in the log, if no auth layer has seen the request: a handler
//! that asks for an identity is never run for a caller who was not checked.
//!
//! * `Identity`: the proven caller. On a public route there is none, which is a fault of the app as well:
//!   500.
//! * `Option<Identity>`: `None` on a public route.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::identity::{Identity, MissingAuthLayer};
use crate::rejection::{Asked, Rejection, RejectionKind, Respond};

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = MissingAuthLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, MissingAuthLayer> {
        Self::of(&parts.extensions)?.cloned().ok_or(MissingAuthLayer)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = MissingAuthLayer;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<Option<Self>, MissingAuthLayer> {
        Ok(Self::of(&parts.extensions)?.cloned())
    }
}

impl IntoResponse for MissingAuthLayer {
    fn into_response(self) -> Response {
        let rejection = Rejection::new(RejectionKind::Misconfigured).with_source(self);
        Respond::new().response(&rejection, &Asked::default()).map(Body::from)
    }
}
