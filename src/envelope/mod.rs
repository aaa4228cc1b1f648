//! A request becomes one JSON text.
//!
//! The default shape, in this order:
//!
//! ```json
//! {"GET":{},"POST":{},"JSON":{},"HEADERS":{}}
//! ```
//!
//! | part | holds | written as |
//! |---|---|---|
//! | `GET` | the query, decoded | a name sent once has a string, a repeated one an array |
//! | `POST` | the fields of a form | as `GET`; a file is an object of file name, media type, size |
//! | `JSON` | a JSON body | the text that was sent, checked and untouched; `{}` if there is none |
//! | `HEADERS` | the headers | as `GET`, names in lower case and in alphabetical order |
//! | `BODY`, off by default | any other body | a string if it is text in UTF-8, or else `{"base64":".."}` |
//!
//! 1. The envelope is valid JSON for every request, with any bytes in it, and has no member
//!    name twice.
//! 2. The body is read by its [media type](crate::content::MediaType) alone. What senders cannot change is a
//!    setting: JSON [under another label](EnvelopeBuilder::with_media_types) or
//!    [none](EnvelopeBuilder::with_absent_media_type), JSON lines, JSON
//!    [in a form](EnvelopeBuilder::with_json_fields). A body that says it is JSON and is not, is refused, and
//!    so is one of blanks only. Zero bytes are no body, and refused under no label.
//! 3. Nothing is lost. A body that no part shows is refused: as a 415 that names the media types which are
//!    taken ([`BuildError::accepted_media_types`]).
//! 4. Numbers, white space and order of a JSON body stay as they were sent.
//! 5. Equal requests have equal envelopes: the order of headers of different names does not matter,
//!    nor how the body travelled.
//! 6. `authorization`, `proxy-authorization` and `cookie` never appear, and neither do the
//!    credentials that [`EnvelopeInput`] names. `_` and `-` are the same in a header's name for
//!    this purpose.
//! 7. Bytes of headers and opaque bodies that are not UTF-8 are kept without loss as `{"base64":".."}`. A
//!    query, a form or JSON with such bytes is refused. JSON and forms with the label of another charset than
//!    UTF-8 or US-ASCII are a 415, and a text with one is base64.
//! 8. One [byte order mark](ByteOrderMark) in front of JSON, a form or a text is dropped.
//! 9. A form is sorted in place of being taken apart: with the default shape, a body and its envelope take
//!    less than eight times the size of a body that is not tiny, under any [limits](crate::content::ContentLimits).
//!
//! # Examples
//!
//! ```
//! use http::Request;
//! use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};
//!
//! let (head, body) = Request::post("/hook/7?tag=a&tag=b&dry")
//!     .header("content-type", "application/json")
//!     .header("authorization", "Bearer k1")
//!     .body(br#"{"amount": 1.10}"#)?
//!     .into_parts();
//!
//! let envelope = EnvelopeBuilder::new().build(&EnvelopeInput::new(&head, body))?;
//! assert_eq!(
//!     envelope.as_str(),
//!     concat!(
//!         r#"{"GET":{"tag":["a","b"],"dry":""},"POST":{},"JSON":{"amount": 1.10},"#,
//!         r#""HEADERS":{"content-type":"application/json"}}"#,
//!     )
//! );
//!
//! let refused = EnvelopeBuilder::new().build(&EnvelopeInput::new(&head, b"{amount: 1.10}"));
//! assert!(refused.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::content::{ContentError, ContentErrorKind};

mod body;
mod builder;
mod envelopes;
mod fields;
mod headers;
mod input;
mod names;
mod sources;
#[cfg(feature = "queue")]
mod stored;
#[cfg(test)]
mod tests;
mod text;

pub use self::body::{ByteOrderMark, ReadAs};
pub use self::builder::{AbsentJson, EnvelopeBuilder};
pub(crate) use self::envelopes::Envelopes;
pub(crate) use self::headers::CREDENTIAL_HEADERS;
pub use self::input::EnvelopeInput;
#[cfg(feature = "queue")]
pub(crate) use self::stored::StoredEnvelope;

/// What an executor is given: a request as one JSON text.
///
/// Made by [`EnvelopeBuilder`] only. Clones share the text. `Debug` shows its length, since
/// payloads may hold secrets.
#[derive(Clone)]
pub struct Envelope(Arc<Inner>);

struct Inner {
    text: String,
    parts: [Option<Range<usize>>; EnvelopePart::COUNT],
    members: Vec<(String, Range<usize>)>,
}

impl Envelope {
    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The whole text. Copies it only if there are other clones.
    #[must_use]
    pub fn into_string(self) -> String {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.text,
            Err(shared) => shared.text.clone(),
        }
    }

    /// Reads the envelope into a type.
    ///
    /// # Errors
    ///
    /// Returns an error if the envelope does not fit the type, or is nested deeper than `serde_json` follows, which is
    /// 128 levels.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};
    /// #[derive(serde::Deserialize)]
    /// struct Hook {
    ///     #[serde(rename = "GET")]
    ///     query: Query,
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Query {
    ///     id: String,
    /// }
    ///
    /// let (head, ()) = http::Request::get("/?id=7").body(())?.into_parts();
    /// let envelope = EnvelopeBuilder::new().build(&EnvelopeInput::new(&head, b""))?;
    /// assert_eq!(envelope.parse::<Hook>()?.query.id, "7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        serde_json::from_str(&self.0.text)
            .map_err(|error| ParseError { line: error.line(), column: error.column() })
    }

    /// The JSON text of a part. `None` if the part is turned off.
    #[must_use]
    pub fn part(&self, part: EnvelopePart) -> Option<&str> {
        let span = self.0.parts.get(part.index())?.clone()?;
        self.0.text.get(span)
    }

    /// The query: [`EnvelopePart::Get`].
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.part(EnvelopePart::Get)
    }

    /// The fields of a form: [`EnvelopePart::Post`].
    #[must_use]
    pub fn post(&self) -> Option<&str> {
        self.part(EnvelopePart::Post)
    }

    /// The JSON body, with the white space around it: [`EnvelopePart::Json`].
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        self.part(EnvelopePart::Json)
    }

    /// The headers: [`EnvelopePart::Headers`].
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        self.part(EnvelopePart::Headers)
    }

    /// An opaque body: [`EnvelopePart::Body`].
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        self.part(EnvelopePart::Body)
    }

    /// The JSON text of a member that [`EnvelopeInput::with_member`] added.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&str> {
        let (_, span) = self.0.members.iter().find(|(other, _)| other == name)?;
        self.0.text.get(span.clone())
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("length", &self.0.text.len()).finish_non_exhaustive()
    }
}

/// A part of the envelope that comes from the request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EnvelopePart {
    /// The query, by default `GET`.
    Get,
    /// The fields of a form, by default `POST`.
    Post,
    /// A JSON body, by default `JSON`.
    Json,
    /// The headers, by default `HEADERS`.
    Headers,
    /// A body that is neither JSON nor a form: `null` if there is none, and a string if it is UTF-8 and its
    /// media type is `text/*`, XML or JavaScript without another charset, or missing. `{"base64":".."}`
    /// otherwise. Off by default.
    Body,
}

impl EnvelopePart {
    const COUNT: usize = 5;

    const fn index(self) -> usize {
        self as usize
    }
}

/// Why no envelope was built.
///
/// The text is fixed by the [kind](Self::kind) and never shows the request.
#[derive(Debug)]
pub struct BuildError {
    kind: BuildErrorKind,
    source: Option<ContentError>,
    accepted: Option<Box<str>>,
}

impl BuildError {
    pub(crate) const fn member() -> Self {
        Self { kind: BuildErrorKind::Member, source: None, accepted: None }
    }

    /// The refusal of a body.
    fn of_body(error: ContentError, accepted: impl FnOnce() -> String) -> Self {
        let is_of_type = matches!(
            error.kind(),
            ContentErrorKind::UnsupportedMediaType | ContentErrorKind::UnsupportedCharset
        );
        let accepted = is_of_type.then(|| accepted().into_boxed_str());
        Self { accepted, ..error.into() }
    }

    /// The fault.
    #[must_use]
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }

    /// The media types that the envelope shows, as in `Accept`, if the body has another one. Empty if the envelope
    /// shows no body.
    #[must_use]
    pub fn accepted_media_types(&self) -> Option<&str> {
        self.accepted.as_deref()
    }

    /// What is wrong with the request's content, if that is the fault.
    #[must_use]
    pub const fn content(&self) -> Option<&ContentError> {
        self.source.as_ref()
    }
}

impl From<ContentError> for BuildError {
    fn from(error: ContentError) -> Self {
        let kind = BuildErrorKind::Content(error.kind());
        Self { kind, source: Some(error), accepted: None }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BuildErrorKind::Content(_) => "the request's content was refused",
            BuildErrorKind::Member => {
                "an added member of the envelope is not JSON or has a taken name"
            }
        })
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as &(dyn Error + 'static))
    }
}

/// The fault that kept an envelope from being built.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The query or the body was refused: the sender's fault.
    Content(ContentErrorKind),
    /// A member that was added with [`EnvelopeInput::with_member`] is not JSON, or its name is
    /// taken: a fault of the program.
    Member,
}

/// An envelope did not fit a type. It has the place and never the content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseError {
    line: usize,
    column: usize,
}

impl ParseError {
    /// The line of the envelope's text, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The column in that line, from 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the envelope does not fit the expected type")
    }
}

impl Error for ParseError {}
