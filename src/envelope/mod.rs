//! stub
#[derive(Debug)]
pub struct BuildError;
impl From<BuildError> for crate::rejection::Rejection {
    fn from(_: BuildError) -> Self {
        Self::new(crate::rejection::RejectionKind::Internal)
    }
}
use bytes::Bytes;
#[derive(Clone, Debug)]
pub struct Envelope;
impl Envelope {
    pub fn as_str(&self) -> &str {
        ""
    }
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str("")
    }
}
#[derive(Clone, Debug)]
pub struct EnvelopeBuilder;
impl EnvelopeBuilder {
    pub fn new() -> Self {
        Self
    }
    pub fn build(&self, _: &EnvelopeInput<'_>) -> Result<Envelope, BuildError> {
        Ok(Envelope)
    }
}
pub struct EnvelopeInput<'a>(&'a ());
impl<'a> EnvelopeInput<'a> {
    pub fn new(_: &'a http::request::Parts, _: &'a Bytes) -> Self {
        Self(&())
    }
    pub fn with_left_out_headers(self, _: &'a [http::HeaderName]) -> Self {
        self
    }
    pub fn with_redact(self, _: &'a dyn Fn(&str) -> Option<String>) -> Self {
        self
    }
}
