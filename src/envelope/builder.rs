use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::headers::HeaderOptions;
use super::input::Redact;
use super::sources::Form;
#[cfg(feature = "multipart")]
use super::sources::Parts;
use super::text::{Length, ObjectWriter, Sink, push_bytes};
use super::{
    BuildError, Envelope, EnvelopeInput, EnvelopePart, HeaderCase, HeaderRepeats, Inner, NonUtf8,
    Repeats,
};
#[cfg(not(feature = "multipart"))]
use crate::content::ContentErrorKind;
use crate::content::json::{self, JsonKind, JsonLimits};
use crate::content::{ContentError, ContentLimits, MediaType, form};
use crate::error::ConfigError;

/// Decides the shape of envelopes, and builds them.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_webhook::envelope::{AbsentJson, EnvelopeBuilder, EnvelopeInput, EnvelopePart};
///
/// let builder = EnvelopeBuilder::new()
///     .with_part(EnvelopePart::Get, "query")?
///     .with_part(EnvelopePart::Body, "body")?
///     .with_absent_json(AbsentJson::Null)
///     .without_part(EnvelopePart::Post)
///     .without_part(EnvelopePart::Headers);
///
/// let (head, body) = Request::post("/?a=1").body(b"plain")?.into_parts();
/// let envelope = builder.build(&EnvelopeInput::new(&head, body).with_member("identity", "null"))?;
/// assert_eq!(
///     envelope.as_str(),
///     r#"{"query":{"a":"1"},"JSON":null,"body":"plain","identity":null}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EnvelopeBuilder {
    names: [Option<Cow<'static, str>>; EnvelopePart::COUNT],
    repeats: Repeats,
    headers: HeaderOptions,
    json_values: JsonValues,
    absent_json: AbsentJson,
    left_out_query: Vec<String>,
    lenient_media_types: bool,
    limits: ContentLimits,
}

impl EnvelopeBuilder {
    /// The default shape: see the [module](super).
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: [Some("GET"), Some("POST"), Some("JSON"), Some("HEADERS"), None]
                .map(|name| name.map(Cow::Borrowed)),
            repeats: Repeats::default(),
            headers: HeaderOptions::default(),
            json_values: JsonValues::default(),
            absent_json: AbsentJson::default(),
            left_out_query: Vec::new(),
            lenient_media_types: false,
            limits: ContentLimits::new(),
        }
    }

    /// Writes a part under that name, also one that is off by default.
    ///
    /// # Errors
    ///
    /// Another part has the name.
    pub fn with_part(
        mut self,
        part: EnvelopePart,
        name: impl Into<Cow<'static, str>>,
    ) -> Result<Self, ConfigError> {
        let name = name.into();
        let is_taken = |(index, other): (usize, &Option<Cow<'_, str>>)| {
            index != part.index() && other.as_ref() == Some(&name)
        };
        if self.names.iter().enumerate().any(is_taken) {
            return Err(ConfigError::new("two parts of the envelope have one name"));
        }
        if let Some(slot) = self.names.get_mut(part.index()) {
            *slot = Some(name);
        }
        Ok(self)
    }

    /// Leaves a part out. What only that part would show is not read, and so not refused either.
    #[must_use]
    pub fn without_part(mut self, part: EnvelopePart) -> Self {
        if let Some(slot) = self.names.get_mut(part.index()) {
            *slot = None;
        }
        self
    }

    /// How fields of one name are written in `GET` and `POST`.
    #[must_use]
    pub const fn with_repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    /// How headers of one name are written.
    #[must_use]
    pub const fn with_header_repeats(mut self, repeats: HeaderRepeats) -> Self {
        self.headers.repeats = repeats;
        self
    }

    /// How the names of headers are written.
    #[must_use]
    pub const fn with_header_case(mut self, case: HeaderCase) -> Self {
        self.headers.case = case;
        self
    }

    /// How values of headers that are not UTF-8 are written.
    #[must_use]
    pub const fn with_header_bytes(mut self, non_utf8: NonUtf8) -> Self {
        self.headers.non_utf8 = non_utf8;
        self
    }

    /// Leaves out more headers than `authorization`, `proxy-authorization` and `cookie`, which are
    /// never written. `_` and `-` are the same: with `x-api-key` goes `X_Api_Key`.
    #[must_use]
    pub fn with_excluded_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.headers.left_out.extend(names);
        self
    }

    /// Takes `X_Api_Key` for another header than `x-api-key`, so that it is not left out with it.
    ///
    /// # Security
    ///
    /// What hands headers on in environment variables, as CGI does (RFC 3875, section 4.1.18), makes one name
    /// of the two. An executor behind such a program could be given a credential under the other name.
    #[must_use]
    pub const fn with_insecure_exact_header_names(mut self) -> Self {
        self.headers.exact_names = true;
        self
    }

    /// Writes the headers that serve the transport too: `connection`, `content-length`, `expect`,
    /// `keep-alive`, `proxy-connection`, `te`, `trailer`, `transfer-encoding`, `upgrade`.
    ///
    /// They are left out by default, since they say how a request travelled and not what it says: a
    /// chunked body would give another envelope than the same body with its length.
    #[must_use]
    pub const fn with_transport_headers(mut self) -> Self {
        self.headers.with_transport = true;
        self
    }

    /// Leaves out the fields of the query with these decoded names.
    #[must_use]
    pub fn with_excluded_query_parameters(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.left_out_query.extend(names.into_iter().map(Into::into));
        self
    }

    /// Which JSON bodies are shown.
    #[must_use]
    pub const fn with_json_values(mut self, values: JsonValues) -> Self {
        self.json_values = values;
        self
    }

    /// What stands for a JSON body where there is none.
    #[must_use]
    pub const fn with_absent_json(mut self, absent: AbsentJson) -> Self {
        self.absent_json = absent;
        self
    }

    /// Takes a body with an unreadable or repeated `Content-Type` for an opaque one instead of
    /// refusing it, and reads every urlencoded form as UTF-8: see
    /// [`MediaType::from_headers_lenient`].
    ///
    /// # Security
    ///
    /// A credential in a body is removed by the strict reading. The envelope of a public route shows one
    /// that stands in a form with the label `charset=latin1`. Where every credential is in the head, there
    /// is nothing to lose.
    #[must_use]
    pub const fn with_insecure_lenient_media_types(mut self) -> Self {
        self.lenient_media_types = true;
        self
    }

    /// How much the query and the body may hold.
    #[must_use]
    pub const fn with_limits(mut self, limits: ContentLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Builds the envelope of a request.
    ///
    /// # Errors
    ///
    /// * The query has more fields than the limits allow;
    /// * the body does not follow its media type or breaks a limit, or its media type is refused by
    ///   [`MediaType::from_headers`]; multipart without the feature `multipart` is unsupported;
    /// * an added member is not JSON, or its name is taken.
    pub fn build(&self, input: &EnvelopeInput<'_>) -> Result<Envelope, BuildError> {
        // Everything is read before anything is written.
        self.check_members(input)?;
        let query = self.read_query(input)?;
        let body = self.read_body(input)?;

        let mut text = String::with_capacity(self.length(input, &query, &body));
        let mut parts = [const { None }; EnvelopePart::COUNT];
        let mut object = ObjectWriter::new(&mut text);
        let mut push = |part: EnvelopePart, write: &dyn Fn(&mut String)| {
            if let (Some(name), Some(span)) = (self.name(part), parts.get_mut(part.index())) {
                *span = Some(object.member(name, |out| write(out)));
            }
        };
        push(EnvelopePart::Get, &|out| query.push(out, self.repeats));
        push(EnvelopePart::Post, &|out| body.push_fields(out, self.repeats));
        push(EnvelopePart::Json, &|out| out.push_str(self.json_text(&body)));
        push(EnvelopePart::Headers, &|out| {
            self.headers.push(out, &input.head.headers, input.left_out_headers, input.redact);
        });
        push(EnvelopePart::Body, &|out| match body {
            Body::Opaque(bytes) => push_bytes(out, bytes),
            _ => out.push_str("null"),
        });
        let members = input
            .members
            .iter()
            .map(|(name, json)| ((*name).to_owned(), object.member(name, |out| out.push_str(json))))
            .collect();
        object.finish();
        Ok(Envelope(Arc::new(Inner { text, parts, members })))
    }

    /// Room for the whole text, so that it need not grow: a text that grows is there twice.
    fn length(&self, input: &EnvelopeInput<'_>, query: &Form<'_>, body: &Body<'_>) -> usize {
        let mut length = Length(128);
        query.push(&mut length, self.repeats);
        body.push_fields(&mut length, self.repeats);
        match body {
            Body::Json(text, _) => length.push_str(text),
            Body::Opaque(bytes) if self.name(EnvelopePart::Body).is_some() => {
                push_bytes(&mut length, bytes);
            }
            _ => {}
        }
        let names: usize = self.names.iter().flatten().map(|name| 2 * name.len()).sum();
        let headers: usize = match self.name(EnvelopePart::Headers) {
            Some(_) => input
                .head
                .headers
                .iter()
                .map(|(name, value)| name.as_str().len() + header_length(value.as_bytes()) + 8)
                .sum(),
            None => 0,
        };
        let members: usize =
            input.members.iter().map(|(name, json)| name.len() + json.len() + 4).sum();
        length.0 + names + headers + members
    }

    fn name(&self, part: EnvelopePart) -> Option<&str> {
        self.names.get(part.index())?.as_deref()
    }

    /// Whether a part of the envelope has this name.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        self.names.iter().flatten().any(|other| **other == *name)
    }

    /// Removes the headers that the envelope leaves out because they hold credentials.
    pub(crate) fn remove_hidden_headers(&self, headers: &mut HeaderMap, left_out: &[HeaderName]) {
        self.headers.remove_hidden(headers, left_out);
    }

    fn check_members(&self, input: &EnvelopeInput<'_>) -> Result<(), BuildError> {
        let limits = JsonLimits::new().with_nodes(usize::MAX);
        for (index, (name, json)) in input.members.iter().enumerate() {
            let is_taken = self.names.iter().flatten().any(|other| other == name)
                || input.members.iter().take(index).any(|(other, _)| other == name);
            if is_taken || json::validate(json.as_bytes(), &limits).is_err() {
                return Err(BuildError::member());
            }
        }
        Ok(())
    }

    fn read_query<'a>(&self, input: &EnvelopeInput<'a>) -> Result<Form<'a>, ContentError> {
        let query = match self.name(EnvelopePart::Get) {
            Some(_) => input.head.uri.query().unwrap_or_default().as_bytes(),
            None => &[],
        };
        let pairs = form::pairs_up_to(query, self.limits.fields())?;
        let is_shown = |pair: &form::Pair<'_>| {
            let mut left_out = self.left_out_query.iter().chain(input.left_out_query);
            !left_out.any(|name| pair.is_named(name))
        };
        let is_clean = |pair: &form::Pair<'_>| {
            input.redact.is_none_or(|redact| {
                redact(&pair.name_lossy()).is_none() && redact(&pair.value_lossy()).is_none()
            })
        };
        if pairs.clone().all(|pair| is_shown(&pair) && is_clean(&pair)) {
            return Form::new(Cow::Borrowed(query), usize::MAX);
        }
        let mut shown = Vec::with_capacity(query.len());
        for pair in pairs.filter(is_shown) {
            if !shown.is_empty() {
                shown.push(b'&');
            }
            if is_clean(&pair) {
                shown.extend_from_slice(pair.raw());
                continue;
            }
            let encode = |text: Cow<'_, str>| {
                let text = redacted(text, input.redact);
                utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
            };
            shown.extend_from_slice(encode(pair.name_lossy()).as_bytes());
            shown.push(b'=');
            shown.extend_from_slice(encode(pair.value_lossy()).as_bytes());
        }
        Form::new(Cow::Owned(shown), usize::MAX)
    }

    fn read_body<'a>(&self, input: &EnvelopeInput<'a>) -> Result<Body<'a>, ContentError> {
        if input.body.is_empty() {
            return Ok(Body::Unread);
        }
        let headers = &input.head.headers;
        let media = if self.lenient_media_types {
            MediaType::from_headers_lenient(headers)?
        } else {
            MediaType::from_headers(headers)?
        };
        let is_on = |part| self.name(part).is_some();
        match media {
            MediaType::Json if is_on(EnvelopePart::Json) => {
                let text = json::validate(input.body, self.limits.json())?;
                Ok(Body::Json(text.as_str(), text.kind()))
            }
            MediaType::Form if is_on(EnvelopePart::Post) => {
                let limit = self.limits.fields();
                Ok(Body::Form(Form::new(Cow::Borrowed(input.body), limit)?))
            }
            #[cfg(feature = "multipart")]
            MediaType::Multipart { boundary } if is_on(EnvelopePart::Post) => {
                let limit = self.limits.parts();
                Ok(Body::Parts(Parts::new(input.body, &boundary, limit)?))
            }
            #[cfg(not(feature = "multipart"))]
            MediaType::Multipart { .. } if is_on(EnvelopePart::Post) => {
                Err(ContentError::new(ContentErrorKind::UnsupportedMediaType))
            }
            MediaType::Other | MediaType::Absent => Ok(Body::Opaque(input.body)),
            _ => Ok(Body::Unread),
        }
    }

    fn json_text<'a>(&self, body: &Body<'a>) -> &'a str {
        match (body, self.json_values, self.absent_json) {
            (Body::Json(text, _), JsonValues::Any, _)
            | (Body::Json(text, JsonKind::Object), JsonValues::ObjectsOnly, _) => text,
            (_, _, AbsentJson::EmptyObject) => "{}",
            (_, _, AbsentJson::Null) => "null",
        }
    }
}

impl Default for EnvelopeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Which JSON bodies an envelope shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum JsonValues {
    /// Every value.
    #[default]
    Any,
    /// Objects. Any other value counts as no JSON, but must be well-formed.
    ObjectsOnly,
}

/// What stands for a JSON body where there is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AbsentJson {
    /// `{}`
    #[default]
    EmptyObject,
    /// `null`
    Null,
}

/// A body as its media type says.
enum Body<'a> {
    Json(&'a str, JsonKind),
    Form(Form<'a>),
    #[cfg(feature = "multipart")]
    Parts(Parts<'a>),
    Opaque(&'a [u8]),
    /// There is none, or the part that would show it is off.
    Unread,
}

impl Body<'_> {
    fn push_fields(&self, out: &mut impl Sink, repeats: Repeats) {
        match self {
            Self::Form(form) => form.push(out, repeats),
            #[cfg(feature = "multipart")]
            Self::Parts(parts) => parts.push(out, repeats),
            _ => out.push_str("{}"),
        }
    }
}

fn redacted<'a>(text: Cow<'a, str>, redact: Option<Redact<'_>>) -> Cow<'a, str> {
    match redact.and_then(|redact| redact(&text)) {
        Some(redacted) => Cow::Owned(redacted),
        None => text,
    }
}

/// Room for the value of a header, whatever has to be escaped or marked in it.
fn header_length(value: &[u8]) -> usize {
    let is_plain =
        value.iter().fold(true, |plain, byte| plain & (*byte < 0x7f) & !b"\"\\\t".contains(byte));
    if is_plain { value.len() } else { 16 + 3 * value.len() }
}
