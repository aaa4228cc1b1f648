//! The field `Authorization`: which credentials of which schemes are in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::Credentials;
use super::extract::{Presented, trim_blanks, values};
use super::placement::{Place, PlacementKind};
use crate::content::is_token;
use crate::error::ConfigError;
use crate::rejection::ChallengeScheme;

/// An authentication scheme (RFC 9110, section 11.1).
#[derive(Clone, Debug)]
pub(super) enum Scheme {
    Bearer,
    Basic,
    /// A scheme of the app, whose credential is the key as it is.
    Own(Box<str>),
}

impl Scheme {
    pub(super) fn own(name: &str) -> Result<Self, ConfigError> {
        match name {
            _ if name.eq_ignore_ascii_case("bearer") => {
                Err(ConfigError::new("the scheme `Bearer` is read by `Placement::bearer()`"))
            }
            _ if name.eq_ignore_ascii_case("basic") => {
                Err(ConfigError::new("the scheme `Basic` is read by `Placement::basic()`"))
            }
            _ if !is_token(name) => Err(ConfigError::new("an authentication scheme is a token")),
            _ => Ok(Self::Own(name.into())),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Own(name) => name,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.name().eq_ignore_ascii_case(other.name())
    }

    pub(super) const fn kind(&self) -> PlacementKind {
        match self {
            Self::Bearer => PlacementKind::Bearer,
            Self::Basic => PlacementKind::Basic,
            Self::Own(_) => PlacementKind::Authorization,
        }
    }

    pub(super) fn challenge(&self) -> ChallengeScheme {
        match self {
            Self::Bearer => ChallengeScheme::Bearer,
            Self::Basic => ChallengeScheme::Basic,
            Self::Own(name) => ChallengeScheme::Own(name.clone()),
        }
    }

    /// What follows the scheme: `1*SP` is between them (RFC 9110, section 11.4). `None` means another scheme.
    pub(super) fn credential<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let (scheme, rest) = value.split_at_checked(self.name().len())?;
        let is_own = scheme.eq_ignore_ascii_case(self.name().as_bytes());
        (is_own && rest.first() == Some(&b' ')).then(|| trim_blanks(rest))
    }

    fn is_bare(&self, value: &[u8]) -> bool {
        value.eq_ignore_ascii_case(self.name().as_bytes())
    }

    /// The content of a value of `Authorization`, for this scheme.
    pub(super) fn read<'a>(&self, value: &'a [u8]) -> Presented<'a> {
        match (self.credential(value), self) {
            (None, _) => Presented::Foreign(value),
            (Some(encoded), Self::Basic) => basic(encoded),
            (Some(text), Self::Bearer | Self::Own(_)) => Presented::Text(text.into()),
        }
    }
}

impl Credentials {
    /// The values of `Authorization`. A scheme with nothing behind it is empty too: `Bearer`, `Basic` or one of
    /// this list, whichever of them is read.
    ///
    /// A proxy may join several fields with commas (RFC 9110, section 5.3). A value that is such a list, each part
    /// with a known scheme and something behind it, is as many values.
    pub(super) fn authorizations<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a [u8]> {
        values(headers, &AUTHORIZATION).flat_map(|value| {
            let is_credential =
                |part| self.schemes().any(|scheme| scheme.credential(part).is_some());
            let is_list = !self.unsplit
                && has_comma(value)
                && list(value).nth(1).is_some()
                && list(value).all(is_credential);
            let pieces = value.splitn(if is_list { usize::MAX } else { 1 }, |byte| *byte == b',');
            pieces.map(trim_blanks).filter(|piece| {
                !piece.is_empty() && !self.schemes().any(|scheme| scheme.is_bare(piece))
            })
        })
    }

    fn schemes(&self) -> impl Iterator<Item = &Scheme> {
        let own = self.placements.iter().filter_map(|placement| match &placement.place {
            Place::Authorization(scheme @ Scheme::Own(_)) => Some(scheme),
            _ => None,
        });
        [&Scheme::Bearer, &Scheme::Basic].into_iter().chain(own)
    }
}

/// Whether a value may be a list. Without an early end: the compiler makes a few vector instructions of it.
pub(super) fn has_comma(value: &[u8]) -> bool {
    value.iter().fold(false, |found, byte| found | (*byte == b','))
}

/// Whether two values of `Authorization` are equal but for the case of their scheme and the blanks after it.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a_scheme, a_rest) = halves(a);
    let (b_scheme, b_rest) = halves(b);
    a_scheme.eq_ignore_ascii_case(b_scheme) && a_rest == b_rest
}

fn halves(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    (scheme, trim_blanks(rest))
}

/// The elements of a list that are not empty (RFC 9110, section 5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_blanks).filter(|part| !part.is_empty())
}

/// The longest text that is decoded, in bytes. What is longer than any key would be decoded for nothing.
pub(super) const MAX_ENCODED_LEN: usize = 4096;

/// RFC 7617, section 2: the user name ends at the first colon.
fn basic(encoded: &[u8]) -> Presented<'static> {
    if encoded.len() > MAX_ENCODED_LEN {
        return Presented::Unreadable;
    }
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let Ok(length) = STANDARD.decode_slice(encoded, &mut decoded) else {
        return Presented::Unreadable;
    };
    let decoded = decoded.get(..length).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(decoded) else { return Presented::Unreadable };
    match text.split_once(':') {
        None | Some(("", "")) => Presented::Unreadable,
        Some((username, "")) => Presented::Text(username.as_bytes().to_vec().into()),
        Some((username, password)) => Presented::UserAndText(
            Zeroizing::new(username.to_owned()),
            password.as_bytes().to_vec().into(),
        ),
    }
}
