//! Refusals of gRPC calls, as trailers-only responses (gRPC over HTTP/2, "Responses").

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Rejection;
use crate::request_head::RequestHead;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a message may not have: all but the printable characters of ASCII, and `%`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The media type of a gRPC or gRPC-web call, without its parameters. `None` for every other request.
pub(super) fn media_type(head: RequestHead<'_>) -> Option<HeaderValue> {
    let mut values = head.headers().get_all(CONTENT_TYPE).iter();
    let (Some(value), None, true) = (values.next(), values.next(), *head.method() == Method::POST)
    else {
        return None;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next()?.trim_ascii();
    let (base, format) = match essence.iter().position(|byte| *byte == b'+') {
        Some(plus) => essence.split_at_checked(plus)?,
        None => (essence, &[][..]),
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(byte);
    let is_grpc = MEDIA_TYPES.iter().any(|name| base.eq_ignore_ascii_case(name.as_bytes()));
    if !is_grpc || !format.iter().all(is_token) {
        return None;
    }
    HeaderValue::from_bytes(essence).ok()
}

const MEDIA_TYPES: [&str; 3] = ["application/grpc", WEB, "application/grpc-web-text"];

const WEB: &str = "application/grpc-web";

/// The status code of gRPC, of every status that a refusal can have.
pub(super) fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        408 | 504 => 4,
        409 => 10,
        413 | 414 | 429 | 431 => 8,
        400..=499 => 3,
        // UNKNOWN, as servers report an exception of a handler. Clients repeat calls after UNAVAILABLE, and the
        // execution that failed may have had effects.
        502 => 2,
        503 => 14,
        _ => 13,
    }
}

/// A response with its end in the header section, and no content.
pub(super) fn response(
    rejection: &Rejection,
    media_type: &HeaderValue,
    retry_after: Option<u64>,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.clone());
    headers.insert(GRPC_STATUS, code(rejection.status()).into());
    headers.insert(GRPC_MESSAGE, message(rejection));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(seconds) = retry_after {
        // A signed integer of 32 bits.
        let millis = i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
        headers.insert(GRPC_RETRY_PUSHBACK_MS, millis.into());
    }
    let is_web = media_type.as_bytes().get(..WEB.len());
    if is_web.is_some_and(|start| start.eq_ignore_ascii_case(WEB.as_bytes())) {
        let exposed = HeaderValue::from_static("grpc-status,grpc-message");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    if rejection.close() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn message(rejection: &Rejection) -> HeaderValue {
    let title = rejection.kind().problem().title;
    let Some(detail) = rejection.detail() else { return HeaderValue::from_static(title) };
    let encoded = Cow::from(utf8_percent_encode(detail, ESCAPED));
    HeaderValue::try_from(&*encoded).unwrap_or(HeaderValue::from_static(title))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::RejectionKind;
    use super::*;

    fn media_type_of(method: &str, content_types: &[&str]) -> Option<String> {
        let mut request = Request::builder().method(method);
        for content_type in content_types {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let request = request.body(()).unwrap();
        media_type((&request).into()).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn calls_are_known_by_their_media_type() {
        for (content_type, expected) in [
            ("application/grpc", Some("application/grpc")),
            ("application/grpc+proto", Some("application/grpc+proto")),
            ("application/grpc+x-thrift.2", Some("application/grpc+x-thrift.2")),
            ("Application/gRPC ; charset=utf-8", Some("Application/gRPC")),
            ("application/grpc-web", Some("application/grpc-web")),
            ("application/grpc-web+json", Some("application/grpc-web+json")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpc-web-text+proto", Some("application/grpc-web-text+proto")),
            ("application/grpcx", None),
            ("application/grpc-web-texts", None),
            ("application/grpc/proto", None),
            ("application/grpc+pro to", None),
            ("application/grpc+\"proto\"", None),
            ("application/grpc, application/grpc", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(media_type_of("POST", &[content_type]).as_deref(), expected);
        }
        assert_eq!(media_type_of("POST", &[]), None);
        assert_eq!(media_type_of("POST", &["application/grpc", "application/grpc"]), None);
        for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
            assert_eq!(media_type_of(method, &["application/grpc"]), None);
        }
    }

    #[test]
    fn every_status_of_an_error_has_a_code_that_is_none_of_ok() {
        for status in 400..600 {
            let code = code(StatusCode::from_u16(status).unwrap());
            assert!((1..=16).contains(&code), "{status}");
        }
    }

    #[test]
    fn the_text_of_an_executor_is_percent_encoded() {
        let rejection = Rejection::new(RejectionKind::ExecutorFailed).with_detail("50 % ü\n~");
        assert_eq!(message(&rejection), "50 %25 %C3%BC%0A~");
    }
}
