use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes ids for a map in memory: a multiplication per word.
///
/// Ids of keys are random or digests, so whoever asks for an id of their choice cannot fill a bucket with
/// records, only look into one. The seed is random all the same, because importers may choose ids.
#[derive(Clone)]
pub(super) struct IdHasher {
    seed: u64,
}

impl Default for IdHasher {
    fn default() -> Self {
        Self { seed: RandomState::new().build_hasher().finish() }
    }
}

impl BuildHasher for IdHasher {
    type Hasher = Words;

    fn build_hasher(&self) -> Words {
        Words(self.seed)
    }
}

/// A map of values by the hashes of ids. To read it takes no lock.
pub(super) type ByHash<V> = papaya::HashMap<u64, V, Hashed>;

/// For a map whose keys are hashes already.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashed;

impl BuildHasher for Hashed {
    type Hasher = Hash;

    fn build_hasher(&self) -> Hash {
        Hash(0)
    }
}

/// A hash that was made elsewhere.
pub(super) struct Hash(u64);

impl Hasher for Hash {
    fn write(&mut self, _bytes: &[u8]) {
        debug_assert!(false, "only numbers are hashes");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The state of one hash.
pub(super) struct Words(u64);

impl Words {
    fn word(&mut self, word: u64) {
        // The two halves of the product together depend on every bit of both factors.
        let product = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.word(u64::from_le_bytes(last) ^ (bytes.len() as u64).rotate_left(56));
    }

    fn write_u8(&mut self, _end: u8) {
        // The end of a text: its length is in the hash already.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::key::KeyId;

    #[test]
    fn different_ids_have_different_hashes() {
        let hasher = IdHasher::default();
        let ids = (0..10_000).map(|index| KeyId::new(format!("{index}")).unwrap());
        let hashes: HashSet<u64> = ids.map(|id| hasher.hash_one(id)).collect();

        assert_eq!(hashes.len(), 10_000);
    }

    #[test]
    fn low_and_high_bits_are_spread() {
        let hasher = IdHasher::default();
        let hashes: Vec<u64> = (0..4096)
            .map(|index| hasher.hash_one(KeyId::new(format!("{index:016}")).unwrap()))
            .collect();
        for shift in [0, 57] {
            let buckets: HashSet<u64> = hashes.iter().map(|hash| (hash >> shift) & 127).collect();
            assert_eq!(buckets.len(), 128);
        }
    }
}
