//! Signatures of webhooks: what a provider signs, checked over the bytes that it sent.
//!
//! [`Scheme::verify`] needs no server: it takes the header fields and the body of a message, the secrets and the time.
//! How a provider signs is data: [`presets`] has the schemes of known providers, and a [`Scheme`] of your own is a few
//! lines.
//!
//! # Rules
//!
//! 1. The body is bytes, and need not be UTF-8. It is read once.
//! 2. Nothing in the message chooses the algorithm: `sha1=` where `sha256=` is configured is malformed.
//! 3. A header line that is there twice is malformed. Where the scheme has a list of signatures, one good one is
//!    enough, of at most 16.
//! 4. Timestamps are digits without a sign or a leading zero, signed as they were sent, and compared in both
//!    directions.
//! 5. A message can be checked with several [secrets](SigningSecret), each with a name and a time in which it is good.
//! 6. [`Verified::covers`] says what the signature authenticates. An id or a type of event outside of it
//!    ([`Delivery`]) is the attacker's to choose.
//! 7. Comparisons take constant time. No error and no log line has a digest or a secret.
//!
//! # Examples
//!
//! ```
//! use http::{HeaderMap, HeaderValue};
//! use time::OffsetDateTime;
//! use tower_webhook::signature::{Message, SignatureErrorKind, SigningSecret, presets};
//!
//! let secrets = [SigningSecret::raw("whsec_receiver-test-secret")?];
//! let mut headers = HeaderMap::new();
//! let signature = "t=1700000000,v1=dd9578720dc9a7bad36af121832d7b7a791ca275848e838ea67b71e80a0ae84c";
//! headers.insert("stripe-signature", HeaderValue::from_static(signature));
//! let message = Message::new(&headers, br#"{"hello":"world"}"#);
//!
//! let then = OffsetDateTime::from_unix_timestamp(1_700_000_299)?;
//! let verified = presets::stripe().verify(&message, &secrets, then)?;
//! assert_eq!(serde_json::to_string(&verified.covers())?, r#"["body","timestamp"]"#);
//!
//! let later = OffsetDateTime::from_unix_timestamp(1_700_000_301)?;
//! let error = presets::stripe().verify(&message, &secrets, later).unwrap_err();
//! assert_eq!(error.kind(), SignatureErrorKind::Stale);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coverage;
mod doctor;
mod encoding;
mod error;
mod field;
mod handshake;
pub mod handshakes;
mod message;
pub mod presets;
mod scheme;
mod secret;
mod sender;
mod sign;
mod signed;
#[cfg(test)]
mod tests;
mod timestamp;
mod verifier;
mod verify;

pub use self::coverage::{Coverage, Covered};
pub use self::doctor::SignatureHint;
pub use self::encoding::Encoding;
pub use self::error::{SignatureError, SignatureErrorKind};
pub use self::field::Field;
pub use self::handshake::{Handshake, HandshakeValue};
pub use self::message::Message;
pub use self::scheme::{Algorithm, Part, Scheme};
pub use self::secret::SigningSecret;
pub use self::sender::{Sender, SenderLookup, SenderSource, Senders};
pub use self::sign::Signer;
pub use self::timestamp::TimestampFormat;
pub use self::verifier::{SignatureVerifier, SignedDelivery};
pub use self::verify::{Delivery, Verified};
