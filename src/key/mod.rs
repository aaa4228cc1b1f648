//! Verification of API keys, and their life from making to revocation.
//!
//! 1. A key proves its owner by a secret that only its holder has. What is stored is a digest.
//! 2. A [`KeyManager`] makes keys, shows their text once, and extends, rotates, disables, revokes and
//!    deletes them. Every call names the owner.
//! 3. A [`KeyVerifier`] decides about a presented text: a [`VerifiedKey`], or a [`VerifyError`] that
//!    tells a refusal apart from a store that cannot answer.
//! 4. A [`KeyStore`] keeps the records. [`MemoryKeyStore`](crate::store::MemoryKeyStore) is one; a store of your own has five
//!    methods, and one line in a test proves that it keeps the contract:
//!    `store::conformance::check(MyStore::fresh).await`, with feature `conformance`.
//! 5. A [`KeyFormat`] reads and makes the texts: [`PrefixedFormat`] for new systems,
//!    [`OpaqueFormat`] for keys that another system has handed out, [`TokenFormat`] for a token per hook.
//! 6. The text of a key is shown once. With feature `recoverable`, `KeyManager::with_recoverable` seals it in the
//!    record, for systems whose users see their keys again.
//!
//! Nothing here needs a server. A queue consumer and a command line verify keys in the same way.
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
//! // Elsewhere, with a text that somebody presents:
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
mod format;
mod id;
mod manager;
mod new_key;
mod observer;
mod owner;
mod page;
mod record;
mod record_json;
mod scope;
mod sealed;
pub(crate) mod secret;
mod state;
mod store;
mod verifier;
mod view;

pub use self::digest::{
    DigestAlgorithm, InvalidDigest, KeyDigest, KeyHasher, Pepper, UnknownPepper,
};
pub use self::format::{
    GenerateError, KeyDraft, KeyFormat, OpaqueFormat, ParsedKey, PrefixedFormat, TokenFormat,
    random_base62,
};
pub use self::id::{InvalidId, KeyId};
pub use self::manager::{KeyManager, ManageError, ManageErrorKind};
pub use self::new_key::{IssuedKey, KeyUpdate, NewKey};
pub use self::observer::LastUsedObserver;
pub use self::owner::Owner;
pub use self::page::{InvalidCursor, Page, PageCursor};
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

#[cfg(any(test, feature = "conformance"))]
pub(crate) use self::record::checked_name;
pub(crate) use self::verifier::{LookupTarget, Proof};
