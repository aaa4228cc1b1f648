//! Keys that another system has issued.

use super::{KeyManager, ManageError, ManageErrorKind, first_version};
use crate::key::secret::Secret;
use crate::key::verifier::MAX_KEY_LEN;
use crate::key::{KeyDigest, KeyId, KeyRecord, NewKey, Owner, SealedSecret, WriteOutcome};

impl KeyManager {
    /// Imports the text of a key of another system. The key can have expired.
    ///
    /// # Errors
    ///
    /// `Invalid`, also if the text is not of the format or not the one with the
    /// [explicit](NewKey::with_id) id, or if it has white space at its ends, such as the line end of a file;
    /// `Conflict` if the id is taken; `Random`, `WrongPepper`, `Unavailable`.
    pub async fn import(
        &self,
        owner: &Owner,
        text: Secret,
        new: NewKey,
    ) -> Result<KeyRecord, ManageError> {
        if text.has_outer_blanks() {
            return Err(ManageError::invalid(
                "the text of a key has white space at its ends, such as the line end of a file",
            ));
        }
        let parsed = match &new.id {
            Some(id) => self.parts().format.parse_for(id, text.expose_secret()),
            None => self.parts().format.parse(text.expose_secret()),
        };
        let parsed = parsed.filter(|_| text.expose_secret().len() <= MAX_KEY_LEN);
        let parsed = parsed.ok_or(ManageError::invalid("the text is not a key of this format"))?;
        let digest = self.parts().hasher.digest(&parsed);
        let id = parsed.into_id();
        let sealed = self.seal(&text, &id, owner)?;
        self.take_over(owner, id, digest, sealed, new).await
    }

    /// Imports a key of another system by the unsalted SHA-256 of its whole text, which is never seen here. The key can
    /// have expired.
    ///
    /// The format is [`Sha256Format`](crate::key::Sha256Format), or [`Formats`](crate::key::Formats) with it. A digest
    /// says nothing about its text: if that is outside the rules of the format, such as its prefix, the key is refused
    /// when it is presented.
    ///
    /// The text cannot be recovered, because there is none to seal.
    ///
    /// # Security
    ///
    /// For random keys of 128 bits and more: see [`Sha256Format`](crate::key::Sha256Format). With a
    /// [pepper](crate::key::KeyHasher::peppered) the digest is hashed once more under it; nothing else has to be
    /// called.
    ///
    /// # Errors
    ///
    /// `Invalid`, also if the format has no keys by their SHA-256, or an [explicit](NewKey::with_id) id is not the
    /// derived one; `Conflict` if the id is taken, such as by an earlier import of the same digest; `Random`,
    /// `WrongPepper`, `Unavailable`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::{KeyManager, ManageErrorKind, NewKey, Owner, Sha256Format};
    /// use tower_webhook::store::MemoryKeyStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use sha2::{Digest, Sha256};
    /// # let column: [u8; 32] = Sha256::digest(b"sk_live_0123456789abcdef0123456789abcdef").into();
    /// let keys = KeyManager::new(MemoryKeyStore::new()).with_format(Sha256Format::new());
    /// let ann = Owner::new("ann")?;
    /// keys.import_digest(&ann, column, NewKey::new("laptop")).await?;
    ///
    /// // A migration that is run again finds the key in its place.
    /// let again = keys.import_digest(&ann, column, NewKey::new("laptop")).await;
    /// assert_eq!(again.map_err(|error| error.kind()).err(), Some(ManageErrorKind::Conflict));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import_digest(
        &self,
        owner: &Owner,
        sha256: [u8; 32],
        new: NewKey,
    ) -> Result<KeyRecord, ManageError> {
        let id = self.parts().format.id_of_sha256(&sha256);
        let id = id.ok_or(ManageError::invalid(
            "the format of the keys has none by their SHA-256: use Sha256Format",
        ))?;
        if new.id.as_ref().is_some_and(|asked| *asked != id) {
            return Err(ManageError::invalid("the id is not the one of this digest"));
        }
        let digest = self.parts().hasher.digest_of_sha256(&sha256);
        self.take_over(owner, id, digest, None, new).await
    }

    /// Stores the record of a key that exists elsewhere.
    async fn take_over(
        &self,
        owner: &Owner,
        id: KeyId,
        digest: KeyDigest,
        sealed: Option<SealedSecret>,
        new: NewKey,
    ) -> Result<KeyRecord, ManageError> {
        self.keep_pepper().await?;
        let record = new.record(owner, id, digest, self.parts().clock.now())?;
        let record = record.with_version(first_version()?).with_sealed(sealed);
        match self.parts().store.insert(record.clone()).await? {
            WriteOutcome::Applied => Ok(record),
            WriteOutcome::Conflict => Err(ManageError::new(ManageErrorKind::Conflict)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::key::digest::sha256;
    use crate::key::fixtures::{ann, id};
    use crate::key::{
        Formats, KeyHasher, KeyState, OpaqueFormat, Pepper, PrefixedFormat, Sha256Format,
        TokenFormat, VerifyErrorKind,
    };
    use crate::store::MemoryKeyStore;

    const TEXT: &str = "sk_live_00112233445566778899aabbccddeeff";

    fn digest_of(text: &str) -> [u8; 32] {
        sha256(&[text.as_bytes()])
    }

    fn keys() -> KeyManager {
        KeyManager::new(MemoryKeyStore::new()).with_format(Sha256Format::new())
    }

    fn peppered(last: u8) -> KeyHasher {
        let mut bytes = *b"0123456789abcdef0123456789abcdef";
        bytes[31] = last;
        KeyHasher::peppered(Pepper::new("p", bytes).unwrap())
    }

    async fn opens(keys: &KeyManager, text: &str) -> Option<VerifyErrorKind> {
        keys.verifier().verify(text.as_bytes()).await.map_err(|error| error.kind()).err()
    }

    #[tokio::test]
    async fn the_text_of_an_imported_digest_opens_its_key() {
        let keys = keys();
        for text in [TEXT, "a/b+c==", "x"] {
            let new = NewKey::new("old").with_all_scopes();
            let record = keys.import_digest(&ann(), digest_of(text), new).await.unwrap();

            assert_eq!(opens(&keys, text).await, None, "{text:?}");
            let longer = opens(&keys, &format!("{text}x")).await;
            assert_eq!(longer, Some(VerifyErrorKind::Unknown), "{text:?}");
            let digest = digest_of(text);
            let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(record.id().as_str(), hex);
            assert_eq!(record.digest().expose_bytes(), &digest);
            assert!(record.scopes().is_all());
        }
        // The digest is no key.
        let hex: String = digest_of(TEXT).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(opens(&keys, &hex).await, Some(VerifyErrorKind::Unknown));
    }

    #[tokio::test]
    async fn the_same_id_with_another_digest_does_not_open() {
        let keys = keys();
        let mut digest = digest_of(TEXT);
        digest[12] ^= 1;
        keys.import_digest(&ann(), digest, NewKey::new("old")).await.unwrap();

        assert_eq!(opens(&keys, TEXT).await, Some(VerifyErrorKind::WrongSecret));
    }

    #[tokio::test]
    async fn a_digest_and_its_text_make_the_same_record() {
        let (by_digest, by_text) = (keys(), keys());
        let digest = by_digest.import_digest(&ann(), digest_of(TEXT), NewKey::new("n")).await;
        let text = by_text.import(&ann(), Secret::new(TEXT), NewKey::new("n")).await;
        let (digest, text) = (digest.unwrap(), text.unwrap());

        assert_eq!(digest.id(), text.id());
        assert!(digest.digest().is(text.digest()));
        let again = by_text.import_digest(&ann(), digest_of(TEXT), NewKey::new("n")).await;
        assert_eq!(again.unwrap_err().kind(), ManageErrorKind::Conflict);
    }

    #[tokio::test]
    async fn an_imported_digest_gets_the_pepper() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = KeyManager::new(Arc::clone(&store)).with_format(Sha256Format::new());
        let with = keys.clone().with_hasher(peppered(b'1'));

        let record = with.import_digest(&ann(), digest_of(TEXT), NewKey::new("n")).await.unwrap();

        assert!(record.digest().pepper().unwrap().starts_with("p."));
        assert_eq!(opens(&with, TEXT).await, None);
        assert_eq!(opens(&with, "other").await, Some(VerifyErrorKind::Unknown));
        // A fault of the configuration, and no wrong key.
        for keys in [keys.clone(), keys.clone().with_hasher(peppered(b'2'))] {
            assert_eq!(opens(&keys, TEXT).await, Some(VerifyErrorKind::StoreUnavailable));
        }
        let wrong = keys.clone().with_hasher(peppered(b'2'));
        let error = wrong.import_digest(&ann(), digest_of("b"), NewKey::new("n")).await;
        assert_eq!(error.unwrap_err().kind(), ManageErrorKind::WrongPepper);

        // From before there was a pepper.
        keys.import_digest(&ann(), digest_of("b"), NewKey::new("n")).await.unwrap();
        assert_eq!(opens(&with, "b").await, Some(VerifyErrorKind::StoreUnavailable));
        let lenient = peppered(b'1').with_insecure_unpeppered_keys();
        assert_eq!(opens(&keys.clone().with_hasher(lenient), "b").await, None);
    }

    #[tokio::test]
    async fn a_format_without_keys_by_digest_imports_none() {
        let store = Arc::new(MemoryKeyStore::new());
        let keys = KeyManager::new(Arc::clone(&store));
        let formats = Formats::new(PrefixedFormat::default()).with_previous(OpaqueFormat::new());
        let token = keys.clone().with_format(TokenFormat);
        for keys in [keys.clone(), token, keys.clone().with_format(formats)] {
            let error = keys.import_digest(&ann(), digest_of(TEXT), NewKey::new("n")).await;
            assert_eq!(error.unwrap_err().kind(), ManageErrorKind::Invalid);
        }
        let formats = Formats::new(PrefixedFormat::default()).with_previous(Sha256Format::new());
        let keys = keys.with_format(formats);
        let elsewhere = NewKey::new("n").with_id(id("elsewhere"));
        let error = keys.import_digest(&ann(), digest_of(TEXT), elsewhere).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Invalid);
        assert_eq!(store.len(), 0);

        let past = time::OffsetDateTime::UNIX_EPOCH;
        let expired = NewKey::new("n").with_expires_at(past + time::Duration::SECOND);
        let record = keys.import_digest(&ann(), digest_of(TEXT), expired).await.unwrap();
        assert_eq!(record.state_at(time::OffsetDateTime::now_utc()), KeyState::Expired);
        assert_eq!(opens(&keys, TEXT).await, Some(VerifyErrorKind::Expired));
    }
}
