use http::StatusCode;

/// The fault that led to a [`Rejection`](super::Rejection).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The authenticator has answered the request by itself:
    /// [`Authentication::Answered`](crate::auth::Authentication::Answered).
    Answered,
    /// No credential was in any of the configured places.
    Missing,
    /// More than one credential was presented (RFC 6750, section 2).
    Ambiguous,
    /// A key is the only protocol that is offered for a WebSocket: a browser would fail the connection.
    NoSubprotocol,
    /// The credential does not have the form of one. The store was not asked.
    Malformed,
    /// No such key, or no such user.
    Unknown,
    /// The key exists, and its secret is another one.
    WrongSecret,
    /// The key is good from a later time on.
    NotYetValid,
    /// The deadline of the key has passed.
    Expired,
    /// The key is switched off.
    Disabled,
    /// The key was revoked, which is final.
    Revoked,
    /// The key is good, and another key or a key of another owner is asked for.
    WrongOwner,
    /// The caller is known and lacks a permission.
    Forbidden,
    /// The caller may call, and has called too often: see [`rate_limit`](crate::rate_limit).
    RateLimited,
    /// No such hook, or one that is not offered.
    NotFound,
    /// The hook exists and is not served by this method.
    MethodNotAllowed,
    /// The target would be longer than a target can be once the credential in it is replaced.
    TargetTooLong,
    /// The body is larger than the limit, as announced or as read, or than the
    /// [executor](crate::hook::ExecutorError::input_too_large) takes.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body ended with an error, or does not follow the syntax of its media type.
    MalformedBody,
    /// The query or the body has too many fields.
    TooManyFields,
    /// A name or value of the query or of a form is not UTF-8.
    InvalidUtf8,
    /// The media type of the body is not one that is read here.
    UnsupportedMediaType,
    /// The body has a `Content-Encoding` that is not decoded here.
    UnsupportedContentCoding,
    /// The request is well formed, and asks for something outside its limits:
    /// [`Rejection::violations`](super::Rejection::violations) says where. Or an executor finds it
    /// [invalid](crate::hook::ExecutorError::invalid).
    Invalid,
    /// What is to be made is there already, or other changes kept coming first.
    Conflict,
    /// The key that is to be changed was revoked, which is final.
    AlreadyRevoked,
    /// The same delivery of a sender is being run.
    InFlight,
    /// The key store, the authenticator, the resolver or the limiter failed or did not answer in time, or the executor is
    /// [unavailable](crate::hook::ExecutorError::unavailable).
    Unavailable,
    /// As many executions are under way as are allowed, or the executor is
    /// [busy](crate::hook::ExecutorError::busy).
    AtCapacity,
    /// The executor failed.
    ExecutorFailed,
    /// The executor did not finish in time.
    ExecutorTimeout,
    /// A fault inside the service.
    Internal,
    /// A part that this request needs was not configured: a layer without keys for a token hook, a body
    /// placement without a buffered body, an extractor without a layer.
    Misconfigured,
}

impl RejectionKind {
    /// Every kind, in the order of the enum. The last variant is in the type, so that a list without a new one before it
    /// does not compile.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) const ALL: [Self; Self::Misconfigured as usize + 1] = [
        Self::Answered,
        Self::Missing,
        Self::Ambiguous,
        Self::NoSubprotocol,
        Self::Malformed,
        Self::Unknown,
        Self::WrongSecret,
        Self::NotYetValid,
        Self::Expired,
        Self::Disabled,
        Self::Revoked,
        Self::WrongOwner,
        Self::Forbidden,
        Self::RateLimited,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TargetTooLong,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::MalformedBody,
        Self::TooManyFields,
        Self::InvalidUtf8,
        Self::UnsupportedMediaType,
        Self::UnsupportedContentCoding,
        Self::Invalid,
        Self::Conflict,
        Self::AlreadyRevoked,
        Self::InFlight,
        Self::Unavailable,
        Self::AtCapacity,
        Self::ExecutorFailed,
        Self::ExecutorTimeout,
        Self::Internal,
        Self::Misconfigured,
    ];

    /// The status of the response.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Answered => StatusCode::OK,
            Self::Missing
            | Self::Malformed
            | Self::Unknown
            | Self::WrongSecret
            | Self::NotYetValid
            | Self::Expired
            | Self::Disabled
            | Self::Revoked
            | Self::WrongOwner => StatusCode::UNAUTHORIZED,
            Self::Ambiguous
            | Self::NoSubprotocol
            | Self::MalformedBody
            | Self::TooManyFields
            | Self::InvalidUtf8 => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::UnsupportedMediaType | Self::UnsupportedContentCoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Unavailable | Self::AtCapacity => StatusCode::SERVICE_UNAVAILABLE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict | Self::AlreadyRevoked | Self::InFlight => StatusCode::CONFLICT,
            Self::ExecutorFailed => StatusCode::BAD_GATEWAY,
            Self::ExecutorTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal | Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `code` member of the problem document. All kinds with the status 401 share one.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.problem().code
    }

    /// The problem document, without what is known of one rejection alone.
    #[cfg(any(feature = "management", feature = "queue"))]
    pub(crate) const fn document(self) -> &'static str {
        self.problem().document
    }

    /// A short name of the fault for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::NoSubprotocol => "no_subprotocol",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong_secret",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::WrongOwner => "wrong_owner",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TargetTooLong => "target_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::MalformedBody => "malformed_body",
            Self::TooManyFields => "too_many_fields",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedContentCoding => "unsupported_content_coding",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::AlreadyRevoked => "already_revoked",
            Self::InFlight => "in_flight",
            Self::Unavailable => "unavailable",
            Self::AtCapacity => "at_capacity",
            Self::ExecutorFailed => "executor_failed",
            Self::ExecutorTimeout => "executor_timeout",
            Self::Internal => "internal",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Whether the response says that the credential is missing or not good.
    #[must_use]
    pub const fn is_unauthorized(self) -> bool {
        matches!(self.status(), StatusCode::UNAUTHORIZED)
    }
}
