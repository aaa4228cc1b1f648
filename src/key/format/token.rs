use super::{GenerateError, KeyDraft, KeyFormat, ParsedKey, random_base62};
use crate::key::KeyId;
use crate::key::secret::Secret;

/// Tokens without an id, such as one token per hook.
///
/// The policy of the hook names the key ([`Policy::with_key`](crate::auth::Policy::with_key)), and the whole
/// text is its secret. Two keys can have the same text, and each is valid for its own hook only.
///
/// A text is 1 to 256 bytes, and is not trimmed or decoded. New ones have 43 of `0-9A-Za-z`: 256 random bits.
/// A key is generated or imported with an [explicit id](crate::key::NewKey::with_id), which a rotation keeps.
/// Where the policy names no key, every text is refused.
///
/// # Security
///
/// Where the texts of another system have fewer than 128 random bits, give the digests a
/// [pepper](crate::key::KeyHasher::peppered).
///
/// # Examples
///
/// ```
/// use tower_webhook::credential::Secret;
/// use tower_webhook::key::{KeyId, KeyManager, NewKey, Owner, TokenFormat};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyManager::new(MemoryKeyStore::new()).with_format(TokenFormat);
/// let ann = Owner::new("ann")?;
/// let (deploy, report) = (KeyId::new("hook-1")?, KeyId::new("hook-2")?);
/// keys.import(&ann, Secret::new("s3cret"), NewKey::new("deploy").with_id(deploy.clone())).await?;
/// keys.generate(&ann, NewKey::new("report").with_id(report.clone())).await?;
///
/// let verifier = keys.verifier();
/// assert!(verifier.verify_for(&deploy, b"s3cret").await.is_ok());
/// assert!(verifier.verify_for(&report, b"s3cret").await.is_err());
/// assert!(verifier.verify(b"s3cret").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenFormat;

impl KeyFormat for TokenFormat {
    fn parse<'a>(&self, _text: &'a str) -> Option<ParsedKey<'a>> {
        None
    }

    fn parse_for<'a>(&self, id: &KeyId, text: &'a str) -> Option<ParsedKey<'a>> {
        (!text.is_empty()).then(|| ParsedKey::new(id.clone(), text))
    }

    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        match draft.id() {
            Some(_) => random_base62(43),
            None => Err(GenerateError::new("a token needs an explicit id: NewKey::with_id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::key::fixtures::{ann, id};
    use crate::key::{
        KeyHasher, KeyManager, ManageErrorKind, NewKey, OpaqueFormat, PrefixedFormat,
        VerifyErrorKind,
    };
    use crate::store::MemoryKeyStore;

    #[test]
    fn a_text_is_a_token_of_the_named_key_alone() {
        let hasher = KeyHasher::sha256();
        for text in ["1", "two words", "a,b;c=\u{e9}", "\n"] {
            assert!(TokenFormat.parse(text).is_none());
            let one = TokenFormat.parse_for(&id("hook-1"), text).unwrap();
            let two = TokenFormat.parse_for(&id("hook-2"), text).unwrap();
            assert_eq!(one.id(), &id("hook-1"));
            assert!(hasher.matches(&hasher.digest(&one), &one).unwrap());
            assert!(!hasher.matches(&hasher.digest(&one), &two).unwrap());
        }
        assert!(TokenFormat.parse_for(&id("hook-1"), "").is_none());
    }

    #[test]
    fn a_format_that_names_ids_reads_for_its_own_id_only() {
        let format = OpaqueFormat::new();
        let own = format.parse("some-key").unwrap().into_id();

        assert!(format.parse_for(&own, "some-key").is_some());
        assert!(format.parse_for(&own, "other-key").is_none());
        // Through the pointers as well.
        let format: std::sync::Arc<dyn KeyFormat> = std::sync::Arc::new(Box::new(TokenFormat));
        assert!(format.parse_for(&own, "other-key").is_some());
    }

    #[tokio::test]
    async fn a_token_is_made_and_rotated_under_its_id() {
        let keys = KeyManager::new(MemoryKeyStore::new()).with_format(TokenFormat);
        let verifier = keys.verifier();

        let error = keys.generate(&ann(), NewKey::new("n")).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Random);

        let new = || NewKey::new("n").with_id(id("hook-1"));
        let (_, old) = keys.generate(&ann(), new()).await.unwrap().into_parts();
        assert_eq!(old.expose_secret().len(), 43);
        let error = keys.generate(&ann(), new()).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Conflict);

        let rotated = keys.rotate(&ann(), &id("hook-1"), Duration::ZERO).await.unwrap();
        assert_eq!(rotated.record().id(), &id("hook-1"));
        let new = rotated.secret().expose_secret().as_bytes();
        assert!(verifier.verify_for(&id("hook-1"), new).await.is_ok());
        let refused = verifier.verify_for(&id("hook-1"), old.expose_secret().as_bytes()).await;
        assert_eq!(refused.unwrap_err().kind(), VerifyErrorKind::WrongSecret);
    }

    #[tokio::test]
    async fn a_key_is_taken_over_under_the_asked_id_or_not_at_all() {
        let keys = KeyManager::new(MemoryKeyStore::new()).with_format(TokenFormat);
        let import =
            |text: String, new| async { keys.import(&ann(), Secret::new(text), new).await };
        let new = || NewKey::new("n").with_id(id("hook-1"));

        for text in [String::new(), "a".repeat(257)] {
            let error = import(text, new()).await.unwrap_err();
            assert_eq!(error.kind(), ManageErrorKind::Invalid);
        }
        assert!(import("a".to_owned(), NewKey::new("n")).await.is_err());
        assert_eq!(import("a".repeat(256), new()).await.unwrap().id(), &id("hook-1"));

        let keys = KeyManager::new(MemoryKeyStore::new());
        let elsewhere = keys.generate(&ann(), NewKey::new("n")).await.unwrap();
        let keys = KeyManager::new(MemoryKeyStore::new()).with_format(PrefixedFormat::default());
        let text = || Secret::new(elsewhere.secret().expose_secret());
        let error = keys.import(&ann(), text(), new()).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Invalid);
        let new = NewKey::new("n").with_id(elsewhere.record().id().clone());
        assert!(keys.import(&ann(), text(), new).await.is_ok());
    }
}
