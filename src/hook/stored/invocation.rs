use http::{Extensions, Method, Uri};
use serde::{Deserialize, Serialize};

use super::bytes::{StoredBytes, StoredHeaders};
use super::{StoredError, VERSION, read};
use crate::envelope::{Envelope, StoredEnvelope};
use crate::hook::Invocation;
use crate::identity::{Identity, StoredIdentity};

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    hook: Option<&'a str>,
    identity: Option<&'a Identity>,
    method: &'a str,
    uri: String,
    headers: StoredHeaders<'a>,
    body: StoredBytes<'a>,
    envelope: StoredEnvelope<'a>,
}

#[derive(Deserialize)]
struct Read {
    hook: Option<String>,
    identity: Option<StoredIdentity>,
    method: String,
    uri: String,
    headers: StoredHeaders<'static>,
    body: StoredBytes<'static>,
    envelope: StoredEnvelope<'static>,
}

impl Invocation {
    /// The invocation as a JSON text with a version, for a queue: envelope, caller, hook, method, target, headers and
    /// body. What outer layers have attached ([`extensions`](Self::extensions)) is left out.
    ///
    /// # Security
    ///
    /// The payload is in the clear. What the layer reads as a credential is not in it, nor are `Authorization`,
    /// `Proxy-Authorization` and `Cookie`. Any other secret that the request held is.
    #[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
    #[must_use]
    pub fn encode(&self) -> String {
        let written = Written {
            v: VERSION,
            hook: self.hook.as_deref(),
            identity: self.identity.as_ref(),
            method: self.method.as_str(),
            uri: self.uri.to_string(),
            headers: StoredHeaders::of(&self.headers),
            body: StoredBytes::of(&self.body),
            envelope: self.envelope.stored(),
        };
        // Texts and numbers are always JSON.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// The [identity](Self::identity) is what was proven when the request came. It proves nothing to a layer, and
    /// [`reverify`](Identity::reverify) of a key returns an error.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is damaged or of a later version.
    ///
    /// # Security
    ///
    /// The text is trusted: who can write it can name any caller.
    #[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
    pub fn decode(text: &str) -> Result<Self, StoredError> {
        let stored: Read = read(text)?;
        Ok(Self {
            envelope: Envelope::restored(stored.envelope).ok_or(StoredError::MALFORMED)?,
            identity: match stored.identity {
                Some(identity) => Some(Identity::restored(identity).ok_or(StoredError::MALFORMED)?),
                None => None,
            },
            hook: stored.hook.map(Into::into),
            method: Method::from_bytes(stored.method.as_bytes())
                .map_err(|_| StoredError::MALFORMED)?,
            uri: Uri::try_from(stored.uri).map_err(|_| StoredError::MALFORMED)?,
            headers: stored.headers.into_headers()?,
            body: stored.body.into_bytes()?.into(),
            extensions: Extensions::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, Request};

    use super::*;
    use crate::credential::PlacementKind;
    use crate::envelope::{EnvelopeBuilder, EnvelopeInput, EnvelopePart};
    use crate::hook::stored::StoredErrorKind;
    use crate::key::{Owner, Scope, Scopes, VerifyErrorKind};
    use crate::util::UniqueId;

    /// What version 1 has written. It does not change: stored jobs have to be read by every later version.
    const VERSION_1: &str = include_str!("invocation_v1.json");

    fn identity(owner: &str, scopes: Scopes) -> Identity {
        let owner = Owner::new(owner).unwrap();
        Identity::of_user(UniqueId::new(), owner, scopes, Some(PlacementKind::Basic))
    }

    fn invocation() -> Invocation {
        let request = Request::post("/hook/deploy?a=1&a=%C3%A9")
            .header("content-type", "application/json")
            .header("x-odd", HeaderValue::from_bytes(b"\xe9").unwrap())
            .header("x-twice", "1")
            .header("x-twice", "2");
        let body = Bytes::from_static(b"\xef\xbb\xbf{\"n\":1e400}");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let builder = EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap();
        let input = EnvelopeInput::new(&parts, &body).with_member("caller", "null");
        let scopes = Scopes::from_iter([Scope::new("deploy").unwrap()]);
        let other = identity("bob", Scopes::default());
        Invocation {
            envelope: builder.build(&input).unwrap(),
            identity: Some(identity("ann", scopes).with_also_proven(Some(other))),
            hook: Some("deploy".into()),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            extensions: parts.extensions,
        }
    }

    #[test]
    fn an_invocation_comes_back() {
        let invocation = invocation();
        let text = invocation.encode();
        let decoded = Invocation::decode(&text).unwrap();
        assert_eq!(decoded.encode(), text);
        assert_eq!(decoded.hook(), Some("deploy"));
        assert_eq!(decoded.method(), Method::POST);
        assert_eq!(decoded.uri(), invocation.uri());
        assert_eq!(decoded.headers(), invocation.headers());
        assert_eq!(decoded.body(), invocation.body());
        assert_eq!(decoded.envelope().as_str(), invocation.envelope().as_str());
        assert_eq!(decoded.envelope().json(), Some(r#"{"n":1e400}"#));
        assert_eq!(decoded.envelope().get(), invocation.envelope().get());
        assert_eq!(decoded.envelope().member("caller"), Some("null"));
        let identity = decoded.identity().unwrap();
        assert_eq!(identity.owner().as_str(), "ann");
        assert!(identity.has_scope(&Scope::new("deploy").unwrap()));
        assert_eq!(identity.also_proven().unwrap().owner().as_str(), "bob");
    }

    #[test]
    fn a_body_of_any_bytes_comes_back() {
        let body = Bytes::from_iter(0..=255);
        let text = Invocation { body: body.clone(), identity: None, ..invocation() }.encode();
        assert_eq!(Invocation::decode(&text).unwrap().body(), &body);
    }

    #[test]
    fn version_1_is_written_and_read() {
        assert_eq!(invocation().encode(), VERSION_1.trim_end());
        assert_eq!(Invocation::decode(VERSION_1).unwrap().encode(), VERSION_1.trim_end());
    }

    #[test]
    fn a_text_that_is_no_invocation_is_refused() {
        let kind = |text: &str| Invocation::decode(text).unwrap_err().kind();
        assert_eq!(kind(r#"{"v":2}"#), StoredErrorKind::UnsupportedVersion);
        let text = invocation().encode();
        let spoiled = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        };
        for text in [
            "",
            "null",
            r#"{"v":1}"#,
            &text[1..],
            &spoiled(r#""POST""#, r#""PO ST""#),
            &spoiled("/hook/deploy", "http://[/"),
            &spoiled(r#""placement":"basic""#, r#""placement":"sleeve""#),
            &spoiled(r#""owner":"ann""#, r#""owner":"""#),
            &spoiled(r#""end":"#, r#""end":99"#),
            &spoiled(r#""x-twice""#, r#""x twice""#),
        ] {
            assert_eq!(kind(text), StoredErrorKind::Malformed, "{text}");
        }
    }

    #[tokio::test]
    async fn a_stored_caller_proves_nothing() {
        let key = VERSION_1.replacen(r#""key_id":null"#, r#""key_id":"k1""#, 1);
        let decoded = Invocation::decode(&key).unwrap();
        let identity = decoded.identity().unwrap();
        assert_eq!(identity.key_id().unwrap().as_str(), "k1");
        let error = identity.reverify().await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable);
        assert!(!identity.is_user_of(UniqueId::new()));
    }
}
