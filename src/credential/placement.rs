use std::fmt;
use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderName, Request};

use super::Secret;
use super::path_template::PathTemplate;
use super::scheme::Scheme;
use crate::content::is_token;
use crate::error::ConfigError;
use crate::request_head::RequestHead;

/// A place in a request where a credential may sit.
///
/// An ordered list of placements is configuration: [`AuthLayer::token`](crate::auth::AuthLayer::token)
/// takes one. The constructors say what each place accepts.
///
/// # Examples
///
/// ```
/// use tower_webhook::credential::Placement;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let placements = [Placement::header("x-api-key")?, Placement::bearer()];
/// # let _ = placements;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Placement {
    pub(super) place: Place,
    pub(super) secret_token_uri: bool,
    /// Run once the place itself is empty.
    pub(super) scrubs: Vec<Arc<ScrubFn>>,
    condition: Option<Arc<Condition>>,
}

type Condition = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// The kind of a [`Placement`], without its name: what a log line or a metric needs to know.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PlacementKind {
    /// A header of its own.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// `Authorization` with another scheme.
    Authorization,
    /// A protocol that is offered for a WebSocket.
    WebSocketProtocol,
    /// A cookie.
    Cookie,
    /// A query parameter.
    Query,
    /// A path segment.
    Path,
    /// A member or field of the body.
    Body,
    /// A place that a closure reads.
    Custom,
}

#[derive(Clone)]
pub(super) enum Place {
    Header(HeaderName),
    Authorization(Scheme),
    WebSocketProtocol,
    Cookie(Box<str>),
    Query(Box<str>),
    Path(PathTemplate),
    Body(Box<str>),
    Custom(Arc<FindFn>),
}

type FindFn = dyn Fn(RequestHead<'_>) -> Vec<Secret> + Send + Sync;
type ScrubFn = dyn Fn(&mut Request<()>) + Send + Sync;

impl Placement {
    /// A header of its own, such as `X-API-Key`. The whole value is the credential; blanks around it are
    /// not part of it (RFC 9110, section 5.5).
    ///
    /// # Security
    ///
    /// Shared caches know `Authorization`, and no other header of a credential: they do not keep the response to a
    /// request with it (RFC 9111, section 3.5). So the layer adds `Cache-Control: private` to a response whose app has set
    /// no `Cache-Control`. An app that sets one says itself whether the response is for the caller alone. The same holds
    /// for [`cookie`](Self::cookie), [`body`](Self::body) and [`custom`](Self::custom). A refusal has `no-store`.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is no header name, or that of a header which serves the transport.
    pub fn header(name: impl TryInto<HeaderName>) -> Result<Self, ConfigError> {
        let name = name
            .try_into()
            .map_err(|_| ConfigError::new("the name of a header placement is no header name"))?;
        if [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
            .contains(&name)
        {
            return Err(ConfigError::new("a credential cannot sit in a header of the transport"));
        }
        Ok(Self::new(Place::Header(name)))
    }

    /// `Authorization: Bearer <credential>` (RFC 6750, section 2.1). The scheme is read in any case
    /// (RFC 9110, section 11.1).
    #[must_use]
    pub const fn bearer() -> Self {
        Self::new(Place::Authorization(Scheme::Bearer))
    }

    /// `Authorization: Basic <base64 of user:password>` (RFC 7617). The password is the credential, and
    /// the user name is beside it ([`PresentedCredential::username`](super::PresentedCredential::username)). Where the
    /// password is empty, the user name is the credential, as several providers of API keys have it. Where both
    /// are empty, there is a credential, and it cannot be read.
    #[must_use]
    pub const fn basic() -> Self {
        Self::new(Place::Authorization(Scheme::Basic))
    }

    /// `Authorization: <scheme> <credential>` with a scheme of your own, such as `ApiKey` or `Token`. The scheme is
    /// a token, and is read in any case (RFC 9110, section 11.1). A challenge names it as it is written here.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme is no token, or if it is `Bearer` or `Basic`, which
    /// [`bearer`](Self::bearer) and [`basic`](Self::basic) read.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::credential::{Credentials, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let credentials = Credentials::new([Placement::authorization("ApiKey")?])?;
    ///
    /// let request = http::Request::get("/").header("authorization", "apikey  abc").body(())?;
    /// let candidate = credentials.find((&request).into())?.ok_or("no credential")?;
    /// assert_eq!(candidate.expose_text(), Some("abc"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn authorization(scheme: &str) -> Result<Self, ConfigError> {
        Scheme::own(scheme).map(|scheme| Self::new(Place::Authorization(scheme)))
    }

    /// A protocol that is offered for a WebSocket: `key.<credential>` in `Sec-WebSocket-Protocol`, beside the protocols
    /// that the app speaks. Browsers can set no other field of a handshake.
    ///
    /// A protocol is a token (RFC 6455, section 4.1). A credential that is one is sent as it is. Any other is sent in
    /// base64url without padding (RFC 4648, section 5), and is known by what it decodes to: a text without control
    /// characters in which at least one character may not be in a token. (Keys of
    /// [`PrefixedFormat`](crate::key::PrefixedFormat) are tokens. A short key that happens to decode to such a text
    /// cannot be sent here.)
    ///
    /// The protocol of the key is taken out, and the others stay as they were sent, so that the service cannot pick it
    /// for its answer. A browser fails a connection for which the server picks none of the offered protocols. A key
    /// that is offered alone is therefore refused as
    /// [`NoSubprotocol`](crate::rejection::RejectionKind::NoSubprotocol).
    ///
    /// # Security
    ///
    /// Some proxies and servers write this field to their logs, unlike `Authorization`.
    ///
    /// # Examples
    ///
    /// In the browser: `new WebSocket(url, ["chat", "key." + key])`.
    ///
    /// ```
    /// use tower_webhook::credential::{Credentials, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let credentials = Credentials::new([Placement::websocket_protocol()])?;
    ///
    /// let request = http::Request::get("/").header("sec-websocket-protocol", "chat, key.abc");
    /// let mut request = request.body(())?;
    /// let candidate = credentials.find((&request).into())?.ok_or("no credential")?;
    /// assert_eq!(candidate.expose_text(), Some("abc"));
    ///
    /// credentials.scrub(&mut request)?;
    /// assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn websocket_protocol() -> Self {
        Self::new(Place::WebSocketProtocol)
    }

    /// A cookie (RFC 6265).
    ///
    /// # Security
    ///
    /// Browsers send cookies with requests that another site has started. Set `SameSite`, or protect
    /// the route against cross-site requests.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is no token.
    pub fn cookie(name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let name = name.into();
        if !is_token(&name) {
            return Err(ConfigError::new("the name of a cookie placement is no token"));
        }
        Ok(Self::new(Place::Cookie(name)))
    }

    /// A query parameter, by its exact decoded name. A raw `+` is a blank (WHATWG URL, section 5.1), so a key with a `+`
    /// in it is sent with `%2B`; the log says so where one is refused. Responses to a credential found here carry
    /// `Cache-Control: private, no-store` and `Referrer-Policy: no-referrer` (RFC 6750, section 2.3).
    ///
    /// # Security
    ///
    /// Queries are written to logs and histories on their way. OWASP ASVS 5.0 (14.2.1) does not
    /// allow keys there: offer this place only to senders that cannot set a header.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is empty.
    pub fn query(name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let name = name.into();
        if name.is_empty() {
            return Err(ConfigError::new("the name of a query placement is empty"));
        }
        Ok(Self::new(Place::Query(name)))
    }

    /// A path segment, by a template such as `/hook/{id}/{key}`, in the syntax of axum's routes. The
    /// credential is the parameter `key`, or the only one if there is one. The segment is
    /// percent-decoded once. The inner service sees `redacted` in its place.
    ///
    /// The template is matched against the path as the layer sees it: inside axum's `nest`, that is
    /// the path without the prefix. axum captures its own path parameters when it picks a route, so
    /// put the layer around the `Router` (or the whole nest) rather than on the route: a layer on the
    /// route authenticates as well, but cannot take the key out of what axum has captured already.
    ///
    /// # Security
    ///
    /// Paths are written to logs on their way, as queries are.
    ///
    /// # Errors
    ///
    /// Returns an error if the template is malformed, or if it does not say which parameter is the
    /// credential.
    pub fn path(template: &str) -> Result<Self, ConfigError> {
        PathTemplate::new(template).map(|template| Self::new(Place::Path(template)))
    }

    /// A member of a JSON body, or a field of an urlencoded or (feature `multipart`) multipart body, at
    /// the top level and by its exact decoded name.
    ///
    /// In an urlencoded form a raw `+` is a blank, as in a query.
    ///
    /// The body has to be buffered before the credential can be read:
    /// [`AuthLayer::with_buffer`](crate::auth::AuthLayer::with_buffer) does both in the right order.
    /// The media type alone decides how the body is read; under [`Hooks`](crate::hook::Hooks), one that its envelope
    /// [reads as JSON](crate::envelope::EnvelopeBuilder::with_media_types) is JSON here too. Without a buffered body
    /// every request is refused as [`Misconfigured`](crate::rejection::RejectionKind::Misconfigured).
    ///
    /// # Errors
    ///
    /// Returns an error if the name is empty.
    pub fn body(name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let name = name.into();
        if name.is_empty() {
            return Err(ConfigError::new("the name of a body placement is empty"));
        }
        Ok(Self::new(Place::Body(name)))
    }

    /// Any other place. The closure returns every credential that is there, so that a repeat can be
    /// refused; empty ones are ignored.
    ///
    /// # Examples
    ///
    /// A key in a member of a list, `X-Params: a=1, key=abc`:
    ///
    /// ```
    /// use tower_webhook::credential::{Placement, Secret};
    ///
    /// let member = Placement::custom(|head| {
    ///     head.headers()
    ///         .get_all("x-params")
    ///         .iter()
    ///         .filter_map(|value| value.to_str().ok())
    ///         .flat_map(|value| value.split(','))
    ///         .filter_map(|member| member.trim().strip_prefix("key="))
    ///         .map(Secret::new)
    ///         .collect()
    /// })
    /// .with_scrub(|request| {
    ///     request.headers_mut().remove("x-params");
    /// });
    /// # let _ = member;
    /// ```
    ///
    /// # Security
    ///
    /// What the closure reads stays in the request unless [`with_scrub`](Self::with_scrub) removes it.
    #[must_use]
    pub fn custom(find: impl Fn(RequestHead<'_>) -> Vec<Secret> + Send + Sync + 'static) -> Self {
        Self::new(Place::Custom(Arc::new(find)))
    }

    /// Removes what the placement itself does not: the credential of a [`custom`](Self::custom) placement, or a copy
    /// that a middleware outside has made of another one. The closure is given the request without its body, after
    /// the place itself is empty. Several closures run in the order in which they were added.
    #[must_use]
    pub fn with_scrub(mut self, scrub: impl Fn(&mut Request<()>) + Send + Sync + 'static) -> Self {
        self.scrubs.push(Arc::new(scrub));
        self
    }

    /// Accepts the credential also behind the prefix `secret-token:` (RFC 8959), which some senders add so
    /// that scanners find leaked credentials.
    #[must_use]
    pub const fn with_secret_token_uri(mut self) -> Self {
        self.secret_token_uri = true;
        self
    }

    /// Reads the place in some requests only: where the closure returns `true`. Several conditions have to hold
    /// together.
    ///
    /// In other requests nothing in the place counts as a credential, alone or beside another one. The place is
    /// emptied in all of them, so that a key does not reach the inner service. Challenges do not change.
    ///
    /// # Examples
    ///
    /// Browsers cannot set a header on an `EventSource`. A key in the query is for such streams, and no other
    /// request may have its key there:
    ///
    /// ```
    /// use http::Method;
    /// use http::header::ACCEPT;
    /// use tower_webhook::credential::{Credentials, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stream = Placement::query("token")?.only_if(|head| {
    ///     let accept = head.headers().get(ACCEPT);
    ///     *head.method() == Method::GET && accept.is_some_and(|accept| accept == "text/event-stream")
    /// });
    /// let credentials = Credentials::new([Placement::header("x-api-key")?, stream])?;
    ///
    /// let mut request = http::Request::post("/deploy?token=abc").body(())?;
    /// assert!(credentials.find((&request).into())?.is_none());
    /// credentials.scrub(&mut request)?;
    /// assert_eq!(request.uri(), "/deploy");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn only_if(
        mut self,
        condition: impl Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.condition = Some(match self.condition.take() {
            None => Arc::new(condition),
            Some(first) => Arc::new(move |head| first(head) && condition(head)),
        });
        self
    }

    pub(super) fn applies_to(&self, head: RequestHead<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition(head))
    }

    pub(super) const fn is_conditional(&self) -> bool {
        self.condition.is_some()
    }

    /// The kind of the place.
    #[must_use]
    pub const fn kind(&self) -> PlacementKind {
        match &self.place {
            Place::Header(_) => PlacementKind::Header,
            Place::Authorization(scheme) => scheme.kind(),
            Place::WebSocketProtocol => PlacementKind::WebSocketProtocol,
            Place::Cookie(_) => PlacementKind::Cookie,
            Place::Query(_) => PlacementKind::Query,
            Place::Path(_) => PlacementKind::Path,
            Place::Body(_) => PlacementKind::Body,
            Place::Custom(_) => PlacementKind::Custom,
        }
    }

    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Body(_))
    }

    const fn new(place: Place) -> Self {
        Self { place, secret_token_uri: false, scrubs: Vec::new(), condition: None }
    }

    /// Whether two placements read the same place, so that one credential would count twice.
    pub(super) fn clashes_with(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Header(a), Place::Header(b)) => a == b,
            (Place::Header(name), Place::Authorization(_))
            | (Place::Authorization(_), Place::Header(name)) => {
                *name == http::header::AUTHORIZATION
            }
            (Place::Header(name), Place::Cookie(_)) | (Place::Cookie(_), Place::Header(name)) => {
                *name == http::header::COOKIE
            }
            (Place::Authorization(a), Place::Authorization(b)) => a.is(b),
            (Place::Header(name), Place::WebSocketProtocol)
            | (Place::WebSocketProtocol, Place::Header(name)) => *name == SEC_WEBSOCKET_PROTOCOL,
            (Place::WebSocketProtocol, Place::WebSocketProtocol) => true,
            (Place::Cookie(a), Place::Cookie(b))
            | (Place::Query(a), Place::Query(b))
            | (Place::Body(a), Place::Body(b)) => a == b,
            (Place::Path(a), Place::Path(b)) => a == b,
            _ => false,
        }
    }
}

impl Place {
    pub(super) const fn scheme(&self) -> Option<&Scheme> {
        match self {
            Self::Authorization(scheme) => Some(scheme),
            _ => None,
        }
    }

    /// Where the key goes, for a challenge: the part of the request, and the name in it.
    pub(super) fn in_challenge(&self) -> Option<(&'static str, Box<str>)> {
        match self {
            Self::Header(name) => Some(("header", name.as_str().into())),
            Self::WebSocketProtocol => Some(("header", SEC_WEBSOCKET_PROTOCOL.as_str().into())),
            Self::Cookie(name) => Some(("cookie", name.clone())),
            Self::Query(name) => Some(("query", name.clone())),
            Self::Path(template) => Some(("path", template.parameter().into())),
            Self::Body(name) => Some(("body", name.clone())),
            Self::Authorization(_) | Self::Custom(_) => None,
        }
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Place::Authorization(Scheme::Own(scheme)) => {
                f.debug_tuple("Authorization").field(scheme).finish()
            }
            Place::Authorization(scheme) => scheme.fmt(f),
            Place::WebSocketProtocol => f.write_str("WebSocketProtocol"),
            Place::Cookie(name) => f.debug_tuple("Cookie").field(name).finish(),
            Place::Query(name) => f.debug_tuple("Query").field(name).finish(),
            Place::Path(template) => f.debug_tuple("Path").field(template).finish(),
            Place::Body(name) => f.debug_tuple("Body").field(name).finish(),
            Place::Custom(_) => f.write_str("Custom(<fn>)"),
        }
    }
}

impl PlacementKind {
    /// Every kind, in the order of the enum. The last variant is in the type, so that a list without a new one before it
    /// does not compile.
    #[cfg(any(feature = "metrics", feature = "queue"))]
    pub(crate) const ALL: [Self; Self::Custom as usize + 1] = [
        Self::Header,
        Self::Bearer,
        Self::Basic,
        Self::Authorization,
        Self::WebSocketProtocol,
        Self::Cookie,
        Self::Query,
        Self::Path,
        Self::Body,
        Self::Custom,
    ];

    /// The name of the kind for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Authorization => "authorization",
            Self::WebSocketProtocol => "websocket_protocol",
            Self::Cookie => "cookie",
            Self::Query => "query",
            Self::Path => "path",
            Self::Body => "body",
            Self::Custom => "custom",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_work_are_refused() {
        assert!(Placement::header("x api key").is_err());
        assert!(Placement::header("").is_err());
        assert!(Placement::header("Host").is_err());
        assert!(Placement::header("Content-Length").is_err());
        assert!(Placement::cookie("a=b").is_err());
        assert!(Placement::cookie("").is_err());
        assert!(Placement::query("").is_err());
        assert!(Placement::body("").is_err());
        assert!(Placement::path("no-slash").is_err());
        assert!(Placement::path("/hook").is_err());
        assert!(Placement::path("/{a}/{b}").is_err());
        for scheme in ["", "Api Key", "Api,Key", "ApiKey:", "\u{e4}"] {
            assert!(Placement::authorization(scheme).is_err(), "{scheme:?}");
        }
        for (scheme, instead) in [("bearer", "bearer()"), ("BASIC", "basic()")] {
            let error = Placement::authorization(scheme).unwrap_err();
            assert!(error.to_string().contains(instead), "{error}");
        }
    }

    #[test]
    fn placements_that_read_one_place_clash() {
        let authorization = Placement::header("authorization").unwrap();
        let cookie = Placement::header("cookie").unwrap();
        let clashing = [
            (Placement::bearer(), Placement::bearer()),
            (authorization.clone(), Placement::bearer()),
            (Placement::basic(), authorization.clone()),
            (Placement::authorization("Token").unwrap(), authorization),
            (
                Placement::authorization("Token").unwrap(),
                Placement::authorization("TOKEN").unwrap(),
            ),
            (Placement::cookie("a").unwrap(), cookie),
            (Placement::websocket_protocol(), Placement::websocket_protocol()),
            (Placement::header("sec-websocket-protocol").unwrap(), Placement::websocket_protocol()),
            (Placement::header("X-A").unwrap(), Placement::header("x-a").unwrap()),
            (Placement::path("/{key}").unwrap(), Placement::path("/{key}").unwrap()),
        ];
        for (a, b) in clashing {
            assert!(a.clashes_with(&b) && b.clashes_with(&a), "{a:?} {b:?}");
        }
        assert!(!Placement::bearer().clashes_with(&Placement::basic()));
        let token = Placement::authorization("Token").unwrap();
        assert!(!token.clashes_with(&Placement::authorization("Key").unwrap()));
        assert!(!token.clashes_with(&Placement::bearer()));
        let query = Placement::query("a").unwrap();
        assert!(!query.clashes_with(&Placement::body("a").unwrap()));
    }
}
