//! What a refusal needs of the request that it answers.

use http::request::Parts;
use http::{HeaderValue, Method, Uri};

use crate::auth::HookName;
use crate::body::BufferedBody;
use crate::credential::{ExtractError, redact_target};
use crate::envelope::CREDENTIAL_HEADERS;
use crate::key::KeyVerifier;
use crate::request_head::RequestHead;
use crate::util::catch_panic;

/// Taken from a head before the response is made, because the request may be gone then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// An answer to `HEAD` has no content (RFC 9110, section 9.3.2).
    pub(super) by_head: bool,
    /// The media type of a gRPC call, where such calls are refused in their own form.
    pub(super) grpc: Option<HeaderValue>,
    /// What the closure sees that replaces bodies. Boxed, because most layers have none.
    pub(super) view: Option<Box<Parts>>,
    hook: Option<HookName>,
}

impl Asked {
    pub(super) fn new(head: RequestHead<'_>) -> Self {
        let hook = head.extensions().get().cloned();
        Self { by_head: *head.method() == Method::HEAD, hook, ..Self::default() }
    }

    /// The name of the hook, if a policy has named it.
    pub(crate) fn hook(&self) -> Option<&str> {
        self.hook.as_ref().map(|HookName(name)| &**name)
    }
}

/// How credentials are removed from the head of a request before code of the app sees it.
pub(crate) trait Scrub {
    /// # Errors
    ///
    /// Returns an error if a place cannot be cleaned.
    fn scrub(&self, head: &mut Parts) -> Result<(), ExtractError>;
}

/// Of a stage that knows no placements. A query cannot be marked as sensitive, so all of it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPlacements;

impl Scrub for NoPlacements {
    fn scrub(&self, head: &mut Parts) -> Result<(), ExtractError> {
        head.uri = head.uri.path().parse().unwrap_or_default();
        Ok(())
    }
}

impl Scrub for KeyVerifier {
    fn scrub(&self, head: &mut Parts) -> Result<(), ExtractError> {
        redact_target(head, &|text| self.redact(text))?;
        for value in head.headers.values_mut() {
            let is_key = |text: &str| self.redact(text).is_some();
            if value.to_str().is_ok_and(is_key) {
                value.set_sensitive(true);
            }
        }
        Ok(())
    }
}

#[cfg(feature = "management")]
impl Scrub for crate::key::KeyManager {
    fn scrub(&self, head: &mut Parts) -> Result<(), ExtractError> {
        self.verifier().scrub(head)
    }
}

/// A copy of the head without credentials. One that cannot be cleaned has method and version only.
pub(super) fn view(head: RequestHead<'_>, scrub: &dyn Scrub) -> Parts {
    let mut view = head.to_parts();
    view.extensions.remove::<BufferedBody>();
    if !matches!(catch_panic(|| scrub.scrub(&mut view)), Ok(Ok(()))) {
        view.uri = Uri::default();
        view.headers.clear();
        view.extensions.clear();
    }
    for name in CREDENTIAL_HEADERS {
        view.headers.remove(name);
    }
    if view.headers.values().any(HeaderValue::is_sensitive) {
        let plain = view.headers.iter().filter(|(_, value)| !value.is_sensitive());
        view.headers = plain.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    view
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    struct Panics;

    impl Scrub for Panics {
        fn scrub(&self, _: &mut Parts) -> Result<(), ExtractError> {
            panic!("opensesame")
        }
    }

    fn request() -> Request<()> {
        let mut sensitive = HeaderValue::from_static("opensesame");
        sensitive.set_sensitive(true);
        Request::get("/path?key=opensesame")
            .header("x-id", "1")
            .header("x-id", "2")
            .header("x-id", &sensitive)
            .header("authorization", "Bearer opensesame")
            .header("proxy-authorization", "Basic opensesame")
            .header("cookie", "sid=opensesame")
            .extension(BufferedBody::default())
            .extension(7_u8)
            .body(())
            .unwrap()
    }

    #[test]
    fn a_view_has_what_is_no_credential() {
        let request = request();
        let view = view((&request).into(), &NoPlacements);

        assert_eq!(view.uri, "/path");
        assert_eq!(view.headers.len(), 2);
        assert_eq!(view.headers.get_all("x-id").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(view.extensions.get::<u8>(), Some(&7));
        assert!(view.extensions.get::<BufferedBody>().is_none());
    }

    #[test]
    fn a_head_that_cannot_be_cleaned_is_not_shown() {
        let request = request();
        let view = view((&request).into(), &Panics);

        assert_eq!((view.method, view.uri), (Method::GET, Uri::default()));
        assert!(view.headers.is_empty() && view.extensions.is_empty());
    }
}
