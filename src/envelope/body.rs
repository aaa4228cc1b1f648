use std::borrow::Cow;

use http::HeaderMap;

use super::EnvelopePart;
use super::names::Names;
use super::sources::Form;
#[cfg(feature = "multipart")]
use super::sources::Parts;
use super::text::{Sink, push_base64, push_string};
use crate::content::json::{self, JsonLimits};
use crate::content::{
    BYTE_ORDER_MARK, ContentError, ContentErrorKind, ContentLimits, Label, MediaType,
};
use crate::error::ConfigError;

/// What a body counts as that is neither JSON nor a form by its media type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReadAs {
    /// JSON. A body that is none is refused.
    Json,
    /// JSON if it is a JSON text within the [limits](ContentLimits). Any other text is opaque, and shown in
    /// [`EnvelopePart::Body`].
    JsonIfValid,
    /// JSON texts, each on a line of its own, which become an array: its elements are the lines, as they were
    /// sent. Blank lines are skipped. A body in which a line is no JSON text is refused.
    JsonLines,
}

/// What becomes of one byte order mark (EF BB BF) at the start of JSON, a form or a text.
///
/// A second one is always data: in JSON, it is malformed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ByteOrderMark {
    /// It is not shown (RFC 8259 section 8.1 allows a reader of JSON to ignore it).
    #[default]
    Dropped,
    /// The body is refused, and the `detail` of the refusal names the cause.
    Refused,
    /// It is data: JSON is malformed, and the first name of a form begins with U+FEFF.
    Kept,
}

/// How bodies are read.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyOptions {
    labels: Vec<(Box<str>, ReadAs)>,
    absent: Option<ReadAs>,
    json_fields: Vec<Box<str>>,
    pub(super) mark: ByteOrderMark,
    /// Whether bytes of fields that are not UTF-8 become U+FFFD.
    pub(super) replaces: bool,
    pub(super) limits: ContentLimits,
}

impl BodyOptions {
    pub(super) fn set_media_type(&mut self, name: &str, read: ReadAs) -> Result<(), ConfigError> {
        if !Label::is_other(name) {
            return Err(ConfigError::new(
                "a media type is none, or one that is read as JSON or a form anyway",
            ));
        }
        if self.labels.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new("a media type is to be read in two ways"));
        }
        self.labels.push((name.into(), read));
        Ok(())
    }

    pub(super) const fn set_absent(&mut self, read: ReadAs) {
        self.absent = Some(read);
    }

    pub(super) fn add_json_fields(&mut self, names: impl IntoIterator<Item = Box<str>>) {
        self.json_fields.extend(names);
    }

    pub(super) const fn json_fields(&self) -> JsonFields<'_> {
        JsonFields { names: self.json_fields.as_slice(), limits: self.limits.json() }
    }

    /// The media types of bodies that an envelope with these parts shows, as in `Accept`.
    pub(super) fn accepted(&self, names: &Names) -> String {
        let own = self.labels.iter().map(|(name, _)| &**name);
        let mut accepted = Vec::new();
        if names.has(EnvelopePart::Json) {
            accepted.push("application/json");
            accepted.extend(own);
        }
        if names.has(EnvelopePart::Post) {
            accepted.push("application/x-www-form-urlencoded");
            #[cfg(feature = "multipart")]
            accepted.push("multipart/form-data");
        }
        if names.has(EnvelopePart::Body) {
            accepted.push("*/*");
        }
        accepted.join(", ")
    }

    /// Reads a body for the part that shows it.
    ///
    /// # Errors
    ///
    /// Returns an error if the body cannot be read, or if no part shows it.
    pub(super) fn read<'a>(
        &'a self,
        headers: &HeaderMap,
        bytes: &'a [u8],
        names: &Names,
    ) -> Result<Body<'a>, ContentError> {
        if bytes.is_empty() {
            return Ok(Body::Absent);
        }
        let kind = self.kind(headers)?;
        let json = names.has(EnvelopePart::Json);
        match kind {
            Kind::Json if json => self.read_json(self.unmarked(bytes)?),
            Kind::JsonLines if json => self.read_lines(self.unmarked(bytes)?),
            Kind::JsonIfValid if json => {
                let text = self.unmarked(bytes)?;
                self.read_json(text).or_else(|_| opaque(bytes, Some(text), names))
            }
            Kind::JsonIfValid | Kind::Text => opaque(bytes, Some(self.unmarked(bytes)?), names),
            Kind::Opaque => opaque(bytes, None, names),
            Kind::Form if names.has(EnvelopePart::Post) => {
                let form = Cow::Borrowed(self.unmarked(bytes)?);
                let form = Form::new(form, self.limits.fields(), self.json_fields())?;
                if self.replaces || form.is_utf8() {
                    return Ok(Body::Form(form));
                }
                Err(ContentError::new(ContentErrorKind::InvalidUtf8))
            }
            #[cfg(feature = "multipart")]
            Kind::Multipart(boundary) if names.has(EnvelopePart::Post) => {
                let limit = self.limits.parts();
                let parts = Parts::new(bytes, &boundary, limit, self.json_fields())?;
                if self.replaces || parts.is_utf8() {
                    return Ok(Body::Parts(parts));
                }
                Err(ContentError::new(ContentErrorKind::InvalidUtf8))
            }
            _ => Err(unsupported()),
        }
    }

    fn kind(&self, headers: &HeaderMap) -> Result<Kind, ContentError> {
        Ok(match MediaType::from_headers(headers)? {
            MediaType::Json => Kind::Json,
            MediaType::Form => Kind::Form,
            MediaType::Multipart { boundary } => Kind::Multipart(boundary),
            MediaType::Absent => self.absent.map_or(Kind::Text, Kind::from),
            MediaType::Other => self.kind_of(Label::of(headers))?,
        })
    }

    /// The media type as which a body has fields. One that is not there yet counts as the JSON that it may be.
    pub(super) fn media_type(
        &self,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<MediaType, ContentError> {
        Ok(match self.kind(headers)? {
            Kind::Json => MediaType::Json,
            Kind::JsonIfValid => match body.map(|bytes| self.unmarked(bytes)).transpose()? {
                Some(text) if self.read_json(text).is_err() => MediaType::Other,
                _ => MediaType::Json,
            },
            Kind::Form => MediaType::Form,
            Kind::Multipart(boundary) => MediaType::Multipart { boundary },
            Kind::JsonLines | Kind::Text | Kind::Opaque => MediaType::Other,
        })
    }

    fn setting(&self, label: Label<'_>) -> Option<ReadAs> {
        self.labels.iter().find(|(name, _)| label.is(name)).map(|(_, read)| *read)
    }

    fn kind_of(&self, label: Option<Label<'_>>) -> Result<Kind, ContentError> {
        let Some(label) = label else { return Ok(Kind::Opaque) };
        match self.setting(label) {
            Some(read) if label.is_utf8() => Ok(read.into()),
            Some(ReadAs::Json | ReadAs::JsonLines) => {
                Err(ContentError::new(ContentErrorKind::UnsupportedCharset))
            }
            _ if label.is_text() && label.is_utf8() => Ok(Kind::Text),
            _ => Ok(Kind::Opaque),
        }
    }

    /// The bytes behind one byte order mark.
    fn unmarked<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ContentError> {
        match (bytes.strip_prefix(BYTE_ORDER_MARK), self.mark) {
            (Some(rest), ByteOrderMark::Dropped) => Ok(rest),
            (Some(_), ByteOrderMark::Refused) => {
                Err(ContentError::new(ContentErrorKind::ByteOrderMark))
            }
            (Some(_), ByteOrderMark::Kept) | (None, _) => Ok(bytes),
        }
    }

    fn read_json<'a>(&self, bytes: &'a [u8]) -> Result<Body<'a>, ContentError> {
        Ok(Body::Json(Cow::Borrowed(json::validate(bytes, self.limits.json())?.as_str())))
    }

    /// Each line is a text of its own, and the limits hold for all together.
    fn read_lines<'a>(&self, bytes: &'a [u8]) -> Result<Body<'a>, ContentError> {
        let mut array = String::with_capacity(bytes.len() + 2);
        let mut position = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let start = position;
            position += line.len();
            if line.iter().all(|byte| json::is_blank(*byte)) {
                continue;
            }
            array.push(if array.is_empty() { '[' } else { ',' });
            let text = json::validate(line, self.limits.json());
            let text = text.map_err(|error| error.behind(start))?;
            array.push_str(
                text.as_str().trim_matches(|c| u8::try_from(c).is_ok_and(json::is_blank)),
            );
        }
        if array.is_empty() {
            array.push('[');
        }
        array.push(']');
        json::validate(array.as_bytes(), self.limits.json())?;
        Ok(Body::Json(Cow::Owned(array)))
    }
}

fn unsupported() -> ContentError {
    ContentError::new(ContentErrorKind::UnsupportedMediaType)
}

/// A text without its byte order mark, or the bytes as they were sent.
fn opaque<'a>(
    bytes: &'a [u8],
    text: Option<&'a [u8]>,
    names: &Names,
) -> Result<Body<'a>, ContentError> {
    if !names.has(EnvelopePart::Body) {
        return Err(unsupported());
    }
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.map_or(Body::Bytes(bytes), Body::Text))
}

/// How one body is read.
enum Kind {
    Json,
    JsonIfValid,
    JsonLines,
    Form,
    Multipart(Box<str>),
    /// Shown as a text if it is UTF-8.
    Text,
    Opaque,
}

impl From<ReadAs> for Kind {
    fn from(read: ReadAs) -> Self {
        match read {
            ReadAs::Json => Self::Json,
            ReadAs::JsonIfValid => Self::JsonIfValid,
            ReadAs::JsonLines => Self::JsonLines,
        }
    }
}

/// A body that was read.
pub(super) enum Body<'a> {
    Absent,
    Json(Cow<'a, str>),
    Form(Form<'a>),
    #[cfg(feature = "multipart")]
    Parts(Parts<'a>),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Body<'_> {
    pub(super) fn json(&self) -> Option<&str> {
        match self {
            Self::Json(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn push_fields(&self, out: &mut impl Sink) {
        match self {
            Self::Form(form) => form.push(out),
            #[cfg(feature = "multipart")]
            Self::Parts(parts) => parts.push(out),
            _ => out.push_str("{}"),
        }
    }

    pub(super) fn push_opaque(&self, out: &mut impl Sink) {
        match self {
            Self::Text(text) => push_string(out, text),
            Self::Bytes(bytes) => push_base64(out, bytes),
            _ => out.push_str("null"),
        }
    }
}

/// A field that is inlined.
pub(super) struct JsonField<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) nodes: usize,
}

/// Fields of forms whose texts are inlined if they are JSON.
#[derive(Clone, Copy)]
pub(super) struct JsonFields<'a> {
    names: &'a [Box<str>],
    limits: &'a JsonLimits,
}

impl<'a> JsonFields<'a> {
    pub(super) const fn none(limits: &'a JsonLimits) -> Self {
        Self { names: &[], limits }
    }

    /// These fields, if all of them in a form have no more values together than one text may have; otherwise none.
    /// What is counted is the values of one field, if it is inlined.
    pub(super) fn within_limit(self, counts: impl Iterator<Item = Option<usize>>) -> Self {
        let total = counts.flatten().fold(0, usize::saturating_add);
        if total > self.limits.nodes() { Self::none(self.limits) } else { self }
    }

    /// The text of a field, if the field is one of these and its text is JSON.
    pub(super) fn find<'t>(
        &self,
        is_named: impl Fn(&str) -> bool,
        text: impl FnOnce() -> Option<Cow<'t, str>>,
    ) -> Option<JsonField<'t>> {
        if !self.names.iter().any(|name| is_named(name)) {
            return None;
        }
        let text = text()?;
        let nodes = json::validate(text.as_bytes(), self.limits).ok()?.nodes();
        Some(JsonField { text, nodes })
    }
}
