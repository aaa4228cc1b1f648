use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::input::Redact;
use super::text::{ObjectWriter, push_array, push_bytes};

/// How the names of headers are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderCase {
    /// `x-github-event`
    #[default]
    Lower,
    /// `X-Github-Event`
    Title,
}

/// How headers of one name are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderRepeats {
    /// A header that was sent once has its value, a repeated one an array in order.
    #[default]
    AsNeeded,
    /// Every header has an array.
    AlwaysArrays,
    /// Every header has one value; repeated ones are joined with `, ` (RFC 9110 section 5.3).
    Joined,
}

/// How the value of a header is written that is not UTF-8.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum NonUtf8 {
    /// Without loss and marked: `{"base64":".."}`. Of headers that are
    /// [joined](HeaderRepeats::Joined), the whole value.
    #[default]
    Base64,
    /// Every byte is the character with its number.
    Latin1,
    /// Bytes that are not UTF-8 are U+FFFD.
    Replacement,
}

/// Headers that hold credentials, whatever the configuration is.
pub(crate) const CREDENTIAL_HEADERS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Headers about one connection or about how the body travels on it (RFC 9110 sections 7.6.1, 8.6
/// and 10.1.1, RFC 9112 section 6).
const TRANSPORT: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How the headers of a request are written.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderOptions {
    pub(super) case: HeaderCase,
    pub(super) repeats: HeaderRepeats,
    pub(super) non_utf8: NonUtf8,
    pub(super) left_out: Vec<HeaderName>,
    pub(super) with_transport: bool,
    /// Whether `_` is another character than `-` in the names of headers that are left out.
    pub(super) exact_names: bool,
}

impl HeaderOptions {
    /// Appends headers as an object, sorted by name.
    pub(super) fn push(
        &self,
        out: &mut String,
        headers: &HeaderMap,
        left_out: &[HeaderName],
        redact: Option<Redact<'_>>,
    ) {
        let mut shown: Vec<(&HeaderName, &HeaderValue)> = Vec::with_capacity(headers.len());
        shown.extend(
            headers
                .iter()
                .filter(|(name, _)| !self.leaves_out(name) && !self.contains(left_out, name)),
        );
        // The sort is stable: values of one name stay in order.
        shown.sort_by_key(|(name, _)| name.as_str());

        let mut object = ObjectWriter::new(out);
        for group in shown.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((name, _)) = group.first() else {
                continue;
            };
            let values = group.iter().map(|(_, value)| self.text(value.as_bytes(), redact));
            object.member(&self.name(name), |out| self.push_values(out, values));
        }
        object.finish();
    }

    /// Appends the values of one header.
    fn push_values<'a>(
        &self,
        out: &mut String,
        mut values: impl ExactSizeIterator<Item = Cow<'a, [u8]>>,
    ) {
        if self.repeats == HeaderRepeats::AlwaysArrays
            || (self.repeats == HeaderRepeats::AsNeeded && values.len() > 1)
        {
            push_array(out, values, |out, value| push_bytes(out, &value));
            return;
        }
        let first = values.next().unwrap_or_default();
        let joined = values.fold(first, |mut joined, value| {
            let bytes = joined.to_mut();
            bytes.extend_from_slice(b", ");
            bytes.extend_from_slice(&value);
            joined
        });
        push_bytes(out, &joined);
    }

    /// Removes the headers that hold credentials.
    pub(super) fn remove_hidden(&self, headers: &mut HeaderMap, left_out: &[HeaderName]) {
        let is_hidden = |name: &&HeaderName| {
            [&CREDENTIAL_HEADERS, &*self.left_out, left_out]
                .into_iter()
                .any(|list| self.contains(list, name))
        };
        let hidden: Vec<HeaderName> = headers.keys().filter(is_hidden).cloned().collect();
        for name in hidden {
            headers.remove(name);
        }
    }

    fn leaves_out(&self, name: &HeaderName) -> bool {
        self.contains(&CREDENTIAL_HEADERS, name)
            || self.contains(&self.left_out, name)
            || (!self.with_transport && self.contains(&TRANSPORT, name))
    }

    fn contains(&self, names: &[HeaderName], name: &HeaderName) -> bool {
        if self.exact_names { names.contains(name) } else { contains(names, name) }
    }

    fn name<'a>(&self, name: &'a HeaderName) -> Cow<'a, str> {
        match self.case {
            HeaderCase::Lower => Cow::Borrowed(name.as_str()),
            HeaderCase::Title => {
                let mut starts_word = true;
                let title = name.as_str().chars().map(|letter| {
                    let upper = std::mem::replace(&mut starts_word, letter == '-');
                    if upper { letter.to_ascii_uppercase() } else { letter }
                });
                Cow::Owned(title.collect())
            }
        }
    }

    /// The bytes to write for a value.
    fn text<'a>(&self, value: &'a [u8], redact: Option<Redact<'_>>) -> Cow<'a, [u8]> {
        let is_utf8 = std::str::from_utf8(value).is_ok();
        if is_utf8 && redact.is_none() {
            return Cow::Borrowed(value);
        }
        let text = String::from_utf8_lossy(value);
        if let Some(redacted) = redact.and_then(|redact| redact(&text)) {
            return Cow::Owned(redacted.into_bytes());
        }
        if is_utf8 {
            return Cow::Borrowed(value);
        }
        match self.non_utf8 {
            NonUtf8::Base64 => Cow::Borrowed(value),
            NonUtf8::Latin1 => {
                Cow::Owned(value.iter().copied().map(char::from).collect::<String>().into_bytes())
            }
            NonUtf8::Replacement => Cow::Owned(text.into_owned().into_bytes()),
        }
    }
}

fn contains(names: &[HeaderName], name: &HeaderName) -> bool {
    names.iter().any(|other| is_same(other.as_str(), name.as_str()))
}

/// Gateways that turn headers into variables of the environment take `_` and `-` for one character.
fn is_same(a: &str, b: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    a.len() == b.len() && a.bytes().map(dashed).eq(b.bytes().map(dashed))
}
