//! Where a caller's secret is read, and how it is taken out of the request.
//!
//! # Guarantees
//!
//! 1. [`Credentials`] looks at every configured [`Placement`], in order, and yields one [`PresentedCredential`] or
//!    none. A place whose value is empty has no credential in it.
//! 2. More than one credential is [`Ambiguous`](ExtractErrorKind::Ambiguous), whether two are in one place
//!    or in several, and whether they are equal or not (RFC 6750, section 2). Two components that each
//!    pick another copy would disagree about who is calling. Copies that a proxy has joined with commas (RFC 9110,
//!    section 5.3) are as many, if each part is a credential: in `Authorization`, one with the scheme `Bearer`, `Basic`
//!    or another that is read; in any place of the head, a text of the [format](crate::key::KeyFormat) of the keys.
//!    Where the whole is such a text too, because the format allows commas, parts count if they are equal. What an
//!    [`Authenticator`](crate::auth::Authenticator) is asked about has no format, and is one value.
//! 3. A credential is compared byte for byte: it is decoded as its place prescribes, once, and neither
//!    trimmed, nor folded, nor normalised. (HTTP trims the blanks around header values.)
//! 4. [`Credentials::scrub`] removes the content of every configured place from the request that goes
//!    further in: from headers, from `uri()` and from the buffered body, on accepted requests and on
//!    public routes alike. With feature `axum`, axum's `OriginalUri` as well.
//! 5. What has to be decoded for a [`PresentedCredential`] is wiped from memory when it is dropped, and when the
//!    request is refused. The request itself is the server's: its buffers, headers and body are not wiped,
//!    and neither is what a `custom` placement keeps apart from its [`Secret`].
//!
//! # Examples
//!
//! ```
//! use tower_webhook::credential::{Credentials, ExtractErrorKind, Placement};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::new([Placement::header("x-api-key")?, Placement::query("key")?])?;
//!
//! let mut request = http::Request::get("/deploy?key=abc&branch=main").body(())?;
//! let candidate = credentials.find((&request).into())?.expect("one credential");
//! assert_eq!(candidate.expose_text(), Some("abc"));
//!
//! credentials.scrub(&mut request)?;
//! assert_eq!(request.uri(), "/deploy?branch=main");
//!
//! let request = http::Request::get("/deploy?key=abc").header("x-api-key", "abc").body(())?;
//! let error = credentials.find((&request).into()).unwrap_err();
//! assert_eq!(error.kind(), ExtractErrorKind::Ambiguous);
//! # Ok(())
//! # }
//! ```

mod error;
mod extract;
mod openapi;
mod path_template;
mod placement;
mod presented;
#[cfg(feature = "tracing")]
mod redact;
mod scheme;
mod scrub;
mod websocket;

use http::HeaderName;

pub use self::error::{ExtractError, ExtractErrorKind};
pub use self::openapi::OpenApiSecurity;
pub use self::placement::{Placement, PlacementKind};
pub use self::presented::PresentedCredential;
pub use crate::key::secret::Secret;

pub(crate) use self::extract::BodyReading;
pub(crate) use self::scrub::redact_target;

use self::placement::Place;
use self::scheme::Scheme;
use crate::content::ContentLimits;
use crate::error::ConfigError;
use crate::rejection::ChallengeScheme;

/// An ordered list of placements, and the rule for requests that use more than one of them.
///
/// See the [module docs](self) for an example.
#[derive(Clone, Debug)]
pub struct Credentials {
    placements: Box<[Placement]>,
    first_wins: bool,
    /// Whether a value with commas is one value.
    unsplit: bool,
    /// Whether equal credentials in one place are one.
    merges_copies: bool,
    limits: ContentLimits,
}

impl Credentials {
    /// A list of placements.
    ///
    /// # Errors
    ///
    /// Returns an error if the list is empty, or if two placements read the same place.
    pub fn new(placements: impl IntoIterator<Item = Placement>) -> Result<Self, ConfigError> {
        let placements: Box<[Placement]> = placements.into_iter().collect();
        if placements.is_empty() {
            return Err(ConfigError::new("a list of placements is empty"));
        }
        for (index, placement) in placements.iter().enumerate() {
            if placements.iter().skip(index.saturating_add(1)).any(|p| p.clashes_with(placement)) {
                return Err(ConfigError::new("two placements read the same place"));
            }
        }
        Ok(Self {
            placements,
            first_wins: false,
            unsplit: false,
            merges_copies: false,
            limits: ContentLimits::default(),
        })
    }

    /// Lets the first placement in the list that has a credential decide alone. Placements after it are
    /// not examined. A repeat within the deciding placement is still ambiguous.
    ///
    /// # Security
    ///
    /// A proxy or a log that looks at another placement than this layer takes the request for someone
    /// else's. Use this for senders that are known to send two credentials.
    #[must_use]
    pub const fn with_insecure_first_credential_wins(mut self) -> Self {
        self.first_wins = true;
        self
    }

    /// Takes equal credentials in one place as one: fields that are repeated, or that a proxy has joined with commas.
    /// The [module docs](self) say what counts as joined. Different ones, and equal ones in two places, are still
    /// ambiguous.
    ///
    /// For a proxy that adds the field once more and cannot be made to stop.
    ///
    /// # Security
    ///
    /// A component that reads another copy sees the same caller. But an attacker who can add fields to the request of
    /// someone else can also test a guess of its credential: a wrong one is a 400 instead of an answer.
    #[must_use]
    pub const fn with_insecure_equal_copies(mut self) -> Self {
        self.merges_copies = true;
        self
    }

    /// Takes a value with commas in it as one value, even if each part is a credential.
    ///
    /// # Security
    ///
    /// A proxy may join equal fields with commas. With this setting, a request that has been through such a proxy
    /// with two credentials is refused as one whose credential is not good (401), and not as an ambiguous one (400).
    #[must_use]
    pub const fn with_insecure_unsplit_values(mut self) -> Self {
        self.unsplit = true;
        self
    }

    /// The limits on queries and bodies in which a credential is looked for. The default is [`ContentLimits::new`].
    #[must_use]
    pub fn with_content_limits(mut self, limits: ContentLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The placements, in order.
    #[must_use]
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// Whether a placement is in the body, so that the body has to be buffered first.
    pub(crate) fn need_body(&self) -> bool {
        self.placements.iter().any(Placement::is_in_body)
    }

    /// The schemes that are read in `Authorization`. Where there is none, a challenge says where the key goes.
    pub(crate) fn challenges(&self) -> Vec<ChallengeScheme> {
        let schemes = self.placements.iter().filter_map(|placement| placement.place.scheme());
        let schemes: Vec<_> = schemes.map(Scheme::challenge).collect();
        if !schemes.is_empty() {
            return schemes;
        }
        let place = self.placements.iter().find_map(|placement| placement.place.in_challenge());
        vec![ChallengeScheme::ApiKey(place)]
    }

    /// The headers that placements read, for an envelope to leave out.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.placements.iter().filter_map(|placement| match &placement.place {
            Place::Header(name) => Some(name),
            _ => None,
        })
    }
}

/// What makes [`Credentials`]: one placement, a list of them, or credentials with settings of their own.
///
/// Implemented by [`Placement`], by everything that iterates over placements, and by [`Credentials`].
pub trait IntoCredentials {
    /// The credentials, or `None` for an empty list.
    ///
    /// # Errors
    ///
    /// Returns an error if two placements read the same place.
    fn into_credentials(self) -> Result<Option<Credentials>, ConfigError>;
}

impl IntoCredentials for Credentials {
    fn into_credentials(self) -> Result<Option<Credentials>, ConfigError> {
        Ok(Some(self))
    }
}

impl IntoCredentials for Placement {
    fn into_credentials(self) -> Result<Option<Credentials>, ConfigError> {
        [self].into_credentials()
    }
}

impl<I: IntoIterator<Item = Placement>> IntoCredentials for I {
    fn into_credentials(self) -> Result<Option<Credentials>, ConfigError> {
        let placements: Vec<Placement> = self.into_iter().collect();
        if placements.is_empty() { Ok(None) } else { Credentials::new(placements).map(Some) }
    }
}

#[cfg(test)]
mod tests;
