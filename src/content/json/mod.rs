//! JSON texts, checked in one pass and never converted.
//!
//! 1. A text is accepted by the grammar of RFC 8259 and nothing beside it: UTF-8, no byte order
//!    mark, no lone surrogate escape, nothing after the value.
//! 2. No object, at any depth, has a member name twice. Names are compared after unescaping, so
//!    `"a"` and `"\u0061"` are one name (RFC 8259 section 4 leaves the meaning of such objects
//!    open).
//! 3. Depth and number of values are limited. The check does not recurse, builds no tree, and its
//!    memory does not grow with the length of the text beyond the names of the objects that are
//!    open.
//! 4. Numbers are matched and not computed: `1e400`, `-0` and 40 digits pass as they were written.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::content::json::{self, JsonErrorKind, JsonKind, JsonLimits};
//!
//! let text = json::validate(br#"{"amount": 1.10}"#, &JsonLimits::new())?;
//! assert_eq!(text.kind(), JsonKind::Object);
//! assert_eq!(text.as_str(), r#"{"amount": 1.10}"#);
//!
//! let refused = json::validate(br#"{"a": 1, "\u0061": 2}"#, &JsonLimits::new()).unwrap_err();
//! assert_eq!(refused.kind(), JsonErrorKind::DuplicateName);
//! # Ok::<(), json::JsonError>(())
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::Range;

mod names;
mod scan;

#[cfg(test)]
mod tests;

/// Checks a JSON text.
///
/// # Errors
///
/// A text that breaks one of the [rules](self), with the first offence found. An empty text and
/// white space alone are [`JsonErrorKind::Syntax`].
pub fn validate<'a>(bytes: &'a [u8], limits: &JsonLimits) -> Result<JsonText<'a>, JsonError> {
    scan::scan(bytes, limits, &mut |_| {})
}

/// Checks a JSON text and shows each member of the object at its top level, in order.
///
/// Shows nothing if the top level is no object.
///
/// # Errors
///
/// As [`validate`]. Members may have been shown before the error was found: use them only after
/// `Ok`.
pub fn visit_members<'a>(
    bytes: &'a [u8],
    limits: &JsonLimits,
    mut visit: impl FnMut(Member<'a>),
) -> Result<JsonText<'a>, JsonError> {
    scan::scan(bytes, limits, &mut |part| {
        if let Part::Member(member) = part {
            visit(member);
        }
    })
}

/// Checks a JSON text and shows each element of the array at its top level, in order.
///
/// Shows nothing if the top level is no array.
///
/// # Errors
///
/// As [`validate`]. Elements may have been shown before the error was found: use them only after
/// `Ok`.
///
/// # Examples
///
/// ```
/// use tower_webhook::content::json::{self, JsonLimits};
///
/// let mut elements = Vec::new();
/// json::visit_elements(br#"[1.10, "a"]"#, &JsonLimits::new(), |element| {
///     elements.push(element.value());
/// })?;
/// assert_eq!(elements, ["1.10", r#""a""#]);
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn visit_elements<'a>(
    bytes: &'a [u8],
    limits: &JsonLimits,
    mut visit: impl FnMut(Element<'a>),
) -> Result<JsonText<'a>, JsonError> {
    scan::scan(bytes, limits, &mut |part| {
        if let Part::Element(element) = part {
            visit(element);
        }
    })
}

/// The text without the top-level member of that name, or the text itself if there is none.
///
/// The member goes with one comma: the one behind it and the white space up to the next member, or,
/// for the last member, everything from the end of the member before it. Every other byte stays.
///
/// # Errors
///
/// As [`validate`].
pub fn remove<'a>(
    bytes: &'a [u8],
    name: &str,
    limits: &JsonLimits,
) -> Result<Cow<'a, str>, JsonError> {
    let mut end_of_previous = None;
    let mut cut: Option<Cut> = None;
    let text = visit_members(bytes, limits, |member| {
        let span = member.span();
        if let Some(cut) = &mut cut {
            cut.start_of_next.get_or_insert(span.start);
        } else if member.name() == name {
            cut = Some(Cut { span: span.clone(), end_of_previous, start_of_next: None });
        }
        end_of_previous = Some(span.end);
    })?
    .as_str();

    let Some(cut) = cut else {
        return Ok(Cow::Borrowed(text));
    };
    let Range { start, end } = cut.range();
    let before = text.get(..start).unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    Ok(Cow::Owned([before, after].concat()))
}

/// A member that is to go, and its neighbours.
struct Cut {
    span: Range<usize>,
    end_of_previous: Option<usize>,
    start_of_next: Option<usize>,
}

impl Cut {
    fn range(&self) -> Range<usize> {
        match (self.start_of_next, self.end_of_previous) {
            (Some(next), _) => self.span.start..next,
            (None, Some(previous)) => previous..self.span.end,
            (None, None) => self.span.clone(),
        }
    }
}

/// How deep and how large a JSON text may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonLimits {
    depth: usize,
    nodes: usize,
}

impl JsonLimits {
    /// A depth of 128 and 20,000 values.
    #[must_use]
    pub const fn new() -> Self {
        Self { depth: 128, nodes: 20_000 }
    }

    /// How many arrays and objects may be open inside each other. The default is 128.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// How many values the text may have, counting every array, object, string, number and literal.
    /// Member names are not values. The default is 20,000.
    ///
    /// # Security
    ///
    /// A parser that builds a tree spends up to about a hundred bytes on each value, so that 1 MiB
    /// of `[{"":0},` becomes 100 MiB. This limit bounds what code behind this crate pays.
    #[must_use]
    pub const fn with_nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    pub(crate) const fn nodes(&self) -> usize {
        self.nodes
    }
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JsonKind {
    /// `[..]`
    Array,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
    /// Any number, however large or precise.
    Number,
    /// `{..}`
    Object,
    /// `".."`
    String,
}

/// A JSON text that was [checked](validate), with the white space around its value.
#[derive(Clone, Copy)]
pub struct JsonText<'a> {
    text: &'a str,
    kind: JsonKind,
    nodes: usize,
}

impl<'a> JsonText<'a> {
    /// How many values it has, as [`JsonLimits::with_nodes`] counts them.
    pub(crate) const fn nodes(&self) -> usize {
        self.nodes
    }

    /// The text, byte for byte as it was given.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The type of the value at the top level.
    #[must_use]
    pub const fn kind(&self) -> JsonKind {
        self.kind
    }
}

impl fmt::Debug for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonText")
            .field("kind", &self.kind)
            .field("length", &self.text.len())
            .finish()
    }
}

/// What the value at the top level has in it.
enum Part<'a> {
    Member(Member<'a>),
    Element(Element<'a>),
}

/// One member of the object at the top level of a JSON text.
#[derive(Clone)]
pub struct Member<'a> {
    /// Between the quotes.
    name: Range<usize>,
    name_has_escapes: bool,
    value: Element<'a>,
}

impl<'a> Member<'a> {
    /// The name after unescaping. Allocates only if the name was written with escapes.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        let raw = self.value.text.get(self.name.clone()).unwrap_or_default();
        if self.name_has_escapes { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    /// The type of the value.
    #[must_use]
    pub const fn kind(&self) -> JsonKind {
        self.value.kind
    }

    /// The value as it was written, without the white space around it.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.value.value()
    }

    /// What a string says, after unescaping. `None` for every other type.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        self.value.as_text()
    }

    /// The bytes from the opening quote of the name to the end of the value.
    #[must_use]
    pub const fn span(&self) -> Range<usize> {
        self.name.start - 1..self.value.span.end
    }

    /// The bytes of the value.
    #[must_use]
    pub const fn value_span(&self) -> Range<usize> {
        self.value.span()
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("span", &self.span())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

/// One element of the array at the top level of a JSON text.
#[derive(Clone)]
pub struct Element<'a> {
    text: &'a str,
    span: Range<usize>,
    kind: JsonKind,
}

impl<'a> Element<'a> {
    /// The type of the element.
    #[must_use]
    pub const fn kind(&self) -> JsonKind {
        self.kind
    }

    /// The element as it was written, without the white space around it.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.text.get(self.span.clone()).unwrap_or_default()
    }

    /// What a string says, after unescaping. `None` for every other type.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        let raw = match self.kind {
            JsonKind::String => self.text.get(self.span.start + 1..self.span.end - 1)?,
            _ => return None,
        };
        Some(if raw.contains('\\') { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// The bytes of the element.
    #[must_use]
    pub const fn span(&self) -> Range<usize> {
        self.span.start..self.span.end
    }
}

impl fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Element")
            .field("span", &self.span)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// White space between values (RFC 8259 section 2).
pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// What the inside of a JSON string says. The escapes have been checked; one that is wrong is left
/// out.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    unescape_into(raw, &mut text);
    text
}

fn unescape_into(mut raw: &str, text: &mut String) {
    while let Some((plain, escape)) = raw.split_once('\\') {
        text.push_str(plain);
        let mut rest = escape.chars();
        match rest.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let unit = hex_unit(rest.as_str());
                rest = rest.as_str().get(4..).unwrap_or_default().chars();
                match unit {
                    0xd800..=0xdbff => {
                        let low = hex_unit(rest.as_str().get(2..).unwrap_or_default());
                        rest = rest.as_str().get(6..).unwrap_or_default().chars();
                        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low.wrapping_sub(0xdc00));
                        text.extend(char::from_u32(code));
                    }
                    _ => text.extend(char::from_u32(unit)),
                }
            }
            other => text.extend(other),
        }
        raw = rest.as_str();
    }
    text.push_str(raw);
}

fn hex_unit(digits: &str) -> u32 {
    digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// Why a JSON text was refused.
///
/// Names the offence and its place, and never what is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonError {
    kind: JsonErrorKind,
    offset: usize,
}

impl JsonError {
    /// The offence.
    #[must_use]
    pub const fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    /// Whether the text breaks the grammar of RFC 8259, so that no reader which keeps to it finds a value.
    ///
    /// `false` for a text that other readers may well accept: one that has a member twice, something behind
    /// a whole object or array, a lone surrogate, bytes that are not UTF-8 or a byte order mark, or that is beyond a limit.
    ///
    /// # Security
    ///
    /// Only a text that breaks the grammar can be passed on as one without any member. Readers
    /// that accept more than JSON, such as comments, may still find one there.
    #[must_use]
    pub const fn is_syntax(&self) -> bool {
        matches!(self.kind, JsonErrorKind::Syntax)
    }

    /// The same in a text that begins at `start` of another one.
    pub(crate) const fn behind(self, start: usize) -> Self {
        Self { offset: self.offset + start, ..self }
    }

    /// Its place, in bytes from the start. For a repeated name this is the end of the second one,
    /// or, in an object of more than 16 members, the end of the object.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            JsonErrorKind::Syntax => "the text is not JSON",
            JsonErrorKind::TrailingData => "something follows the JSON text",
            JsonErrorKind::InvalidUtf8 => "the JSON text is not UTF-8",
            JsonErrorKind::ByteOrderMark => "the JSON text begins with a byte order mark",
            JsonErrorKind::LoneSurrogate => {
                "a string of the JSON text has half of a surrogate pair"
            }
            JsonErrorKind::DuplicateName => "an object of the JSON text has a member twice",
            JsonErrorKind::TooDeep => "the JSON text is nested too deep",
            JsonErrorKind::TooManyNodes => "the JSON text has too many values",
            JsonErrorKind::TooLong => "the JSON text is too long",
        })
    }
}

impl Error for JsonError {}

/// The offence of a refused JSON text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text does not follow the grammar of RFC 8259.
    Syntax,
    /// Something follows a whole object or array. Some readers stop there.
    TrailingData,
    /// The text is not UTF-8.
    InvalidUtf8,
    /// The text begins with U+FEFF, which some readers skip (RFC 8259 section 8.1).
    ByteOrderMark,
    /// A string has an escape for half of a surrogate pair, which readers treat differently (RFC 8259
    /// section 8.2).
    LoneSurrogate,
    /// An object has two members of one name.
    DuplicateName,
    /// More arrays and objects are open than [`JsonLimits::with_depth`] allows.
    TooDeep,
    /// There are more values than [`JsonLimits::with_nodes`] allows.
    TooManyNodes,
    /// The text has 2 GiB or more.
    TooLong,
}
