//! Bodies by their media type: JSON, forms and multipart, read strictly.
//!
//! 1. The media type alone decides how a body is read: a form that is labelled as JSON is malformed
//!    JSON. Nothing is guessed.
//! 2. JSON and forms are UTF-8. One byte order mark in front of them is skipped, as
//!    [RFC 8259, section 8.1] allows.
//! 3. Two readers agree: what [`find_field`] finds is what the envelope shows. Inputs on which
//!    parsers are known to disagree are refused: two `Content-Type` lines, a JSON member twice, two
//!    names in one `Content-Disposition`.
//! 4. Everything is bounded by [`ContentLimits`].
//!
//! Everything here is a pure function of its arguments.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use http::{HeaderMap, HeaderValue, header};
//! use tower_webhook::content::{self, ContentLimits, FieldValue, MediaType};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
//! let media = MediaType::from_headers(&headers)?;
//! let body = Bytes::from_static(br#"{"api_key":"k1","n":1.0}"#);
//! let limits = ContentLimits::new();
//!
//! let values = content::find_field(&media, &body, "api_key", &limits)?;
//! assert_eq!(values, [FieldValue::Text("k1".into())]);
//!
//! let rest = content::remove_field(&media, &body, "api_key", &limits)?;
//! assert_eq!(rest, r#"{"n":1.0}"#);
//! # Ok::<(), content::ContentError>(())
//! ```
//!
//! [RFC 8259, section 8.1]: https://www.rfc-editor.org/rfc/rfc8259#section-8.1

use std::error::Error;
use std::fmt;

use self::json::{JsonError, JsonLimits};

mod field;
pub mod form;
pub mod json;
mod media;
#[cfg(feature = "multipart")]
#[cfg_attr(docsrs, doc(cfg(feature = "multipart")))]
pub mod multipart;

pub use self::field::{FieldValue, find_field, remove_field};
pub use self::media::MediaType;

pub(crate) use self::field::visit_field;
pub(crate) use self::form::percent_decoded;
pub(crate) use self::media::{Label, is_token, is_token_byte};

/// U+FEFF in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON text or a form without the one byte order mark that may be in front of it.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// How much a body or a query may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentLimits {
    json: JsonLimits,
    fields: usize,
    parts: usize,
}

impl ContentLimits {
    /// The limits of [`JsonLimits::new`], 256 fields and 1,000 parts.
    #[must_use]
    pub const fn new() -> Self {
        Self { json: JsonLimits::new(), fields: 256, parts: 1_000 }
    }

    /// The limits of JSON texts. The default is [`JsonLimits::new`].
    #[must_use]
    pub const fn with_json(mut self, json: JsonLimits) -> Self {
        self.json = json;
        self
    }

    /// How many fields a query and an urlencoded form may each have. Empty pieces between two `&`
    /// are counted, although they are not shown. The default is 256.
    #[must_use]
    pub const fn with_fields(mut self, fields: usize) -> Self {
        self.fields = fields;
        self
    }

    /// How many parts a multipart form may have. The default is 1,000.
    #[must_use]
    pub const fn with_parts(mut self, parts: usize) -> Self {
        self.parts = parts;
        self
    }

    /// The limits of JSON texts.
    #[must_use]
    pub const fn json(&self) -> &JsonLimits {
        &self.json
    }

    /// The limit on fields of a query or an urlencoded form.
    #[must_use]
    pub const fn fields(&self) -> usize {
        self.fields
    }

    /// The limit on parts of a multipart form.
    #[must_use]
    pub const fn parts(&self) -> usize {
        self.parts
    }
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a body was refused for its label or its content.
///
/// The text is fixed by the [kind](Self::kind) and never shows the body.
#[derive(Clone, Debug)]
pub struct ContentError {
    kind: ContentErrorKind,
    json: Option<JsonError>,
}

impl ContentError {
    pub(crate) const fn new(kind: ContentErrorKind) -> Self {
        Self { kind, json: None }
    }

    /// The fault.
    #[must_use]
    pub const fn kind(&self) -> ContentErrorKind {
        self.kind
    }

    /// What is wrong with a malformed JSON text. `None` for every other fault.
    #[must_use]
    pub const fn json(&self) -> Option<&JsonError> {
        self.json.as_ref()
    }

    /// Where a malformed JSON text went wrong, in bytes from the start of the body, behind a byte order mark that
    /// is skipped.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.json.map(|error| error.offset())
    }
}

impl From<JsonError> for ContentError {
    fn from(error: JsonError) -> Self {
        Self { kind: ContentErrorKind::Malformed, json: Some(error) }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ContentErrorKind::RepeatedContentType => "the request names more than one media type",
            ContentErrorKind::UnsupportedMediaType => "the media type of the body is not supported",
            ContentErrorKind::UnsupportedCharset => "the charset of the body is not supported",
            ContentErrorKind::ByteOrderMark => "the body begins with a byte order mark",
            ContentErrorKind::InvalidUtf8 => "a name or value is not UTF-8",
            ContentErrorKind::Malformed => "the body is malformed",
            ContentErrorKind::TooManyFields => "the request has too many fields",
        })
    }
}

impl Error for ContentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.json.as_ref().map(|error| error as &(dyn Error + 'static))
    }
}

/// The fault of a refused body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ContentErrorKind {
    /// There are several `Content-Type` lines, or one with a list.
    RepeatedContentType,
    /// The media type is missing, unreadable, or none that the reader knows.
    UnsupportedMediaType,
    /// JSON or an urlencoded form is labelled with a charset other than UTF-8 or US-ASCII.
    UnsupportedCharset,
    /// The body begins with a byte order mark where one is
    /// [refused](crate::envelope::ByteOrderMark::Refused).
    ByteOrderMark,
    /// A name or value of the query or of a form is not UTF-8.
    InvalidUtf8,
    /// The body does not follow the syntax of its media type, or breaks a limit of [`JsonLimits`].
    Malformed,
    /// There are more fields or parts than [`ContentLimits`] allow.
    TooManyFields,
}
