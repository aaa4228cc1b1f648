use std::fmt;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

/// A request without its body, borrowed: what placements, resolvers and authenticators may look at.
///
/// It is made of a whole [`Request`] or of [`Parts`], so that looking costs no
/// move of the request.
///
/// `Debug` leaves the target and the values of the headers out: credentials may be in both.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    hook: Option<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// The method of the request.
    #[must_use]
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The target of the request, as the layer sees it: inside axum's `nest` without the prefix. Decide who may call
    /// by [`original_path`](Self::original_path), or by axum's `MatchedPath`.
    #[must_use]
    pub const fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The path of the request as it was sent: with feature `axum`, inside axum's `nest` with the prefix
    /// (axum's `OriginalUri`). It is not decoded.
    ///
    /// A layer that is put on a router, or on a route of it, sees the same path as one around all routers. What
    /// rewrites the path in another way than axum's routers do leaves no trace here, and so does `nest` without
    /// feature `axum`.
    ///
    /// Credentials are still in it while a [`PolicyResolver`](crate::auth::PolicyResolver) or an
    /// [`Authenticator`](crate::auth::Authenticator) is asked, as in [`uri`](Self::uri): do not log it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::RequestHead;
    /// use tower_webhook::auth::{AuthLayer, Policy};
    ///
    /// // On a router that is nested at `/admin`, this does not open `/admin/status`.
    /// let layer = AuthLayer::per_request(|head: RequestHead<'_>| match head.original_path() {
    ///     "/status" => Some(Policy::public()),
    ///     _ => Some(Policy::token()),
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn original_path(&self) -> &'a str {
        #[cfg(feature = "axum")]
        if let Some(original) = self.extensions.get::<axum::extract::OriginalUri>() {
            return original.path();
        }
        self.uri.path()
    }

    /// The HTTP version of the request.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The header fields of the request.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What outer layers have attached to the request.
    #[must_use]
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The name of the hook, as the [policy](crate::auth::Policy::with_hook) has it. An
    /// [`Authenticator`](crate::auth::Authenticator) is shown it. `None` where the policy names none, and for what is
    /// asked before there is a policy.
    #[must_use]
    pub const fn hook(&self) -> Option<&'a str> {
        self.hook
    }

    /// The same head, as a request for this hook.
    pub(crate) const fn for_hook(self, hook: Option<&'a str>) -> Self {
        Self { hook, ..self }
    }

    /// A copy.
    pub(crate) fn to_parts(self) -> Parts {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        request.into_parts().0
    }

    /// The method that policies know this request by. Extended `CONNECT` (RFC 8441, section 4) is what `GET` is in
    /// HTTP/1.1: it asks for a WebSocket. It has a scheme and a path, and plain `CONNECT` has neither.
    pub(crate) fn served_method(&self) -> &'a Method {
        static GET: Method = Method::GET;
        let is_extended_connect = *self.method == Method::CONNECT
            && self.version >= Version::HTTP_2
            && self.uri.scheme().is_some()
            && self.uri.path().starts_with('/');
        if is_extended_connect { &GET } else { self.method }
    }

    /// Whether a browser asks for the permission of another site's page (Fetch, section 4.8, "CORS-preflight fetch").
    pub(crate) fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS
            && self.headers.contains_key(ORIGIN)
            && self.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
            hook: None,
        }
    }
}

impl<'a> From<&'a Parts> for RequestHead<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
            hook: None,
        }
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("version", &self.version)
            .field("header_names", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The parts of a head that scrubbing changes, in either of its two shapes.
pub(crate) trait HeadMut {
    fn head(&self) -> RequestHead<'_>;
    fn headers_mut(&mut self) -> &mut HeaderMap;
    fn uri_mut(&mut self) -> &mut Uri;
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl<B> HeadMut for Request<B> {
    fn head(&self) -> RequestHead<'_> {
        self.into()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn uri_mut(&mut self) -> &mut Uri {
        self.uri_mut()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

impl HeadMut for Parts {
    fn head(&self) -> RequestHead<'_> {
        self.into()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    fn uri_mut(&mut self) -> &mut Uri {
        &mut self.uri
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}
