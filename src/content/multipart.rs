//! Forms with files: `multipart/form-data` (RFC 7578), complete in memory.
//!
//! A part without a file name is a text field, a part with one is a file. File names are data:
//! nothing here touches a file system.
//!
//! Beyond what the parser checks, a body is refused if two readers may see different fields in it:
//! a part without exactly one `Content-Disposition: form-data` with exactly one name, a parameter
//! without quotes that is no token (RFC 9110 section 5.6.2), `name*` (RFC 7578 section 4.2), a name that
//! the parser of axum reads differently, a line of a part's header that ends in a bare line feed, a
//! delimiter inside a part's header. The header of a part has at most 16 KiB.
//!
//! The parser is given the headers of the parts and never their contents, so it makes no copy of a file
//! or a secret.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::content::multipart;
//!
//! let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n";
//! let parts = multipart::parts(body, "b", 10)?;
//! assert_eq!((parts[0].name(), parts[0].text()), ("a", Some("1")));
//! # Ok::<(), tower_webhook::content::ContentError>(())
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::media::{Parameters, Unreadable};
use super::{ContentError, ContentErrorKind};

/// The parts of a body, in order.
///
/// # Errors
///
/// [`Malformed`](ContentErrorKind::Malformed): the body does not follow the syntax, or lacks its
/// final delimiter. [`TooManyFields`](ContentErrorKind::TooManyFields): it has more than `limit`
/// parts.
pub fn parts<'a>(
    body: &'a [u8],
    boundary: &str,
    limit: usize,
) -> Result<Vec<Part<'a>>, ContentError> {
    let frame = Frame::new(body, boundary);
    let (mut count, mut length) = (0, 0);
    for passed in frame.passed()? {
        if count == limit {
            return Err(ContentError::new(ContentErrorKind::TooManyFields));
        }
        count += 1;
        length += passed?.head.len() + 2;
    }

    // The parser wants to own its input. It gets all but the contents.
    let mut skeleton = Vec::with_capacity(length + frame.delimiter.len() + 2);
    for passed in frame.passed()? {
        skeleton.extend_from_slice(passed?.head);
        skeleton.extend_from_slice(b"\r\n");
    }
    skeleton.extend_from_slice(&frame.delimiter);
    skeleton.extend_from_slice(b"--");
    let skeleton = Bytes::from(skeleton);
    let input = stream::once(async move { Ok::<_, Infallible>(skeleton) });
    let mut parser = multer::Multipart::new(input, boundary);

    let mut parts = Vec::with_capacity(count);
    for passed in frame.passed()? {
        let passed = passed?;
        let mut field = ready(parser.next_field())?.ok_or_else(malformed)?;
        let is_empty = ready(field.chunk())?.is_none_or(|chunk| chunk.is_empty());
        // The parser keeps the last of repeated lines.
        if !is_empty || field.headers().len() != passed.header_lines {
            return Err(malformed());
        }
        let part = Part::new(field.headers(), passed)?;
        // The parser looks for `name=` in the whole line, inside of quotes too.
        if field.name() != Some(part.name()) {
            return Err(malformed());
        }
        parts.push(part);
    }
    match ready(parser.next_field())? {
        None => Ok(parts),
        Some(_) => Err(malformed()),
    }
}

/// The body without the parts of that name. Everything else stays as it was sent.
///
/// # Errors
///
/// As [`parts`].
pub fn remove<'a>(
    body: &'a [u8],
    boundary: &str,
    name: &str,
    limit: usize,
) -> Result<Cow<'a, [u8]>, ContentError> {
    let mut kept = Vec::new();
    let mut position = 0;
    for part in parts(body, boundary, limit)?.iter().filter(|part| part.name() == name) {
        kept.extend_from_slice(body.get(position..part.span.start).unwrap_or_default());
        position = part.span.end;
    }
    if position == 0 {
        return Ok(Cow::Borrowed(body));
    }
    kept.extend_from_slice(body.get(position..).unwrap_or_default());
    Ok(Cow::Owned(kept))
}

/// One part of a multipart form.
#[derive(Clone)]
pub struct Part<'a> {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
    /// From the part's delimiter to the next one.
    span: Range<usize>,
    content: &'a [u8],
    /// Whether no byte of its header was replaced.
    has_utf8_head: bool,
}

impl<'a> Part<'a> {
    fn new(headers: &HeaderMap, passed: Passed<'a>) -> Result<Self, ContentError> {
        let line = headers.get(header::CONTENT_DISPOSITION).ok_or_else(malformed)?;
        let line = String::from_utf8_lossy(line.as_bytes());
        let (name, file_name, is_utf8) = read_disposition(&line).map_err(|_| malformed())?;
        let has_utf8_head = is_utf8 && std::str::from_utf8(passed.head).is_ok();
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let Passed { span, content, .. } = passed;
        Ok(Self { name, file_name, content_type, span, content, has_utf8_head })
    }

    /// The name of the field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file name as it was sent, which may be empty. `None` for a text field.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The part's own media type as it was sent.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The bytes of the field or file.
    #[must_use]
    pub const fn content(&self) -> &'a [u8] {
        self.content
    }

    /// Whether the name, the file name and the text of a text field are UTF-8. The content of a file need not be.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.has_utf8_head && (self.file_name.is_some() || self.text().is_some())
    }

    /// The text of a text field. `None` for a file, and for bytes that are not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.file_name {
            None => std::str::from_utf8(self.content).ok(),
            Some(_) => None,
        }
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("length", &self.content.len()).finish_non_exhaustive()
    }
}

fn malformed() -> ContentError {
    ContentError::new(ContentErrorKind::Malformed)
}

/// The result of a future of the parser. It never waits, since its whole input is in memory.
fn ready<T>(future: impl Future<Output = multer::Result<T>>) -> Result<T, ContentError> {
    future.now_or_never().and_then(Result::ok).ok_or_else(malformed)
}

/// The name and the file name in a `Content-Disposition`, and whether a file name that is encoded is UTF-8.
fn read_disposition(line: &str) -> Result<(String, Option<String>, bool), Unreadable> {
    let (kind, parameters) = line.split_once(';').ok_or(Unreadable)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(Unreadable);
    }
    let (mut name, mut file_name, mut extended) = (None, None, None);
    for parameter in Parameters::new(parameters) {
        let (key, value) = parameter?;
        let slot = match () {
            () if key.eq_ignore_ascii_case("name") => &mut name,
            // RFC 7578 section 4.2 forbids it, and only some readers know it.
            () if key.eq_ignore_ascii_case("name*") => return Err(Unreadable),
            () if key.eq_ignore_ascii_case("filename") => &mut file_name,
            // RFC 7578 section 4.2 forbids it, and senders use it nevertheless.
            () if key.eq_ignore_ascii_case("filename*") => &mut extended,
            () => continue,
        };
        if slot.replace(value).is_some() {
            return Err(Unreadable);
        }
    }
    let mut is_utf8 = true;
    let file_name = file_name.or(extended.map(|value| {
        // RFC 8187: charset, language and value, separated by single quotes.
        let encoded = percent_decode_str(value.rsplit('\'').next().unwrap_or_default());
        is_utf8 = encoded.clone().decode_utf8().is_ok();
        encoded.decode_utf8_lossy().into_owned()
    }));
    Ok((name.ok_or(Unreadable)?, file_name, is_utf8))
}

/// The longest header of a part.
const LONGEST_HEAD: usize = 16 * 1024;

/// A body and what separates its parts.
struct Frame<'a> {
    body: &'a [u8],
    /// `--boundary`
    delimiter: Vec<u8>,
}

impl<'a> Frame<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Self {
        Self { body, delimiter: [b"--", boundary.as_bytes()].concat() }
    }

    /// Finds each part by the delimiters around it. What is before the first delimiter and behind the
    /// last one is no part.
    fn passed(&self) -> Result<Passes<'_, 'a>, ContentError> {
        let position = find(self.body, &self.delimiter).ok_or_else(malformed)?;
        Ok(Passes { frame: self, position })
    }
}

struct Passes<'f, 'a> {
    frame: &'f Frame<'a>,
    /// Where the delimiter of the next part begins.
    position: usize,
}

impl<'a> Passes<'_, 'a> {
    fn pass(&mut self, rest: &'a [u8]) -> Option<Passed<'a>> {
        let delimiter = &*self.frame.delimiter;
        let head = rest.get(delimiter.len()..)?;
        let head_length = find(head.get(..LONGEST_HEAD).unwrap_or(head), b"\r\n\r\n")?;
        let (head, _) = head.split_at_checked(head_length)?;
        let header_lines = head.windows(2).filter(|pair| pair == b"\r\n").count();
        if header_lines == 0 || has_bare_line_end(head) || find(head, delimiter).is_some() {
            return None;
        }
        let (head, content) = rest.split_at_checked(delimiter.len() + head_length + 4)?;
        let content = content.get(..find_behind_line_end(content, delimiter)?)?;
        let span = self.position..self.position + head.len() + content.len() + 2;
        self.position = span.end;
        Some(Passed { span, head, header_lines, content })
    }
}

impl<'a> Iterator for Passes<'_, 'a> {
    type Item = Result<Passed<'a>, ContentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.frame.body.get(self.position..)?;
        if rest.strip_prefix(&*self.frame.delimiter).is_some_and(|rest| rest.starts_with(b"--")) {
            return None;
        }
        Some(self.pass(rest).ok_or_else(malformed))
    }
}

/// A part between two delimiters.
struct Passed<'a> {
    /// From the part's delimiter to the next one.
    span: Range<usize>,
    /// From the part's delimiter to its content.
    head: &'a [u8],
    header_lines: usize,
    content: &'a [u8],
}

/// Where the first line end is that has the delimiter behind it.
fn find_behind_line_end(content: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        let rest = content.get(position..)?;
        position += rest.iter().position(|byte| *byte == b'\r')?;
        let behind = content.get(position..)?.strip_prefix(b"\r\n");
        if behind.is_some_and(|behind| behind.starts_with(delimiter)) {
            return Some(position);
        }
        position += 1;
    }
}

fn has_bare_line_end(head: &[u8]) -> bool {
    let bare = |pair: &[u8]| matches!(pair, [b'\r', other] if *other != b'\n');
    let unpaired = |pair: &[u8]| matches!(pair, [other, b'\n'] if *other != b'\r');
    head.windows(2).any(|pair| bare(pair) || unpaired(pair))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
        --b\r\ncontent-disposition: form-data; filename=\"../../x\"; name=f\r\n\
        Content-Type: Text/Plain; x=1\r\n\r\n\r\n\xff--b\r\n--b--\r\n";

    fn disposition(line: &str) -> Vec<u8> {
        format!("--b\r\nContent-Disposition: {line}\r\n\r\nv\r\n--b--").into_bytes()
    }

    fn refusal(body: &[u8]) -> ContentErrorKind {
        parts(body, "b", 10).unwrap_err().kind()
    }

    #[test]
    fn fields_and_files_are_read() {
        let parts = parts(TWO, "b", 2).unwrap();
        let [field, file] = &parts[..] else { panic!("{parts:?}") };

        assert_eq!((field.name(), field.file_name(), field.content_type()), ("a", None, None));
        assert_eq!((field.content(), field.text()), (&b"1"[..], Some("1")));
        assert_eq!((file.name(), file.file_name()), ("f", Some("../../x")));
        assert_eq!(file.content_type(), Some("Text/Plain; x=1"));
        assert_eq!((file.content(), file.text()), (&b"\r\n\xff--b"[..], None));
    }

    #[test]
    fn no_parts_are_no_parts() {
        assert_eq!(parts(b"--b--", "b", 0).unwrap().len(), 0);
        assert_eq!(parts(b"preamble\r\n--b--\r\nepilogue", "b", 0).unwrap().len(), 0);
    }

    #[test]
    fn names_are_read_as_senders_write_them() {
        for (line, name, file_name) in [
            ("form-data; name=a", "a", None),
            ("Form-Data ;name = \"a;b\"", "a;b", None),
            ("form-data; name=\"a\\\"b\"", "a\"b", None),
            ("form-data; name=\"\"", "", None),
            ("form-data; name=\"ké\"; filename=\"\"", "ké", Some("")),
            ("form-data; name=a; filename=\"x; name=b\"", "a", Some("x; name=b")),
            ("form-data; name=a; filename=\"C:\\dir\\x\"", "a", Some("C:\\dir\\x")),
            ("form-data; name=a; filename*=UTF-8''%C3%A9%20x", "a", Some("é x")),
            ("form-data; name=a; filename=x; filename*=UTF-8''y", "a", Some("x")),
            ("form-data; name=a; x=1", "a", None),
        ] {
            let body = disposition(line);
            let parts = parts(&body, "b", 1).expect(line);
            assert_eq!((parts[0].name(), parts[0].file_name()), (name, file_name), "{line}");
        }
    }

    #[test]
    fn a_part_whose_name_is_not_clear_is_refused() {
        for line in [
            "form-data",
            "form-data; filename=x",
            "form-data; name=a; name=a",
            "form-data; name=a; NAME=b",
            "form-data; NAME=a",
            "form-data; name=",
            "form-data; name=a b",
            "form-data; name=a; x=b c",
            "form-data; name=\"a\\\\b\"",
            "form-data; filename=\"x; name=b\"; name=a",
            "form-data; x=\" name=b\"; name=a",
            "form-data; name*=utf-8''b; name=a",
            "form-data; name=a; name*=utf-8''a",
            "form-data; name=a; filename=x; filename=y",
            "form-data; name=\"a",
            "form-data; name=\"a\"b",
            "form-data; name",
            "attachment; name=a",
            "form-data; name=a\r\nContent-Disposition: form-data; name=b",
        ] {
            assert_eq!(refusal(&disposition(line)), ContentErrorKind::Malformed, "{line}");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        let head = "--b\r\nContent-Disposition: form-data; name=a";
        for body in [
            String::new(),
            "x".to_owned(),
            "--b".to_owned(),
            "--b\r\n".to_owned(),
            "--b-".to_owned(),
            "--bx\r\n".to_owned(),
            "--b\r\n\r\nv\r\n--b--".to_owned(),
            head.to_owned(),
            format!("{head}\r\n"),
            format!("{head}\r\n\r\nv"),
            format!("{head}\r\n\r\nv\r\n--"),
            format!("{head}\r\n\r\nv\r\n--b"),
            format!("{head}\r\n\r\nv\r\n--b-"),
            format!("{head}\r\n\r\nv\r\n--b\r\n"),
            format!("{head}\r\n\r\nv\r\n--bc\r\n--b--"),
            format!("{head}\r\n\r\nv\n--b--"),
            format!("{head}\n\nv\n--b--\n"),
            format!("{head}\n\nhidden\r\n\r\nv\r\n--b--"),
            format!("{head}\nX: y\r\n\r\nv\r\n--b--"),
            format!("{head}\r\n--b\r\nX: y\r\n\r\nv\r\n--b--"),
            format!("{head}\r\nno colon\r\n\r\nv\r\n--b--"),
            format!("{head}\r\n{}\r\nv\r\n--b--", "X: y\r\n".repeat(1_000)),
            format!("{head}\r\nX: {}\r\n\r\nv\r\n--b--", "y".repeat(LONGEST_HEAD)),
            format!("{head}\r\n\r\nv\r\n--b\r\n\r\n\r\n--b--"),
            format!(
                "{head}\r\n\r\nv\r\n--b\r\n\r\n{}\r\n--b--",
                head.trim_start_matches("--b\r\n")
            ),
            r#"{"a":1}"#.to_owned(),
        ] {
            assert_eq!(refusal(body.as_bytes()), ContentErrorKind::Malformed, "{body:?}");
        }
    }

    #[test]
    fn one_part_more_than_the_limit_is_refused() {
        assert!(parts(TWO, "b", 2).is_ok());
        assert_eq!(parts(TWO, "b", 1).unwrap_err().kind(), ContentErrorKind::TooManyFields);
    }

    #[test]
    fn a_body_cut_anywhere_before_its_end_is_refused() {
        let end = TWO.len() - b"\r\n".len();
        for length in 0..end {
            assert_eq!(refusal(&TWO[..length]), ContentErrorKind::Malformed, "{length}");
        }
        assert!(parts(&TWO[..end], "b", 2).is_ok());
    }

    #[test]
    fn removal_keeps_every_byte_of_the_other_parts() {
        let a = "--b\r\nContent-Disposition: form-data; name=a\r\nX-Y:  z \r\n\r\n1\r\n";
        let k = "--b \r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n\r\n";
        let end = "--b--\r\nepilogue";

        for (body, rest) in [
            (format!("pre\r\n{k}{a}{k}{k}{a}{end}"), format!("pre\r\n{a}{a}{end}")),
            (format!("{a}{k}{end}"), format!("{a}{end}")),
            (format!("{k}{end}"), end.to_owned()),
        ] {
            let removed = remove(body.as_bytes(), "b", "k", 10).unwrap();
            assert_eq!(String::from_utf8_lossy(&removed), rest);
            assert!(matches!(removed, Cow::Owned(_)));
        }
        assert!(matches!(remove(TWO, "b", "k", 10).unwrap(), Cow::Borrowed(TWO)));
    }
}
