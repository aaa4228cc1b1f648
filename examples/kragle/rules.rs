//! The rules of the protocol that need nothing but a request: addresses, who may call them, and refusals.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tower_webhook::RequestHead;
use tower_webhook::auth::Policy;
use tower_webhook::content::json::{JsonKind, JsonLimits, validate};
use tower_webhook::content::{ContentError, MediaType, form};
use tower_webhook::rejection::{Rejection, RejectionKind};

use crate::stacks::{Mode, Stack, Verb};

/// The largest body of a request, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// JSON is as deep as the library allows by default, and as long as its body.
pub(crate) const JSON_LIMITS: JsonLimits = JsonLimits::new().with_nodes(usize::MAX);

/// Where a request goes. An id that is no id is an unknown stack, `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// `/blockstacks/hook/<id>`
    Hook(Option<i64>),
    /// `/blockstacks/exec/<id>`
    Exec(Option<i64>),
    /// `/blockstacks/hook/token_refresh/<id>`
    TokenRefresh(Option<i64>),
    /// `/blockstacks/byid/<id>`
    ById(Option<i64>),
    /// `/blockstacks/byname/<name>`
    ByName(String),
    /// `/blockstacks/<id>`
    Stack(Option<i64>),
    /// `/blockstacks`
    Stacks,
    /// `/authenticate`
    Authenticate,
}

impl Address {
    /// Reads a path. Each segment is percent-decoded once, so that `%2F` is a slash inside of a name.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let decode = |segment| percent_decode_str(segment).decode_utf8().ok();
        let segments: Vec<_> = path.split('/').map(decode).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let ["", "api", "v1", below @ ..] = segments.as_slice() else { return None };
        Some(match below {
            ["authenticate"] => Self::Authenticate,
            ["blockstacks"] => Self::Stacks,
            // An empty segment names nothing.
            ["blockstacks", .., ""] => return None,
            ["blockstacks", "hook", "token_refresh", id] => Self::TokenRefresh(positive(id)),
            ["blockstacks", "hook", id] => Self::Hook(positive(id)),
            ["blockstacks", "exec", id] => Self::Exec(positive(id)),
            ["blockstacks", "byid", id] => Self::ById(positive(id)),
            ["blockstacks", "byname", name] => Self::ByName((*name).to_owned()),
            ["blockstacks", id] => Self::Stack(positive(id)),
            _ => return None,
        })
    }

    /// The methods of an address, but for a hook: that has the one method of its stack.
    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Hook(_) => &[],
            Self::Exec(_) | Self::TokenRefresh(_) | Self::Stacks => &[Method::GET, Method::POST],
            Self::ById(_) | Self::ByName(_) => &[Method::GET],
            Self::Stack(_) => &[Method::PUT],
            Self::Authenticate => &[Method::POST],
        }
    }
}

/// A positive integer in its one decimal form.
fn positive(text: &str) -> Option<i64> {
    is_positive_decimal(text).then(|| text.parse().ok()).flatten()
}

fn is_positive_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && !text.is_empty()
}

/// The page that a query asks for. It may be any number of digits long.
pub(crate) fn page(query: &str) -> Result<String, Fault> {
    let mut pages = form::pairs(query.as_bytes()).filter(|pair| pair.is_named("page"));
    match (pages.next(), pages.next()) {
        (None, _) => Ok("1".to_owned()),
        (Some(page), None) if is_positive_decimal(&page.value_lossy()) => {
            Ok(page.value_lossy().into_owned())
        }
        _ => Err(Fault::BadRequest),
    }
}

/// An address, and the stacks that it names: at most one by an id, and all of a name.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) stacks: Arc<[Stack]>,
}

impl Target {
    pub(crate) fn stack(&self) -> Option<&Stack> {
        self.stacks.first()
    }

    /// Who may call. `None` is an unknown hook. What a request does not need a user for is public, until it
    /// names one (`presents_user`): then that user has to be good.
    pub(crate) fn policy(
        &self,
        method: &Method,
        presents_user: impl FnOnce() -> bool,
    ) -> Option<Policy> {
        let policy = match (&self.address, self.stack()) {
            (Address::Hook(_), stack) => return stack.and_then(hook_policy),
            (Address::Authenticate, _) => Policy::public(),
            // Only users learn whether a stack exists.
            (Address::Exec(_) | Address::TokenRefresh(_) | Address::Stack(_), None) => {
                Policy::user()
            }
            (Address::Exec(_) | Address::TokenRefresh(_) | Address::Stack(_), Some(stack)) => {
                Policy::user().with_owner(stack.account.clone())
            }
            (Address::Stacks, _) if method != Method::GET => Policy::user(),
            (Address::ById(_) | Address::ByName(_), Some(_)) if self.is_private() => Policy::user(),
            _ if presents_user() => Policy::user(),
            _ => Policy::public(),
        };
        Some(policy.with_methods(self.address.methods().iter().cloned()))
    }

    fn is_private(&self) -> bool {
        self.stacks.iter().all(|stack| !stack.settings.public)
    }

    /// The stack that a caller gets to see: their own, or else the public one with the lowest id.
    pub(crate) fn visible_to(&self, caller: Option<i64>) -> Result<&Stack, Fault> {
        let own = self.stacks.iter().find(|stack| Some(stack.owner) == caller);
        let public = || self.stacks.iter().find(|stack| stack.settings.public);
        let refusal = if self.stacks.is_empty() { Fault::NotFound } else { Fault::Forbidden };
        own.or_else(public).ok_or(refusal)
    }
}

fn hook_policy(stack: &Stack) -> Option<Policy> {
    let policy = match stack.settings.webhook? {
        Mode::Public => Policy::public(),
        Mode::Token => Policy::token().with_key(stack.key.clone()),
        Mode::User => Policy::user().with_owner(stack.account.clone()),
    };
    let method = match stack.settings.method? {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    };
    // One count of executions for each stack.
    Some(policy.with_methods([method]).with_hook(stack.id.to_string()))
}

/// The JSON object in a body.
pub(crate) fn object<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<&'a str, Fault> {
    match MediaType::from_headers(headers) {
        Ok(MediaType::Json | MediaType::Absent) => {}
        _ => return Err(Fault::NotJson),
    }
    let text = validate(body, &JSON_LIMITS).map_err(|_| Fault::NotJson)?;
    match text.kind() {
        JsonKind::Object => Ok(text.as_str()),
        _ => Err(Fault::Unfit),
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// A query, a form or the number of credentials is not as it should be.
    BadRequest,
    NotJson,
    Unauthorized,
    /// JSON that is understood and does not fit.
    Unfit,
    Forbidden,
    NotFound,
    NameTaken,
    UnknownBlock,
    /// A fault of ours.
    Unavailable,
}

impl Fault {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::NotJson | Self::Unfit | Self::UnknownBlock => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NameTaken => StatusCode::CONFLICT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The number and the text of Kragle's list. A fault of ours is not on it.
    fn code(self) -> Option<(u8, &'static str)> {
        Some(match self {
            Self::BadRequest | Self::Forbidden => {
                (1, "You have made a bad request - Please check your query params and try again.")
            }
            Self::NotJson => (
                2,
                "Your request body contained invalid or inappropriate JSON - please check your request and try again.",
            ),
            Self::Unauthorized => {
                (3, "That user does not exist or the specified password is incorrect.")
            }
            Self::Unfit => {
                (4, "Your json request payload is inappropriate for the requested operation.")
            }
            Self::NotFound => (6, "The specified object does not exist."),
            Self::NameTaken => (10, "The named Stack already exists."),
            Self::UnknownBlock => {
                (22, "You passed a non-existent Block type in your list of Blocks for a Stack.")
            }
            Self::Unavailable => return None,
        })
    }

    /// The entry of Kragle's list for a refusal of the library.
    fn of(rejection: &Rejection) -> Self {
        match rejection.kind() {
            kind if kind.is_unauthorized() => Self::Unauthorized,
            RejectionKind::Forbidden => Self::Forbidden,
            RejectionKind::NotFound => Self::NotFound,
            RejectionKind::BodyTooLarge => Self::Unfit,
            RejectionKind::MalformedBody if is_of_json(rejection) => Self::NotJson,
            _ if rejection.status().is_server_error() => Self::Unavailable,
            _ => Self::BadRequest,
        }
    }
}

fn is_of_json(rejection: &Rejection) -> bool {
    let source = rejection.source().and_then(|source| source.downcast_ref::<ContentError>());
    source.is_some_and(|error| error.offset().is_some())
}

/// A refusal of the library as a problem document. The library sets the status and the challenges.
pub(crate) fn refusal(rejection: &Rejection, _head: RequestHead<'_>) -> Response<Bytes> {
    problem(rejection.status(), Fault::of(rejection))
}

fn problem(status: StatusCode, fault: Fault) -> Response<Bytes> {
    let title = status.canonical_reason().unwrap_or("Refused");
    let document = match fault.code() {
        Some((code, msg)) => {
            json!({"title": title, "status": status.as_u16(), "code": code, "msg": msg})
        }
        None => json!({"title": title, "status": status.as_u16()}),
    };
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = problem(self.status(), self).map(Body::from);
        if self == Self::Unauthorized {
            let challenge = HeaderValue::from_static(r#"Basic realm="webhook", charset="UTF-8""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
