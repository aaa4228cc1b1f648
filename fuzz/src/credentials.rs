//! Finding and removing credentials in heads, against a second reading of each place.

use std::borrow::Cow;
use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::percent_decode_str;
use tower_webhook::content::ContentLimits;
use tower_webhook::credential::{Credentials, ExtractErrorKind, Placement, PlacementKind};

use super::forms;

const HEADER: &str = "x-key";
const SCHEME: &str = "Token";
const COOKIE_NAME: &str = "session";
const PARAMETER: &str = "token";
const PATH: &str = "/h/{key}";

/// No credential is missed, a second one is refused, removal leaves none and changes nothing else.
///
/// The first byte says which places are configured, a bit for each. Then come a line with the target and lines of
/// header fields.
pub fn check(data: &[u8]) {
    let Some((places, rest)) = data.split_first() else { return };
    let places: Vec<Place> =
        Place::ALL.into_iter().filter(|place| places & (1 << *place as u8) != 0).collect();
    if places.is_empty() {
        return;
    }
    let Some(mut request) = read_request(rest) else { return };
    // What removal leaves in the path is no credential for the caller to send.
    if request.uri().path() == "/h/redacted" {
        return;
    }
    let limits = ContentLimits::new().with_fields(usize::MAX);
    let credentials = Credentials::new(places.iter().map(|place| place.placement()))
        .expect("the places are distinct")
        .with_content_limits(limits);

    let expected = expected(&places, &request);
    let found = credentials.find((&request).into()).map_err(|error| error.kind());
    match (&found, &expected) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some(candidate)), Ok(Some((place, text)))) => {
            assert_eq!(candidate.placement(), place.kind());
            assert!(is_same(*place, candidate.expose_bytes(), text.as_deref()), "another text");
        }
        (Err(kind), Err(Ambiguous)) => assert_eq!(*kind, ExtractErrorKind::Ambiguous),
        _ => panic!("found {found:?} in place of {expected:?}"),
    }
    drop(found);

    let before = request.clone();
    credentials.scrub(&mut request).expect("every place can be cleaned");
    check_scrubbed(&places, &before, &request);
}

/// A request of the lines of an input.
fn read_request(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut request = Request::new(());
    *request.uri_mut() = Uri::try_from(lines.next()?).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value.get(1..)?).ok()?);
    }
    Some(request)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Header,
    Bearer,
    Basic,
    Cookie,
    Query,
    Path,
    Scheme,
}

#[derive(Debug)]
struct Ambiguous;

type Bytes<'a> = Cow<'a, [u8]>;

impl Place {
    const ALL: [Self; 7] = [
        Self::Header,
        Self::Bearer,
        Self::Basic,
        Self::Cookie,
        Self::Query,
        Self::Path,
        Self::Scheme,
    ];

    fn placement(self) -> Placement {
        match self {
            Self::Header => Placement::header(HEADER),
            Self::Bearer => Ok(Placement::bearer()),
            Self::Basic => Ok(Placement::basic()),
            Self::Cookie => Placement::cookie(COOKIE_NAME),
            Self::Query => Placement::query(PARAMETER),
            Self::Path => Placement::path(PATH),
            Self::Scheme => Placement::authorization(SCHEME),
        }
        .expect("a placement")
    }

    fn kind(self) -> PlacementKind {
        self.placement().kind()
    }

    /// What the place holds. `None` is something that takes the place of a credential and is none of it.
    fn read<'a>(self, places: &[Self], request: &'a Request<()>) -> Vec<Option<Read<'a>>> {
        let headers = request.headers();
        match self {
            Self::Header => values(headers, HEADER).map(|value| Some(Some(value.into()))).collect(),
            Self::Bearer => authorizations(places, headers)
                .map(|(scheme, rest)| {
                    scheme.eq_ignore_ascii_case(b"bearer").then_some(Some(rest.into()))
                })
                .collect(),
            Self::Scheme => authorizations(places, headers)
                .map(|(scheme, rest)| {
                    scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then_some(Some(rest.into()))
                })
                .collect(),
            Self::Basic => authorizations(places, headers)
                .map(|(scheme, rest)| {
                    scheme.eq_ignore_ascii_case(b"basic").then(|| read_basic(rest).map(Cow::Owned))
                })
                .collect(),
            Self::Cookie => cookies(headers)
                .filter(|(name, value)| is_cookie(name) && !value.is_empty())
                .map(|(_, value)| Some(Some(value.into())))
                .collect(),
            Self::Query => form_urlencoded::parse(query(request).as_bytes())
                .filter(|(name, value)| name == PARAMETER && !value.is_empty())
                .map(|(_, value)| Some(Some(value.into_owned().into_bytes().into())))
                .collect(),
            Self::Path => {
                let segment = request.uri().path().strip_prefix("/h/");
                let segment = segment.filter(|text| !text.is_empty() && !text.contains('/'));
                segment
                    .map(|text| Some(Some(percent_decode_str(text).into())))
                    .into_iter()
                    .collect()
            }
        }
    }
}

/// A credential, or `None` for one that cannot be read.
type Read<'a> = Option<Bytes<'a>>;

fn expected<'a>(
    places: &[Place],
    request: &'a Request<()>,
) -> Result<Option<(Place, Read<'a>)>, Ambiguous> {
    let mut found = None;
    for place in places {
        let mut read = place.read(places, request);
        if read.len() > 1 {
            return Err(Ambiguous);
        }
        if let Some(Some(text)) = read.pop() {
            if found.is_some() {
                return Err(Ambiguous);
            }
            found = Some((*place, text));
        }
    }
    Ok(found)
}

/// Blanks around a cookie's value may or may not be part of it, and the reference has no bytes for a parameter that is
/// not UTF-8.
fn is_same(place: Place, found: Option<&[u8]>, expected: Option<&[u8]>) -> bool {
    match (place, found, expected) {
        (Place::Cookie, Some(found), Some(expected)) => found.trim_ascii() == expected,
        (Place::Query, Some(found), Some(expected)) => {
            String::from_utf8_lossy(found).as_bytes() == expected
        }
        _ => found == expected,
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
    values.filter(|value| !value.is_empty())
}

/// Scheme and credential of each `Authorization`, but for a `Bearer` or `Basic` with nothing behind it. A list of
/// credentials with these schemes, or with another one that is read, is as many fields.
fn authorizations<'a>(
    places: &[Place],
    headers: &'a HeaderMap,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let own = places.contains(&Place::Scheme).then_some(SCHEME.as_bytes());
    let is_known = move |scheme: &[u8]| {
        let mut known = [&b"bearer"[..], b"basic"].into_iter().chain(own);
        known.any(|known| scheme.eq_ignore_ascii_case(known))
    };
    let fields = values(headers, AUTHORIZATION.as_str()).flat_map(move |value| {
        let parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let parts = Vec::from_iter(parts.filter(|part| !part.is_empty()).map(halves));
        let is_list = parts.iter().all(|(scheme, rest)| is_known(scheme) && !rest.is_empty());
        if is_list && parts.len() > 1 { parts } else { vec![halves(value)] }
    });
    fields.filter(move |(scheme, rest)| !(is_known(scheme) && rest.is_empty()))
}

fn halves(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    (scheme, rest.trim_ascii())
}

/// RFC 7617: the password, or the user name if there is no password.
fn read_basic(encoded: &[u8]) -> Option<Vec<u8>> {
    if encoded.len() > 4096 {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let secret = if password.is_empty() { user } else { password };
    (!secret.is_empty()).then(|| secret.as_bytes().to_vec())
}

/// Names and values of all cookies, without the blanks around each.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

fn query(request: &Request<()>) -> &str {
    request.uri().query().unwrap_or_default()
}

fn check_scrubbed(places: &[Place], before: &Request<()>, after: &Request<()>) {
    for place in places {
        let left = place.read(places, after);
        match place {
            Place::Path => {
                assert!(left.iter().flatten().flatten().all(|text| **text == *b"redacted"))
            }
            _ => assert!(left.is_empty(), "{place:?} was left"),
        }
    }
    check_headers(places, before.headers(), after.headers());
    check_target(places, before, after);
    assert_eq!(before.method(), after.method());
}

fn check_headers(places: &[Place], before: &HeaderMap, after: &HeaderMap) {
    let schemes = [Place::Bearer, Place::Basic, Place::Scheme];
    let has_authorization = schemes.iter().any(|place| places.contains(place));
    let has_cookie = places.contains(&Place::Cookie);
    let others = |headers: &HeaderMap| -> Vec<(HeaderName, HeaderValue)> {
        let is_cleaned = |name: &HeaderName| match () {
            () if name == HEADER => places.contains(&Place::Header),
            () if name == AUTHORIZATION => has_authorization,
            () => has_cookie && name == COOKIE,
        };
        let pairs = headers.iter().filter(|(name, _)| !is_cleaned(name));
        let mut pairs: Vec<_> = pairs.map(|(name, value)| (name.clone(), value.clone())).collect();
        // Fields of different names have no order.
        pairs.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        pairs
    };
    assert_eq!(others(before), others(after), "another field changed");
    if has_cookie {
        let kept = cookie_pieces(before).filter(|piece| !is_credential(piece));
        assert_eq!(Vec::from_iter(cookie_pieces(after)), Vec::from_iter(kept), "another cookie");
    }
}

fn cookie_pieces(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let pieces = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pieces.filter(|piece| !piece.is_empty())
}

fn is_credential(piece: &[u8]) -> bool {
    let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
    piece.contains(&b'=') && is_cookie(name)
}

/// Blanks around the name do not matter, be they those of ASCII, of UTF-8 or of Latin-1: readers trim them.
fn is_cookie(name: &[u8]) -> bool {
    let is_blank = |bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => {
            text.chars().all(|character| character.is_whitespace() || character == '\u{feff}')
        }
        Err(_) => bytes.iter().all(|byte| char::from(*byte).is_whitespace()),
    };
    let mut starts =
        (0..name.len()).filter(|start| name[*start..].starts_with(COOKIE_NAME.as_bytes()));
    starts.any(|start| {
        let (before, rest) = name.split_at(start);
        is_blank(before) && is_blank(&rest[COOKIE_NAME.len()..])
    })
}

fn check_target(places: &[Place], before: &Request<()>, after: &Request<()>) {
    assert_eq!(before.uri().scheme(), after.uri().scheme());
    assert_eq!(before.uri().authority(), after.uri().authority());
    let is_in_path = places.contains(&Place::Path) && !Place::Path.read(places, before).is_empty();
    let path = if is_in_path { "/h/redacted" } else { before.uri().path() };
    assert_eq!(after.uri().path(), path);
    let kept = match places.contains(&Place::Query) {
        true => forms::without(query(before).as_bytes(), PARAMETER),
        false => query(before).as_bytes().to_vec(),
    };
    assert_eq!(query(after).as_bytes(), kept);
}
