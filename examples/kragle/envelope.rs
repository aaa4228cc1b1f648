//! What a stack is given: the envelope of the protocol, made of what the library gives to an executor.

use std::sync::Arc;

use axum::extract::Request;
use http::header::{self, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde_json::value::RawValue;
use servers::{Error, headers_json};
use tower_webhook::ConfigError;
use tower_webhook::content::MediaType;
use tower_webhook::envelope::{ByteOrderMark, EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{ExecutorError, Invocation};

use crate::CONTENT_LIMITS;

/// Headers with credentials, by their exact names, and those that say how a request travelled.
const LEFT_OUT: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-webhook-token"),
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The member `HEADERS`, as a JSON text.
#[derive(Clone)]
struct ShownHeaders(Arc<str>);

/// Writes down the headers, and makes the media type one that the library reads as the protocol does: parameters do
/// not matter, and a type that cannot be read is an opaque one.
pub(crate) fn prepare(request: &mut Request) -> Result<(), Error> {
    let shown = headers_json(request.headers(), &LEFT_OUT, HeaderName::to_string)?;
    request.extensions_mut().insert(ShownHeaders(shown.into()));
    let media = match MediaType::from_headers_lenient(request.headers()) {
        Ok(MediaType::Json) => "application/json",
        Ok(MediaType::Form) => "application/x-www-form-urlencoded",
        Ok(MediaType::Other) => "application/octet-stream",
        _ => return Ok(()),
    };
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(())
}

/// What the library reads of a request. No body is refused because it is neither JSON nor a form.
pub(crate) fn builder() -> Result<EnvelopeBuilder, ConfigError> {
    Ok(EnvelopeBuilder::new()
        .without_part(EnvelopePart::Headers)
        .with_part(EnvelopePart::Body, "BODY")?
        .with_byte_order_mark(ByteOrderMark::Kept)
        .with_insecure_replacement_characters()
        .with_limits(CONTENT_LIMITS))
}

/// The input of the first block. Every value stays the text that it is, so numbers keep their digits.
pub(crate) fn input(invocation: &Invocation) -> Result<Box<RawValue>, ExecutorError> {
    let ShownHeaders(headers) = invocation.extensions().get().ok_or("no headers were written")?;
    let envelope = invocation.envelope();
    let is_object = |json: &&str| json.trim_start().starts_with('{');
    let parts = [envelope.get(), envelope.post(), envelope.json().filter(is_object)];
    let [get, post, json] = parts.map(|part| part.unwrap_or("{}"));
    let text = format!(r#"{{"GET":{get},"POST":{post},"JSON":{json},"HEADERS":{headers}}}"#);
    Ok(RawValue::from_string(text)?)
}
