use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::{Body, BodyOptions, JsonFields};
use super::headers::{push_headers, remove_hidden};
use super::input::Redact;
use super::names::Names;
use super::sources::Form;
use super::text::{Length, ObjectWriter, Sink};
use super::{BuildError, ByteOrderMark, Envelope, EnvelopeInput, EnvelopePart, Inner, ReadAs};
use crate::content::json::{self, JsonLimits};
use crate::content::{ContentError, ContentErrorKind, ContentLimits, MediaType, form};
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
    names: Names,
    left_out_headers: Vec<HeaderName>,
    absent_json: AbsentJson,
    left_out_query: Vec<String>,
    body: BodyOptions,
    leaves_body: bool,
}

impl EnvelopeBuilder {
    /// The default shape: see the [module](super).
    #[must_use]
    pub fn new() -> Self {
        Self {
            names: Names::default(),
            left_out_headers: Vec::new(),
            absent_json: AbsentJson::default(),
            left_out_query: Vec::new(),
            body: BodyOptions::default(),
            leaves_body: false,
        }
    }

    /// Writes a part under that name, also one that is off by default.
    ///
    /// # Errors
    ///
    /// Returns an error if another part has the name.
    pub fn with_part(
        mut self,
        part: EnvelopePart,
        name: impl Into<Cow<'static, str>>,
    ) -> Result<Self, ConfigError> {
        if !self.names.set(part, Some(name.into())) {
            return Err(ConfigError::new("two parts of the envelope have one name"));
        }
        Ok(self)
    }

    /// Leaves a part out. A query that is not shown is not read, and so not refused either. A body that only
    /// this part would show is refused with 415.
    #[must_use]
    pub fn without_part(mut self, part: EnvelopePart) -> Self {
        self.names.set(part, None);
        self
    }

    /// Does not read the body: it is shown as if there were none, and none is refused for its type or its syntax. For
    /// executors that take the bytes, by [`Invocation::body`](crate::hook::Invocation::body), as those of
    /// [signed](crate::auth::Authenticator::needs_body) deliveries may.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput, EnvelopePart};
    ///
    /// let builder = EnvelopeBuilder::new().with_unread_body().without_part(EnvelopePart::Headers);
    /// let (head, body) = Request::post("/").header("content-type", "image/png").body(b"\xff")?.into_parts();
    /// let envelope = builder.build(&EnvelopeInput::new(&head, body))?;
    /// assert_eq!(envelope.as_str(), r#"{"GET":{},"POST":{},"JSON":{}}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn with_unread_body(mut self) -> Self {
        self.leaves_body = true;
        self
    }

    /// Reads bodies of these media types as JSON, beside `application/json` and subtypes that end in `+json`.
    ///
    /// Some senders cannot be changed: Amazon SNS labels JSON as
    /// [`text/plain`](https://docs.aws.amazon.com/sns/latest/dg/http-header.html), and senders of logs send JSON
    /// lines.
    ///
    /// # Errors
    ///
    /// Returns an error for what is no media type, for one that is read as JSON or a form anyway, and for one
    /// that was given before.
    ///
    /// # Security
    ///
    /// Under [`Hooks`](crate::hook::Hooks), a [body placement](crate::credential::Placement::body) reads these bodies as
    /// the envelope does. JSON has a credential as a member of its object, which authenticates, is one too many beside
    /// one in the head, and is removed. What is no JSON under [`ReadAs::JsonIfValid`], and JSON lines, have none. So
    /// the body of a request without a credential in its head is read before its sender is known, under the
    /// [limit](crate::hook::Hooks::with_pre_auth_max_bytes) for that. Every other layer goes by the media type alone,
    /// and neither finds nor removes a credential in these bodies.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput, EnvelopePart, ReadAs};
    ///
    /// let builder = EnvelopeBuilder::new()
    ///     .with_part(EnvelopePart::Body, "BODY")?
    ///     .without_part(EnvelopePart::Headers)
    ///     .with_media_types(["text/json"], ReadAs::Json)?
    ///     .with_media_types(["text/plain"], ReadAs::JsonIfValid)?
    ///     .with_media_types(["application/x-ndjson"], ReadAs::JsonLines)?;
    /// let build = |media: &str, body: &[u8]| {
    ///     let (head, ()) = Request::post("/").header("content-type", media).body(())?.into_parts();
    ///     let envelope = builder.build(&EnvelopeInput::new(&head, body))?;
    ///     let shown = [envelope.json(), envelope.body()];
    ///     Ok::<_, Box<dyn std::error::Error>>(shown.map(|part| part.unwrap_or_default().to_owned()))
    /// };
    ///
    /// assert_eq!(build("text/plain", br#"{"Type":"Notification"}"#)?, [r#"{"Type":"Notification"}"#, "null"]);
    /// assert_eq!(build("text/plain", b"hello")?, ["{}", r#""hello""#]);
    /// assert_eq!(build("application/x-ndjson", b"{\"n\":1.0}\n\n[2]\n")?, [r#"[{"n":1.0},[2]]"#, "null"]);
    /// assert!(build("text/json", b"hello").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_media_types(
        mut self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
        read: ReadAs,
    ) -> Result<Self, ConfigError> {
        for name in names {
            self.body.set_media_type(name.as_ref(), read)?;
        }
        Ok(self)
    }

    /// Reads a body without a `Content-Type` as JSON. The default is an opaque text.
    ///
    /// # Security
    ///
    /// As for [`with_media_types`](Self::with_media_types).
    #[must_use]
    pub const fn with_absent_media_type(mut self, read: ReadAs) -> Self {
        self.body.set_absent(read);
        self
    }

    /// Inlines the fields of forms with these names, if their text is a JSON text within the
    /// [limits](Self::with_limits). Any other text stays a string. Where all of these fields together have more
    /// [values](JsonLimits::with_nodes) than one text may have, each stays a string.
    ///
    /// [GitHub] and [Slack] can send JSON in a field `payload` of an urlencoded form.
    ///
    /// [GitHub]: https://docs.github.com/en/webhooks/webhook-events-and-payloads
    /// [Slack]: https://docs.slack.dev/interactivity/handling-user-interaction
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};
    ///
    /// let (head, body) = Request::post("/")
    ///     .header("content-type", "application/x-www-form-urlencoded")
    ///     .body(b"payload=%7B%22id%22%3A1.0%7D&note=1")?
    ///     .into_parts();
    /// let builder = EnvelopeBuilder::new().with_json_fields(["payload"]);
    /// let envelope = builder.build(&EnvelopeInput::new(&head, body))?;
    /// assert_eq!(envelope.post(), Some(r#"{"payload":{"id":1.0},"note":"1"}"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_json_fields(
        mut self,
        names: impl IntoIterator<Item = impl Into<Box<str>>>,
    ) -> Self {
        self.body.add_json_fields(names.into_iter().map(Into::into));
        self
    }

    /// What becomes of one byte order mark at the start of JSON, a form or a text. By default it is
    /// [dropped](ByteOrderMark::Dropped).
    #[must_use]
    pub const fn with_byte_order_mark(mut self, mark: ByteOrderMark) -> Self {
        self.body.mark = mark;
        self
    }

    /// Writes U+FFFD for bytes of a query or a form that are not UTF-8 (WHATWG URL standard, section 5.1), in
    /// place of a refusal.
    ///
    /// # Security
    ///
    /// Names and values that differ become equal, and nothing in the envelope says so.
    #[must_use]
    pub const fn with_insecure_replacement_characters(mut self) -> Self {
        self.body.replaces = true;
        self
    }

    /// Leaves out more headers than `authorization`, `proxy-authorization` and `cookie`, which are
    /// never written. `_` and `-` are the same: with `x-api-key` goes `X_Api_Key`.
    #[must_use]
    pub fn with_excluded_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.left_out_headers.extend(names);
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

    /// What is written for a JSON body where there is none. The default is `{}`.
    #[must_use]
    pub const fn with_absent_json(mut self, absent: AbsentJson) -> Self {
        self.absent_json = absent;
        self
    }

    /// How much the query and the body may hold. The default is [`ContentLimits::new`].
    #[must_use]
    pub const fn with_limits(mut self, limits: ContentLimits) -> Self {
        self.body.limits = limits;
        self
    }

    /// Builds the envelope of a request.
    ///
    /// # Errors
    ///
    /// * The query or a form has more fields than the limits allow, or a name or value that is not UTF-8;
    /// * the body does not follow its media type or breaks a limit, or its media type is refused by
    ///   [`MediaType::from_headers`](crate::content::MediaType::from_headers);
    /// * no part that is on shows the body;
    /// * an added member is not JSON, or its name is taken.
    pub fn build(&self, input: &EnvelopeInput<'_>) -> Result<Envelope, BuildError> {
        // Everything is read before anything is written.
        self.check_members(input)?;
        let query = self.read_query(input)?;
        let body = match self.leaves_body {
            true => self.body.read(&HeaderMap::new(), &[], &self.names),
            false => self.body.read(&input.head.headers, input.body, &self.names),
        };
        let body =
            body.map_err(|error| BuildError::of_body(error, || self.body.accepted(&self.names)))?;

        let mut text = String::with_capacity(self.length(input, &query, &body));
        let mut parts = [const { None }; EnvelopePart::COUNT];
        let mut object = ObjectWriter::new(&mut text);
        let mut push = |part: EnvelopePart, write: &dyn Fn(&mut String)| {
            if let (Some(name), Some(span)) = (self.names.get(part), parts.get_mut(part.index())) {
                *span = Some(object.member(name, |out| write(out)));
            }
        };
        push(EnvelopePart::Get, &|out| query.push(out));
        push(EnvelopePart::Post, &|out| body.push_fields(out));
        push(EnvelopePart::Json, &|out| out.push_str(body.json().unwrap_or(self.absent_json())));
        push(EnvelopePart::Headers, &|out| {
            let left_out = [&*self.left_out_headers, input.left_out_headers];
            push_headers(out, &input.head.headers, left_out, input.redact);
        });
        push(EnvelopePart::Body, &|out| body.push_opaque(out));
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
        query.push(&mut length);
        body.push_fields(&mut length);
        length.push_str(body.json().unwrap_or_default());
        body.push_opaque(&mut length);
        let names: usize = self.names.iter().map(|name| 2 * name.len()).sum();
        let headers: usize = match self.names.get(EnvelopePart::Headers) {
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

    /// Whether a part of the envelope has this name.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }

    /// The media type as which the envelope shows the fields of a body: JSON for one that is JSON by a setting. What
    /// is shown as a text, as an array of lines or as bytes has no fields.
    ///
    /// Without the body, the media type that it has if it is JSON where it may be.
    pub(crate) fn media_type(
        &self,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<MediaType, ContentError> {
        self.body.media_type(headers, body)
    }

    /// Removes the headers that the envelope leaves out because they hold credentials.
    pub(crate) fn remove_hidden_headers(&self, headers: &mut HeaderMap, left_out: &[HeaderName]) {
        remove_hidden(headers, [&self.left_out_headers, left_out]);
    }

    fn check_members(&self, input: &EnvelopeInput<'_>) -> Result<(), BuildError> {
        let limits = JsonLimits::new().with_nodes(usize::MAX);
        for (index, (name, json)) in input.members.iter().enumerate() {
            let is_taken = self.has_member(name)
                || input.members.iter().take(index).any(|(other, _)| other == name);
            if is_taken || json::validate(json.as_bytes(), &limits).is_err() {
                return Err(BuildError::member());
            }
        }
        Ok(())
    }

    fn read_query<'a>(&'a self, input: &EnvelopeInput<'a>) -> Result<Form<'a>, ContentError> {
        let query = match self.names.get(EnvelopePart::Get) {
            Some(_) => input.head.uri.query().unwrap_or_default().as_bytes(),
            None => &[],
        };
        let query = self.shown_query(query, input)?;
        let form = Form::new(query, usize::MAX, JsonFields::none(self.body.limits.json()))?;
        if self.body.replaces || form.is_utf8() {
            return Ok(form);
        }
        Err(ContentError::new(ContentErrorKind::InvalidUtf8))
    }

    /// The query without credentials.
    fn shown_query<'a>(
        &self,
        query: &'a [u8],
        input: &EnvelopeInput<'_>,
    ) -> Result<Cow<'a, [u8]>, ContentError> {
        let pairs = form::pairs_up_to(query, self.body.limits.fields())?;
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
            return Ok(Cow::Borrowed(query));
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
        Ok(Cow::Owned(shown))
    }

    const fn absent_json(&self) -> &'static str {
        match self.absent_json {
            AbsentJson::EmptyObject => "{}",
            AbsentJson::Null => "null",
        }
    }
}

impl Default for EnvelopeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// What is written for a JSON body where there is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AbsentJson {
    /// `{}`
    #[default]
    EmptyObject,
    /// `null`
    Null,
}

fn redacted<'a>(text: Cow<'a, str>, redact: Option<Redact<'_>>) -> Cow<'a, str> {
    match redact.and_then(|redact| redact(&text)) {
        Some(redacted) => Cow::Owned(redacted),
        None => text,
    }
}

/// Room for the value of a header, with what has to be escaped or marked in it.
fn header_length(value: &[u8]) -> usize {
    let is_plain =
        value.iter().fold(true, |plain, byte| plain & (*byte < 0x7f) & !b"\"\\\t".contains(byte));
    if is_plain { value.len() } else { 16 + 3 * value.len() }
}
