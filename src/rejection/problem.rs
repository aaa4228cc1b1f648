use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Rejection, RejectionKind, Violation};
use crate::key::Scope;

/// A problem document (RFC 9457) and the code in it. The texts are constants: a refusal allocates no
/// body, and no part of the request can get into one. What is known of one rejection alone is in [`Members`].
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) document: &'static str,
}

/// Extension members (RFC 9457, section 3.2), and the `detail`.
#[derive(Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
}

impl Problem {
    /// The document, with what is known of this rejection alone.
    pub(super) fn with_members(&self, rejection: &Rejection) -> Bytes {
        let members = Members {
            detail: rejection.detail(),
            required_scope: rejection.required_scope().map(Scope::as_str),
            errors: rejection.violations(),
        };
        if let Members { detail: None, required_scope: None, errors: [] } = members {
            return Bytes::from_static(self.document.as_bytes());
        }
        // Texts are always JSON.
        let members = serde_json::to_string(&members).unwrap_or_default();
        let (open, rest) = (self.document.trim_end_matches('}'), members.trim_start_matches('{'));
        format!("{open},{rest}").into()
    }
}

macro_rules! problem {
    ($status:literal, $code:literal, $title:literal) => {
        Problem {
            code: $code,
            title: $title,
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

impl Rejection {
    /// JSON Schema (2020-12, as in OpenAPI 3.1) of the problem document that is the body of a refusal, for
    /// `application/problem+json`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_webhook::rejection::Rejection;
    ///
    /// let unauthorized = json!({
    ///     "description": "Missing or invalid credential.",
    ///     "content": {"application/problem+json": {"schema": Rejection::json_schema()}},
    /// });
    /// # let _ = unauthorized;
    /// ```
    #[must_use]
    pub fn json_schema() -> Value {
        json!({
            "type": "object",
            "required": ["type", "title", "status", "code"],
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": {"type": "string"},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "code": {"type": "string", "description": "The reason, for programs."},
                "detail": {"type": "string"},
                "required_scope": {"type": "string", "description": "With 403: what the caller lacks."},
                "errors": {
                    "type": "array",
                    "description": "With 422: what is outside its limits.",
                    "items": {
                        "type": "object",
                        "required": ["reason"],
                        "properties": {
                            "reason": {"type": "string"},
                            "pointer": {
                                "type": "string",
                                "description": "A place in the body (RFC 6901).",
                            },
                            "parameter": {"type": "string"},
                            "header": {"type": "string"},
                        },
                    },
                },
            },
        })
    }
}

impl RejectionKind {
    pub(super) const fn problem(self) -> &'static Problem {
        match self {
            // The authenticator has made the response.
            Self::Answered => const { &problem!(200, "answered", "Answered") },
            Self::Missing
            | Self::Malformed
            | Self::Unknown
            | Self::WrongSecret
            | Self::NotYetValid
            | Self::Expired
            | Self::Disabled
            | Self::Revoked
            | Self::WrongOwner => {
                const { &problem!(401, "unauthorized", "Missing or invalid credential") }
            }
            Self::Ambiguous => {
                const { &problem!(400, "invalid_request", "More than one credential") }
            }
            Self::NoSubprotocol => {
                const { &problem!(400, "no_subprotocol", "No WebSocket protocol beside the key") }
            }
            Self::MalformedBody => const { &problem!(400, "malformed_body", "Malformed body") },
            Self::TooManyFields => {
                const { &problem!(400, "too_many_fields", "Too many parameters or fields") }
            }
            Self::InvalidUtf8 => {
                const { &problem!(400, "invalid_utf8", "A parameter or field is not UTF-8") }
            }
            Self::Forbidden => const { &problem!(403, "forbidden", "Forbidden") },
            Self::RateLimited => const { &problem!(429, "rate_limited", "Too many requests") },
            Self::NotFound => const { &problem!(404, "not_found", "Not found") },
            Self::MethodNotAllowed => {
                const { &problem!(405, "method_not_allowed", "Method not allowed") }
            }
            Self::BodyTimeout => const { &problem!(408, "request_timeout", "Request timeout") },
            Self::BodyTooLarge => {
                const { &problem!(413, "content_too_large", "Content too large") }
            }
            Self::TargetTooLong => const { &problem!(414, "uri_too_long", "URI too long") },
            Self::UnsupportedMediaType => {
                const { &problem!(415, "unsupported_media_type", "Unsupported media type") }
            }
            Self::UnsupportedContentCoding => {
                const { &problem!(415, "unsupported_content_encoding", "Unsupported content coding") }
            }
            Self::Invalid => const { &problem!(422, "invalid", "Invalid value") },
            Self::Conflict => {
                const { &problem!(409, "conflict", "Conflict with the current state") }
            }
            Self::AlreadyRevoked => {
                const { &problem!(409, "already_revoked", "The key is revoked") }
            }
            Self::InFlight => {
                const { &problem!(409, "in_flight", "The same delivery is being run") }
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
                const { &problem!(504, "executor_timeout", "The execution timed out") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Place;
    use super::*;

    fn document(rejection: &Rejection) -> Value {
        let document = rejection.kind().problem().with_members(rejection);
        serde_json::from_slice(&document).unwrap()
    }

    #[test]
    fn what_only_one_rejection_has_is_added() {
        let mut expected = json!({
            "type": "urn:tower-webhook:problem:forbidden",
            "title": "Forbidden",
            "status": 403,
            "code": "forbidden",
        });
        let forbidden = Rejection::new(RejectionKind::Forbidden);
        assert_eq!(document(&forbidden), expected);

        let missing = forbidden.with_required_scope(Scope::new("deploy:a").unwrap());
        expected["required_scope"] = json!("deploy:a");
        assert_eq!(document(&missing), expected);

        let all = missing.with_detail("\"}").with_violations([Violation::new(Place::BODY, "r")]);
        expected["detail"] = json!("\"}");
        expected["errors"] = json!([{"pointer": "", "reason": "r"}]);
        assert_eq!(document(&all), expected);
    }
}
