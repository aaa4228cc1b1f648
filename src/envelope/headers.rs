use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

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
const CREDENTIALS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Headers about one connection or about how the body travels on it (RFC 9110 sections 7.6.1, 8.6 and
/// 10.1.1, RFC 9112 section 6).
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
        let mut names: Vec<&HeaderName> = headers
            .keys()
            .filter(|name| !self.leaves_out(name) && !contains(left_out, name))
            .collect();
        names.sort_unstable_by_key(|name| name.as_str());

        let mut object = ObjectWriter::new(out);
        for name in names {
            let is_repeated = headers.get_all(name).iter().nth(1).is_some();
            let mut values =
                headers.get_all(name).iter().map(|value| self.text(value.as_bytes(), redact));
            let Some(first) = values.next() else { continue };
            object.member(&self.name(name), |out| match self.repeats {
                HeaderRepeats::AsNeeded | HeaderRepeats::Joined if !is_repeated => {
                    push_bytes(out, &first);
                }
                HeaderRepeats::AsNeeded | HeaderRepeats::AlwaysArrays => {
                    let all = std::iter::once(first).chain(values);
                    push_array(out, all, |out, value| push_bytes(out, &value));
                }
                HeaderRepeats::Joined => {
                    let joined = values.fold(first.into_owned(), |mut joined, value| {
                        joined.extend_from_slice(b", ");
                        joined.extend_from_slice(&value);
                        joined
                    });
                    push_bytes(out, &joined);
                }
            });
        }
        object.finish();
    }

    fn leaves_out(&self, name: &HeaderName) -> bool {
        contains(&CREDENTIALS, name)
            || contains(&self.left_out, name)
            || (!self.with_transport && contains(&TRANSPORT, name))
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
        let text = String::from_utf8_lossy(value);
        if let Some(redacted) = redact.and_then(|redact| redact(&text)) {
            return Cow::Owned(redacted.into_bytes());
        }
        match (text, self.non_utf8) {
            (Cow::Borrowed(_), _) | (_, NonUtf8::Base64) => Cow::Borrowed(value),
            (Cow::Owned(_), NonUtf8::Latin1) => {
                Cow::Owned(value.iter().copied().map(char::from).collect::<String>().into_bytes())
            }
            (Cow::Owned(text), NonUtf8::Replacement) => Cow::Owned(text.into_bytes()),
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
