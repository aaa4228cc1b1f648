use bytes::Bytes;
use http::header::COOKIE;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::placement::{Place, Placement};
use super::presented::{ListRule, SECRET_TOKEN, Text};
use super::scheme::is_same;
use super::{
    Credentials, ExtractError, ExtractErrorKind, PlacementKind, PresentedCredential, websocket,
};
use crate::body::{BufferedBody, is_identity_coded};
use crate::content::json::JsonError;
use crate::content::{ContentError, FieldValue, MediaType, form, visit_field};
use crate::envelope::Envelopes;
use crate::request_head::RequestHead;

impl Credentials {
    /// Reads the credential of a request: in its head first. Where there is one, the body is only searched for a
    /// second one, and one that is no JSON, or of a media type without fields, has none.
    ///
    /// # Errors
    ///
    /// Returns an error if there is more than one, if the query or body in which one may be is over a
    /// limit or malformed, or if a body placement finds no buffered body.
    pub fn find<'a>(
        &self,
        head: RequestHead<'a>,
    ) -> Result<Option<PresentedCredential<'a>>, ExtractError> {
        let mut found = None;
        self.find_into(&mut found, head, BodyReading::default())?;
        if found.as_ref().is_some_and(|found| found.placement() != PlacementKind::Body) {
            self.check_body(head, BodyReading::default())?;
        }
        Ok(found)
    }

    /// Finds the credential that is to be verified, and keeps it in `found`. Body placements are only examined
    /// where the head has none, so a body cannot spoil what is in the head.
    pub(crate) fn find_into<'a>(
        &self,
        found: &mut Option<PresentedCredential<'a>>,
        head: RequestHead<'a>,
        reading: BodyReading<'_>,
    ) -> Result<(), ExtractError> {
        self.find_among(found, head, reading, |_, one| self.first_wins || !one.is_in_body())?;
        if found.is_none() && !self.first_wins {
            self.find_among(found, head, reading, |_, one| one.is_in_body())?;
        }
        Ok(())
    }

    #[inline]
    fn find_among<'a>(
        &self,
        found: &mut Option<PresentedCredential<'a>>,
        head: RequestHead<'a>,
        reading: BodyReading<'_>,
        is_examined: impl Fn(usize, &Placement) -> bool,
    ) -> Result<(), ExtractError> {
        for (position, placement) in self.placements.iter().enumerate() {
            if !is_examined(position, placement) || !placement.applies_to(head) {
                continue;
            }
            let mut one = One::new(found, self, placement, position);
            self.find_in(placement, head, reading, &mut one)?;
            let is_alone = one.taken
                && matches!(placement.place, Place::WebSocketProtocol)
                && !websocket::offers_other(head.headers());
            one.check()?;
            if is_alone {
                return Err(ExtractError::new(ExtractErrorKind::NoSubprotocol));
            }
            if self.first_wins && found.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The credential, if it is in the head.
    ///
    /// # Errors
    ///
    /// Returns an error if the head has more than one, or a query that cannot be read.
    pub(crate) fn find_in_head<'a>(
        &self,
        head: RequestHead<'a>,
    ) -> Result<Option<PresentedCredential<'a>>, ExtractError> {
        let mut found = None;
        self.find_among(&mut found, head, BodyReading::default(), |_, one| !one.is_in_body())?;
        Ok(found)
    }

    /// The place of the credential, as [`find_in_head`](Self::find_in_head) finds it.
    pub(crate) fn position_in_head(
        &self,
        head: RequestHead<'_>,
    ) -> Result<Option<usize>, ExtractError> {
        Ok(self.find_in_head(head)?.map(|found| found.position()))
    }

    /// Whether one place of this list and one of another list are the same.
    pub(crate) fn shares_place(&self, position: usize, other: &Self, at: usize) -> bool {
        let places = (self.placements.get(position), other.placements.get(at));
        matches!(places, (Some(one), Some(other)) if one.clashes_with(other))
    }

    /// Whether the body has to be there before it is known which credential is to be verified: the head has none,
    /// or the first one wins and a body placement comes before. The body of a `GET` or `HEAD` is not read.
    pub(crate) fn depends_on_body(&self, head: RequestHead<'_>) -> bool {
        if matches!(*head.method(), http::Method::GET | http::Method::HEAD) {
            return false;
        }
        let may_be_in_body = |one: &Placement| one.is_in_body() && one.applies_to(head);
        let Some(body) = self.placements.iter().position(may_be_in_body) else { return false };
        let mut found = None;
        let in_head = self.find_among(&mut found, head, BodyReading::default(), |position, one| {
            !one.is_in_body() && (position < body || !self.first_wins)
        });
        in_head.is_ok() && found.is_none()
    }

    /// Refuses a second credential, in the body, beside one that is in the head.
    ///
    /// # Errors
    ///
    /// Returns an error if there is one, or if a body that has fields cannot be searched. JSON that does not parse
    /// has none.
    pub(crate) fn check_body(
        &self,
        head: RequestHead<'_>,
        reading: BodyReading<'_>,
    ) -> Result<(), ExtractError> {
        if self.first_wins || !self.need_body() {
            return Ok(());
        }
        let reading = BodyReading { refuses_broken_json: false, ..reading };
        let mut second = None;
        self.find_among(&mut second, head, reading, |_, one| one.is_in_body())?;
        match second {
            Some(_) => Err(ExtractError::new(ExtractErrorKind::Ambiguous)),
            None => Ok(()),
        }
    }

    #[inline]
    fn find_in<'a>(
        &self,
        placement: &Placement,
        head: RequestHead<'a>,
        reading: BodyReading<'_>,
        one: &mut One<'_, 'a>,
    ) -> Result<(), ExtractError> {
        match &placement.place {
            Place::Header(name) => {
                for value in values(head.headers(), name) {
                    one.add(Presented::Text(value.into()));
                }
            }
            Place::Authorization(scheme) => {
                // Two fields are a repeat, of any schemes.
                for value in self.authorizations(head.headers()) {
                    one.add(scheme.read(value));
                }
            }
            Place::WebSocketProtocol => {
                for key in websocket::keys(head.headers()) {
                    one.add(Presented::Text(websocket::decoded(key)));
                }
            }
            Place::Cookie(name) => {
                for value in cookies(head.headers(), name.as_bytes()) {
                    one.add(Presented::Text(value.into()));
                }
            }
            Place::Query(name) => {
                let query = head.uri().query().unwrap_or_default();
                one.is_form_coded = true;
                for pair in form::pairs_up_to(query.as_bytes(), self.limits.fields())? {
                    if pair.is_named(name) {
                        one.add(Presented::Text(pair.value().into()));
                    }
                }
            }
            Place::Path(template) => {
                if let Some(value) = template.find(head.uri().path()) {
                    one.add(Presented::Text(value.into()));
                }
            }
            Place::Body(name) => self.find_in_body(name, head, reading, one)?,
            Place::Custom(find) => {
                for secret in find(head) {
                    let text = secret.expose_secret().as_bytes().to_vec();
                    one.add(Presented::Text(text.into()));
                }
            }
        }
        Ok(())
    }

    fn find_in_body<'a>(
        &self,
        name: &str,
        head: RequestHead<'a>,
        reading: BodyReading<'_>,
        one: &mut One<'_, 'a>,
    ) -> Result<(), ExtractError> {
        // A form that is sent with GET or HEAD is no credential (RFC 6750, section 2.2).
        if matches!(*head.method(), http::Method::GET | http::Method::HEAD) {
            return Ok(());
        }
        let Some((media, body)) = readable_body(head.headers(), head.extensions(), reading)? else {
            return Ok(());
        };
        let body = body.bytes();
        one.is_form_coded = media == MediaType::Form;
        // Kept apart first: what is found in a body that turns out to be malformed is wiped too.
        let mut found = Vec::new();
        let read = visit_field(&media, &body, name, &self.limits, &mut |value| {
            found.push(match value {
                FieldValue::Text(text) => Presented::Text(text.into_owned().into_bytes().into()),
                FieldValue::NotText => Presented::Unreadable,
            });
        });
        match read {
            Err(error) if !reading.refuses_broken_json && is_broken_json(&error) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                found.into_iter().for_each(|presented| one.add(presented));
                Ok(())
            }
        }
    }

    /// Whether the body of a request has to be read before a credential can be looked for in it. Where the media type
    /// is unclear, the search is an error without it.
    pub(crate) fn may_be_in_body(parts: &Parts, reading: BodyReading<'_>) -> bool {
        let is_left_alone = matches!(parts.method, http::Method::GET | http::Method::HEAD)
            || parts.extensions.get::<BufferedBody>().is_some()
            || !(reading.ignores_coding || is_identity_coded(&parts.headers));
        !is_left_alone
            && reading.media_type(&parts.headers, None).is_ok_and(|media| media.has_fields())
    }

    /// Whether a header field of these placements has something in it, beside the place where a candidate of
    /// `accepted` was. Cookies do not count: browsers send them by themselves. Custom places do not count either:
    /// they may be cookies.
    pub(crate) fn beside_in_header(
        &self,
        accepted: Option<(&Self, usize)>,
        head: RequestHead<'_>,
    ) -> bool {
        let accepted = accepted.and_then(|(list, position)| list.placements.get(position));
        let counts = |placement: &&Placement| {
            !accepted.is_some_and(|accepted| accepted.clashes_with(placement))
                && placement.applies_to(head)
        };
        let headers = head.headers();
        self.placements.iter().filter(counts).any(|placement| match &placement.place {
            Place::Header(name) => values(headers, name).next().is_some(),
            Place::Authorization(scheme) => {
                self.authorizations(headers).any(|value| scheme.credential(value).is_some())
            }
            Place::WebSocketProtocol => websocket::keys(headers).any(|key| !key.is_empty()),
            _ => false,
        })
    }
}

/// How a body is read where a credential is looked for and removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyReading<'r> {
    /// What says how a body is read, and the hook whose envelope it is. Without it, the media type alone.
    pub(crate) envelopes: Option<&'r Envelopes>,
    pub(crate) hook: Option<&'r str>,
    /// Whether JSON that does not parse is malformed. Otherwise it has no credential in it, and the service
    /// behind the layer decides about it.
    pub(crate) refuses_broken_json: bool,
    /// Whether a body in a content coding is read as if it had none.
    pub(crate) ignores_coding: bool,
}

impl BodyReading<'_> {
    /// The media type by which a body, if it is there already, is searched: see [`EnvelopeBuilder::media_type`].
    ///
    /// [`EnvelopeBuilder::media_type`]: crate::envelope::EnvelopeBuilder::media_type
    fn media_type(
        self,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<MediaType, ContentError> {
        match self.envelopes {
            Some(envelopes) => envelopes.of(self.hook).media_type(headers, body),
            None => MediaType::from_headers(headers),
        }
    }
}

/// Whether a body is no JSON at all, so that no reader finds a member in it.
pub(super) fn is_broken_json(error: &ContentError) -> bool {
    error.json().is_some_and(JsonError::is_syntax)
}

/// The body in which a credential may be: not coded, and of a media type that is read here. `None` for any
/// other, which has no place in it.
///
/// # Errors
///
/// Returns an error if the media type is unclear, or if a body that may hold a credential is not
/// buffered.
pub(super) fn readable_body<'a>(
    headers: &HeaderMap,
    extensions: &'a Extensions,
    reading: BodyReading<'_>,
) -> Result<Option<(MediaType, &'a BufferedBody)>, ExtractError> {
    let buffered = extensions.get::<BufferedBody>();
    let bytes = buffered.map(BufferedBody::bytes);
    let is_read = reading.ignores_coding || is_identity_coded(headers);
    if bytes.as_ref().is_some_and(Bytes::is_empty) || !is_read {
        return Ok(None);
    }
    let media = reading.media_type(headers, bytes.as_deref())?;
    match buffered {
        _ if !media.has_fields() => Ok(None),
        Some(body) => Ok(Some((media, body))),
        None => Err(ExtractError::new(ExtractErrorKind::NotBuffered)),
    }
}

/// The content of a place.
pub(super) enum Presented<'a> {
    Text(Text<'a>),
    UserAndText(Zeroizing<String>, Text<'a>),
    /// Something that is no credential of this place, and yet takes the place of one.
    Foreign(&'a [u8]),
    /// Something that was meant as a credential and cannot be read as one.
    Unreadable,
}

/// At most one credential, in all places together: the second that is not empty is one too many.
struct One<'f, 'a> {
    found: &'f mut Option<PresentedCredential<'a>>,
    foreign: Option<&'a [u8]>,
    /// Whether something is in this place.
    taken: bool,
    /// Whether there is a second credential in this place, and whether all of them are equal.
    repeated: Option<bool>,
    /// Whether there is one in another place, and whether it is equal.
    elsewhere: Option<bool>,
    credentials: &'f Credentials,
    placement: &'f Placement,
    position: usize,
    is_form_coded: bool,
}

impl<'f, 'a> One<'f, 'a> {
    const fn new(
        found: &'f mut Option<PresentedCredential<'a>>,
        credentials: &'f Credentials,
        placement: &'f Placement,
        position: usize,
    ) -> Self {
        Self {
            found,
            foreign: None,
            taken: false,
            repeated: None,
            elsewhere: None,
            credentials,
            placement,
            position,
            is_form_coded: false,
        }
    }

    #[inline]
    fn add(&mut self, presented: Presented<'a>) {
        let (text, username) = match presented {
            Presented::Text(text) if text.is_empty() => return,
            Presented::Foreign(value) => return self.add_foreign(value),
            Presented::Text(text) => (Some(text), None),
            Presented::UserAndText(username, text) => (Some(text), Some(username)),
            Presented::Unreadable => (None, None),
        };
        let mut text = text;
        if let (Some(text), true) = (&mut text, self.placement.secret_token_uri) {
            text.strip_prefix(SECRET_TOKEN);
        }
        let is_copy = |found: &PresentedCredential<'_>| {
            let presented = (text.as_deref(), &username);
            text.is_some() && (found.text.as_deref(), &found.username) == presented
        };
        match self.found {
            None if self.taken => self.repeat(false),
            None => *self.found = Some(self.credential(text, username)),
            Some(found) if found.position == self.position => {
                let is_copy = is_copy(found);
                self.repeat(is_copy);
            }
            Some(found) => self.elsewhere = Some(is_copy(found) && self.elsewhere != Some(false)),
        }
        self.taken = true;
    }

    fn credential(
        &self,
        text: Option<Text<'a>>,
        username: Option<Zeroizing<String>>,
    ) -> PresentedCredential<'a> {
        let (merges_copies, secret_token_uri) =
            (self.credentials.merges_copies, self.placement.secret_token_uri);
        let is_split =
            username.is_none() && !self.placement.is_in_body() && !self.credentials.unsplit;
        PresentedCredential {
            text,
            username,
            placement: self.placement.kind(),
            position: self.position,
            is_form_coded: self.is_form_coded,
            list: is_split.then_some(ListRule { merges_copies, secret_token_uri }),
        }
    }

    fn add_foreign(&mut self, value: &'a [u8]) {
        if self.taken {
            self.repeat(self.foreign.is_some_and(|other| is_same(other, value)));
        } else {
            self.foreign = Some(value);
        }
        self.taken = true;
    }

    fn repeat(&mut self, is_copy: bool) {
        self.repeated = Some(is_copy && self.repeated != Some(false));
    }

    fn check(self) -> Result<(), ExtractError> {
        match (self.repeated, self.elsewhere) {
            (None, None) => Ok(()),
            (Some(true), None) if self.credentials.merges_copies => Ok(()),
            (repeated, elsewhere) => {
                let are_copies = repeated != Some(false) && elsewhere != Some(false);
                Err(ExtractError::ambiguous(are_copies))
            }
        }
    }
}

/// The values of a header that are not empty, without the blanks around them (RFC 9110, section 5.5).
pub(super) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(trimmed).filter(|value| !value.is_empty())
}

fn trimmed(value: &HeaderValue) -> &[u8] {
    trim_blanks(value.as_bytes())
}

pub(super) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The values of a cookie. HTTP/2 may split the header into several lines (RFC 9113, section 8.2.3).
fn cookies<'a>(headers: &'a HeaderMap, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(COOKIE).iter().flat_map(move |line| {
        line.as_bytes().split(|byte| *byte == b';').filter_map(move |pair| cookie_value(pair, name))
    })
}

/// The value, if the pair is the cookie of that name. Blanks around the name count for nothing: what one
/// reader trims, another one takes for the same cookie.
pub(super) fn cookie_value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let pair = trim_blanks(pair);
    let end = pair.iter().position(|byte| *byte == b'=')?;
    let (presented, value) = pair.split_at_checked(end)?;
    if presented != name {
        // A name is a token, so it begins with the first visible character of ASCII.
        let start = presented.iter().position(u8::is_ascii_graphic)?;
        let (before, rest) = presented.split_at_checked(start)?;
        let is_name = |rest: &[u8]| rest.strip_prefix(name).is_some_and(is_blank);
        // Some readers of cookies decode names.
        let is_decoded =
            || rest.contains(&b'%') && is_name(&percent_decode(rest).collect::<Vec<u8>>());
        if !is_blank(before) || !(is_name(rest) || is_decoded()) {
            return None;
        }
    }
    value.strip_prefix(b"=")
}

/// White space for a reader of UTF-8 or of Latin-1, such as U+00A0.
fn is_blank(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().all(|char| char.is_whitespace() || char == '\u{feff}'),
        Err(_) => bytes.iter().all(|byte| char::from(*byte).is_whitespace()),
    }
}
