use std::fmt;

use bytes::Bytes;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LINK, LOCATION,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::ExecutorError;
use crate::content::json::{self, JsonLimits};

/// The result of an execution.
///
/// `Debug` shows the length of its content alone: a result may hold a secret.
#[derive(Clone)]
pub struct Outcome {
    pub(super) content: Content,
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
}

#[derive(Clone)]
pub(super) enum Content {
    /// A JSON text, for the response format to put in its place.
    Json(String),
    /// 202: the work goes on elsewhere.
    Accepted,
    /// A body that is sent as it is.
    Raw(Bytes),
}

impl Outcome {
    /// A value.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be written as JSON, for instance a map whose keys are no texts.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ExecutorError> {
        Ok(Self::new(Content::Json(serde_json::to_string(value)?)))
    }

    /// A value that is JSON already. Its numbers and the order of its members stay as they are.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is no JSON text, is nested more deeply than 128, or has a member twice.
    pub fn json_text(text: impl Into<String>) -> Result<Self, ExecutorError> {
        let text = text.into();
        json::validate(text.as_bytes(), &JsonLimits::new().with_nodes(usize::MAX))?;
        Ok(Self::new(Content::Json(text)))
    }

    /// No value: `null`.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Content::Json("null".to_owned()))
    }

    /// The work was taken over and goes on after the response, which is a 202 without a body.
    #[must_use]
    pub fn accepted() -> Self {
        Self::new(Content::Accepted)
    }

    /// A body of its own, past the response format. Name its type with
    /// [`with_header`](Self::with_header); without one it is `application/octet-stream`.
    #[must_use]
    pub fn raw(body: impl Into<Bytes>) -> Self {
        Self::new(Content::Raw(body.into()))
    }

    /// Another status than 200 (or 202). A response with 204, 205 or 304 has no content, with any result
    /// (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
    ///
    /// # Errors
    ///
    /// Returns an error for a status that is not final (1xx), and for those which promise headers that are
    /// not an executor's to give (401, 405, 407).
    pub fn with_status(mut self, status: StatusCode) -> Result<Self, ExecutorError> {
        if status.is_informational() || matches!(status.as_u16(), 401 | 405 | 407) {
            return Err("an executor cannot answer with this status".into());
        }
        self.status = Some(status);
        Ok(self)
    }

    /// Adds a header. Allowed are `Content-Type`, `Content-Language`, `Content-Disposition`, `ETag`,
    /// `Last-Modified`, `Link`, `Location`, `Retry-After` and names that start with `x-`.
    ///
    /// # Errors
    ///
    /// Returns an error, which names the header, for every other one: those that frame the message, that set cookies,
    /// that challenge, or that decide about caches are not an executor's to set.
    pub fn with_header(
        mut self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<Self, ExecutorError> {
        const ALLOWED: [HeaderName; 8] = [
            CONTENT_TYPE,
            CONTENT_LANGUAGE,
            CONTENT_DISPOSITION,
            ETAG,
            LAST_MODIFIED,
            LINK,
            LOCATION,
            RETRY_AFTER,
        ];
        if !ALLOWED.contains(&name) && !name.as_str().starts_with("x-") {
            return Err(format!("an executor cannot set the header `{name}`").into());
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// The value, if it is a JSON text.
    #[must_use]
    pub fn as_json(&self) -> Option<&str> {
        match &self.content {
            Content::Json(text) => Some(text),
            Content::Accepted | Content::Raw(_) => None,
        }
    }

    /// How many bytes the content has.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Json(text) => text.len(),
            Content::Accepted => 0,
            Content::Raw(bytes) => bytes.len(),
        }
    }

    fn new(content: Content) -> Self {
        Self { content, status: None, headers: HeaderMap::new() }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("status", &self.status)
            .field("length", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING, WWW_AUTHENTICATE};

    use super::*;

    #[test]
    fn a_value_that_is_no_json_is_an_error() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);

        assert!(Outcome::json(&map).is_err());
        assert!(Outcome::json_text("{").is_err());
        assert!(Outcome::json_text(r#"{"a":1,"a":2}"#).is_err());
        assert!(Outcome::json_text("[".repeat(10_000) + &"]".repeat(10_000)).is_err());
    }

    #[test]
    fn a_json_text_keeps_its_digits() {
        let outcome = Outcome::json_text("[1e400,0.10,123456789012345678901234567890]").unwrap();

        assert_eq!(outcome.as_json(), Some("[1e400,0.10,123456789012345678901234567890]"));
    }

    #[test]
    fn headers_that_are_not_an_executors_to_set_are_refused() {
        for name in [SET_COOKIE, CONTENT_LENGTH, TRANSFER_ENCODING, WWW_AUTHENTICATE] {
            let set = Outcome::empty().with_header(name.clone(), HeaderValue::from_static("1"));
            let error = set.unwrap_err();
            assert!(error.source().unwrap().to_string().contains(name.as_str()), "{name}");
        }
        for name in [HeaderName::from_static("x-build"), LOCATION, RETRY_AFTER] {
            assert!(Outcome::empty().with_header(name, HeaderValue::from_static("1")).is_ok());
        }
    }

    #[test]
    fn a_status_that_promises_headers_is_refused() {
        for status in [100, 101, 401, 405, 407] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(Outcome::empty().with_status(status).is_err(), "{status}");
        }
        assert!(Outcome::empty().with_status(StatusCode::CREATED).is_ok());
    }
}
