//! API keys: generation, verification, rotation and revocation.
//!
//! 1. A key proves its owner by a secret. The store has a digest of it.
//! 2. A [`KeyManager`] generates keys, returns their text once, and extends, rotates, disables, revokes and
//!    deletes them. Every call names the owner.
//! 3. A [`KeyVerifier`] verifies a presented text: the result is a [`VerifiedKey`], or a [`VerifyError`] that
//!    distinguishes a refusal from an unavailable store.
//! 4. A [`KeyStore`] keeps the records. [`MemoryKeyStore`](crate::store::MemoryKeyStore) is one; a store of your own has five
//!    methods, and one line in a test checks its contract:
//!    `store::conformance::check(MyStore::fresh).await`, with feature `conformance`.
//! 5. A [`KeyFormat`] parses and generates the texts: [`PrefixedFormat`] for new systems,
//!    [`OpaqueFormat`] for keys of another system, [`Sha256Format`] where only their digests are left,
//!    [`TokenFormat`] for a token per hook. [`Formats`] reads several beside each other.
//! 6. With feature `recoverable`, `KeyManager::with_recoverable` seals the text in the record, for systems
//!    whose users see their keys again.
//!
//! The module needs no server: queue consumers and command lines can use it.
//!
//! # Examples
//!
//! ```
//! use time::Duration;
//! use tower_webhook::key::{KeyManager, NewKey, Owner, Scope, Scopes};
//! use tower_webhook::store::MemoryKeyStore;
//! use tower_webhook::key::VerifyErrorKind;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let ann = Owner::new("ann")?;
//! let new = NewKey::new("deploy bot")
//!     .with_scopes(Scopes::parse(["deploy"])?)
//!     .with_expires_in(Duration::days(60));
//! let (record, secret) = keys.generate(&ann, new).await?.into_parts();
//!
//! // Elsewhere, with a presented text:
//! let verifier = keys.verifier();
//! let verified = verifier.verify(secret.expose_secret().as_bytes()).await?;
//! assert_eq!(verified.owner(), &ann);
//! assert!(verified.scopes().contains(&Scope::new("deploy")?));
//!
//! keys.revoke(&ann, record.id()).await?;
//! let refused = verifier.verify(secret.expose_secret().as_bytes()).await;
//! assert_eq!(refused.map_err(|error| error.kind()).err(), Some(VerifyErrorKind::Revoked));
//! # Ok(())
//! # }
//! ```

mod digest;
#[cfg(test)]
pub(crate) mod fixtures;
mod format;
mod id;
mod manager;
mod new_key;
mod observer;
mod owner;
mod page;
mod pepper;
mod record;
mod record_json;
mod scope;
mod sealed;
pub(crate) mod secret;
mod state;
mod store;
mod verifier;
mod view;

pub use self::digest::{DigestAlgorithm, InvalidDigest, KeyDigest, KeyHasher, UnknownPepper};
pub use self::format::{
    Formats, GenerateError, KeyDraft, KeyFormat, OpaqueFormat, ParsedKey, PrefixedFormat,
    Sha256Format, TokenFormat, random_base62,
};
pub use self::id::{InvalidId, KeyId};
pub use self::manager::{KeyManager, ManageError, ManageErrorKind};
pub use self::new_key::{IssuedKey, KeyUpdate, NewKey};
pub use self::observer::LastUsedObserver;
pub use self::owner::Owner;
pub use self::page::{InvalidCursor, Page, PageCursor};
pub use self::pepper::Pepper;
pub use self::record::{InvalidRecord, KeyRecord};
pub use self::record_json::{DecodeError, DecodeErrorKind};
pub use self::scope::{InvalidScope, Scope, Scopes};
pub use self::sealed::{InvalidSealedSecret, SealedSecret};
#[cfg(feature = "recoverable")]
#[cfg_attr(docsrs, doc(cfg(feature = "recoverable")))]
pub use self::sealed::{OpenError, OpenErrorKind, SealingKeys};
pub use self::state::KeyState;
pub use self::store::{KeyStore, StoreError, WriteOutcome};
pub use self::verifier::{
    KeyVerifier, PendingLookup, Verification, VerifiedKey, VerifyError, VerifyErrorKind,
};
pub use self::view::KeyView;

#[cfg(feature = "management")]
pub(crate) use self::new_key::later;
#[cfg(any(test, feature = "conformance", feature = "management"))]
pub(crate) use self::record::checked_name;
#[cfg(feature = "file")]
pub(crate) use self::record_json::StoredRecord;
pub(crate) use self::verifier::{KeyProof, LookupTarget};
