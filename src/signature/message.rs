use std::fmt;

use http::{HeaderMap, Method};

use crate::content::MediaType;

/// What a sender has signed, borrowed: the raw bytes of a request.
///
/// Build it of what arrived. A body that was parsed and written again has other bytes, and fails.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub(super) method: &'a Method,
    pub(super) url: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The header fields and the body of a `POST`.
    #[must_use]
    pub const fn new(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { method: &Method::POST, url: None, headers, body }
    }

    /// Another method than `POST`.
    #[must_use]
    pub const fn with_method(self, method: &'a Method) -> Self {
        Self { method, ..self }
    }

    /// The public address of the request, with its query, as the provider knows it: `https://example.com/hook?a=1`.
    /// Twilio, Square and HubSpot sign it.
    ///
    /// # Security
    ///
    /// Make it of a configured origin and the path and query of the request. `Host` and `X-Forwarded-Host` are the
    /// client's to choose.
    #[must_use]
    pub const fn with_url(self, url: &'a str) -> Self {
        Self { url: Some(url), ..self }
    }

    /// Whether the body is an urlencoded form.
    pub(super) fn is_form(&self) -> bool {
        matches!(MediaType::from_headers(self.headers), Ok(MediaType::Form))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("method", &self.method)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}
