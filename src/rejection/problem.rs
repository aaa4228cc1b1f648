use super::RejectionKind;

/// A problem document (RFC 9457) and the code in it. The texts are constants: a refusal allocates no
/// body, and no part of the request can get into one. Only `invalid` gets a list added to it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) document: &'static str,
}

macro_rules! problem {
    ($status:literal, $code:literal, $title:literal) => {
        Problem {
            code: $code,
            document: concat!(
                r#"{"type":"urn:tower-webhook:problem:"#,
                $code,
                r#"","title":""#,
                $title,
                r#"","status":"#,
                stringify!($status),
                r#","code":""#,
                $code,
                r#""}"#
            ),
        }
    };
}

impl RejectionKind {
    pub(super) const fn problem(self) -> &'static Problem {
        match self {
            Self::Missing
            | Self::Malformed
            | Self::Unknown
            | Self::WrongSecret
            | Self::NotYetValid
            | Self::Expired
            | Self::Disabled
            | Self::Revoked
            | Self::WrongOwner => {
                const { &problem!(401, "unauthorized", "The credential is missing or not good") }
            }
            Self::Ambiguous => {
                const { &problem!(400, "invalid_request", "More than one credential") }
            }
            Self::MalformedBody => {
                const { &problem!(400, "malformed_body", "The body does not follow its media type") }
            }
            Self::TooManyFields => {
                const { &problem!(400, "too_many_fields", "Too many parameters or fields") }
            }
            Self::Forbidden => const { &problem!(403, "forbidden", "Not permitted") },
            Self::NotFound => const { &problem!(404, "not_found", "Nothing is served here") },
            Self::MethodNotAllowed => {
                const { &problem!(405, "method_not_allowed", "Not served by this method") }
            }
            Self::BodyTimeout => {
                const { &problem!(408, "request_timeout", "The body did not arrive in time") }
            }
            Self::BodyTooLarge => {
                const { &problem!(413, "content_too_large", "The body is over the limit") }
            }
            Self::TargetTooLong => {
                const { &problem!(414, "uri_too_long", "The target is over the limit") }
            }
            Self::UnsupportedMediaType => {
                const { &problem!(415, "unsupported_media_type", "The media type is not read here") }
            }
            Self::UnsupportedContentCoding => {
                const {
                    &problem!(
                        415,
                        "unsupported_content_encoding",
                        "The content coding is not decoded here"
                    )
                }
            }
            Self::Invalid => const { &problem!(422, "invalid", "A value is outside its limits") },
            Self::Conflict => const { &problem!(409, "conflict", "Not with what is there") },
            Self::AlreadyRevoked => {
                const { &problem!(409, "already_revoked", "The key was revoked") }
            }
            Self::Internal | Self::Misconfigured => {
                const { &problem!(500, "internal", "Internal error") }
            }
            Self::ExecutorFailed => {
                const { &problem!(502, "executor_failed", "The execution failed") }
            }
            Self::Unavailable | Self::AtCapacity => {
                const { &problem!(503, "temporarily_unavailable", "Try again later") }
            }
            Self::ExecutorTimeout => {
                const { &problem!(504, "executor_timeout", "The execution took too long") }
            }
        }
    }
}
