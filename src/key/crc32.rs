//! CRC-32/ISO-HDLC, the checksum of zlib and PNG: reflected, polynomial 0x04C11DB7.

/// Sixteen tables of 256: sixteen bytes are taken in at a time, by look-ups that do not wait for each other.
static TABLES: [[u32; 256]; 16] = tables();

/// A checksum in the making, which can be kept after a common start.
#[derive(Clone, Copy)]
pub(super) struct Crc32(u32);

impl Crc32 {
    pub(super) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Takes in some bytes, one by one.
    #[must_use]
    pub(super) fn update(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |crc, byte| crc.short_block(&[*byte]))
    }

    /// The same for as many bytes as the compiler knows, and as fast as tables allow.
    #[inline]
    #[must_use]
    pub(super) fn update_fixed<const N: usize>(self, bytes: &[u8; N]) -> Self {
        let (head, blocks) = bytes.split_at(N % 16);
        let (blocks, _) = blocks.as_chunks::<16>();
        blocks.iter().fold(self.short_block(head), |crc, block| crc.short_block(block))
    }

    /// Takes in 16 bytes or fewer, by look-ups that do not wait for each other.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "a byte is below 256, a block has 16 bytes at most"
    )]
    fn short_block(self, bytes: &[u8]) -> Self {
        let state = self.0.to_le_bytes();
        // What the state has more bytes of than the block is moved down.
        let mut sum = self.0.checked_shr(8 * bytes.len() as u32).unwrap_or(0);
        for (index, byte) in bytes.iter().enumerate() {
            let mixed = if index < 4 { byte ^ state[index] } else { *byte };
            sum ^= TABLES[bytes.len() - 1 - index][usize::from(mixed)];
        }
        Self(sum)
    }

    pub(super) fn finish(self) -> u32 {
        !self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = (state >> 1) ^ (0xedb8_8320 & (state & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut table = 1;
    while table < 16 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[table - 1][byte];
            tables[table][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crc32(bytes: &[u8]) -> u32 {
        Crc32::new().update(bytes).finish()
    }

    fn bit_by_bit(bytes: &[u8]) -> u32 {
        let mut state = u32::MAX;
        for byte in bytes {
            state ^= u32::from(*byte);
            for _ in 0..8 {
                state = if state & 1 == 1 { (state >> 1) ^ 0xedb8_8320 } else { state >> 1 };
            }
        }
        !state
    }

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    proptest! {
        #[test]
        fn tables_and_bits_agree(bytes: Vec<u8>, split: prop::sample::Index) {
            prop_assert_eq!(crc32(&bytes), bit_by_bit(&bytes));
            let (start, end) = bytes.split_at(split.index(bytes.len() + 1));
            prop_assert_eq!(Crc32::new().update(start).update(end).finish(), crc32(&bytes));
        }

        #[test]
        fn lengths_that_are_known_change_nothing(bytes: [u8; 61], start: Vec<u8>) {
            fn both<const N: usize>(start: &[u8], bytes: &[u8; 61]) -> (u32, u32) {
                let bytes = bytes.first_chunk::<N>().unwrap();
                let start = Crc32::new().update(start);
                (start.update_fixed(bytes).finish(), start.update(bytes).finish())
            }

            for (fixed, slow) in [
                both::<0>(&start, &bytes),
                both::<1>(&start, &bytes),
                both::<3>(&start, &bytes),
                both::<4>(&start, &bytes),
                both::<15>(&start, &bytes),
                both::<16>(&start, &bytes),
                both::<17>(&start, &bytes),
                both::<55>(&start, &bytes),
                both::<61>(&start, &bytes),
            ] {
                prop_assert_eq!(fixed, slow);
            }
        }
    }
}
