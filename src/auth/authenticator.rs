use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Extensions, Response};

use crate::BoxError;
use crate::credential::PresentedCredential;
use crate::key::{Owner, Scopes};
use crate::request_head::RequestHead;

/// Decides which user a request is from, by means of the app: a session, a signed token, a password.
///
/// Where placements were given with the authenticator, it is asked about the one credential that was found
/// in them; a request without one is refused as missing and a repeated one as ambiguous before this. Without
/// placements it is asked about every request, and looks at the head itself.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use tower_webhook::RequestHead;
/// use tower_webhook::BoxError;
/// use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, User};
/// use tower_webhook::credential::{PresentedCredential, Placement};
/// use tower_webhook::key::Owner;
///
/// struct Passwords;
///
/// #[async_trait]
/// impl Authenticator for Passwords {
///     async fn authenticate(
///         &self,
///         _head: RequestHead<'_>,
///         candidate: Option<&PresentedCredential<'_>>,
///     ) -> Result<Authentication, BoxError> {
///         let Some(candidate) = candidate else { return Ok(Authentication::Missing) };
///         match (candidate.username(), candidate.expose_text()) {
///             (Some(name), Some(password)) if check(name, password).await? => {
///                 Ok(Authentication::Accepted(User::new(Owner::new(name)?)))
///             }
///             _ => Ok(Authentication::Refused),
///         }
///     }
/// }
///
/// # async fn check(_name: &str, _password: &str) -> Result<bool, BoxError> { Ok(false) }
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = AuthLayer::user(Passwords, [Placement::basic()])?;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// Returns an error if the decision cannot be made now. The request is refused with 503, never 401.
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError>;

    /// Whether the head of a request has a credential for this authenticator. It is asked under
    /// [`Policy::any_of`](super::Policy::any_of) about a request with a key, where the authenticator has no placements: a
    /// second credential is a 400. The default is no: the key decides.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be found out now. The request is refused with 503.
    async fn is_presented(&self, head: RequestHead<'_>) -> Result<bool, BoxError> {
        let _ = head;
        Ok(false)
    }

    /// Whether the body of a request has to be there before this decides: to check a signature over it. The default
    /// is no.
    ///
    /// [`BufferedAuthLayer`](super::BufferedAuthLayer) and [`Hooks`](crate::hook::Hooks) then read the body first, under
    /// their limit for callers who are not known yet, of requests whose head has a credential for the authenticator. An
    /// authenticator without placements is asked about every request, so every body is read first. The bytes are those
    /// that were sent, in the [`BufferedBody`](crate::body::BufferedBody) of
    /// [`RequestHead::extensions`](crate::RequestHead::extensions). Without a buffer it is a fault of the
    /// configuration, and such a request is a 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_trait::async_trait;
    /// use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, User};
    /// use tower_webhook::body::{BodyBufferLayer, BufferedBody};
    /// use tower_webhook::credential::{Placement, PresentedCredential};
    /// use tower_webhook::{BoxError, Owner, RequestHead};
    ///
    /// struct Signatures;
    ///
    /// #[async_trait]
    /// impl Authenticator for Signatures {
    ///     async fn authenticate(
    ///         &self,
    ///         head: RequestHead<'_>,
    ///         candidate: Option<&PresentedCredential<'_>>,
    ///     ) -> Result<Authentication, BoxError> {
    ///         let Some(signature) = candidate else { return Ok(Authentication::Missing) };
    ///         let body = head.extensions().get::<BufferedBody>().ok_or("no body")?;
    ///         // The secret of the hook is looked up by its name: `head.hook()`.
    ///         match is_signed(head.hook(), &body.bytes(), signature.expose_bytes()) {
    ///             true => Ok(Authentication::Accepted(User::new(Owner::new("sender")?))),
    ///             false => Ok(Authentication::refused("the signature does not match")),
    ///         }
    ///     }
    ///
    ///     fn needs_body(&self) -> bool {
    ///         true
    ///     }
    /// }
    ///
    /// # fn is_signed(_: Option<&str>, _: &[u8], _: Option<&[u8]>) -> bool { false }
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let layer = AuthLayer::user(Signatures, [Placement::header("x-signature")?])?
    ///     .with_buffer(BodyBufferLayer::new())
    ///     .with_pre_auth_max_bytes(1024 * 1024);
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    fn needs_body(&self) -> bool {
        false
    }
}

/// The decision of an [`Authenticator`].
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The request is from this user.
    Accepted(User),
    /// A credential was presented and is not good.
    Refused,
    /// The same, with a reason for the log: see [`refused`](Self::refused).
    RefusedBecause(Cow<'static, str>),
    /// No credential was presented.
    Missing,
    /// The request is answered with this, and goes no further: the handshake of a sender of webhooks. Neither owners nor
    /// scopes of the policy are asked for.
    Answered(Response<Bytes>),
}

impl Authentication {
    /// A credential was presented and is not good, for a reason that the log has as `error`, such as `the token
    /// expired`. The caller does not get to know it: the answer is that to every bad credential.
    ///
    /// # Security
    ///
    /// The reason must not have the credential in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::Authentication;
    ///
    /// let answer = Authentication::refused("the token expired");
    /// assert!(matches!(answer, Authentication::RefusedBecause(reason) if reason == "the token expired"));
    /// ```
    #[must_use]
    pub fn refused(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::RefusedBecause(reason.into())
    }
}

/// A user whom an [`Authenticator`] has accepted.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) owner: Owner,
    pub(super) scopes: Scopes,
    pub(super) extensions: Extensions,
}

impl User {
    /// A user who may do everything that their policies do not tie to an owner.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self { owner, scopes: Scopes::ALL, extensions: Extensions::new() }
    }

    /// A user who may do only this.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Hands something that the authenticator has looked up to the inner service: a session, a row of a
    /// table of users. It is put into the extensions of the request when the request is let in.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::User;
    /// use tower_webhook::key::Owner;
    ///
    /// #[derive(Clone)]
    /// struct Plan {
    ///     requests_per_day: u32,
    /// }
    ///
    /// let user = User::new(Owner::new("alice")?).with_extension(Plan { requests_per_day: 1_000 });
    /// // In the handler: `request.extensions().get::<Plan>()`.
    /// # let _ = user;
    /// # Ok::<(), tower_webhook::key::InvalidId>(())
    /// ```
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(
        &self,
        head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        (**self).authenticate(head, candidate).await
    }

    async fn is_presented(&self, head: RequestHead<'_>) -> Result<bool, BoxError> {
        (**self).is_presented(head).await
    }

    fn needs_body(&self) -> bool {
        (**self).needs_body()
    }
}
