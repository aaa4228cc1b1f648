use std::fmt;
use std::sync::Arc;

use super::{GenerateError, KeyDraft, KeyFormat, ParsedKey};
use crate::key::KeyId;
use crate::key::secret::Secret;

/// Several formats beside each other: one for new keys, and others whose keys go on working.
///
/// A text is a key of the first format that reads it: the current one, then the previous ones in the order in which
/// they were added. So a format that reads every text, such as [`OpaqueFormat`](super::OpaqueFormat), comes after those
/// that look at a prefix or a check, or it takes their keys for its own, and they are unknown.
///
/// Every format that refuses a text costs its parsing, and nothing is looked up for it. A rotation gives a key of a
/// previous format a text of the current one: where that cannot keep the id, in a second record, and the old record
/// expires.
///
/// Two [`PrefixedFormat`](super::PrefixedFormat)s read the same id and secret under two prefixes: each record is found
/// under both.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{Formats, KeyDraft, KeyFormat, Owner, PrefixedFormat, Sha256Format};
///
/// let formats = Formats::new(PrefixedFormat::new("acme")?)
///     .with_previous(Sha256Format::new().with_prefix("sk_live_")?);
///
/// let owner = Owner::new("ann")?;
/// let key = formats.generate(&KeyDraft::new(&owner, time::OffsetDateTime::now_utc()))?;
/// assert!(key.expose_secret().starts_with("acme_"));
/// assert!(formats.parse(key.expose_secret()).is_some());
/// assert!(formats.parse("sk_live_0123456789abcdef0123456789abcdef").is_some());
/// assert!(formats.parse("sk_test_0123456789abcdef0123456789abcdef").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Formats {
    current: Arc<dyn KeyFormat>,
    previous: Vec<Arc<dyn KeyFormat>>,
}

impl Formats {
    /// New keys are generated in this format, and it is the first to read a text.
    #[must_use]
    pub fn new(current: impl KeyFormat) -> Self {
        Self { current: Arc::new(current), previous: Vec::new() }
    }

    /// Also reads keys of this format, where none before it does.
    #[must_use]
    pub fn with_previous(mut self, format: impl KeyFormat) -> Self {
        self.previous.push(Arc::new(format));
        self
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn KeyFormat>> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl KeyFormat for Formats {
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
        self.all().find_map(|format| format.parse(text))
    }

    fn parse_for<'a>(&self, id: &KeyId, text: &'a str) -> Option<ParsedKey<'a>> {
        self.all().find_map(|format| format.parse_for(id, text))
    }

    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        self.current.generate(draft)
    }

    fn id_of_sha256(&self, sha256: &[u8; 32]) -> Option<KeyId> {
        self.all().find_map(|format| format.id_of_sha256(sha256))
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.all().fold(None, |redacted, format| {
            let text = redacted.as_deref().unwrap_or(text);
            format.redact(text).or(redacted)
        })
    }
}

impl fmt::Debug for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Formats").field("previous", &self.previous.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::key::fixtures::{ann, id};
    use crate::key::{
        KeyManager, NewKey, OpaqueFormat, PrefixedFormat, Sha256Format, TokenFormat,
        VerifyErrorKind,
    };
    use crate::store::MemoryKeyStore;

    fn prefixed(prefix: &str) -> PrefixedFormat {
        PrefixedFormat::new(prefix).unwrap()
    }

    fn text_of(format: &impl KeyFormat) -> Secret {
        format.generate(&KeyDraft::new(&ann(), OffsetDateTime::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn a_text_is_one_of_the_first_format_that_reads_it() {
        let new = text_of(&prefixed("acme"));
        let new = new.expose_secret();
        let own_id = prefixed("acme").parse(new).unwrap().into_id();
        let strict_first = Formats::new(prefixed("acme")).with_previous(OpaqueFormat::new());
        let greedy_first = Formats::new(OpaqueFormat::new()).with_previous(prefixed("acme"));

        assert_eq!(strict_first.parse(new).unwrap().id(), &own_id);
        assert_ne!(greedy_first.parse(new).unwrap().id(), &own_id);
        let mistyped = new.replacen("acme", "acne", 1);
        let opaque = OpaqueFormat::new().parse(&mistyped).unwrap().into_id();
        assert_eq!(strict_first.parse(&mistyped).unwrap().id(), &opaque);
        assert!(strict_first.parse("two words").is_none());
        assert!(text_of(&strict_first).expose_secret().starts_with("acme_"));
        assert!(!text_of(&greedy_first).expose_secret().starts_with("acme_"));
    }

    #[test]
    fn a_key_of_a_policy_is_read_by_every_format() {
        let formats = Formats::new(prefixed("acme")).with_previous(TokenFormat);
        let text = text_of(&formats);
        let own_id = formats.parse(text.expose_secret()).unwrap().into_id();

        assert!(formats.parse_for(&own_id, text.expose_secret()).is_some());
        assert_eq!(formats.parse_for(&id("hook-1"), "s3cret").unwrap().id(), &id("hook-1"));
        assert!(formats.parse("s3cret").is_none());
    }

    #[test]
    fn keys_of_every_format_are_redacted() {
        let formats = Formats::new(prefixed("acme")).with_previous(prefixed("old"));
        let (new, old) = (text_of(&formats), text_of(&prefixed("old")));
        let line = format!("{} {} {}", old.expose_secret(), new.expose_secret(), "acme_x");

        let redacted = "old_[redacted] acme_[redacted] acme_x";
        assert_eq!(formats.redact(&line).as_deref(), Some(redacted));
        let line = format!("[{}]", old.expose_secret());
        assert_eq!(formats.redact(&line).as_deref(), Some("[old_[redacted]]"));
        assert_eq!(formats.redact("acme_x old_y"), None);
    }

    #[tokio::test]
    async fn old_keys_work_and_are_rotated_into_the_new_format() {
        let store = Arc::new(MemoryKeyStore::new());
        let before = KeyManager::new(Arc::clone(&store));
        let before = before.with_format(Sha256Format::new());
        let old = before.generate(&ann(), NewKey::new("old")).await.unwrap();
        let formats = Formats::new(prefixed("acme")).with_previous(Sha256Format::new());
        let keys = KeyManager::new(store).with_format(formats);
        let verifier = keys.verifier();
        let verify = |text: &Secret| {
            let text = text.clone();
            let verifier = &verifier;
            async move { verifier.verify(text.expose_secret().as_bytes()).await }
        };

        assert_eq!(verify(old.secret()).await.unwrap().id(), old.record().id());
        let new = keys.rotate(&ann(), old.record().id(), Duration::ZERO).await.unwrap();

        assert!(new.secret().expose_secret().starts_with("acme_"));
        assert!(verify(new.secret()).await.is_ok());
        let error = verify(old.secret()).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::Expired);
        // Of the new format, the id stays.
        let again = keys.rotate(&ann(), new.record().id(), Duration::ZERO).await.unwrap();
        assert_eq!(again.record().id(), new.record().id());
    }
}
