use std::fmt;

use sha2::{Digest, Sha256};

use crate::util::hex;

/// What identifies a delivery: a SHA-256 of the hook, the sender, and what the signature authenticates of the delivery.
///
/// Without anything secret in it, and of one length, so that it can be a name in a store.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    /// The key of these parts, in this order. Each is written with its length, so that no two lists have one key.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 digits of hex.
impl fmt::Display for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lists_of_parts_have_one_key() {
        let lists: [&[&[u8]]; 5] = [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"ab", b""]];
        for (index, left) in lists.iter().enumerate() {
            for (other, right) in lists.iter().enumerate() {
                assert_eq!(ReplayKey::new(left) == ReplayKey::new(right), index == other);
            }
        }
        assert_eq!(ReplayKey::new(&[b"ab"]).to_string().len(), 64);
    }
}
