use http::{HeaderMap, header};
use mime::Mime;

use super::{ContentError, ContentErrorKind};

/// A type and a subtype have at most 127 characters each (RFC 6838 section 4.2).
const LONGEST_ESSENCE: usize = 255;

/// How a body is to be read, by its `Content-Type`.
///
/// Type and subtype are compared without regard to case. Of the parameters, only a charset of JSON or a form
/// and the boundary of multipart matter.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use tower_webhook::content::MediaType;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(MediaType::from_headers(&headers)?, MediaType::Absent);
///
/// headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("Application/Problem+JSON; v=1"));
/// assert_eq!(MediaType::from_headers(&headers)?, MediaType::Json);
/// # Ok::<(), tower_webhook::content::ContentError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MediaType {
    /// `application/json`, and every subtype that ends in `+json`, except those of gRPC.
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/form-data`
    #[non_exhaustive]
    Multipart {
        /// What separates the parts, checked by the rules of RFC 2046 section 5.1.1.
        boundary: Box<str>,
    },
    /// Any other media type.
    Other,
    /// There is no `Content-Type`.
    Absent,
}

impl MediaType {
    /// Reads the media type, and refuses what two readers may understand differently.
    ///
    /// # Errors
    ///
    /// * [`RepeatedContentType`](ContentErrorKind::RepeatedContentType): several lines, or a list;
    /// * [`UnsupportedMediaType`](ContentErrorKind::UnsupportedMediaType): no media type can be
    ///   read, or one that other readers take for another one, such as `multipart/form-data+x`;
    /// * [`UnsupportedCharset`](ContentErrorKind::UnsupportedCharset): JSON or a form in another
    ///   charset than UTF-8 or US-ASCII;
    /// * [`Malformed`](ContentErrorKind::Malformed): multipart without one valid boundary of 1 to
    ///   70 characters (RFC 2046 section 5.1.1). One with a blank or one of `(),/:=?` needs quotes (RFC
    ///   9110 section 5.6.6).
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, ContentError> {
        let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
        let Some(line) = lines.next() else {
            return Ok(Self::Absent);
        };
        if lines.next().is_some() {
            return Err(ContentError::new(ContentErrorKind::RepeatedContentType));
        }
        let line = line.to_str().map_err(|_| unsupported())?;
        if is_list(line) {
            return Err(ContentError::new(ContentErrorKind::RepeatedContentType));
        }

        let (essence, parameters) = line.split_once(';').unwrap_or((line, ""));
        match read_essence(trim(essence)).ok_or_else(unsupported)? {
            Self::Form if !is_utf8(parameters) => Err(unsupported_charset()),
            // JSON has no such parameter (RFC 8259 section 11), and senders add others that are malformed.
            Self::Json if names_charset(parameters) && !is_utf8(parameters) => {
                Err(unsupported_charset())
            }
            Self::Multipart { .. } => read_boundary(parameters),
            media => Ok(media),
        }
    }

    /// Whether a body of this type has named fields that are read here.
    pub(crate) const fn has_fields(&self) -> bool {
        match self {
            Self::Json | Self::Form => true,
            Self::Multipart { .. } => cfg!(feature = "multipart"),
            Self::Other | Self::Absent => false,
        }
    }

    /// Reads the media type as [`from_headers`](Self::from_headers) does, but takes an unreadable
    /// or repeated one for [`Other`](Self::Other), and JSON and every urlencoded form for UTF-8.
    ///
    /// # Errors
    ///
    /// [`Malformed`](ContentErrorKind::Malformed): multipart without one valid boundary.
    ///
    /// # Security
    ///
    /// Fits where a body that is not understood is only passed on as opaque bytes. Where a
    /// credential may be in the body, a sender could hide it from one reader and show it to the
    /// next: a form that is labelled `charset=latin1` is a form here and an unsupported body for
    /// [`from_headers`](Self::from_headers), with which credentials are looked for and removed.
    pub fn from_headers_lenient(headers: &HeaderMap) -> Result<Self, ContentError> {
        match Self::from_headers(headers) {
            Err(error) => match error.kind() {
                ContentErrorKind::RepeatedContentType | ContentErrorKind::UnsupportedMediaType => {
                    Ok(Self::Other)
                }
                ContentErrorKind::UnsupportedCharset => {
                    let label = Label::of(headers).and_then(|label| read_essence(label.essence));
                    Ok(label.unwrap_or(Self::Other))
                }
                _ => Err(error),
            },
            read => read,
        }
    }
}

/// The one `Content-Type` of a request, as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'a> {
    essence: &'a str,
    parameters: &'a str,
}

impl<'a> Label<'a> {
    /// `None` if there is no `Content-Type`, or more than one.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let line = line.to_str().ok().filter(|line| !is_list(line))?;
        let (essence, parameters) = line.split_once(';').unwrap_or((line, ""));
        Some(Self { essence: trim(essence), parameters })
    }

    /// Whether a text is the name of a media type that is [`MediaType::Other`].
    pub(crate) fn is_other(name: &str) -> bool {
        read_essence(name) == Some(MediaType::Other)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.essence.eq_ignore_ascii_case(name)
    }

    /// Whether no other charset than UTF-8 or US-ASCII is named.
    pub(crate) fn is_utf8(&self) -> bool {
        !names_charset(self.parameters) || is_utf8(self.parameters)
    }

    /// `text/*`, XML (RFC 7303) and JavaScript (RFC 9239).
    pub(crate) fn is_text(&self) -> bool {
        const JAVASCRIPT: [&str; 4] = ["javascript", "x-javascript", "ecmascript", "x-ecmascript"];
        let essence = self.essence.to_ascii_lowercase();
        match essence.split_once('/') {
            Some(("text", _) | ("application", "xml")) => true,
            Some(("application", subtype)) if JAVASCRIPT.contains(&subtype) => true,
            Some((_, subtype)) => subtype.ends_with("+xml"),
            None => false,
        }
    }
}

fn unsupported() -> ContentError {
    ContentError::new(ContentErrorKind::UnsupportedMediaType)
}

fn unsupported_charset() -> ContentError {
    ContentError::new(ContentErrorKind::UnsupportedCharset)
}

/// A media type without its parameters. The boundary of multipart is still to be read.
fn read_essence(essence: &str) -> Option<MediaType> {
    if essence.eq_ignore_ascii_case("application/json") {
        return Some(MediaType::Json);
    }
    if essence.len() > LONGEST_ESSENCE || essence.ends_with('/') {
        return None;
    }
    let mime: Mime = essence.parse().ok()?;
    if is_read_elsewhere(&mime) {
        return None;
    }
    Some(if mime.suffix() == Some(mime::JSON) && !is_framed(&mime) {
        MediaType::Json
    } else if mime.essence_str() == mime::APPLICATION_WWW_FORM_URLENCODED {
        MediaType::Form
    } else if mime.essence_str() == mime::MULTIPART_FORM_DATA {
        MediaType::Multipart { boundary: Box::default() }
    } else {
        MediaType::Other
    })
}

/// Whether a suffix names the format of messages within frames: those of gRPC are never JSON as a whole.
fn is_framed(mime: &Mime) -> bool {
    mime.type_() == mime::APPLICATION
        && ["grpc", "grpc-web", "grpc-web-text"].contains(&mime.subtype().as_str())
}

/// Whether other readers take a type for one of those that are read here, although it is another one: axum's
/// `Json` and multer ignore a suffix, and axum's `Form` compares the beginning only.
fn is_read_elsewhere(mime: &Mime) -> bool {
    let suffix = mime.suffix().map(|suffix| suffix.as_str());
    match (mime.type_().as_str(), mime.subtype().as_str()) {
        ("application", "json") => suffix.is_some_and(|suffix| suffix != "json"),
        ("multipart", "form-data") => suffix.is_some(),
        ("application", subtype) => {
            let form = "x-www-form-urlencoded";
            subtype.starts_with(form) && (subtype != form || suffix.is_some())
        }
        _ => false,
    }
}

/// No charset is named, or UTF-8 or its subset once.
fn is_utf8(parameters: &str) -> bool {
    match single_parameter(parameters, "charset") {
        Ok(None) => true,
        Ok(Some(charset)) => {
            ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        }
        Err(Unreadable) => false,
    }
}

/// Whether a reader may see a charset in these parameters, however malformed they are.
fn names_charset(parameters: &str) -> bool {
    parameters.to_ascii_lowercase().contains("charset")
}

fn read_boundary(parameters: &str) -> Result<MediaType, ContentError> {
    match single_parameter(parameters, "boundary") {
        Ok(Some(boundary)) if is_boundary(&boundary) => {
            Ok(MediaType::Multipart { boundary: boundary.into() })
        }
        _ => Err(ContentError::new(ContentErrorKind::Malformed)),
    }
}

/// RFC 2046 section 5.1.1: `0*69<bchars> bcharsnospace`.
fn is_boundary(boundary: &str) -> bool {
    (1..=70).contains(&boundary.len())
        && !boundary.ends_with(' ')
        && boundary
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
}

/// Parameters that do not follow the grammar, or name the wanted one twice.
pub(super) struct Unreadable;

/// The value of the parameter with that name (RFC 9110 section 5.6.6). Reads all parameters, so
/// that one that is not well-formed cannot hide another.
fn single_parameter(parameters: &str, wanted: &str) -> Result<Option<String>, Unreadable> {
    let mut found = None;
    for parameter in Parameters::new(parameters) {
        let (name, value) = parameter?;
        if name.eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return Err(Unreadable);
        }
    }
    Ok(found)
}

/// `name=value; name="value"`, with white space around each piece. A name, and a value without quotes,
/// is a token (RFC 9110 section 5.6.2): readers disagree on where anything else ends.
pub(super) struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    fn read(&mut self, name: &'a str, rest: &'a str) -> Result<(&'a str, String), Unreadable> {
        let name = trim(name);
        let rest = rest.trim_start_matches([' ', '\t']);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or(Unreadable)?,
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                let (value, rest) = rest.split_at(end);
                let value = trim(value);
                if !is_token(value) {
                    return Err(Unreadable);
                }
                (value.to_owned(), rest)
            }
        };
        self.0 = match rest.trim_start_matches([' ', '\t']) {
            "" => "",
            rest => rest.strip_prefix(';').ok_or(Unreadable)?,
        };
        if !is_token(name) {
            return Err(Unreadable);
        }
        Ok((name, value))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a str, String), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_start_matches([' ', '\t', ';']);
        if self.0.is_empty() {
            return None;
        }
        let read = match self.0.split_once('=') {
            Some((name, rest)) => self.read(name, rest),
            None => Err(Unreadable),
        };
        if read.is_err() {
            self.0 = "";
        }
        Some(read)
    }
}

/// `token` (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// `tchar` (RFC 9110, section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads a quoted string from behind its opening quote: its text, and what follows.
///
/// A backslash escapes a quote or a backslash and is itself before anything else, since old
/// browsers send paths with single backslashes as file names.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::with_capacity(quoted.find('"').unwrap_or_default());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return Some((text, rest.as_str())),
            '\\' => {
                let escaped = rest.as_str().starts_with(['"', '\\']).then(|| rest.next()).flatten();
                text.push(escaped.unwrap_or('\\'));
            }
            plain => text.push(plain),
        }
    }
}

/// A comma outside of quotes makes a list.
fn is_list(line: &str) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    line.bytes().any(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&[u8]]) -> Result<MediaType, ContentErrorKind> {
        MediaType::from_headers(&headers(lines)).map_err(|error| error.kind())
    }

    fn read_leniently(lines: &[&[u8]]) -> Result<MediaType, ContentErrorKind> {
        MediaType::from_headers_lenient(&headers(lines)).map_err(|error| error.kind())
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn multipart(boundary: &str) -> MediaType {
        MediaType::Multipart { boundary: boundary.into() }
    }

    #[test]
    fn a_type_is_read_without_case_blanks_and_parameters() {
        for (line, expected) in [
            ("application/json", MediaType::Json),
            ("APPLICATION/JSON", MediaType::Json),
            ("application/json;charset=UTF-8", MediaType::Json),
            (" application/json\t;charset=\"utf-8\"", MediaType::Json),
            ("application/json ; a=\"x,y\"", MediaType::Json),
            ("application/json;", MediaType::Json),
            ("application/json; q", MediaType::Json),
            ("application/json; CHARSET=us-ascii", MediaType::Json),
            ("application/json; profile=\"charset\"", MediaType::Json),
            ("application/vnd.x+json", MediaType::Json),
            ("application/grpc+json", MediaType::Other),
            ("application/grpc-web+json", MediaType::Other),
            ("application/grpcx+json", MediaType::Json),
            ("application/vnd.a+b+JSON", MediaType::Json),
            ("model/gltf+json", MediaType::Json),
            ("application/x-www-form-urlencoded", MediaType::Form),
            ("Application/X-WWW-Form-Urlencoded; Charset=\"UTF-8\"", MediaType::Form),
            ("application/x-www-form-urlencoded; charset=utf8", MediaType::Form),
            ("multipart/form-data; boundary=b", multipart("b")),
            ("Multipart/Form-Data ; charset=x;BOUNDARY=\"a b\" ", multipart("a b")),
            ("text/plain", MediaType::Other),
            ("text/json", MediaType::Other),
            ("application/jsonp", MediaType::Other),
            ("application/json-seq", MediaType::Other),
            ("application/+json", MediaType::Other),
            ("multipart/mixed; boundary=b", MediaType::Other),
            ("*/*", MediaType::Other),
        ] {
            assert_eq!(read(&[line.as_bytes()]), Ok(expected), "{line}");
        }
    }

    #[test]
    fn no_line_is_absent() {
        assert_eq!(read(&[]), Ok(MediaType::Absent));
    }

    #[test]
    fn a_repeated_type_is_refused_even_if_equal() {
        for lines in [
            &[&b"application/json"[..], b"application/json"][..],
            &[b"application/json, text/plain"],
            &[b"application/json; a=\"\\\"\", text/plain"],
            &[b"application/json,"],
            &[b"", b""],
        ] {
            assert_eq!(read(lines), Err(ContentErrorKind::RepeatedContentType), "{lines:?}");
            assert_eq!(read_leniently(lines), Ok(MediaType::Other));
        }
    }

    #[test]
    fn an_unreadable_type_is_unsupported() {
        let long = format!("a/{}", "b".repeat(8 * 1024));
        for line in [
            &b""[..],
            b"application",
            b"/",
            b"a/",
            b"/b",
            b"a/b/c",
            b"a b/c",
            b"application/json+x",
            b"multipart/form-data+x; boundary=b",
            b"application/x-www-form-urlencoded2",
            b"application/x-www-form-urlencoded+json",
            b"application/json text/plain",
            b"application/json\xff",
            long.as_bytes(),
        ] {
            assert_eq!(read(&[line]), Err(ContentErrorKind::UnsupportedMediaType), "{line:?}");
            assert_eq!(read_leniently(&[line]), Ok(MediaType::Other));
        }
    }

    #[test]
    fn json_and_forms_in_another_charset_are_refused() {
        for parameters in [
            "charset=iso-8859-1",
            "charset=\"UTF-16\"",
            "q; charset=utf-16",
            "charset=utf-8;charset=utf-8",
            "charset=",
            "charset",
            "charset=utf-8 x",
        ] {
            for (essence, media) in [
                ("application/x-www-form-urlencoded", MediaType::Form),
                ("application/json", MediaType::Json),
                ("application/vnd.a+JSON", MediaType::Json),
            ] {
                let line = format!("{essence}; {parameters}");
                let unsupported = Err(ContentErrorKind::UnsupportedCharset);
                assert_eq!(read(&[line.as_bytes()]), unsupported, "{line}");
                assert_eq!(read_leniently(&[line.as_bytes()]), Ok(media), "{line}");
            }
        }
    }

    #[test]
    fn texts_are_told_from_other_types() {
        for (line, is_text) in [
            ("text/plain", true),
            ("Text/X-Anything; charset=utf-16", true),
            ("application/xml", true),
            ("image/SVG+xml", true),
            ("application/JavaScript", true),
            ("application/json-seq", false),
            ("application/xml-x", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("text", false),
        ] {
            let headers = headers(&[line.as_bytes()]);
            assert_eq!(Label::of(&headers).unwrap().is_text(), is_text, "{line}");
        }
    }

    #[test]
    fn multipart_needs_one_valid_boundary() {
        let longest = "b".repeat(70);
        for boundary in [&longest[..], "'()+_,-./:=? x"] {
            let line = format!("multipart/form-data; boundary=\"{boundary}\"");
            assert_eq!(read(&[line.as_bytes()]), Ok(multipart(boundary)));
        }

        let too_long = format!("boundary={}", "b".repeat(71));
        for parameters in [
            "",
            "boundary",
            "boundary=",
            "boundary=\"\"",
            "boundary=\"b",
            "boundary=\"b\"c",
            "boundary=\"b \"",
            "boundary=\"\\\"\"",
            "boundary=a@b",
            "boundary=a b",
            "boundary=a=b",
            "boundary=a/b",
            "boundary=a:b",
            "boundary=b; x=a b",
            "boundary=b; x y=a",
            "boundary=a\tb",
            "boundary=a;boundary=a",
            &too_long,
        ] {
            let line = format!("multipart/form-data; {parameters}");
            assert_eq!(read(&[line.as_bytes()]), Err(ContentErrorKind::Malformed), "{line}");
            assert_eq!(read_leniently(&[line.as_bytes()]), Err(ContentErrorKind::Malformed));
        }
    }

    #[test]
    fn quoted_values_keep_what_is_in_quotes() {
        let read: Vec<_> = Parameters::new(r#" a="x;y=\"z\\" ; b = c'%;; e="f:\g""#)
            .map(|parameter| parameter.ok().unwrap())
            .collect();

        let expected = [("a", r#"x;y="z\"#), ("b", "c'%"), ("e", r"f:\g")];
        assert_eq!(read, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
