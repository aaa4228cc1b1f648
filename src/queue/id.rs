use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::QueueError;
use crate::key::Owner;
use crate::util::hex;

/// The id of a job: 128 bits, written as 32 hexadecimal digits in lower case.
///
/// # Examples
///
/// ```
/// use tower_webhook::queue::JobId;
///
/// let id = JobId::derived(None, "deploy", "delivery-7");
/// assert_eq!(id, JobId::derived(None, "deploy", "delivery-7"));
/// assert_eq!(id.to_string().parse::<JobId>()?, id);
/// # Ok::<(), tower_webhook::queue::InvalidJobId>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JobId([u8; 16]);

impl JobId {
    /// An id that no other job has: 128 random bits.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no random bits.
    pub fn random() -> Result<Self, QueueError> {
        let mut bytes = [0; 16];
        let none = |_| QueueError::unavailable("the operating system has no random bits");
        getrandom::fill(&mut bytes).map_err(none)?;
        Ok(Self(bytes))
    }

    /// The id of the job that this caller has given this hook under this idempotency key: the first 128 bits of the
    /// SHA-256 of the three. One caller cannot name the job of another.
    ///
    /// # Security
    ///
    /// All anonymous callers are one caller. A caller that guesses the key of an anonymous job knows its id.
    #[must_use]
    pub fn derived(owner: Option<&Owner>, hook: &str, key: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tower-webhook job 1");
        hash.update([u8::from(owner.is_some())]);
        // Lengths in front, so that no two triples are the same bytes.
        for part in [owner.map_or("", Owner::as_str), hook, key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        Self(bytes)
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// A text that is no [`JobId`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidJobId;

impl fmt::Display for InvalidJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a job is 32 hexadecimal digits in lower case")
    }
}

impl std::error::Error for InvalidJobId {}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidJobId);
        }
        let bytes = hex::decode(text).ok_or(InvalidJobId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidJobId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_digits_in_lower_case() {
        let id = JobId::random().unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse(), Ok(id));
        for wrong in ["", "0", &text[1..], &format!("{text}0"), &"G".repeat(32), &"A".repeat(32)] {
            assert_eq!(wrong.parse::<JobId>(), Err(InvalidJobId), "{wrong}");
        }
    }

    #[test]
    fn a_derived_id_depends_on_caller_hook_and_key() {
        let (ann, bob) = (Owner::new("ann").unwrap(), Owner::new("bob").unwrap());
        let ids = [
            JobId::derived(None, "a", "1"),
            JobId::derived(Some(&ann), "a", "1"),
            JobId::derived(Some(&bob), "a", "1"),
            JobId::derived(Some(&ann), "b", "1"),
            JobId::derived(Some(&ann), "a", "2"),
            JobId::derived(Some(&ann), "a1", ""),
            JobId::derived(Some(&ann), "", "a1"),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
        // Stored jobs keep their ids.
        let known = JobId::derived(Some(&ann), "deploy", "7");
        assert_eq!(known.to_string(), "760069449b962c9f943f6ee3ee6b0008");
    }
}
