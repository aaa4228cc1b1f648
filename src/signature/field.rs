use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Message;
use super::error::SignatureErrorKind::{self, Malformed};
use super::signed::query_parameter;
use crate::ConfigError;
use crate::content::form;
use crate::content::json::{self, JsonKind, JsonLimits};

/// Where a value is in a message: a header field, one item of a list in a header field, or a member of the body.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, HeaderName, HeaderValue};
/// use tower_webhook::signature::Field;
///
/// let header = HeaderName::from_static("stripe-signature");
/// // `t=1700000000,v1=5257a8..,v1=6ffbb5..`
/// let timestamp = Field::header(header.clone()).with_list(',').with_prefix("t=");
/// let signatures = Field::header(header).with_list(',').with_prefix("v1=");
/// # let _ = (timestamp, signatures);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    place: Place,
    list: Option<char>,
    prefix: Cow<'static, str>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    Header(HeaderName),
    Numbered(Cow<'static, str>),
    Query(Cow<'static, str>),
    Body { pointer: Cow<'static, str>, parameter: Option<Cow<'static, str>> },
}

/// How many items a list may have. Each one costs a comparison, and a check of its own where the key is public.
const MAX_ITEMS: usize = 16;

impl Field {
    /// The value of a header field. A message with two such lines is malformed.
    #[must_use]
    pub const fn header(name: HeaderName) -> Self {
        Self { place: Place::Header(name), list: None, prefix: Cow::Borrowed("") }
    }

    /// The values of numbered header fields, as those of DocuSign: `x-docusign-signature-1`, `-2` and so on, of which
    /// the name up to the number is given, in lower case.
    #[must_use]
    pub fn numbered_headers(name: impl Into<Cow<'static, str>>) -> Self {
        Self { place: Place::Numbered(name.into()), list: None, prefix: Cow::Borrowed("") }
    }

    /// A parameter of the query, decoded. A message with two of that name is malformed.
    #[must_use]
    pub fn query(name: impl Into<Cow<'static, str>>) -> Self {
        Self { place: Place::Query(name.into()), list: None, prefix: Cow::Borrowed("") }
    }

    /// A string or number in a JSON body, by its JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)):
    /// `/event/id`, or `/0/id` in a list. In a form it is [another field](Self::or_parameter), or none.
    #[must_use]
    pub fn body(pointer: impl Into<Cow<'static, str>>) -> Self {
        let place = Place::Body { pointer: pointer.into(), parameter: None };
        Self { place, list: None, prefix: Cow::Borrowed("") }
    }

    /// The name of the parameter that is the same where the body is a form.
    #[must_use]
    pub fn or_parameter(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        if let Place::Body { parameter, .. } = &mut self.place {
            *parameter = Some(name.into());
        }
        self
    }

    /// Splits the value into a list. Items without the [prefix](Self::with_prefix) are skipped: other schemes and
    /// versions. A list of more than 16 items is malformed.
    #[must_use]
    pub const fn with_list(mut self, separator: char) -> Self {
        self.list = Some(separator);
        self
    }

    /// What is in front of the value and does not belong to it, such as `sha256=`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The name, if the value is in one header field.
    pub(super) const fn header_name(&self) -> Option<&HeaderName> {
        match &self.place {
            Place::Header(name) => Some(name),
            Place::Numbered(_) | Place::Query(_) | Place::Body { .. } => None,
        }
    }

    /// Whether the value is a part of the body.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Body { .. })
    }

    /// Whether the value is a part of one element of a list that is the body.
    pub(super) fn is_in_list(&self) -> bool {
        let step = self.pointer().and_then(|pointer| pointer.split('/').nth(1));
        step.is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// All values of this field. An empty list says that the place is not there.
    pub(super) fn values<'m>(
        &self,
        message: &Message<'m>,
    ) -> Result<Vec<Cow<'m, str>>, SignatureErrorKind> {
        let mut values = Vec::new();
        let mut add = |text: Cow<'m, str>| self.split(text, &mut values);
        match &self.place {
            Place::Header(name) => {
                let mut lines = message.headers.get_all(name).iter();
                if let Some(line) = lines.next() {
                    add(text(line.as_bytes())?)?;
                }
                if lines.next().is_some() {
                    return Err(Malformed);
                }
            }
            Place::Numbered(start) => {
                for name in message.headers.keys().filter(|name| is_numbered(name, start)) {
                    let mut lines = message.headers.get_all(name).iter();
                    if let (Some(line), None) = (lines.next(), lines.next()) {
                        add(text(line.as_bytes())?)?;
                    } else {
                        return Err(Malformed);
                    }
                }
            }
            Place::Query(name) => {
                if let Some(value) = query_parameter(message.url.unwrap_or_default(), name)? {
                    add(value)?;
                }
            }
            Place::Body { pointer, parameter } => {
                if let Some(value) = of_body(message, pointer, parameter.as_deref())? {
                    add(value)?;
                }
            }
        }
        if values.len() > MAX_ITEMS { Err(Malformed) } else { Ok(values) }
    }

    /// The only value of this field.
    pub(super) fn value<'m>(
        &self,
        message: &Message<'m>,
    ) -> Result<Option<Cow<'m, str>>, SignatureErrorKind> {
        let mut values = self.values(message)?.into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Malformed),
        }
    }

    fn split<'m>(
        &self,
        text: Cow<'m, str>,
        values: &mut Vec<Cow<'m, str>>,
    ) -> Result<(), SignatureErrorKind> {
        let before = values.len();
        match text {
            Cow::Borrowed(text) => values.extend(self.items(text).map(Cow::Borrowed)),
            Cow::Owned(text) => {
                values.extend(self.items(&text).map(|item| Cow::Owned(item.to_owned())));
            }
        }
        if values.len() == before { Err(Malformed) } else { Ok(()) }
    }

    fn items<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> + use<'_, 't> {
        let items = text.split(|char| Some(char) == self.list);
        items.take(MAX_ITEMS + 1).filter_map(|item| item.strip_prefix(&*self.prefix))
    }

    /// Writes a value into the header fields of a message, as a sender does.
    pub(super) fn write(&self, value: &str, headers: &mut HeaderMap) -> Result<(), ConfigError> {
        let name = match &self.place {
            Place::Header(name) => Ok(name.clone()),
            Place::Numbered(start) => HeaderName::try_from(format!("{start}1")),
            Place::Query(_) | Place::Body { .. } => {
                return Err(ConfigError::new("a signer writes into headers and JSON bodies alone"));
            }
        };
        let name = name.map_err(|_| ConfigError::new("a numbered header has no valid name"))?;
        let mut text = String::new();
        if let (Some(separator), Some(Ok(earlier))) =
            (self.list, headers.get(&name).map(HeaderValue::to_str))
        {
            text.push_str(earlier);
            text.push(separator);
        }
        text.push_str(&self.prefix);
        text.push_str(value);
        let value = HeaderValue::try_from(text);
        let value = value.map_err(|_| ConfigError::new("a value does not fit into a header"))?;
        headers.insert(name, value);
        Ok(())
    }

    /// The JSON pointer, where the place is in the body.
    pub(super) fn pointer(&self) -> Option<&str> {
        match &self.place {
            Place::Body { pointer, .. } => Some(pointer),
            _ => None,
        }
    }
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, SignatureErrorKind> {
    str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Malformed)
}

fn is_numbered(name: &HeaderName, start: &str) -> bool {
    let number = name.as_str().strip_prefix(start);
    number.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A string or number of the body. A body that cannot be read has none.
fn of_body<'m>(
    message: &Message<'m>,
    pointer: &str,
    parameter: Option<&str>,
) -> Result<Option<Cow<'m, str>>, SignatureErrorKind> {
    if message.is_form() {
        let Some(name) = parameter else { return Ok(None) };
        let mut pairs = form::pairs(message.body).filter(|pair| pair.is_named(name));
        return match (pairs.next(), pairs.next()) {
            (None, _) => Ok(None),
            (Some(pair), None) => pair.value_text().map(Some).ok_or(Malformed),
            _ => Err(Malformed),
        };
    }
    Ok(of_json(message.body, pointer))
}

fn of_json<'m>(body: &'m [u8], pointer: &str) -> Option<Cow<'m, str>> {
    let mut value = body;
    let mut found = None;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let (mut index, mut next) = (0_usize, None);
        let text = json::visit_members(value, &LIMITS, |member| {
            if member.name() == step {
                next = Some((member.value(), member.kind(), member.as_text()));
            }
        });
        if text.ok()?.kind() == JsonKind::Array {
            json::visit_elements(value, &LIMITS, |element| {
                if index.to_string() == step {
                    next = Some((element.value(), element.kind(), element.as_text()));
                }
                index += 1;
            })
            .ok()?;
        }
        let (text, kind, string) = next?;
        value = text.as_bytes();
        found = match kind {
            JsonKind::String => string,
            JsonKind::Number => Some(Cow::Borrowed(text)),
            _ => None,
        };
    }
    found
}

/// No tree is built, so the number of values does not matter.
const LIMITS: JsonLimits = JsonLimits::new().with_nodes(usize::MAX);

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;

    fn of_header(field: &Field, lines: &[&str]) -> Result<Vec<String>, SignatureErrorKind> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-signature", HeaderValue::from_str(line).unwrap());
        }
        let values = field.values(&Message::new(&headers, b""))?;
        Ok(values.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn one_header_line_has_one_value_with_its_prefix() {
        let field = Field::header(HeaderName::from_static("x-signature")).with_prefix("sha256=");

        assert_eq!(of_header(&field, &["sha256=ab"]).unwrap(), ["ab"]);
        assert!(of_header(&field, &[]).unwrap().is_empty());
        for lines in [&["sha1=ab"][..], &["ab"], &["SHA256=ab"], &["sha256=ab", "sha256=ab"]] {
            assert_eq!(of_header(&field, lines), Err(Malformed), "{lines:?}");
        }
    }

    #[test]
    fn items_of_other_versions_are_skipped() {
        let field = Field::header(HeaderName::from_static("x-signature"));
        let field = field.with_list(',').with_prefix("v1=");

        assert_eq!(of_header(&field, &["t=1,v1=a,v0=b,v1=c"]).unwrap(), ["a", "c"]);
        assert_eq!(of_header(&field, &["t=1,v0=b"]), Err(Malformed));
        let many = ["v1=a"; 17].join(",");
        assert_eq!(of_header(&field, &[&many]), Err(Malformed));
        assert_eq!(of_header(&field, &[&many[5..]]).unwrap().len(), 16);
    }

    #[test]
    fn a_value_of_the_body_is_a_string_or_a_number() {
        let mut headers = HeaderMap::new();
        let body = br#"{"a/b":{"id":"x"},"list":[{"n":7}],"id":12,"null":null}"#;
        let find = |headers: &HeaderMap, body, pointer: &'static str| {
            let field = Field::body(pointer).or_parameter("id");
            field.value(&Message::new(headers, body)).map(|value| value.map(Cow::into_owned))
        };

        for (pointer, value) in [("/a~1b/id", "x"), ("/list/0/n", "7"), ("/id", "12")] {
            assert_eq!(find(&headers, body, pointer).unwrap().as_deref(), Some(value));
        }
        for pointer in ["", "/a~1b", "/null", "/list", "/list/1/n", "/list/00/n", "/no", "/id/x"] {
            assert_eq!(find(&headers, body, pointer).unwrap(), None, "{pointer}");
        }
        for broken in [&br#"{"id":1,"id":2}"#[..], b"{", b"", b"\xff"] {
            assert_eq!(find(&headers, broken, "/id").unwrap(), None, "{broken:?}");
        }
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        assert_eq!(find(&headers, b"id=a%2Bb", "/id").unwrap().as_deref(), Some("a+b"));
        assert_eq!(find(&headers, b"id=a&id=a", "/id"), Err(Malformed));
    }
}
